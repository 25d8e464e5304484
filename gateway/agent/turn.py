"""The turn: one activation of a session, from its inbox to its reply.

Inbox → prompt → model → tools → … → reply. The loop holds nothing that the transcript doesn't: whatever kills it, the
next activation goes on from the last stored message. It is one of the three places that catch every exception.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway import logs
from gateway.agent.asking import Answer, Asker, Conversation
from gateway.agent.clock import RunClock
from gateway.agent.finals import CheckOutput, Next
from gateway.agent.loops import LoopDetector
from gateway.agent.messages import BudgetExhausted, ModelError, ToolCall
from gateway.agent.setting import Setting, Settings
from gateway.agent.steps import Begun, Boundary, Spent, Steps
from gateway.agent.timing import now_ms
from gateway.agent.toolset import INTERRUPTED, ToolRunner, may_run_again
from gateway.jobs.runner import Claimed
from gateway.store import inbox, sessions
from gateway.store.database import Database, StoreError, Transaction
from gateway.store.runs import Outcome
from gateway.store.sessions import FenceLost, HoldAbove
from gateway.store.transcript import Message
from gateway.telemetry import calls, context, names, spans
from gateway.telemetry.tracing import Tracing

STARTING = 12
"""Activations that may begin side by side: a burst of new ones must not stand before the turns that are under way in
the writer's queue. Fewer would spread a batch's announcements over more turns of the parent."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What turns need of the gateway."""

    database: Database
    steps: Steps
    asker: Asker
    settings: Settings
    tools: ToolRunner
    draining: Callable[[str], bool]
    check_output: CheckOutput
    tracing: Tracing


