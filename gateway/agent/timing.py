"""When a model call began, and what it had to wait for: kept with its answer, for the picture of a run."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

LEAST_MS = 5
"""Waits that are shorter are left out: nobody could see them."""

RATE = "rate"
"""For one of the calls that the provider may be asked at once, or because it said that it was asked too much."""
RETRY = "retry"
"""After an error of the provider."""


def now_ms() -> int:
    """The clock of this machine (milliseconds since the epoch)."""
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class CallTiming:
    """One model call, with all its tries."""

    started_at: int = field(default_factory=now_ms)
    """milliseconds since the epoch"""
    waits: list[tuple[str, int, int]] = field(default_factory=list[tuple[str, int, int]])
    """What for, from when, until when."""

    def waited(self, what: str, since: int) -> None:
        """A wait that began at `since` (milliseconds) is over."""
        until = now_ms()
        if until - since >= LEAST_MS:
            self.waits.append((what, since, until))

    def columns(self) -> dict[str, object]:
        """The columns of the message that it belongs to."""
        return {"started_at": self.started_at, "waits": [list(wait) for wait in self.waits] or None}
