"""The lease of this process: one row, renewed by a thread of its own with the database's clock.

While it holds, nobody takes over what this process has claimed. The thread has its own connection, so that neither a
busy event loop nor a busy pool delays it. A renewal that fails is no reason to give anything up: it is tried again, and
only the database can say that the row is gone and everything with it. Until that is known, tools are held back as soon
as the lease may be over by this process's own clock.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import psycopg

from gateway.store.database import StoreError
from gateway.store.postgres_connect import connect, explain

RENEWALS = 5
"""So many within the time of one lease."""

log = logging.getLogger(__name__)


class Lease:
    """Renews a worker's lease until it is stopped or lost."""

    def __init__(self, url: str, worker_id: str, seconds: float, on_lost: Callable[[], None]) -> None:
        """
        Args:
            url: of the database.
            worker_id: whose lease; the row is there already.
            seconds: how long each renewal holds.
            on_lost: is called on the event loop if somebody has taken over.
        """
        self._url = url
        self._worker_id = worker_id
        self._seconds = seconds
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._stop = threading.Event()
        self._until = _now() + seconds
        self._lost = False
        self._thread = threading.Thread(target=self._renew, name="laneway-lease", daemon=True)

    def start(self) -> None:
        """Begins to renew."""
        self._thread.start()

    async def stop(self) -> None:
        """Ends it; the row stays."""
        self._stop.set()
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    @property
    def holds(self) -> bool:
        """Whether what this process has claimed is surely still its own."""
        return not self._lost and _now() < self._until

    def _renew(self) -> None:
        wait = self._seconds / RENEWALS
        while not self._stop.wait(wait):
            try:
                with closing(connect(self._url, "lease")) as connection:
                    while self._renewed(connection):
                        if self._stop.wait(wait):
                            return
                self._lost = True
                log.error("this process has been taken for dead: another one goes on with what it had claimed")
                self._loop.call_soon_threadsafe(self._on_lost)
            except StoreError as error:
                log.warning("the lease can't be renewed now: %s", error)
            except psycopg.Error as error:
                log.warning("the lease can't be renewed now: %s", explain(error, self._url))
            else:
                return

    def _renewed(self, connection: psycopg.Connection[Any]) -> bool:
        asked = _now()
        done = connection.execute(_RENEW, [int(self._seconds * 1000), self._worker_id])
        if done.rowcount:
            self._until = asked + self._seconds
        return bool(done.rowcount)


_RENEW = b"""
update workers set lease_until = (extract(epoch from clock_timestamp()) * 1000)::bigint + %s where id = %s
"""


def _now() -> float:
    """Seconds; goes on while the machine sleeps, unlike the monotonic clock."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()
