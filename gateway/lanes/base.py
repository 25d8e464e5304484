"""The seam to the lanes: which work item starts when.

A work item says "activate session S". It carries no truth: exclusivity, fences and what is to be done stand in the
tables, so that an item that comes twice, late or to the wrong worker is harmless.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from gateway.store.database import Transaction

RESUMED = -1
"""Priority of a session that has been at work before: it goes before those that have never started."""
FRESH = 0

Activate = Callable[[str], Awaitable[None]]
"""Works on the session with this id until nothing is left to do for it."""


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane at this moment."""

    cap: int
    running: int
    waiting: int
    oldest_wait_seconds: float


class Lanes(Protocol):
    """Named queues with concurrency caps. Per session at most one activation runs, per lane at most `cap`."""

    def enqueue(
        self, tx: Transaction, lane: str, session_id: str, priority: int = FRESH, *, age: int | None = None
    ) -> None:
        """Asks, in the transaction that makes it necessary, that a session be activated.

        Lower priorities go first, then those that are older, then first in, first out. While the session is being
        activated the wish is kept and granted afterwards.

        Args:
            tx: the unit of work.
            lane: where.
            session_id: which.
            priority: its place.
            age: since when (milliseconds) it has a right to that place; None: now.
        """
        ...

    def cancel(self, tx: Transaction, session_id: str) -> None:
        """Tells whoever works on a session that it is no longer his. The caller has raised its fence."""
        ...

    def poke(self, tx: Transaction, session_id: str) -> None:
        """Tells whoever works on a session that something about it has changed: it was paused, or has a message."""
        ...

    def watch(self, session_id: str, poked: Callable[[], None] | None) -> None:
        """Calls back when a session that is worked on in this process is poked; None: no longer."""
        ...

    def set_caps(self, caps: Mapping[str, int]) -> None:
        """New caps, from a configuration reload. A lower cap starts nothing new and stops nothing."""
        ...

    def stats(self) -> Mapping[str, LaneStats]:
        """Every lane at this moment."""
        ...

    def position(self, session_id: str) -> int | None:
        """The session's place in its lane's queue, 1 for the next; None if it doesn't wait."""
        ...

    def start(self, activate: Activate) -> None:
        """Begins to start work."""
        ...

    async def drain(self, seconds: float) -> None:
        """Starts nothing new, gives what runs this long to reach a resting place, then cancels it."""
        ...
