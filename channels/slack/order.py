"""Order: what came first from one place is taken in first, however long a look-up takes meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field


@dataclass(slots=True)
class _Queue:
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0


class Order:
    """Lets the events of one place through one at a time, in the order in which they came."""

    def __init__(self) -> None:
        self._queues: dict[object, _Queue] = {}

    @asynccontextmanager
    async def of(self, place: object) -> AsyncGenerator[None]:
        """Waits until everything of this place that came earlier is through."""
        queue = self._queues.setdefault(place, _Queue())
        queue.users += 1
        try:
            async with queue.lock:
                yield
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[place]
