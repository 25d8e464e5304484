"""Presence: that the assistant is at work, as its platforms show it — typing indicators and marks on messages.

Shown as well as may be: what is to stay — a mark, the end of an indicator — is tried a few times, at the pace that the
platform asks for. Nothing of it survives a crash, and the end of a continued turn sets the marks right again, because
it knows from the tables which messages it was about.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial

from gateway.channel import Channel, DeliveryError, Mark
from gateway.routes import Route
from gateway.tasks import TaskSet
from gateway.waiting import rung

STOP_SECONDS = 2.0
TRIES = 3
PAUSE_SECONDS = 1.0
"""Between two tries, where the platform doesn't ask for another time."""
LONGEST_PAUSE_SECONDS = 60.0

log = logging.getLogger(__name__)


class Presence:
    """Shows which conversations are being worked on. For the event loop's thread."""

    def __init__(self, channels: Mapping[str, Channel]) -> None:
        self._channels = channels
        self._tasks = TaskSet()
        self._typing: dict[str, tuple[Route, asyncio.Event]] = {}
        """Session key → where its turn's answers go, and what ends the indicator."""
        self._marks: dict[Route, deque[tuple[str, Mark]]] = {}
        self._stopping = asyncio.Event()

    def working(self, session_key: str, route: str | None, message_ids: Sequence[str]) -> None:
        """A turn is under way, and has taken these messages in."""
        place, channel = self._find(route)
        if place is None or channel is None:
            return
        able = channel.able(place)
        if able.typing_seconds is not None and session_key not in self._typing:
            over = asyncio.Event()
            self._typing[session_key] = (place, over)
            self._tasks.spawn(self._type(channel, place, over, able.typing_seconds), f"typing:{session_key}")
        if able.marks:
            self._mark(channel, place, message_ids, Mark.WORKING)

    def rested(self, session_key: str, route: str | None, message_ids: Sequence[str], mark: Mark) -> None:
        """The turn has ended; so these messages stand."""
        _, over = self._typing.pop(session_key, (None, None))
        if over is not None:
            over.set()
        place, channel = self._find(route)
        if place is not None and channel is not None and channel.able(place).marks:
            self._mark(channel, place, message_ids, mark)

    async def stop(self) -> None:
        """Takes the indicators away."""
        self._stopping.set()
        for _, over in self._typing.values():
            over.set()
        await self._tasks.settle(STOP_SECONDS)

    def _find(self, route: str | None) -> tuple[Route | None, Channel | None]:
        if route is None:
            return None, None
        place = Route.from_json(route)
        return place, self._channels.get(place.channel)

    async def _type(self, channel: Channel, route: Route, over: asyncio.Event, seconds: float) -> None:
        shown = False
        while not over.is_set():
            if await _tried(channel.typing(route, active=True), route) is None:
                shown = True
            elif not shown:
                return
            await rung(over, seconds)
        if not any(place == route for place, _ in self._typing.values()):
            await self._insist(partial(channel.typing, route, active=False), route)

    def _mark(self, channel: Channel, route: Route, message_ids: Sequence[str], mark: Mark) -> None:
        if not message_ids:
            return
        waiting = self._marks.setdefault(route, deque())
        waiting.extend((message_id, mark) for message_id in message_ids)
        if len(waiting) == len(message_ids):  # else somebody is at it
            self._tasks.spawn(self._set_marks(channel, route, waiting), f"marks:{route.chat}")

    async def _set_marks(self, channel: Channel, route: Route, waiting: deque[tuple[str, Mark]]) -> None:
        """One after the other, so that the last one of a message is what stays."""
        while waiting:
            message_id, mark = waiting[0]
            if all(later != message_id for later, _ in list(waiting)[1:]):
                await self._insist(partial(channel.mark, route, message_id, mark), route)
            waiting.popleft()
        self._marks.pop(route, None)

    async def _insist(self, call: Callable[[], Awaitable[None]], route: Route) -> None:
        """Tries a few times, unless the platform won't have it or everything stops."""
        for _ in range(TRIES):
            error = await _tried(call(), route)
            if error is None or error.permanent or self._stopping.is_set():
                return
            pause = PAUSE_SECONDS if error.retry_after is None else error.retry_after
            await rung(self._stopping, min(pause, LONGEST_PAUSE_SECONDS))


async def _tried(call: Awaitable[None], route: Route) -> DeliveryError | None:
    """Does it; returns why it couldn't be done."""
    try:
        await call
    except DeliveryError as error:
        log.debug("%s %s: not shown: %s", route.channel, route.chat, error)
        return error
    return None
