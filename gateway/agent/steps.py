"""The steps of a turn: the units of work between which a crash may fall.

begin → (close open calls) → boundary → model → reply → results → boundary → … → final. Each step checks the fence, and
each leaves the session in a state from which the next activation goes on (spec/architecture.md, the protocol).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, auto

from gateway.agent import usage
from gateway.agent.messages import ModelRef, ModelReply
from gateway.config import Config
from gateway.events import EventLog
from gateway.lanes.base import RESUMED, Lanes
from gateway.lifecycle import Lifecycle
from gateway.posting import Posting
from gateway.store import inbox, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run, Status
from gateway.store.schema import runs as runs_table
from gateway.store.sessions import Session
from gateway.store.transcript import Message

NO_REPLY = "NO_REPLY"
ROLE_KINDS: Mapping[inbox.Kind, transcript.Kind] = {
    "user": "user",
    "task": "task",
    "announce": "announce",
    "steer": "steer",
    "send": "steer",
    "event": "event",
}


@dataclass(frozen=True, slots=True)
class Begun:
    """A claimed session with everything that its prompt is made of."""

    session: Session
    run: Run | None
    history: list[Message]
    inherited: list[Message]
    """The requester's transcript that a forked session starts with."""
    open_calls: tuple[Message, list[int]] | None
    """An assistant message whose results a crash has cut off."""
    streaming: int | None
    """The placeholder of an answer that a crash has cut off."""

    @property
    def fence(self) -> int:
        """Goes with every write."""
        return self.session.fence


@dataclass(frozen=True, slots=True)
class Boundary:
    """What a boundary has let in."""

    session: Session
    run: Run | None
    consumed: list[Message]


class Next(Enum):
    """What follows a final answer."""

    RELEASED = auto()
    """The turn has ended and the session is free."""
    CONTINUE = auto()
    """Something has come in, or the model is asked once more: the turn goes on."""


@dataclass(frozen=True, slots=True)
class Final:
    """What became of a final answer."""

    next: Next
    appended: list[Message]


