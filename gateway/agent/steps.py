"""The steps of a turn: the units of work between which a crash may fall.

begin → (close open calls) → boundary → model → reply → results → boundary → … → final. Each step checks the fence, and
each leaves the session in a state from which the next activation goes on (spec/architecture.md, the protocol).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.agent import usage
from gateway.agent.finals import CheckOutput, Final, Finals
from gateway.agent.messages import ModelRef, ModelReply
from gateway.agent.resting import Resting
from gateway.agent.timing import CallTiming
from gateway.channel import Mark
from gateway.jobs.runner import Claimed, Jobs
from gateway.lanes.base import RESUMED, Lanes
from gateway.lifecycle import Lifecycle
from gateway.posting import Posting
from gateway.store import inbox, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.outbox import Post
from gateway.store.runs import Outcome, Run
from gateway.store.sessions import Session
from gateway.store.transcript import Message
from gateway.telemetry.tracing import Tracing

ROLE_KINDS: Mapping[inbox.Kind, transcript.Kind] = {
    "user": "user",
    "task": "task",
    "announce": "announce",
    "child_done": "announce",
    "steer": "steer",
    "send": "steer",
    "event": "event",
}


Sections = Callable[[Transaction, Session, Run | None], list[str]]
"""What plugins add to a session's system prompt, read with the rest of what the prompt is made of."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A claimed session with everything that its prompt is made of, up to its first boundary."""

    session: Session
    run: Run | None
    history: list[Message]
    inherited: list[Message]
    """The requester's transcript that a forked session starts with."""
    open_calls: tuple[Message, list[int]] | None
    """An assistant message whose results a crash has cut off."""
    streaming: Post | None
    """The placeholder of an answer that a crash has cut off."""

    boundary: Boundary | None
    """What was let in at once; None: open calls come first."""

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
    sections: list[str]
    """Of the system prompt, as they are now."""


@dataclass(frozen=True, slots=True)
class Spent:
    """What a model call has used up, beside its tokens."""

    active_ms: int
    """Active time since the last append."""
    reservation: usage.Reservation | None
    timing: CallTiming
    check_output: CheckOutput


