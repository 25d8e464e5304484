"""What follows a final answer: a post, silence, a rest until children have settled, or the end of a run.

Parts of the unit of work that stores the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from gateway.agent.resting import Resting
from gateway.channel import Mark
from gateway.lifecycle import Lifecycle
from gateway.posting import Posting
from gateway.store import runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run
from gateway.store.sessions import Session
from gateway.store.transcript import Message

NO_REPLY = "NO_REPLY"
CheckOutput = Callable[[Run, str], str | None]
"""Says what is wrong with a run's final text; None: nothing."""


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
class Finals:
    """Decides what a final answer means."""

    lifecycle: Lifecycle
    posting: Posting
    resting: Resting

    def main(self, tx: Transaction, session: Session, message: Message) -> Final:
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
        self.posting.rested(tx, session, Mark.DONE)
        self.resting.end_turn(tx, session)
        return Final(Next.RELEASED, appended)

    def child(self, tx: Transaction, session: Session, run: Run, message: Message, check: CheckOutput) -> Final:
        if self.resting.admissible(tx, session, run):
            return Final(Next.CONTINUE, [message])
        if runs.any_open(tx, session.id):
            sessions.write(tx, session.id, session.fence, turn_seq=None, turn_route=None, claimed_by=None)
            self.lifecycle.wait(tx, run)
            return Final(Next.RELEASED, [message])
        problem = check(run, message.text)
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
