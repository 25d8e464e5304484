"""What a chat knows of its session: the answer under way, what the turn is doing, the sub-agents at work.

Fed with events, it tells a `Screen` what to print and keeps the rest as state to be drawn. It speaks to no network and
knows no terminal, so that the interactive chat and the plain one behave the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from channels.terminal import texts
from channels.terminal.stream import AnswerStream
from gateway.cli.format import clean
from gateway.client.events import Event
from gateway.client.records import Approval, Message, Run, Session, Tokens

ABOUT_RUNS = frozenset({"run", "progress"})


class Screen(Protocol):
    """Where a chat is shown. Nothing here may block."""

    def user(self, text: str, *, elsewhere: bool) -> None:
        """What a person said; `elsewhere`: in another window."""
        ...

    def answer(self, markdown: str, *, begins: bool) -> None:
        """Finished Markdown of an answer; `begins` marks its first piece."""
        ...

    def notice(self, text: str, *, loud: bool = False) -> None:
        """A sentence of the program or the gateway."""
        ...

    def run_created(self, run: Run) -> None:
        """A sub-agent was accepted."""
        ...

    def changed(self) -> None:
        """What is drawn live has changed."""
        ...


@dataclass(frozen=True, slots=True)
class RunView:
    """A sub-agent as the live line shows it."""

    run: Run
    seen_at: float
    """When `run` was received (monotonic seconds)."""

    def runtime(self) -> float | None:
        """Seconds at work, counting on while it runs."""
        known = self.run.runtime_seconds or 0.0
        if self.run.status in ("running", "waiting"):
            return known + time.monotonic() - self.seen_at
        return known if self.run.started_at else None


class Conversation:
    """One session as one chat sees it.

    Args:
        key: the session's key.
        screen: where it is shown.
    """

    def __init__(self, key: str, screen: Screen) -> None:
        self.key = key
        self._screen = screen
        self._own: set[int] = set()
        self._working = False
        self._sending = 0
        self._since = time.monotonic()
        self.activity = ""
        self.last_seq = 0
        """The last message of the transcript that was shown."""
        self.answer: AnswerStream | None = None
        self.runs: dict[str, RunView] = {}
        self.questions: set[int] = set()
        """Ids of the questions that wait for an answer."""
        self.stirred = asyncio.Event()
        """Set at every event that may have ended something; cleared by who waits for it."""
        self._handlers: dict[str, Callable[[Event], None]] = {
            "message": self._message,
            "delta": self._delta,
            "snapshot": self._snapshot,
            "run": self._run,
            "progress": self._progress,
            "approval": self._approval,
            "idle": self._idle,
        }

    # ---- what is drawn -----------------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """Whether a turn is under way or a message is on its way."""
        return self._working or self._sending > 0

    @property
    def sends(self) -> bool:
        """Whether a message is on its way to the gateway."""
        return self._sending > 0

    @property
    def busy_seconds(self) -> float:
        """How long."""
        return time.monotonic() - self._since

    @property
    def active(self) -> list[RunView]:
        """Sub-agents at work: running ones first, each group in the order of their creation."""
        return sorted(self.runs.values(), key=lambda view: (view.run.status == "queued", view.run.created_at or ""))

    # ---- what goes in ------------------------------------------------------------------------------------------

    def sending(self, change: int) -> None:
        """A message begins (+1) or ends (-1) being sent."""
        self._sending += change
        self.stirred.set()
        self._screen.changed()

    def is_own(self, inbox_id: int) -> None:
        """This message was typed here, so that it isn't shown again."""
        self._own.add(inbox_id)

    def sync(self, session: Session | None, runs: list[Run]) -> None:
        """Takes over the state as the gateway tells it, after connecting."""
        self._working = session.busy if session else False
        if not self._working:
            self.activity = ""
        self.runs = {run.run_id: RunView(run, time.monotonic()) for run in runs if run.active}
        self._screen.changed()

    def ask(self, question: Approval) -> None:
        """Shows a question that waits for the person's answer; one that he has seen isn't shown again."""
        if question.id not in self.questions:
            self.questions.add(question.id)
            self._screen.notice(texts.approval(question), loud=True)

    def catch_up(self, messages: list[Message]) -> None:
        """Shows what was said while the events of it were lost."""
        for message in messages:
            self.last_seq = max(self.last_seq, message.seq)
            text = clean(message.text).strip()
            if message.role == "assistant" and text and not message.calls:
                self._screen.answer(text, begins=True)
            elif message.kind == "user" and text:
                self._screen.user(text, elsewhere=True)

    def handle(self, event: Event) -> None:
        """Takes one event."""
        session = event.data.get("sessionKey")
        if session not in (None, self.key) and event.type not in (*ABOUT_RUNS, "approval"):
            return
        handler = self._handlers.get(event.type)
        if handler is not None:
            handler(event)
            self.stirred.set()
            self._screen.changed()

    # ---- events ------------------------------------------------------------------------------------------------

    def _message(self, event: Event) -> None:
        role, text = event.text("role"), clean(event.text("text"))
        seq = event.data.get("seq")
        self.last_seq = max(self.last_seq, seq if isinstance(seq, int) else 0)
        if role == "user":
            self._begin()
            inbox_id = event.data.get("inboxId")
            if inbox_id not in self._own:
                self._screen.user(text, elsewhere=True)
        elif role == "assistant":
            self._finish_answer(event.text("messageId"), text)
        else:
            self._screen.notice(text, loud=True)

    def _delta(self, event: Event) -> None:
        self._begin()
        stream = self._stream(event.text("messageId"))
        stream.append(clean(event.text("text")))
        self._print_finished(stream)

    def _snapshot(self, event: Event) -> None:
        stream = self._stream(event.text("messageId"))
        stream.replace(clean(event.text("text")))
        self._print_finished(stream)

    def _stream(self, message_id: str) -> AnswerStream:
        if self.answer is None or self.answer.message_id != message_id:
            self.answer = AnswerStream(message_id)
        return self.answer

    def _print_finished(self, stream: AnswerStream) -> None:
        begins = not stream.begun
        if chunk := stream.take_finished():
            self._screen.answer(chunk, begins=begins)

    def _finish_answer(self, message_id: str, text: str) -> None:
        stream = self.answer if self.answer and self.answer.message_id == message_id else None
        self.answer = None
        rest = stream.take_rest(text) if stream else text
        continued = stream is not None and stream.begun and rest != text
        if rest.strip() or not continued:
            self._screen.answer(rest.strip("\n") or texts.EMPTY_ANSWER, begins=not continued)

    def _run(self, event: Event) -> None:
        run = Run.model_validate(event.data.get("run"))
        change = event.text("change")
        if run.active:
            self.runs[run.run_id] = RunView(run, time.monotonic())
        else:
            self.runs.pop(run.run_id, None)
        if change == "done":
            self._screen.notice(texts.run_ended(run))
        if change == "created":
            self._screen.run_created(run)

    def _progress(self, event: Event) -> None:
        run_id = event.data.get("runId")
        if run_id is None:
            if event.data.get("sessionKey") == self.key:
                self._begin()
                self.activity = clean(event.text("text"))
            return
        view = self.runs.get(str(run_id))
        if view is None:
            return
        update: dict[str, object] = {"progress": clean(event.text("text"))}
        if event.data.get("lastTool"):
            update["last_tool"] = clean(event.text("lastTool"))
        if isinstance(counted := event.data.get("tokens"), dict):
            update["tokens"] = Tokens.model_validate(counted)
        self.runs[view.run.run_id] = replace(view, run=view.run.model_copy(update=update))

    def _approval(self, event: Event) -> None:
        question = Approval.model_validate(event.data)
        if event.text("state") == "pending":
            self.ask(question)
        elif question.id in self.questions:
            self.questions.discard(question.id)
            self._screen.notice(texts.decided(question.id, event.text("state")))

    def _idle(self, event: Event) -> None:
        del event
        self._working = False
        self.activity = ""
        stream, self.answer = self.answer, None
        if stream is not None and stream.open.strip():
            # The turn was stopped in the middle of it, and nothing more will come.
            self._screen.answer(stream.open, begins=not stream.begun)

    def _begin(self) -> None:
        if not self._working:
            self._working = True
            self._since = time.monotonic()
