"""Alarms: due times that stand in tables, waited for without polling.

An alarm asks its table for the next due time, sleeps until then, and is rung whenever an earlier one may have been
written. Nothing survives a crash and nothing needs to. A slow sweep is the net below it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable

from gateway.store.database import StoreError
from gateway.waiting import rung

SWEEP_SECONDS = 30.0

log = logging.getLogger(__name__)


class Alarm:
    """Does its work whenever something is due, or when it is rung."""

    def __init__(
        self,
        name: str,
        next_due: Callable[[], Awaitable[int | None]],
        work: Callable[[], Awaitable[None]],
        clock: Callable[[], float] = lambda: time.time() * 1000,
    ) -> None:
        """
        Args:
            name: of its task.
            next_due: the next due time in milliseconds, None if there is none.
            work: does all that is due.
            clock: the time that due times are measured by (milliseconds): the database's.
        """
        self._clock = clock
        self._name = name
        self._next_due = next_due
        self._work = work
        self._rung = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._round: asyncio.Task[None] | None = None
        self._planned: float | None = None
        """When the next round begins (milliseconds); None while one is under way."""
        self._told = math.inf
        """The earliest due time that was told of while a round is under way, which may have looked too early for it."""

    def start(self) -> None:
        """Begins, with a first round at once."""
        self._rung.set()
        self._task = asyncio.create_task(self._run(), name=f"alarm:{self._name}")

    def ring(self, at: int | None = None) -> None:
        """Something is due now, or at a time (milliseconds) that may be earlier than was known."""
        if at is None:
            self._rung.set()
        elif self._planned is None:
            self._told = min(self._told, at)
        elif at < self._planned:
            self._rung.set()

    async def stop(self) -> None:
        """Ends it; a round under way is finished."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._round is not None:
            await asyncio.gather(self._round, return_exceptions=True)

    async def _do(self) -> None:
        await self._work()

    async def _run(self) -> None:
        wait = 0.0
        while True:
            await rung(self._rung, wait)
            self._rung.clear()
            self._planned, self._told = None, math.inf
            try:
                self._round = asyncio.create_task(self._do(), name=f"alarm:{self._name}:round")
                await asyncio.shield(self._round)
                due = await self._next_due()
            except StoreError:
                log.exception("%s: waiting for the database", self._name)
                due = None
            now = self._clock()
            self._planned = min(now + SWEEP_SECONDS * 1000, self._told, math.inf if due is None else due)
            wait = max(0.0, (self._planned - now) / 1000)
