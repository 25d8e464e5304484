"""Membership: whether a process is alone with its database, or one of several.

The seam; `members.py` is the one of several. With SQLite there are no others, and `Alone` stands here.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol


class Membership(Protocol):
    """What the composition roots need of it."""

    async def join(self) -> None:
        """Makes this process known to the others; before its first claim."""
        ...

    async def watch(self) -> None:
        """Begins to look after the others."""
        ...

    async def leave(self) -> None:
        """Gives everything back that this process still holds: a graceful stop counts nothing against anybody."""
        ...

    async def check(self, session_id: str, fence: int) -> None:
        """To be awaited before an effect on the outside world.

        Raises:
            FenceLost: the session may be somebody else's by now.
        """
        ...


class Alone:
    """`Membership` of the one process that there is."""

    def __init__(self, release: Callable[[], Awaitable[None]]) -> None:
        """
        Args:
            release: gives back what this process has claimed.
        """
        self._release = release

    async def join(self) -> None:
        """See `Membership.join`."""

    async def watch(self) -> None:
        """See `Membership.watch`."""

    async def leave(self) -> None:
        """See `Membership.leave`."""
        await self._release()

    async def check(self, session_id: str, fence: int) -> None:
        """See `Membership.check`: nobody could have taken the session unseen."""
