"""Members: this process among the others that work on the same PostgreSQL database.

Owns this process's row and lease, and watches all others: one of this machine is seen to die at once, by the kernel's
word, any other by its lease. Whoever sees it first takes over: it removes the dead one's row, so that nobody else does,
gives back its seats, raises the fences of its sessions, kills what it has left running on this machine, and asks for
the sessions again.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass

from gateway import __version__
from gateway.bus import Bus, Words
from gateway.lanes.lease import Lease
from gateway.lanes.postgres import PostgresLanes
from gateway.machine import host_name, machine_id, start_time, watch_end
from gateway.recovery import Recovery
from gateway.store import sessions, workers
from gateway.store.database import StoreError, Transaction
from gateway.store.postgres import PostgresDatabase
from gateway.store.sessions import FenceLost
from gateway.store.workers import Worker
from gateway.tasks import TaskSet
from gateway.timers import Alarm
from gateway.tools.processes import kill_survivors

AGAIN_SECONDS = 1.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Self:
    """What this process tells the others about itself."""

    id: str
    role: str
    lanes: dict[str, int]

    def row(self) -> Worker:
        """As it is written down."""
        pid = os.getpid()
        started = start_time(pid) or ""
        return Worker(self.id, self.role, host_name(), machine_id(), pid, started, __version__, self.lanes, 0, 0)


class Members:
    """`Membership` on PostgreSQL."""

    def __init__(
        self,
        database: PostgresDatabase,
        bus: Bus,
        lanes: PostgresLanes,
        recovery: Recovery,
        own: Self,
        lease_seconds: float,
    ) -> None:
        """
        Args:
            database: whose processes they are.
            bus: tells when somebody comes or goes.
            lanes: of this process.
            recovery: what a death means.
            own: this process.
            lease_seconds: after which a process of another machine that doesn't renew counts as dead.
        """
        self._database = database
        self._bus = bus
        self._lanes = lanes
        self._recovery = recovery
        self._own = own
        self._lease_seconds = lease_seconds
        self._lease: Lease | None = None
        self._watched: dict[str, Callable[[], None]] = {}
        self._tasks = TaskSet()
        self._look = Alarm("workers", self._next_lapse, self._take_over_lapsed, database.clock)
        self._leaving = False
        bus.on("workers", self._somebody)
        bus.on_return(self._look.ring)

    # ---- this process ----

    async def join(self) -> None:
        """See `Membership.join`."""
        await self._database.run(self._join, self._own.row())
        self._lease = Lease(self._database.url, self._own.id, self._lease_seconds, self._lost)
        self._lease.start()

    async def watch(self) -> None:
        """See `Membership.watch`."""
        self._look.start()

    async def leave(self) -> None:
        """See `Membership.leave`."""
        self._leaving = True
        await self._look.stop()
        for stop in self._watched.values():
            stop()
        self._watched.clear()
        await self._tasks.stop()
        if self._lease is not None:
            await self._lease.stop()
        await self._database.run(self._leave)

    async def check(self, session_id: str, fence: int) -> None:
        """See `Membership.check`."""
        if self._lease is None or not self._lease.holds:
            raise FenceLost(f"session {session_id}: the lease of this process is over")
        session = await self._database.read(sessions.find, session_id)
        if session is None or session.fence != fence:
            raise sessions.lost(session_id, fence)

    def _join(self, tx: Transaction, row: Worker) -> None:
        workers.join(tx, row, int(self._lease_seconds * 1000))
        self._bus.send(tx, "workers")

    def _leave(self, tx: Transaction) -> None:
        """In one transaction: the row goes, and with it everything that it stood for."""
        if workers.remove(tx, self._own.id, lapsed_only=False):
            mine = workers.claimed(tx, self._own.id)
            for session_id in mine:
                sessions.change(tx, session_id, claimed_by=None)
            self._ask_again(tx, self._own.id, mine)
            self._bus.send(tx, "workers")

    def _lost(self) -> None:
        """This process has been taken for dead: what it was doing others do now. It begins anew."""
        if not self._leaving:
            self._lanes.abandon()
            self._tasks.spawn(self._begin_anew(), "rejoin")

    async def _begin_anew(self) -> None:
        while True:
            try:
                await self.join()
            except StoreError as error:
                log.warning("this process can't join the others again yet: %s", error)
                await asyncio.sleep(AGAIN_SECONDS)  # nothing tells when a server is back
            else:
                self._look.ring()
                return

    # ---- the others ----

    def _somebody(self, _words: Words) -> None:
        """Somebody has come or gone."""
        self._look.ring()

    async def _next_lapse(self) -> int | None:
        return await self._database.read(workers.next_lapse, self._own.id)

    async def _take_over_lapsed(self) -> None:
        others = [each for each in await self._database.read(workers.listed) if each.id != self._own.id]
        for gone in self._watched.keys() - {each.id for each in others}:
            self._watched.pop(gone)()
        await kill_survivors(self._database)
        here = machine_id()
        for worker in others:
            if worker.machine == here and worker.id not in self._watched and not self._watches(worker):
                await self._take_over(worker, lapsed_only=False)
        for worker in await self._database.read(workers.lapsed):
            if worker.id != self._own.id:
                await self._take_over(worker, lapsed_only=True)

    def _watches(self, worker: Worker) -> bool:
        """Watches a process of this machine; False: it has ended already."""
        if start_time(worker.pid) != worker.process_started:
            return False
        stop = watch_end(worker.pid, worker.process_started, lambda: self._ended(worker))
        if stop is not None:
            self._watched[worker.id] = stop
        return True  # without the kernel's word its lease tells

    def _ended(self, worker: Worker) -> None:
        del self._watched[worker.id]
        self._tasks.spawn(self._take_over(worker, lapsed_only=False), f"takeover:{worker.id}")

    async def _take_over(self, worker: Worker, *, lapsed_only: bool) -> None:
        """Does what a death asks for; nothing if somebody else is doing it."""
        taken = await self._database.run(self._take, worker.id, lapsed_only)
        if taken is None:
            return
        stop = self._watched.pop(worker.id, None)
        if stop is not None:
            stop()
        killed = await kill_survivors(self._database)
        await self._database.run(self._ask_again, worker.id, taken)
        log.warning(
            "%s %s on %s (process %d) is dead: took over %d sessions, killed %d process groups",
            worker.role,
            worker.id[:8],
            worker.host,
            worker.pid,
            len(taken),
            killed,
        )

    def _take(self, tx: Transaction, worker_id: str, lapsed_only: bool) -> list[str] | None:
        if not workers.remove(tx, worker_id, lapsed_only=lapsed_only):
            return None
        active = workers.claimed(tx, worker_id)
        self._recovery.take_over(tx, worker_id)
        self._bus.send(tx, "workers")
        return active

    def _ask_again(self, tx: Transaction, worker_id: str, session_ids: list[str]) -> None:
        """Frees seats, and asks for what was being done and what was about to be."""
        self._lanes.ask_again(tx, {*session_ids, *self._lanes.give_up(tx, worker_id)})
