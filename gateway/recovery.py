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
from gateway.store import moved, outbox, sessions, transcript, workers
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Status
from gateway.store.schema import idempotency, meta, rate_leases
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as table
from gateway.store.sessions import SUSPECT_AT, Session

FATAL_AT = 3
ALONE = "alone"
"""Begins the key in `meta` of the session that runs alone in a process."""
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
    instance: str
    """By which this process claims sessions."""

    def recover(self, tx: Transaction) -> Recovered:
        """Takes over from the last process. To be committed before any session is activated."""
        moved.follow(tx, self.lifecycle.files.state)
        dead = workers.ownerless(tx) if tx.alone else self._dead(tx)
        over = [self.take_over(tx, worker_id) for worker_id in dead]
        for worker_id in dead:
            self.lifecycle.lanes.give_up(tx, worker_id)
        if not workers.listed(tx):  # nobody was at work while this process was down
            self._shift_deadlines(tx)
        outbox.interrupted(tx)
        if tx.alone:
            tx.execute(delete(rate_leases))
        return Recovered(
            tuple(suspect for each in over for suspect in each.suspects), sum(each.interrupted for each in over)
        )

    def take_over(self, tx: Transaction, worker_id: str) -> Recovered:
        """Takes back all that a dead process had claimed; its deaths count against those sessions alone.

        The caller has made sure that nobody else does it, and asks for the sessions afterwards.
        """
        key = f"{ALONE}:{worker_id}"
        alone = tx.execute(select(meta.c.value).where(meta.c.key == key)).scalar()
        active = workers.claimed(tx, worker_id)
        suspects = [session_id for session_id in active if self._died(tx, session_id, alone=session_id == alone)]
        tx.execute(
            update(table).where(table.c.claimed_by == worker_id).values(claimed_by=None, fence=table.c.fence + 1)
        )
        tx.execute(delete(meta).where(meta.c.key == key))
        tx.execute(delete(rate_leases).where(rate_leases.c.holder == worker_id))
        return Recovered(tuple(suspects), len(active))

    def alone(self, tx: Transaction, session_id: str | None) -> None:
        """Remembers which session runs alone, for the case that the process dies of it."""
        key = f"{ALONE}:{self.instance}"
        tx.execute(delete(meta).where(meta.c.key == key))
        if session_id is not None:
            tx.execute(meta.insert().values(key=key, value=session_id))

    def _dead(self, tx: Transaction) -> list[str]:
        """The processes that are surely dead at the start of a gateway, which is the only one: earlier gateways, and
        whoever isn't on the list."""
        earlier = [each.id for each in workers.listed(tx) if each.role == "gateway" and each.id != self.instance]
        for worker_id in earlier:
            workers.remove(tx, worker_id, lapsed_only=False)
        return [*earlier, *workers.ownerless(tx)] if earlier else workers.ownerless(tx)

    def _shift_deadlines(self, tx: Transaction) -> None:
        """Time in which nobody was at work doesn't count against those who wait for their children."""
        tx.execute(
            update(runs_table)
            .where(runs_table.c.status == Status.WAITING, runs_table.c.waiting_since.is_not(None))
            .values(
                deadline_at=runs_table.c.deadline_at + (tx.now - runs_table.c.waiting_since),
                waiting_since=tx.now,
            )
        )

    def sweep(self, tx: Transaction) -> None:
        """Every now and then: active time of waiting runs is booked, old idempotency keys go."""
        waiting = (runs_table.c.status == Status.WAITING) & runs_table.c.waiting_since.is_not(None)
        if not tx.alone:
            tx.lock(runs_table, *(str(row[0]) for row in tx.execute(select(runs_table.c.id).where(waiting)).all()))
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