class Turns:
    """Activates sessions."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._starting = asyncio.Semaphore(STARTING)

    async def activate(self, session_id: str) -> None:
        """Works on a session until nothing is left to do for it, or somebody else takes it."""
        try:
            async with self._starting:
                begun = await self._begin(session_id)
        except StoreError:
            log.exception("session %s can't be activated; the sweep will try again", session_id)
            return
        if begun is None:
            return
        logs.bind(session=begun.session.key, run=begun.session.run_id, job=begun.run.number if begun.run else None)
        if isinstance(begun, Claimed):
            await self._parts.steps.jobs.run(begun)
            return
        turn = Turn(self._parts, begun)
        context.current.set(turn.trace)
        try:
            await turn.run()
        except FenceLost as lost:
            turn.stopped()
            log.info("%s", lost)
        except asyncio.CancelledError:
            turn.stopped()
            raise
        except StoreError:
            log.exception("session %s: the turn is continued when the database is back", begun.session.key)
        except Exception as error:
            log.exception("session %s, run %s: the turn failed", begun.session.key, begun.session.run_id)
            await turn.fail(f"the turn failed: {type(error).__name__}: {error}", "internal", Outcome.ERROR)
        finally:
            await turn.record()

    async def _begin(self, session_id: str) -> Begun | Claimed | None:
        database, begin, sections = self._parts.database, self._parts.steps.begin, self._parts.settings.sections
        try:
            return await database.run_together([session_id], begin, session_id, sections)
        except HoldAbove:
            return await database.run(begin, session_id, sections, above=True)


class Turn:
    """One activation."""

    def __init__(self, parts: Parts, begun: Begun) -> None:
        self._parts = parts
        self._fence = begun.fence
        self._open = begun.open_calls
        self._first = begun.boundary
        self._talk = Conversation(begun.session, begun.run, begun.inherited, begun.history, begun.streaming, [])
        run = begun.run
        self._clock = RunClock(run.timeout_ms if run else 0, run.active_ms if run else 0)
        self._loops: LoopDetector | None = None
        self._looping = False
        self._turn = (begun.boundary or begun).session
        self._again = begun.session.turn_seq is not None
        self._error: str | None = None

    @property
    def trace(self) -> str | None:
        """The span of the turn, which may have begun before a restart."""
        return self._turn.turn_trace

    async def run(self) -> None:
        """Goes on until the session is released, or its run's time is up."""
        scope = self._clock.limit()
        try:
            async with scope:
                await self._work()
        except TimeoutError:
            if not scope.expired():
                raise
            seconds = (self._talk.run.timeout_ms if self._talk.run else 0) / 1000
            await self.fail(f"it used up its {seconds:g} s (runTimeoutSeconds)", "timeout", Outcome.TIMEOUT)

    async def fail(self, text: str, cause: str, outcome: Outcome) -> None:
        """Ends the turn with an error that people are told."""
        self._error = cause
        steps, session = self._parts.steps, self._talk.session
        try:
            await self._parts.database.run(
                steps.fail, session.id, self._fence, text, cause, outcome, self._clock.take(), self._talk.calling
            )
        except FenceLost as lost:
            log.info("%s", lost)

    def stopped(self) -> None:
        """Somebody else has ended it, or taken it over."""
        self._error = self._error or "stopped"

    async def record(self) -> None:
        """Records the turn as a span, unless it goes on: after a restart, or when it is resumed."""
        turn = self._turn
        if turn.turn_trace is None or turn.turn_seq is None or not self._parts.tracing.on:
            return
        try:
            causes = await self._parts.database.read(_causes_of_ended, turn.id, turn.turn_seq)
        except StoreError:
            return
        began = next((row.created_at for row in self._talk.history if row.seq >= turn.turn_seq), now_ms())
        run, error, again = self._talk.run, self._error, self._again
        span = spans.turn(turn, run, causes, began, now_ms(), error=error, again=again) if causes is not None else None
        if span is not None:
            self._parts.tracing.emit(span)

    async def _work(self) -> None:
        if self._open is not None:
            message, missing = self._open
            await self._run_calls(message, missing, recovered=True)
        boundary = self._first
        while not self._parts.draining(self._talk.session.id):
            if boundary is None:
                boundary = await self._boundary()
            if boundary is None:
                return
            self._absorb(boundary)
            boundary = None
            if await self._step():
                return
        await self._parts.database.run(
            self._parts.steps.release, self._talk.session.id, self._fence, self._clock.take()
        )

    async def _boundary(self) -> Boundary | None:
        """What the next model call begins with; None: the session was released."""
        database, steps, sections = self._parts.database, self._parts.steps, self._parts.settings.sections
        session_id = self._talk.session.id
        found = await database.read(steps.passing, session_id, self._fence, sections)
        return found or await database.run(steps.boundary, session_id, self._fence, self._clock.take(), sections)

    def _absorb(self, boundary: Boundary) -> None:
        self._talk.session, self._talk.run = boundary.session, boundary.run
        self._talk.history.extend(boundary.consumed)
        self._talk.sections = boundary.sections

    async def _step(self) -> bool:
        """One model call and what follows from it; returns whether the turn has ended."""
        setting = self._parts.settings.of(self._talk.session, self._talk.run)
        if isinstance(setting, str):
            await self.fail(setting, "setting", Outcome.ERROR)
            return True
        most = self._talk.run.max_turns if self._talk.run else None
        if (made := self._calls_made()) >= (most or setting.agent.max_turns):
            key = "maxTurns of the job" if most else "agents.defaults.maxTurns"
            text = f"it made {made} model calls without coming to an end ({key})"
            await self.fail(text, "max_turns", Outcome.ERROR)
            return True
        answer = await self._ask(setting)
        if answer is None:
            return True
        if not answer.reply.calls:
            return await self._end(answer)
        await self._use_tools(answer)
        if self._looping:
            await self.fail("it repeated the same call with the same result", "loop", Outcome.ERROR)
        return self._looping

    async def _ask(self, setting: Setting) -> Answer | None:
        """The model's answer; None: there can't be one, and the turn has ended."""
        try:
            return await self._parts.asker.ask(self._talk, setting)
        except BudgetExhausted as error:
            await self.fail(str(error), "budget", Outcome.BUDGET)
        except ModelError as error:
            await self.fail(str(error), "model", Outcome.ERROR)
        return None

    async def _end(self, answer: Answer) -> bool:
        final = await self._parts.database.run(
            self._parts.steps.final,
            self._talk.session.id,
            self._fence,
            answer.reply,
            answer.model,
            self._spent(answer),
        )
        self._talk.history.extend(final.appended)
        return final.next is Next.RELEASED

    async def _use_tools(self, answer: Answer) -> None:
        message = await self._parts.database.run(
            self._parts.steps.reply,
            self._talk.session.id,
            self._fence,
            answer.reply,
            answer.model,
            self._spent(answer),
        )
        self._talk.history.append(message)
        await self._run_calls(message, list(range(len(message.tool_calls))), recovered=False)

    def _spent(self, answer: Answer) -> Spent:
        return Spent(self._clock.take(), answer.reservation, answer.timing, self._parts.check_output)

    def _calls_made(self) -> int:
        since = self._talk.session.turn_seq or 1
        return sum(1 for row in self._talk.history if row.seq >= since and row.role == "assistant")

    async def _run_calls(self, message: Message, indexes: list[int], *, recovered: bool) -> None:
        """Runs calls side by side; each result is stored as it comes."""
        setting = self._parts.settings.of(self._talk.session, self._talk.run)
        self._loops = LoopDetector(self._talk.history, self._talk.session.turn_seq or 1)
        names = ", ".join(dict.fromkeys(message.tool_calls[index].name for index in indexes))
        self._parts.asker.progress(self._talk.session, names)
        work = (self._run_call(setting, message, index, recovered) for index in indexes)
        self._talk.history.extend(await all_of(work, f"tools:{self._talk.session.key}"))

    async def _run_call(self, setting: Setting | str, message: Message, index: int, recovered: bool) -> Message:
        call = message.tool_calls[index]
        if isinstance(setting, str):
            return await self._refuse(message, index, f"not run: {setting}")
        if recovered and not await self._runs_again(setting, message, index):
            return await self._refuse(message, index, INTERRUPTED)
        given = self._parts.settings.context(
            setting,
            self._talk.session,
            self._talk.run,
            message.seq,
            index,
            self._clock,
            partial(self._parts.asker.progress, self._talk.session),
        )
        with self._parts.tracing.span(names.tool(call.name)) as span:
            message = await self._parts.tools.run(setting.tools, call, given, partial(self._note, call))
            if span.on:
                span.set(calls.tool(call, self._talk.session))
                if message.error:
                    span.failed("tool_error")
                if self._parts.tracing.capture:
                    span.set(calls.tool_texts(self._parts.tracing, call, message.text))
            return message

    async def _runs_again(self, setting: Setting, message: Message, index: int) -> bool:
        """Whether a call that a crash left open is run: also one that was only waiting for a person's yes."""
        name = message.tool_calls[index].name
        if name not in setting.tools.tools or may_run_again(setting.tools.tools[name]):
            return True
        return await self._parts.settings.was_only_asked(self._talk.session.id, message.seq, index)

    async def _refuse(self, message: Message, index: int, text: str) -> Message:
        return await self._parts.database.run(
            self._parts.steps.result, self._talk.session.id, self._fence, message.seq, index, text, True
        )

    def _note(self, call: ToolCall, text: str) -> str:
        if self._loops is None:
            return text
        text, end = self._loops.note(call, text)
        self._looping = self._looping or end
        return text


def _causes_of_ended(tx: Transaction, session_id: str, turn_seq: int) -> list[str] | None:
    """The spans that had led to a turn; None: it hasn't ended."""
    session = sessions.find(tx, session_id)
    if session is not None and session.turn_seq == turn_seq:
        return None
    return inbox.traces(tx, session_id, turn_seq)


async def all_of(work: Iterable[Coroutine[Any, Any, Message]], name: str) -> list[Message]:
    """Awaits coroutines side by side. If one fails or the caller is cancelled, all have ended when this returns."""
    tasks = [asyncio.create_task(each, name=name) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return [task.result() for task in tasks]
