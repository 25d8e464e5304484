"""How events get to the app: tried until they are acknowledged, twice if a test wants it, lost at last.

Slack sends an event again when it wasn't acknowledged within three seconds, or when the connection broke: with the same
`event_id`, a number and a reason (docs.slack.dev/apis/events-api, "Retries").
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from tests.standins.slack.model import Json
from tests.standins.slack.workspace import Workspace

Twist = Literal["duplicate", "deaf", "hold"]
"""duplicate: sent twice at once. deaf: its first acknowledgement isn't heard. hold: not sent before `redeliver`."""


@dataclass(slots=True)
class Delivery:
    """One event on its way."""

    payload: Json
    made: float = field(default_factory=time.monotonic)
    """When it happened (`time.monotonic()`)."""
    sent: list[float] = field(default_factory=list[float])
    """When each attempt began."""
    acknowledged_at: float | None = None
    acknowledged: bool = False
    lost: bool = False
    """Given up after the last attempt."""
    reasons: list[str] = field(default_factory=list[str])
    """Why each attempt failed."""

    @property
    def attempts(self) -> int:
        """How often it was sent."""
        return len(self.sent)

    @property
    def event(self) -> Json:
        """The event itself."""
        return self.payload["event"]

    @property
    def open(self) -> bool:
        """Whether it may still be sent."""
        return not (self.acknowledged or self.lost)


class Transport(Protocol):
    """Socket Mode or HTTP."""

    async def event(self, payload: Json, number: int, reason: str) -> str | None:
        """Sends an event.

        Args:
            payload: the event callback.
            number: of the retry; 0 is the first attempt.
            reason: why the one before failed.

        Returns:
            None once it is acknowledged, else why it isn't; `no_retry` if the app wants no further attempt.
        """
        ...

    async def interaction(self, kind: str, payload: Json) -> tuple[bool, Any]:
        """Sends a command (`slash_commands`) or a press (`interactive`), once.

        Returns:
            Whether it was acknowledged in time, and what the acknowledgement says: a payload, or the reason.
        """
        ...


class Dispatcher:
    """Sends what happens to the app, each event in a task of its own. `all` is everything that ever was sent."""

    def __init__(self, ws: Workspace, sockets: Transport, requests: Transport) -> None:
        self._ws = ws
        self._sockets = sockets
        self._requests = requests
        self._tasks: set[asyncio.Task[None]] = set()
        self._twists: deque[Twist] = deque()
        self._kick = asyncio.Event()
        self.all: list[Delivery] = []

    @property
    def transport(self) -> Transport:
        """What the app listens on now: a request URL goes before sockets."""
        return self._requests if self._ws.app.request_url else self._sockets

    @property
    def pending(self) -> list[Delivery]:
        """Events that aren't acknowledged and not lost."""
        return [delivery for delivery in self.all if delivery.open]

    @property
    def lost(self) -> list[Delivery]:
        """Events that Slack has given up."""
        return [delivery for delivery in self.all if delivery.lost]

    def twist(self, *twists: Twist) -> None:
        """What happens to the next events, in order."""
        self._twists.extend(twists)

    def redeliver(self) -> None:
        """Whatever waits for its acknowledgement or its next attempt is sent again now."""
        self._kick.set()
        self._kick = asyncio.Event()

    def send(self, payload: Json) -> None:
        """An event begins its way."""
        delivery = Delivery(payload)
        self.all.append(delivery)
        twist = self._twists.popleft() if self._twists else None
        self._own(self._deliver(delivery, twist))
        if twist == "duplicate":
            self._own(self._again(delivery))

    async def interact(self, kind: str, payload: Json) -> tuple[bool, Any]:
        """A command or a press: sent once, its person waits."""
        return await self.transport.interaction(kind, payload)

    async def close(self) -> None:
        """Nothing is sent any more."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _own(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="slack-delivery")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _again(self, delivery: Delivery) -> None:
        """The second copy of a duplicate."""
        await self.transport.event(delivery.payload, 1, "http_timeout")

    async def _deliver(self, delivery: Delivery, twist: Twist | None) -> None:
        if twist == "hold":
            await self._kick.wait()
        delays = iter(self._ws.options.retry_delays)
        reason: str | None = ""
        while True:
            reason = await self._attempt(delivery, reason or "")
            if reason is None and twist == "deaf" and delivery.attempts == 1:
                reason = "http_timeout"
            if reason is None:
                delivery.acknowledged, delivery.acknowledged_at = True, time.monotonic()
                self._note(delivery, "acknowledged")
                break
            delivery.reasons.append(reason)
            delay = None if reason == "no_retry" else next(delays, None)
            if delay is None:
                delivery.lost = True
                self._note(delivery, "lost")
                break
            await self._pause(delay)
        self._ws.touch()

    async def _attempt(self, delivery: Delivery, reason: str) -> str | None:
        """Sends it and waits; a kick ends the waiting as if time had run out."""
        number = delivery.attempts
        delivery.sent.append(time.monotonic())
        self._note(delivery, "attempt", number=number)
        self._ws.touch()
        sending = asyncio.create_task(self.transport.event(delivery.payload, number, reason), name="slack-attempt")
        kick = asyncio.create_task(self._kick.wait(), name="slack-kick")
        try:
            await asyncio.wait((sending, kick), return_when=asyncio.FIRST_COMPLETED)
            return sending.result() if sending.done() else "http_timeout"
        finally:
            sending.cancel()
            kick.cancel()
            await asyncio.gather(sending, kick, return_exceptions=True)

    def _note(self, delivery: Delivery, what: str, **more: Any) -> None:
        event = {"id": delivery.payload["event_id"], "type": delivery.event["type"], **more}
        self._ws.write({"event": what, **event})

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._kick.wait()
        except TimeoutError:
            return
