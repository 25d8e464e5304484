"""Faults on demand: what a test makes Slack do wrong with the next call of a method."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

ANY = "*"


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one call. Without `applied` it has no effect at all.

    `Fault(error="is_archived")`, `Fault(status=502)`, `Fault(status=429, retry_after=2)`, `Fault(drop=True)`: refused.
    `Fault(drop=True, applied=True)`, `Fault(status=502, applied=True)`: done, but the caller doesn't learn it.
    `Fault(hold="gate")`, `Fault(delay=0.5)`: answered late; with `applied` done first.
    """

    status: int | None = None
    """HTTP status instead of 200; 429 brings `ratelimited`."""
    error: str | None = None
    """Slack's code, with status 200."""
    retry_after: int | None = None
    """Seconds of a 429; 1 unless given."""
    drop: bool = False
    """The connection closes without an answer."""
    applied: bool = False
    """The call takes effect first, as if nothing were wrong."""
    hold: str | asyncio.Event | None = None
    """Nothing goes on before this gate is opened: `ws.release(name)`, or the event."""
    delay: float = 0.0
    """Seconds before anything goes on."""

    @property
    def ends(self) -> bool:
        """Whether the caller gets something else than the real answer."""
        return self.drop or self.status is not None or self.error is not None


Where = Callable[[Mapping[str, Any]], bool]


class Faults:
    """The faults that wait for their calls, and the gates that hold answers."""

    def __init__(self) -> None:
        self._waiting: defaultdict[str, deque[tuple[Fault, Where | None]]] = defaultdict(deque)
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    @property
    def waiting(self) -> int:
        """How many have not been used yet."""
        return sum(map(len, self._waiting.values()))

    def add(self, method: str, *faults: Fault, where: Where | None = None) -> None:
        """Queues faults for the next calls of a method, or of any with `*`; `where` looks at the arguments."""
        self._waiting[method].extend((fault, where) for fault in faults)

    def take(self, method: str, args: Mapping[str, Any]) -> Fault | None:
        """The fault for a call that has just arrived."""
        for name in (method, ANY):
            queue = self._waiting[name]
            for index, (fault, where) in enumerate(queue):
                if where is None or where(args):
                    del queue[index]
                    return fault
        return None

    def release(self, name: str) -> None:
        """Opens a gate, now and for later."""
        self._gates[name].set()

    async def wait(self, fault: Fault) -> None:
        """Waits as long as a fault wants its answer to wait."""
        if isinstance(fault.hold, str):
            await self._gates[fault.hold].wait()
        elif fault.hold is not None:
            await fault.hold.wait()
        if fault.delay:
            await asyncio.sleep(fault.delay)
