"""The core's own chores: what has to be looked after while a gateway runs, with due times that stand in tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.jobs.pruning import Retention
from gateway.plugins import Chore
from gateway.store import jobs, sessions, starts
from gateway.store.database import Transaction
from gateway.waiting import never

if TYPE_CHECKING:
    from gateway.app import Gateway


def core_chores(gateway: Gateway) -> list[Chore]:
    """Delayed jobs, threads that are given back, retention, and the note that the process is alive."""
    database, guests = gateway.database, gateway.guests

    async def next_delayed() -> int | None:
        return await database.read(jobs.next_due)

    def release_some(tx: Transaction) -> int:
        found = jobs.due(tx)
        sessions.hold_all(tx, [run.session_id for run in found])
        for run in found:
            gateway.lifecycle.release_due(tx, run)
        return len(found)

    async def release_delayed() -> None:
        while await database.run(release_some):
            pass

    async def next_thread() -> int | None:
        return await database.read(guests.next_due)

    async def give_back_threads() -> None:
        await database.run(guests.overdue)

    async def show_life() -> None:
        await database.run(starts.seen, gateway.instance)

    return [
        Chore("delayed", next_delayed, release_delayed),
        Chore("threads", next_thread, give_back_threads),
        Chore("job retention", never, Retention(gateway.registry).work),
        Chore("alive", never, show_life),
    ]
