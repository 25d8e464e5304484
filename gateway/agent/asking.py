"""Asking the model: one call of a turn, with its budget, its stream and its window.

Stores nothing but reservations, placeholders and summaries; the answer is the turn's to store.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from gateway.agent import compaction, usage
from gateway.agent.messages import (
    BudgetExhausted,
    ContextWindowExceededError,
    ModelError,
    ModelRef,
    ModelReply,
    ModelRequest,
    ModelSettingError,
    PromptMessage,
)
from gateway.agent.models import Models
from gateway.agent.pricing import no_price, price_of
from gateway.agent.prompt import prompt_messages
from gateway.agent.setting import Setting, Settings
from gateway.agent.steps import Steps
from gateway.agent.streaming import Stream
from gateway.agent.timing import CallTiming
from gateway.agent.tokens import estimate_message, estimate_text
from gateway.events import EventLog
from gateway.metrics import Metrics
from gateway.relay import Relay
from gateway.store.database import Database
from gateway.store.outbox import Post
from gateway.store.runs import Run
from gateway.store.sessions import Session
from gateway.store.transcript import Message
from gateway.telemetry import calls, names
from gateway.telemetry.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Answer:
    """A model's reply, not yet stored."""

    reply: ModelReply
    model: ModelRef
    reservation: usage.Reservation | None
    timing: CallTiming


@dataclass(slots=True)
class Conversation:
    """What a turn knows of its session; the rows are those of the transcript."""

    session: Session
    run: Run | None
    inherited: list[Message]
    history: list[Message]
    placeholder: Post | None
    """The outbox row of the answer that is being streamed."""
    sections: list[str]
    """What plugins add to the system prompt, as of the last boundary."""
    calling: CallTiming | None = None
    """The model call that is under way, or has failed."""

    @property
    def rows(self) -> list[Message]:
        """All that the prompt is made of."""
        return [*self.inherited, *self.history]


