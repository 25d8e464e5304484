"""What a start makes of what the last process left behind (spec/architecture.md, spec/subagents.md 22, 23).

Everything that matters stands in the tables; here it is only sorted: claims of a dead process are taken back, deaths
are counted against the sessions that were active, and what was being sent is taken up again.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import delete, select, update

from gateway.channel import Mark
from gateway.lifecycle import Lifecycle
from gateway.posting import Posting
from gateway.store import moved, outbox, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Status
from gateway.store.schema import idempotency, meta, rate_leases
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as table
from gateway.store.sessions import Session

SUSPECT_AT = 2
"""Deaths without progress after which a session is resumed alone."""
FATAL_AT = 3
IDEMPOTENCY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Recovered:
    """What the start has found."""

    suspects: tuple[str, ...]
    """Sessions that are to be resumed alone, one after the other."""
    interrupted: int
    """Sessions that were active when the process died."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Its methods are units of work."""

    lifecycle: Lifecycle
    posting: Posting

    def recover(self, tx: Transaction) -> Recovered:
        """Takes over from the last process. To be committed before any session is activated."""
        moved.follow(tx, self.lifecycle.files.state)
        alone = tx.execute(select(meta.c.value).where(meta.c.key == "alone")).scalar()
        active = [str(row[0]) for row in tx.execute(select(table.c.id).where(table.c.claimed_by.is_not(None)))]
        suspects = [session_id for session_id in active if self._died(tx, session_id, alone=session_id == alone)]
        tx.execute(update(table).values(claimed_by=None).where(table.c.claimed_by.is_not(None)))
        tx.execute(
            update(runs_table)
            .where(runs_table.c.status == Status.WAITING, runs_table.c.waiting_since.is_not(None))
            .values(
                deadline_at=runs_table.c.deadline_at + (tx.now - runs_table.c.waiting_since),
                waiting_since=tx.now,
            )
        )
        outbox.interrupted(tx)
        tx.execute(delete(rate_leases))
        tx.execute(delete(meta).where(meta.c.key == "alone"))
        return Recovered(tuple(suspects), len(active))

    def alone(self, tx: Transaction, session_id: str | None) -> None:
        """Remembers which session runs alone, for the case that the process dies of it."""
        tx.execute(delete(meta).where(meta.c.key == "alone"))
        if session_id is not None:
            tx.execute(meta.insert().values(key="alone", value=session_id))

    def sweep(self, tx: Transaction) -> None:
        """Every now and then: active time of waiting runs is booked, old idempotency keys go."""
        waiting = (runs_table.c.status == Status.WAITING) & runs_table.c.waiting_since.is_not(None)
        tx.execute(
            update(runs_table)
            .where(waiting)
            .values(active_ms=runs_table.c.active_ms + (tx.now - runs_table.c.waiting_since), waiting_since=tx.now)
        )
        tx.execute(delete(idempotency).where(idempotency.c.created_at < tx.now - IDEMPOTENCY_MS))

    def _died(self, tx: Transaction, session_id: str, *, alone: bool) -> bool:
        """Counts a death of the process against a session; returns whether it is to be resumed alone."""
        session = sessions.get(tx, session_id)
        grown = session.deaths_seq != session.next_seq
        deaths = 1 if grown else session.deaths + 1
        sessions.change(tx, session_id, deaths=deaths, deaths_seq=session.next_seq)
        if deaths < SUSPECT_AT:
            return False
        if deaths < FATAL_AT or not alone:
            return True
        self._give_up(tx, session)
        return False

    def _give_up(self, tx: Transaction, session: Session) -> None:
        text = "the process died three times while this session was at work, the last time while it ran alone"
        if session.run_id is not None:
            self.lifecycle.finish(tx, session.run_id, Outcome.ERROR, error=text, cause="poison")
            return
        transcript.close_open_calls(tx, session.id, None, f"(not finished: {text})")
        transcript.append(tx, session.id, None, "user", "notice", f"({text})", route=session.turn_route)
        self.posting.withdraw(tx, session)
        self.posting.rested(tx, session, Mark.FAILED)
        self.posting.notice(
            tx,
            session,
            session.turn_route or session.last_route,
            f"⚠️ This conversation was set aside: {text}. It goes on with your next message.",
        )
        sessions.change(tx, session.id, needs_user=True, turn_seq=None, turn_route=None, deaths=0, deaths_seq=None)
