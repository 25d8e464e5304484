"""The pulse of a process: how late its event loop is, and how much memory it holds.

Owns one timer. Twice a second it is set for half a second later, and by how much it comes too late is by how much
everything else did: what holds the loop up, or a machine that is too busy. Nothing survives the process.
"""

from __future__ import annotations

import asyncio
import resource
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

INTERVAL_SECONDS = 0.5
WINDOW_SECONDS = 60
_STATM = Path("/proc/self/statm")


@dataclass(frozen=True, slots=True)
class Lag:
    """How late the event loop was in the last minute, in seconds."""

    p50: float
    p99: float
    worst: float
    samples: int
    """How many times it was looked at."""


class Pulse:
    """Measures the event loop that it is started on."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=int(WINDOW_SECONDS / INTERVAL_SECONDS))
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begins to measure."""
        self._arm(asyncio.get_running_loop())

    def stop(self) -> None:
        """Ends it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def lag(self) -> Lag:
        """What was measured."""
        late = sorted(self._late)
        if not late:
            return Lag(0, 0, 0, 0)
        return Lag(late[len(late) // 2], late[min(len(late) - 1, len(late) * 99 // 100)], late[-1], len(late))

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + INTERVAL_SECONDS
        self._timer = loop.call_at(due, self._tick, loop, due)

    def _tick(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        self._late.append(max(0.0, loop.time() - due))
        self._arm(loop)


def resident_bytes() -> int:
    """The memory that this process holds now; where the system doesn't tell it cheaply, the most that it ever held."""
    try:
        return int(_STATM.read_text("ascii").split()[1]) * resource.getpagesize()
    except (OSError, ValueError, IndexError):
        return peak_bytes()


def peak_bytes() -> int:
    """The most memory that this process has ever held."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
