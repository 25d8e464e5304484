"""Rate leases: how many calls to a provider are in flight, over all workers (spec/jobs.md 31).

Owns the table `rate_leases`. A lease is taken before a call and given back after it; while the call lasts it is
renewed, so that one whose holder has died lapses. Who finds no free one waits for one that is given back, or lapses.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from sqlalchemy import delete, func, insert, select, update

from gateway.agent.messages import ModelRef
from gateway.store.database import Database, Transaction
from gateway.store.schema import rate_leases
from gateway.waiting import rung

LEASE_SECONDS = 60.0
LOOK_SECONDS = 1.0
"""Another process doesn't tell this one when it gives a lease back; so often one is looked for."""

OnWait = Callable[[str], Awaitable[None]]


class RateLeases:
    """Takes and gives back leases for one process."""

    def __init__(self, database: Database, holder: str, lease_seconds: float = LEASE_SECONDS) -> None:
        self._database = database
        self._holder = holder
        self._lease_ms = int(lease_seconds * 1000)
        self._freed = asyncio.Event()

    @asynccontextmanager
    async def hold(self, model: ModelRef, on_wait: OnWait | None) -> AsyncGenerator[None]:
        """Holds a lease while a call lasts; nothing where the provider has no limit (`maxInFlight`)."""
        if model.max_in_flight is None:
            yield
            return
        lease = uuid.uuid4().hex
        await self._take(lease, model.provider, model.max_in_flight, on_wait)
        renewing = asyncio.create_task(self._renew(lease), name=f"rate-lease:{model.provider}")
        try:
            yield
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await self._database.run(_give_back, lease)
            self._freed.set()

    async def _take(self, lease: str, provider: str, most: int, on_wait: OnWait | None) -> None:
        told = False
        while True:
            self._freed.clear()
            until = await self._database.run(_take, lease, provider, self._holder, most, self._lease_ms)
            if until is None:
                return
            if on_wait is not None and not told:
                await on_wait(f"waiting for one of {most} calls to {provider} (maxInFlight)")
                told = True
            wait = min(LOOK_SECONDS, max(0.01, until / 1000 - time.time()))
            await rung(self._freed, wait)

    async def _renew(self, lease: str) -> None:
        while True:
            await asyncio.sleep(self._lease_ms / 3000)
            await self._database.run(_renew, lease, self._lease_ms)


@asynccontextmanager
async def unlimited(_model: ModelRef, _on_wait: OnWait | None) -> AsyncGenerator[None]:
    """Stands in where no calls are counted."""
    yield


def _take(tx: Transaction, lease: str, provider: str, holder: str, most: int, lease_ms: int) -> int | None:
    """Takes a lease; returns when the next one lapses (milliseconds) if there is none."""
    tx.lock_names(f"rate:{provider}")
    tx.execute(delete(rate_leases).where(rate_leases.c.until <= tx.now))
    mine = rate_leases.c.provider == provider
    if int(tx.execute(select(func.count()).where(mine)).scalar_one()) >= most:
        return int(tx.execute(select(func.min(rate_leases.c.until)).where(mine)).scalar_one())
    row = {"id": lease, "provider": provider, "holder": holder, "until": tx.now + lease_ms}
    tx.execute(insert(rate_leases).values(**row))
    return None


def _renew(tx: Transaction, lease: str, lease_ms: int) -> None:
    tx.execute(update(rate_leases).where(rate_leases.c.id == lease).values(until=tx.now + lease_ms))


def _give_back(tx: Transaction, lease: str) -> None:
    tx.execute(delete(rate_leases).where(rate_leases.c.id == lease))
