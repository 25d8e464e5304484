"""The stand-in's clock: the machine's, plus what a test has put on top of it."""

from __future__ import annotations

import time


class Clock:
    """Time in seconds. What lapses (typing, drafts, callback queries, flood windows) lapses by this clock."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def now(self) -> float:
        """Monotonic seconds."""
        return time.monotonic() + self._ahead

    def unix(self) -> int:
        """Unix time, as messages carry it."""
        return int(time.time() + self._ahead)

    def advance(self, seconds: float) -> None:
        """Lets time pass at once."""
        self._ahead += seconds
