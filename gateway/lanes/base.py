"""The seam to the lanes: which work item starts when.

A work item says "activate session S". It carries no truth: exclusivity, fences and what is to be done stand in the
tables, so that an item that comes twice, late or to the wrong worker is harmless.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.store import sessions
from gateway.store.database import Transaction

RESUMED = -1
"""Priority of a session that has been at work before: it goes before those that have never started."""
FRESH = 0


def place(started: bool, priority: int) -> int:
    """The priority of a session in its lane: what is urgent first, what was at work before what is new.

    Args:
        started: it has been at work before.
        priority: of its run; lower goes first.
    """
    return (RESUMED if started else FRESH) + 2 * priority


Activate = Callable[[str], Awaitable[None]]
"""Works on the session with this id until nothing is left to do for it."""


@dataclass(frozen=True, slots=True)
class LaneStats:
    """One lane at this moment."""

    cap: int
    running: int
    waiting: int
    oldest_wait_seconds: float


class Solitude(Protocol):
    """Looks after a session that runs alone, because its process has died of it before."""

    async def note(self, session_id: str | None) -> None:
        """Remembers which session runs alone here, for the case that the process dies of it; None: none does now."""
        ...

    async def size(self, session_id: str) -> tuple[str, int] | None:
        """Its lane, and how far its transcript has grown; None: it is gone."""
        ...

    def next_commit(self) -> asyncio.Future[None]:
        """Is done when this process has committed something, so that a transcript may have grown."""
        ...


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

    def may_claim(self, tx: Transaction, session_id: str) -> bool:
        """Whether this process still has the slot in which it was to activate a session: nobody takes it for dead until
        this unit is over, and nobody has."""
        ...

    def holds(self, session_id: str, fence: int) -> None:
        """This process has claimed a session that it is activating, under this fence."""
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

    def cap(self, lane: str) -> int:
        """How many may run at once in a lane."""
        ...

    def stats(self, tx: Transaction) -> Mapping[str, LaneStats]:
        """Every lane at this moment, over all processes."""
        ...

    def positions(self, tx: Transaction, session_ids: Sequence[str]) -> Mapping[str, int]:
        """The places of those of the sessions that wait in their lanes' queues, 1 for the next."""
        ...

    def unasked(self, tx: Transaction) -> list[sessions.Unfinished]:
        """The sessions that have something to do and that nobody has been asked for."""
        ...

    def give_up(self, tx: Transaction, worker_id: str) -> list[str]:
        """Frees the slots of a process that is dead; returns the ids of the sessions that it was asked for."""
        ...

    def tidy(self, tx: Transaction) -> None:
        """Every now and then: slots that nobody uses are freed."""
        ...

    def is_running(self, session_id: str) -> bool:
        """Whether the session is being activated in this process."""
        ...

    @property
    def alone(self) -> str | None:
        """The session that all others wait for, whatever their lanes (`resume_alone`); None: there is none, or other
        processes go on meanwhile."""
        ...

    @property
    def draining(self) -> bool:
        """The process is about to stop."""
        ...

    def is_draining(self, session_id: str) -> bool:
        """Whether the session's activation is to rest at its next boundary: the process is about to stop, or another
        session is to run alone in it."""
        ...

    def start(self, activate: Activate, solitude: Solitude, suspects: Sequence[str] = ()) -> None:
        """Begins to start work.

        Args:
            activate: works on a session.
            solitude: is told which session runs alone.
            suspects: sessions that were active at several deaths of the process; until `resume_alone` is through
                with them nothing else is started here.
        """
        ...

    async def resume_alone(self, suspects: Sequence[str]) -> None:
        """Lets each of them be worked on with nothing beside it in its process, until it has grown or rests."""
        ...

    async def drain(self, seconds: float) -> None:
        """Starts nothing new, gives what runs this long to reach a resting place, then cancels it."""
        ...