@dataclass(frozen=True, slots=True)
class Steps:
    """The units of work of a turn, with what they need beside the transaction."""

    instance: str
    lanes: Lanes
    lifecycle: Lifecycle
    posting: Posting
    resting: Resting
    finals: Finals
    jobs: Jobs
    tracing: Tracing

    def begin(
        self, tx: Transaction, session_id: str, sections: Sections, above: bool = False
    ) -> Begun | Claimed | None:
        """Claims the session if there is something to do, loads it, and lets in what may enter; None: there isn't.

        Args:
            tx: the unit of work.
            session_id: which.
            sections: make those of the system prompt.
            above: holds the session above it first.

        Raises:
            HoldAbove: it has to.
        """
        if above:
            sessions.hold_with_above(tx, session_id)
        if not self.lanes.may_claim(tx, session_id):
            return None
        session = sessions.claim(tx, session_id, self.instance)
        if session is None:
            return None
        held = (session.id, session.fence)
        tx.after_commit(lambda: self.lanes.holds(*held))
        if session.kind == "job":
            return self.jobs.begin(tx, session, alone=not (above or tx.alone))
        run = runs.find(tx, session.run_id) if session.run_id else None
        rows = self.resting.admissible(tx, session, run)
        if session.turn_seq is None and not rows:
            self.resting.release(tx, session, run)
            return None
        if run is not None and run.open:
            run = self.lifecycle.start(tx, run)
        history = transcript.load(tx, session.id, after=_summarised_upto(tx, session))
        open_calls = transcript.open_in(history)
        return Begun(
            session,
            run,
            history,
            self._inherited(tx, session),
            open_calls,
            self.posting.placeholder(tx, session.id) if session.kind == "main" else None,
            None if open_calls else self._let_in(tx, session, run, rows, sections),
        )

    def passing(self, tx: Transaction, session_id: str, fence: int, sections: Sections) -> Boundary | None:
        """The boundary of a turn under way if there is nothing to let in; None: it takes `boundary`. It only reads, so
        that it need not wait for what others write."""
        session = sessions.owned(tx, session_id, fence)
        run = runs.find(tx, session.run_id) if session.run_id else None
        if session.paused or session.turn_seq is None or self.resting.admissible(tx, session, run):
            return None
        return Boundary(session, run, [], sections(tx, session, run))

    def boundary(
        self, tx: Transaction, session_id: str, fence: int, active_ms: int, sections: Sections
    ) -> Boundary | None:
        """Lets in what may enter the turn; starts one if none is under way. None: the session was released."""
        session = sessions.owned(tx, session_id, fence)
        run = self._tick(tx, session, active_ms)
        if session.paused:
            sessions.write(tx, session_id, fence, claimed_by=None)
            return None
        rows = self.resting.admissible(tx, session, run)
        if not rows and session.turn_seq is None:
            self.resting.release(tx, session, run)
            return None
        return self._let_in(tx, session, run, rows, sections)

    def reply(
        self, tx: Transaction, session_id: str, fence: int, reply: ModelReply, model: ModelRef, spent: Spent
    ) -> Message:
        """Stores an answer that asks for tools, before any of them runs."""
        session = sessions.owned(tx, session_id, fence)
        runs.hold_chain(tx, session.run_id)
        run = self._tick(tx, session, spent.active_ms)
        message = self._store(tx, session, reply, model, spent.timing)
        usage.settle(tx, session, run, model, reply.usage, spent.reservation)
        if run is not None:
            runs.change(tx, run.id, last_tool=reply.calls[-1].name, **_progress(run, reply))
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
        session = sessions.owned(tx, session_id, fence, ends=True)
        runs.hold_chain(tx, session.run_id)
        run = self._tick(tx, session, spent.active_ms)
        message = self._store(tx, session, reply, model, spent.timing)
        usage.settle(tx, session, run, model, reply.usage, spent.reservation)
        if run is not None and run.open:
            runs.change(tx, run.id, **_progress(run, reply))
            return self.finals.child(tx, session, run, message, spent.check_output)
        return self.finals.main(tx, session, message)

    def fail(
        self,
        tx: Transaction,
        session_id: str,
        fence: int,
        text: str,
        cause: str,
        outcome: Outcome,
        active_ms: int,
        timing: CallTiming | None = None,
    ) -> None:
        """Ends the turn because it can't go on: a child's run ends with it, a main session's user is told why. `timing`
        is that of a model call that has failed, or was cut off."""
        sessions.hold_tree(tx, session_id)
        session = sessions.owned(tx, session_id, fence)
        run = self._tick(tx, session, active_ms)
        cut_off = "(not finished: the turn was ended; what it has done so far is unknown)"
        transcript.close_open_calls(tx, session_id, fence, cut_off)
        call = timing.columns() if timing else {}
        message = transcript.append(
            tx, session_id, fence, "assistant", "failure", text, route=session.turn_route, **call
        )
        if run is not None and run.open:
            self.lifecycle.finish(tx, run.id, outcome, error=text, cause=cause, by_owner=True)
            return
        self.posting.final(tx, session, message, f"⚠️ {text}")
        self.posting.rested(tx, session, Mark.FAILED)
        self.resting.end_turn(tx, session)

    def summarise(
        self,
        tx: Transaction,
        session_id: str,
        fence: int,
        text: str,
        upto: int,
        reply: ModelReply,
        model: ModelRef,
        reservation: usage.Reservation | None,
        timing: CallTiming,
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
            **timing.columns(),
        )
        sessions.write(tx, session_id, fence, summary_seq=summary.seq)
        run = runs.find(tx, session.run_id) if session.run_id else None
        usage.settle(tx, session, run, model, reply.usage, reservation)
        return summary

    def release(self, tx: Transaction, session_id: str, fence: int, active_ms: int) -> None:
        """Gives the session back with its turn under way: the process is about to stop."""
        session = sessions.owned(tx, session_id, fence)
        run = self._tick(tx, session, active_ms)
        sessions.write(tx, session_id, fence, claimed_by=None)
        if run is not None and run.open:
            self.lifecycle.enqueue(tx, run)
        else:
            self.lanes.enqueue(tx, session.lane, session_id, RESUMED)

    def stop_turn(self, tx: Transaction, session: Session, why: str) -> bool:
        """Ends a session's turn for somebody who doesn't own it; returns whether there was one."""
        held = sessions.hold(tx, session.id) or session
        if held.turn_seq is None:
            return False
        session = held
        sessions.take_over(tx, session.id)
        transcript.close_open_calls(tx, session.id, None, f"({why})")
        transcript.append(tx, session.id, None, "user", "notice", f"({why})", route=session.turn_route)
        self.posting.withdraw(tx, session)
        self.posting.rested(tx, session, Mark.NONE)
        self.lifecycle.withdraw(tx, session.id)
        sessions.change(tx, session.id, turn_seq=None, turn_route=None)
        self.lanes.cancel(tx, session.id)
        self.lanes.enqueue(tx, session.lane, session.id, RESUMED)
        return True

    def _let_in(
        self, tx: Transaction, session: Session, run: Run | None, rows: list[inbox.Row], sections: Sections
    ) -> Boundary:
        """Consumes rows, in a turn of their route if none is under way."""
        person = next((row.sender_id for row in reversed(rows) if row.kind == "user" and row.sender_id), session.person)
        if session.turn_seq is None:
            route = next((row.route for row in rows if row.route), None) or (run.route if run else session.last_route)
            trace = self.tracing.begin(rows[0].trace)
            begun = {"turn_seq": session.next_seq, "turn_route": route, "turn_trace": trace, "last_route": route}
            sessions.write(tx, session.id, session.fence, **begun, person=person)
            if trace is not None and run is not None and run.trace is None:
                runs.change(tx, run.id, trace=trace)
        elif person != session.person:
            sessions.write(tx, session.id, session.fence, person=person)
        consumed = [self._consume(tx, session, row) for row in rows]
        now = sessions.get(tx, session.id) if consumed else session
        if run is None or not run.open:
            self.posting.working(tx, now, rows)
        return Boundary(now, run, consumed, sections(tx, now, run))

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
        self, tx: Transaction, session: Session, reply: ModelReply, model: ModelRef, timing: CallTiming
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
            **timing.columns(),
        )

    def _tick(self, tx: Transaction, session: Session, active_ms: int) -> Run | None:
        """The session's run, with the active time since the last append added to it."""
        if session.run_id is None:
            return None
        return runs.tick(tx, session.run_id, active_ms) if active_ms else runs.find(tx, session.run_id)

    def _inherited(self, tx: Transaction, session: Session) -> list[Message]:
        source = sessions.find(tx, session.fork_session_id) if session.fork_session_id else None
        if source is None:
            return []
        after = max((session.fork_from or 1) - 1, _summarised_upto(tx, session))
        above = [row for row in self._inherited(tx, source) if row.seq > after]
        return [*above, *transcript.load(tx, source.id, after=after, upto=session.fork_upto)]


def _progress(run: Run, reply: ModelReply) -> dict[str, Any]:
    """How far a run is, written with each of its turns (spec/jobs.md 23): the model's answers so far, and what it said,
    or does."""
    said = " ".join(reply.text.split())[:200]
    calls = ", ".join(dict.fromkeys(call.name for call in reply.calls))[:200]
    return {"step": run.model_calls + 1, "steps": run.max_turns, "progress": said or calls or None}


def _summarised_upto(tx: Transaction, session: Session) -> int:
    if session.summary_seq is None:
        return 0
    summary = transcript.page(tx, session.id, limit=1, after=session.summary_seq - 1)
    return (summary[0].summary_upto or 0) if summary else 0