class Asker:
    """Makes model calls for turns."""

    def __init__(
        self,
        database: Database,
        steps: Steps,
        models: Models,
        settings: Settings,
        events: EventLog,
        metrics: Metrics,
        relay: Relay,
        tracing: Tracing,
    ) -> None:
        self._database = database
        self._steps = steps
        self._models = models
        self._settings = settings
        self._events = events
        self._metrics = metrics
        self._relay = relay
        self._tracing = tracing

    async def ask(self, talk: Conversation, setting: Setting) -> Answer:
        """Asks once; a prompt that turns out too long is compacted, and asked once more.

        Raises:
            ModelError: no model can answer.
            BudgetExhausted: nothing fits into a budget any more.
        """
        try:
            return await self._call(talk, setting, await self._fitting(talk, setting))
        except ContextWindowExceededError:
            await self._compact(talk, setting)
            return await self._call(talk, setting, compaction.trimmed(prompt_messages(talk.rows, setting.model)))

    def progress(self, session: Session, text: str) -> None:
        """Shows a line of what is happening in a session."""
        self._events.publish(
            "progress",
            {"sessionKey": session.key, "runId": session.run_id, "text": text},
            session_key=session.key,
            run_id=session.run_id,
        )

    async def _fitting(self, talk: Conversation, setting: Setting) -> list[PromptMessage]:
        if compaction.fork_too_large(prompt_messages(talk.inherited, setting.model), setting.model):
            await self._compact(talk, setting, talk.inherited[-1].seq)
        messages = prompt_messages(talk.rows, setting.model)
        if not compaction.too_full(messages, setting.overhead, setting.model):
            return messages
        messages = compaction.trimmed(messages)
        if not compaction.too_full(messages, setting.overhead, setting.model):
            return messages
        await self._compact(talk, setting)
        return compaction.trimmed(prompt_messages(talk.rows, setting.model))

    async def _call(self, talk: Conversation, setting: Setting, messages: list[PromptMessage]) -> Answer:
        system = self._settings.system_prompt(setting, talk.session, talk.run, talk.sections)
        tokens = sum(map(estimate_message, messages)) + estimate_text(system) + setting.tools.tokens
        request = ModelRequest(
            setting.model,
            [PromptMessage("system", system), *messages],
            setting.tools.specs,
            setting.thinking,
            session_key=talk.session.key,
        )
        stream = self._stream(talk) if setting.streams else None
        return await self._complete(talk, setting, request, tokens, stream, setting.fallbacks)

    async def _complete(
        self,
        talk: Conversation,
        setting: Setting,
        request: ModelRequest,
        tokens: int,
        stream: Stream | None,
        fallbacks: Sequence[ModelRef],
    ) -> Answer:
        """Makes a call, as a span if it is traced."""
        with self._tracing.span(names.call(request.model.id), "client") as span:
            if span.on:
                span.set(calls.asked(request, talk.session, streamed=stream is not None))
            answer = await self._counted(talk, setting, request, tokens, stream, fallbacks)
            if span.on:
                span.set(calls.answered(answer.reply, answer.model, answer.timing))
            if span.on and self._tracing.capture:
                span.set(calls.texts(self._tracing, request, answer.reply))
            return answer

    async def _counted(
        self,
        talk: Conversation,
        setting: Setting,
        request: ModelRequest,
        tokens: int,
        stream: Stream | None,
        fallbacks: Sequence[ModelRef],
    ) -> Answer:
        """Makes a call and counts it. What each model that is asked may cost is set aside before, if a budget watches;
        of one that doesn't answer it is given back."""
        started, timing = time.monotonic(), CallTiming()
        talk.calling = timing
        held: usage.Reservation | None = None

        async def admit(model: ModelRef) -> int | None:
            nonlocal held
            before, held = held, None
            held = await self._reserve(talk, setting, model, tokens, before)
            return held.max_tokens

        try:
            reply, model = await self._models.complete(
                request,
                stream.delta if stream else None,
                self._retrying(talk.session, stream),
                fallbacks,
                admit if await self._watched(talk, setting) else None,
                timing,
            )
        except (ModelError, BudgetExhausted) as error:
            if isinstance(error, ModelError):
                self._metrics.model_call(setting.model.name, "error", time.monotonic() - started, None)
            if held is not None:
                await self._database.run(usage.release, held)
            raise
        self._metrics.model_call(model.name, "ok", time.monotonic() - started, reply.usage)
        talk.calling = None
        return Answer(reply, model, held, timing)

    async def _watched(self, talk: Conversation, setting: Setting) -> bool:
        """Whether any budget watches a call."""
        if usage.unwatched(talk.run, setting.agent_day_micro):
            return False
        run_id = talk.run.id if talk.run else None
        return await self._database.read(usage.watched, run_id, setting.agent_day_micro)

    async def _reserve(
        self, talk: Conversation, setting: Setting, model: ModelRef, tokens: int, before: usage.Reservation | None
    ) -> usage.Reservation:
        """Sets aside what a call of a model may cost, in the place of what was set aside for the model before it."""
        price = price_of(model)
        if price is None:
            await self._models.prepare([model])  # its client may bring a table of prices
            price = price_of(model)
        run_id = talk.run.id if talk.run else None
        limits = usage.Limits(price, tokens, model.max_tokens, setting.agent_day_micro)
        made = await self._database.run(usage.reserve, talk.session, run_id, limits, before)
        if isinstance(made, usage.Unpriced):
            raise ModelSettingError(no_price(made.budget, model))
        if isinstance(made, usage.Exhausted):
            raise BudgetExhausted(made.reason)
        return made

    def _stream(self, talk: Conversation) -> Stream:
        async def opened() -> Post:
            if talk.placeholder is None:
                talk.placeholder = await self._database.run(self._steps.posting.open_stream, talk.session)
            return talk.placeholder

        return Stream(self._events, self._relay, talk.session.key, opened)

    def _retrying(self, session: Session, stream: Stream | None) -> Callable[[str], Awaitable[None]]:
        async def retrying(text: str) -> None:
            if stream is not None:
                stream.restart()
            self.progress(session, text)

        return retrying

    async def _compact(self, talk: Conversation, setting: Setting, upto: int | None = None) -> None:
        """Puts a summary in the place of the transcript's older part."""
        rows = talk.rows
        upto = upto or compaction.split(rows, setting.model)
        if upto is None:
            raise ModelError(
                f"the prompt doesn't fit into the {setting.model.context_window} tokens of {setting.model.name}: "
                "choose a model with a larger window, or raise models.providers.*.models[].contextWindow if it has one"
            )
        self.progress(talk.session, "summarising the conversation so far")
        older = compaction.trimmed(prompt_messages([row for row in rows if row.seq <= upto], setting.model))
        messages = [*older, PromptMessage("user", compaction.INSTRUCTION)]
        request = ModelRequest(setting.model, messages, session_key=talk.session.key)
        made = await self._complete(talk, setting, request, sum(map(estimate_message, messages)), None, ())
        text = compaction.summary_text(made.reply.text, rows, upto)
        summary = await self._database.run(
            self._steps.summarise,
            talk.session.id,
            talk.session.fence,
            text,
            upto,
            made.reply,
            made.model,
            made.reservation,
            made.timing,
        )
        talk.inherited = [row for row in talk.inherited if row.seq > upto]
        talk.history = [*(row for row in talk.history if row.seq > upto), summary]
