"""When a session works and when it rests: what may enter a turn, and how a session without one is released.

Inserting into an inbox and releasing a session both lock the session's row, so that no row falls between the two
(spec/architecture.md, protocol 1 and 4). Both are parts of units of work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gateway.config import Config
from gateway.events import EventLog
from gateway.lanes.base import Lanes
from gateway.lifecycle import Lifecycle
from gateway.store import inbox, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.sessions import Session


@dataclass(frozen=True, slots=True)
class Resting:
    """Decides between work and rest."""

    lanes: Lanes
    lifecycle: Lifecycle
    events: EventLog
    config: Callable[[], Config]

    def admissible(self, tx: Transaction, session: Session, run: Run | None) -> list[inbox.Row]:
        """The rows that may enter now (spec/architecture.md, protocol 1; spec/channels.md 4)."""
        rows = inbox.pending(tx, session.id)
        if not rows or (run is not None and run.open and self._not_yet(tx, run)):
            return []
        mode = session.queue_mode or self.config().messages.queue.mode
        if session.turn_seq is not None:
            rows = [row for row in rows if row.route in (None, session.turn_route)]
            apart = mode in ("followup", "collect")
            return [row for row in rows if not (apart and row.kind == "user")]
        if run is not None and run.started_at and runs.any_open(tx, session.id):
            rows = [row for row in rows if row.kind != "announce"]
        route = rows[0].route if rows else None
        rows = [row for row in rows if row.route in (None, route)]
        if mode == "followup":
            first = next((row.id for row in rows if row.kind == "user"), None)
            rows = [row for row in rows if row.kind != "user" or row.id == first]
        return rows

    def _not_yet(self, tx: Transaction, run: Run) -> bool:
        """Whether a run may not begin: it is delayed, or was submitted with children that it waits for."""
        if run.status is Status.DELAYED:
            return True
        return run.started_at is None and run.status is Status.WAITING and runs.any_open(tx, run.session_id)

    def end_turn(self, tx: Transaction, session: Session) -> None:
        """Ends the turn of a session that the caller owns, and releases it."""
        sessions.write(tx, session.id, session.fence, turn_seq=None, turn_route=None)
        self.release(tx, sessions.get(tx, session.id), None)

    def release(self, tx: Transaction, session: Session, run: Run | None) -> None:
        """Releases a session without a turn; what is admissible goes to the end of its lane."""
        sessions.write(tx, session.id, session.fence, claimed_by=None)
        if self.admissible(tx, session, run):
            self.lanes.enqueue(tx, session.lane, session.id)
            return
        if run is not None and run.status in (Status.RUNNING, Status.QUEUED) and runs.any_open(tx, session.id):
            self.lifecycle.wait(tx, run)
        tx.after_commit(lambda: self.events.publish("idle", {"sessionKey": session.key}, session_key=session.key))