@dataclass(frozen=True, slots=True)
class Steps:
    """The units of work of a turn, with what they need beside the transaction."""

    instance: str
    lanes: Lanes
    lifecycle: Lifecycle
    posting: Posting
    events: EventLog
    config: Callable[[], Config]

    def begin(self, tx: Transaction, session_id: str) -> Begun | None:
        """Claims the session if there is something to do, and loads it; None: there isn't."""
        session = sessions.claim(tx, session_id, self.instance)
        if session is None:
            return None
        run = runs.find(tx, session.run_id) if session.run_id else None
        if session.turn_seq is None and not self.admissible(tx, session, run):
            self._rest(tx, session, run)
            return None
        if run is not None and run.open:
            run = self.lifecycle.start(tx, run)
        placeholder = self.posting.placeholder(tx, session.id)
        return Begun(
            session,
            run,
            transcript.load(tx, session.id, after=_summarised_upto(tx, session)),
            self._inherited(tx, session),
            transcript.open_calls(tx, session.id),
            placeholder,
        )

    def boundary(self, tx: Transaction, session_id: str, fence: int, active_ms: int) -> Boundary | None:
        """Lets in what may enter the turn; starts one if none is under way. None: the session was released."""
        session = sessions.owned(tx, session_id, fence)
        run = self._tick(tx, session, active_ms)
        if session.paused:
            sessions.write(tx, session_id, fence, claimed_by=None)
            return None
        rows = self.admissible(tx, session, run)
        if not rows and session.turn_seq is None:
            self._rest(tx, session, run)
            return None
        if session.turn_seq is None:
            route = next((row.route for row in rows if row.route), None) or (run.route if run else session.last_route)
            sessions.write(tx, session_id, fence, turn_seq=session.next_seq, turn_route=route, last_route=route)
        consumed = [self._consume(tx, session, row) for row in rows]
        return Boundary(sessions.get(tx, session_id), run, consumed)

    def admissible(self, tx: Transaction, session: Session, run: Run | None) -> list[inbox.Row]:
        """The rows that may enter now (spec/architecture.md, protocol 1; spec/channels.md 4)."""
        rows = inbox.pending(tx, session.id)
        if not rows:
            return rows
        mode = session.queue_mode or self.config().messages.queue.mode
        if session.turn_seq is not None:
            rows = [row for row in rows if row.route in (None, session.turn_route)]
            apart = mode in ("followup", "collect")
            return [row for row in rows if not (apart and row.kind == "user")]
        if run is not None and run.started_at and runs.count_open(tx, session.id):
            rows = [row for row in rows if row.kind != "announce"]
        route = rows[0].route if rows else None
        rows = [row for row in rows if row.route in (None, route)]
        if mode == "followup":
            first = next((row.id for row in rows if row.kind == "user"), None)
            rows = [row for row in rows if row.kind != "user" or row.id == first]
        return rows

    def reply(
        self, tx: Transaction, session_id: str, fence: int, reply: ModelReply, model: ModelRef, spent: Spent
    ) -> Message:
        """Stores an answer that asks for tools, before any of them runs."""
        session = sessions.owned(tx, session_id, fence)
        run = self._tick(tx, session, spent.active_ms)
        message = self._store(tx, session, reply, model)
        usage.settle(tx, session, run, reply.usage, spent.reservation)
        if run is not None:
            runs.change(tx, run.id, last_tool=reply.calls[-1].name, progress=_progress(reply))
        return message

    def result(
        self,
        tx: Transaction,
        session_id: str,
        fence: int,
        parent_seq: int,
        index: int,
        text: str,
        error: bool,
    ) -> Message:
        """Stores one tool's result."""
        return transcript.append_result(tx, session_id, fence, parent_seq, index, text, error=error)

    def final(
        self, tx: Transaction, session_id: str, fence: int, reply: ModelReply, model: ModelRef, spent: Spent
    ) -> Final:
        """Stores an answer without calls: ends the turn, and with it perhaps the run."""
        session = sessions.owned(tx, session_id, fence)
        run = self._tick(tx, session, spent.active_ms)
        message = self._store(tx, session, reply, model)
        usage.settle(tx, session, run, reply.usage, spent.reservation)
        if run is not None and run.open:
            return self._child_final(tx, session, run, message, spent)
        return self._main_final(tx, session, message)

    def fail(
        self,
        tx: Transaction,
        session_id: str,
        fence: int,
        text: str,
        cause: str,
        outcome: Outcome,
        active_ms: int,
    ) -> None:
        """Ends the turn because it can't go on: a child's run ends with it, a main session's user is told why."""
        session = sessions.owned(tx, session_id, fence)
        run = self._tick(tx, session, active_ms)
        transcript.close_open_calls(tx, session_id, fence, "(not run: the turn was ended)")
        message = transcript.append(tx, session_id, fence, "assistant", "failure", text, route=session.turn_route)
        if run is not None and run.open:
            self.lifecycle.finish(tx, run.id, outcome, error=text, cause=cause, by_owner=True)
            return
        self.posting.final(tx, session, message, f"⚠️ {text}")
        self._end_turn(tx, session)

    def summarise(
        self,
        tx: Transaction,
        session_id: str,
        fence: int,
        text: str,
        upto: int,
        reply: ModelReply,
        model: ModelRef,
    ) -> Message:
        """Stores the message that stands for everything up to `upto` from now on."""
        session = sessions.owned(tx, session_id, fence)
        summary = transcript.append(
            tx,
            session_id,
            fence,
            "user",
            "summary",
            text,
            summary_upto=upto,
            provider=model.provider,
            model=model.id,
            tokens_in=reply.usage.input,
            tokens_out=reply.usage.output,
            cache_read=reply.usage.cache_read,
            cost_micro=reply.usage.cost_micro,
        )
        sessions.write(tx, session_id, fence, summary_seq=summary.seq)
        run = runs.find(tx, session.run_id) if session.run_id else None
        usage.settle(tx, session, run, reply.usage, None)
        return summary

    def release(self, tx: Transaction, session_id: str, fence: int, active_ms: int) -> None:
        """Gives the session back with its turn under way: the process is about to stop."""
        session = sessions.owned(tx, session_id, fence)
        self._tick(tx, session, active_ms)
        sessions.write(tx, session_id, fence, claimed_by=None)

    def stop_turn(self, tx: Transaction, session: Session, why: str) -> bool:
        """Ends a session's turn for somebody who doesn't own it; returns whether there was one."""
        if session.turn_seq is None:
            return False
        sessions.take_over(tx, session.id)
        transcript.close_open_calls(tx, session.id, None, f"({why})")
        transcript.append(tx, session.id, None, "user", "notice", f"({why})", route=session.turn_route)
        self.posting.withdraw(tx, session)
        sessions.change(tx, session.id, turn_seq=None, turn_route=None)
        self.lanes.cancel(tx, session.id)
        self.lanes.enqueue(tx, session.lane, session.id, RESUMED)
        return True

    def _consume(self, tx: Transaction, session: Session, row: inbox.Row) -> Message:
        message = transcript.append(
            tx,
            session.id,
            session.fence,
            "user",
            ROLE_KINDS[row.kind],
            row.text,
            route=row.route,
            inbox_id=row.id,
            sender=row.sender,
            attachments=row.attachments,
        )
        inbox.consume(tx, row, message.seq)
        if row.kind == "announce" and row.run_id:
            self.lifecycle.announced(tx, row.run_id)
        return message

    def _store(
        self, tx: Transaction, session: Session, reply: ModelReply, model: ModelRef
    ) -> Message:
        return transcript.append(
            tx,
            session.id,
            session.fence,
            "assistant",
            "reply",
            reply.text,
            route=session.turn_route,
            calls=[{"id": c.id, "name": c.name, "arguments": c.arguments} for c in reply.calls] or None,
            provider=model.provider,
            model=model.id,
            provider_state=dict(reply.provider_state) if reply.provider_state else None,
            tokens_in=reply.usage.input,
            tokens_out=reply.usage.output,
            cache_read=reply.usage.cache_read,
            cost_micro=reply.usage.cost_micro,
        )

    def _tick(self, tx: Transaction, session: Session, active_ms: int) -> Run | None:
        """The session's run, with the active time since the last append added to it."""
        if session.run_id is None:
            return None
        if active_ms:
            runs.change(tx, session.run_id, active_ms=runs_table.c.active_ms + active_ms)
        return runs.find(tx, session.run_id)

    def _main_final(self, tx: Transaction, session: Session, message: Message) -> Final:
        text, silent = visible(message.text)
        appended = [message]
        if silent and self._owes_answer(tx, session):
            if not self._nudged(tx, session):
                nudge = (
                    "The user's message has had no visible answer yet, and your reply was empty. "
                    "Answer the user now, in a sentence or more."
                )
                appended.append(transcript.append(tx, session.id, session.fence, "user", "nudge", nudge))
                return Final(Next.CONTINUE, appended)
            text = "(The model gave no answer. Ask again, or choose another with /model.)"
        if text:
            self.posting.final(tx, session, message, text)
        else:
            self.posting.withdraw(tx, session)
        self._end_turn(tx, session)
        return Final(Next.RELEASED, appended)

    def _child_final(self, tx: Transaction, session: Session, run: Run, message: Message, spent: Spent) -> Final:
        if self.admissible(tx, session, run):
            return Final(Next.CONTINUE, [message])
        if runs.count_open(tx, session.id):
            sessions.write(tx, session.id, session.fence, turn_seq=None, turn_route=None, claimed_by=None)
            self.lifecycle.wait(tx, run)
            return Final(Next.RELEASED, [message])
        problem = spent.check_output(run, message.text) if spent.check_output else None
        if problem is None:
            self.lifecycle.finish(tx, run.id, Outcome.OK, result=message.text or None, by_owner=True)
            return Final(Next.RELEASED, [message])
        if run.schema_failures:
            self.lifecycle.finish(
                tx,
                run.id,
                Outcome.ERROR,
                error=problem,
                cause="output_schema",
                result=message.text,
                by_owner=True,
            )
            return Final(Next.RELEASED, [message])
        runs.change(tx, run.id, schema_failures=1)
        nudge = f"{problem} Answer again with the JSON value alone, nothing before or after it."
        return Final(Next.CONTINUE, [message, transcript.append(tx, session.id, session.fence, "user", "nudge", nudge)])

    def _owes_answer(self, tx: Transaction, session: Session) -> bool:
        """Whether this turn has consumed a user's message (spec/subagents.md 19)."""
        since = (session.turn_seq or 1) - 1
        return any(m.kind == "user" for m in transcript.load(tx, session.id, after=since))

    def _nudged(self, tx: Transaction, session: Session) -> bool:
        since = (session.turn_seq or 1) - 1
        return any(m.kind == "nudge" for m in transcript.load(tx, session.id, after=since))

    def _end_turn(self, tx: Transaction, session: Session) -> None:
        sessions.write(tx, session.id, session.fence, turn_seq=None, turn_route=None)
        self._rest(tx, sessions.get(tx, session.id), None)

    def _rest(self, tx: Transaction, session: Session, run: Run | None) -> None:
        """Releases a session without a turn; what is admissible goes to the end of its lane."""
        sessions.write(tx, session.id, session.fence, claimed_by=None)
        if self.admissible(tx, session, run):
            self.lanes.enqueue(tx, session.lane, session.id)
            return
        if run is not None and run.status in (Status.RUNNING, Status.QUEUED) and runs.count_open(tx, session.id):
            self.lifecycle.wait(tx, run)
        tx.after_commit(lambda: self.events.publish("idle", {"sessionKey": session.key}, session_key=session.key))

    def _inherited(self, tx: Transaction, session: Session) -> list[Message]:
        source = sessions.find(tx, session.fork_session_id) if session.fork_session_id else None
        if source is None:
            return []
        after = max((session.fork_from or 1) - 1, _summarised_upto(tx, session))
        above = [row for row in self._inherited(tx, source) if row.seq > after]
        return [*above, *transcript.load(tx, source.id, after=after, upto=session.fork_upto)]


