"""The core's own chores: what has to be looked after while a gateway runs, with due times that stand in tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.jobs.pruning import Retention
from gateway.plugins import Chore
from gateway.store import jobs, sessions, starts
from gateway.store.database import Transaction

if TYPE_CHECKING:
    from gateway.app import Gateway


def core_chores(gateway: Gateway) -> list[Chore]:
    """Delayed jobs, threads that are given back, retention, and the note that the process is alive."""
    database, guests = gateway.database, gateway.guests
    kept = Retention(gateway.registry)

    async def next_delayed() -> int | None:
        return await database.read(jobs.next_due)

    async def next_thread() -> int | None:
        return await database.read(guests.next_due)

    async def give_back_threads() -> None:
        await database.run(guests.overdue)

    async def never() -> None:
        return None

    async def show_life() -> None:
        await database.run(starts.seen, gateway.instance)

    return [
        Chore("delayed", next_delayed, _Delayed(gateway).release),
        Chore("threads", next_thread, give_back_threads),
        Chore("job retention", kept.next_due, kept.work),
        Chore("alive", never, show_life),
    ]


@dataclass(frozen=True, slots=True)
class _Delayed:
    gateway: Gateway

    async def release(self) -> None:
        while await self.gateway.database.run(self._some):
            pass

    def _some(self, tx: Transaction) -> int:
        found = jobs.due(tx)
        sessions.hold_all(tx, [run.session_id for run in found])
        for run in found:
            self.gateway.lifecycle.release_due(tx, run)
        return len(found)
