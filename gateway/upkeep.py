"""Upkeep: what has to be looked after while a gateway runs, and what its start has to set going.

Due times stand in tables, and an alarm waits for each kind of them; a slow sweep is the net below all events. Sessions
under suspicion of killing the process are resumed alone (spec/subagents.md 23).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from gateway.events import EventLog
from gateway.lanes.base import Activate, Lanes, place
from gateway.lifecycle import Lifecycle
from gateway.plugins import Chore
from gateway.recovery import Recovery
from gateway.store import inbox, runs, sessions
from gateway.store.database import Database, StoreError, Transaction
from gateway.store.runs import Outcome
from gateway.timers import Alarm
from gateway.waiting import never

AT_ONCE = 200
"""Sessions that are asked for in one unit of work."""

log = logging.getLogger(__name__)


class Upkeep:
    """Owns the alarms."""

    def __init__(
        self,
        database: Database,
        lanes: Lanes,
        lifecycle: Lifecycle,
        recovery: Recovery,
        events: EventLog,
        chores: Sequence[Chore],
    ) -> None:
        self._database = database
        self._lanes = lanes
        self._lifecycle = lifecycle
        self._recovery = recovery
        self._events = events
        self._alarms = (
            Alarm("inbox", self._next_row, self.enqueue_unfinished, database.clock),
            Alarm("deadlines", self._next_deadline, self._end_overdue, database.clock),
            *(Alarm(chore.name, chore.next_due, chore.work, database.clock) for chore in chores),
        )
        self._net = Alarm("sweep", never, self._sweep)
        self._beginning: asyncio.Task[None] | None = None
        self._looked = 0
        """When it was looked for sessions with something to do (milliseconds): what is due after that is to come."""

    async def start(self, activate: Activate, suspects: Sequence[str]) -> None:
        """Sets everything going that has something to do; the suspects first, each while nothing else runs.

        With suspects it returns before they are through: a suspect may be at work for long, and whoever looks at the
        gateway meanwhile, or wants to stop it, must find it.

        Args:
            activate: works on a session.
            suspects: sessions that were active at several deaths of the process.
        """
        if not suspects:
            await self.enqueue_unfinished()  # before anything is begun: what was at work goes before what is new
        self._lanes.start(activate, self, suspects)
        self._beginning = asyncio.create_task(self._begin(suspects), name="begin")
        if not suspects:
            await self._beginning

    async def stop(self) -> None:
        """Ends all alarms; what they are doing is finished."""
        if self._beginning is not None:
            self._beginning.cancel()
            await asyncio.gather(self._beginning, return_exceptions=True)
        for alarm in (*self._alarms, self._net):
            await alarm.stop()

    def ring(self, at: int) -> None:
        """Something is due at this time (milliseconds), which may be earlier than was known."""
        for alarm in self._alarms:
            alarm.ring(at)

    async def enqueue_unfinished(self) -> None:
        """Asks for every session that has something to do; those at work before go first."""
        waiting, now = await self._database.read(self._unasked, self._looked)
        for start in range(0, len(waiting), AT_ONCE):
            await self._database.run(self._enqueue_all, waiting[start : start + AT_ONCE])
        self._looked = now

    async def note(self, session_id: str | None) -> None:
        """See `Solitude.note`."""
        await self._database.run(self._recovery.alone, session_id)

    async def size(self, session_id: str) -> tuple[str, int] | None:
        """See `Solitude.size`."""
        session = await self._database.read(sessions.find, session_id)
        return (session.lane, session.next_seq) if session else None

    def next_commit(self) -> asyncio.Future[None]:
        """See `Solitude.next_commit`."""
        return self._database.next_commit()

    async def _begin(self, suspects: Sequence[str]) -> None:
        try:
            await self._lanes.resume_alone(suspects)
        except StoreError:
            log.exception("resuming suspects alone: it goes on with all at once")
        if suspects:
            await self.enqueue_unfinished()
        for alarm in (*self._alarms, self._net):
            alarm.start()

    async def _next_row(self) -> int | None:
        return await self._database.read(inbox.next_due, self._looked)

    async def _next_deadline(self) -> int | None:
        return await self._database.read(runs.next_due, "deadline_at")

    async def _end_overdue(self) -> None:
        """Ends runs whose time ran out while they waited for their children."""
        for run in await self._database.read(runs.due, "deadline_at"):
            key = "runTimeoutSeconds" if run.kind in self._lifecycle.kinds else "timeoutMs"
            await self._database.run(
                self._lifecycle.finish,
                run.id,
                Outcome.TIMEOUT,
                error=f"it used up its {run.timeout_ms / 1000:g} s ({key})",
                cause="timeout",
            )

    async def _sweep(self) -> None:
        await self._database.run(self._recovery.sweep)
        await self._database.run(self._events.prune)
        await self._database.run(self._lanes.tidy)
        await self.enqueue_unfinished()

    def _unasked(self, tx: Transaction, looked: int) -> tuple[list[sessions.Unfinished], int]:
        found = self._lanes.unasked(tx)
        # Whoever is at work on these may have looked before they were due, and be about to rest.
        ripe = inbox.ripened(tx, looked) - {each.id for each in found}
        return [*found, *sessions.wishes(tx, list(ripe))], tx.now

    def _enqueue_all(self, tx: Transaction, waiting: Sequence[sessions.Unfinished]) -> None:
        for each in waiting:
            self._lanes.enqueue(tx, each.lane, each.id, place(each.started, each.priority), age=each.age)
