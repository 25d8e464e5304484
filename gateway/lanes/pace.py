"""When a process looks at the queue: at once if it has little to do, and every few milliseconds if it has much."""

from __future__ import annotations

import asyncio

PAUSE_SECONDS = 0.01
"""So long after a look whatever has changed is looked at together: each row that comes or goes is told."""


class Pace:
    """Wakes whoever looks. For the event loop's thread."""

    def __init__(self) -> None:
        self._wake = asyncio.Event()
        self._looked = 0.0
        """When he looked last (the loop's clock)."""
        self._later: asyncio.TimerHandle | None = None

    async def turn(self) -> None:
        """Waits until it is time to look."""
        await self._wake.wait()
        self._wake.clear()

    def looked(self) -> None:
        """He has looked."""
        self._looked = asyncio.get_running_loop().time()

    def now(self) -> None:
        """There is a reason to look at once."""
        self._wake.set()

    def soon(self) -> None:
        """There may be one after a pause."""
        if self._later is None:
            self._later = asyncio.get_running_loop().call_later(PAUSE_SECONDS, self._due)

    def stirred(self, *, calm: bool) -> None:
        """Something has changed: he looks at once if he has little to do, or hasn't looked for a while."""
        if calm or asyncio.get_running_loop().time() - self._looked >= PAUSE_SECONDS:
            self.now()
        else:
            self.soon()

    def _due(self) -> None:
        self._later = None
        self.now()
