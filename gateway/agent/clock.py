"""A run's own clock: how long it has been at work, and when its time is up.

It stands still while a person is asked. Inside a process time is monotonic; what was used up before is in the run's
row (spec/architecture.md, protocol 6).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from contextlib import contextmanager


class RunClock:
    """Measures one activation."""

    def __init__(self, timeout_ms: int, used_ms: int) -> None:
        """
        Args:
            timeout_ms: the run's limit; 0 for none.
            used_ms: active time of earlier activations.
        """
        self._left = (timeout_ms - used_ms) / 1000 if timeout_ms else None
        self._spent = 0.0
        self._since: float | None = time.monotonic()
        self._reported = 0
        self._holders = 0
        self._scope: asyncio.Timeout | None = None

    def limit(self) -> asyncio.Timeout:
        """The scope that is cancelled when the time is up; `expired()` tells afterwards."""
        loop = asyncio.get_running_loop()
        self._scope = asyncio.timeout_at(None if self._left is None else loop.time() + max(0.0, self._left))
        return self._scope

    def take(self) -> int:
        """Milliseconds of active time since the last call."""
        total = int(self._active() * 1000)
        taken, self._reported = total - self._reported, total
        return taken

    @contextmanager
    def held(self) -> Generator[None]:
        """Stands still inside; several may hold it at once."""
        if self._holders == 0:
            self._spent, self._since = self._active(), None
            self._rearm()
        self._holders += 1
        try:
            yield
        finally:
            self._holders -= 1
            if self._holders == 0:
                self._since = time.monotonic()
                self._rearm()

    def _active(self) -> float:
        return self._spent if self._since is None else self._spent + time.monotonic() - self._since

    def _rearm(self) -> None:
        if self._left is None or self._scope is None or self._scope.expired():
            return
        loop = asyncio.get_running_loop()
        self._scope.reschedule(None if self._since is None else loop.time() + self._left - self._active())
