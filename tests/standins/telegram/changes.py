"""Something has changed: the one thing that waits in this package wait for."""

from __future__ import annotations

import asyncio


class Changes:
    """A counter that wakes whoever waits for it to move."""

    def __init__(self) -> None:
        self.version = 0
        self._next = asyncio.Event()

    def mark(self) -> None:
        """Counts one change and wakes everybody."""
        self.version += 1
        self._next.set()
        self._next = asyncio.Event()

    async def after(self, version: int, seconds: float) -> int:
        """Waits until the counter is past a version, or so many seconds, and returns it."""
        try:
            async with asyncio.timeout(seconds):
                while self.version <= version:
                    await self._next.wait()
        except TimeoutError:
            pass
        return self.version