@dataclass(frozen=True, slots=True)
class Spent:
    """What a model call has used up, beside its tokens."""

    active_ms: int
    """Active time since the last append."""
    reservation: usage.Reservation | None = None
    check_output: Callable[[Run, str], str | None] | None = None
    """Says what is wrong with a run's final text; None: nothing."""


def visible(text: str) -> tuple[str, bool]:
    """What of a final text is to be posted, and whether the model chose silence (spec/subagents.md 19)."""
    trimmed = text.strip()
    if not trimmed or trimmed == NO_REPLY:
        return "", True
    lines = trimmed.splitlines()
    if lines[-1].strip() == NO_REPLY:
        trimmed = "\n".join(lines[:-1]).rstrip()
    return trimmed, not trimmed


def holds_back(text: str) -> bool:
    """Whether a streamed text may still turn out to be `NO_REPLY`."""
    return NO_REPLY.startswith(text.strip())


def _progress(reply: ModelReply) -> str | None:
    return " ".join(reply.text.split())[:200] or None


def _summarised_upto(tx: Transaction, session: Session) -> int:
    if session.summary_seq is None:
        return 0
    summary = transcript.page(tx, session.id, limit=1, after=session.summary_seq - 1)
    return (summary[0].summary_upto or 0) if summary else 0
