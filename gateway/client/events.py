"""The events stream, read: parsing of server-sent events and a subscription that outlives its connections.

A `Subscription` remembers the last durable id that its reader was given and asks for what came after it whenever it
has to connect again, so that nothing is lost and nothing comes twice. It owns no gateway: a `connect` callback says
where to connect, each time anew, since another process may have taken over meanwhile.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 3.0
POSITION = "position"
"""Type given to a block that has an id and no data: nothing happened, but the reader is at this id."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event as it came from the gateway."""

    type: str
    data: dict[str, Any]
    id: int | None = None
    """Position in the durable log; None for what is only shown (deltas, progress)."""

    def text(self, name: str) -> str:
        """A field as text; empty if it is missing or null."""
        value = self.data.get(name)
        return value if isinstance(value, str) else "" if value is None else str(value)


class StreamLost(Exception):
    """The connection to the events stream ended. The text says how."""


@dataclass
class _Block:
    """One event while its lines arrive."""

    type: str = "message"
    id: int | None = None
    data: list[str] = field(default_factory=list[str])


class EventParser:
    """Turns lines of a `text/event-stream` into events."""

    def __init__(self) -> None:
        self._block = _Block()

    def feed(self, line: str) -> Event | None:
        """Takes one line without its end; returns an event when the line completes one."""
        if not line:
            block, self._block = self._block, _Block()
            if not block.data and block.id is not None:
                return Event(POSITION, {}, block.id)
            return _event(block) if block.data else None
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            self._block.type = value
        elif name == "data":
            self._block.data.append(value)
        elif name == "id" and value.isdecimal():
            self._block.id = int(value)
        return None


def _event(block: _Block) -> Event | None:
    try:
        data: object = json.loads("\n".join(block.data))
    except ValueError:
        return None
    return Event(block.type, cast("dict[str, Any]", data), block.id) if isinstance(data, dict) else None


class EventSource(Protocol):
    """Something that a subscription can connect to; `ApiClient` is one."""

    def stream(
        self, session: str | None, last_event_id: int | None, on_open: Callable[[], None]
    ) -> AsyncGenerator[Event]:
        """One connection's events, until it ends with `StreamLost`. Calls `on_open` when it is established."""
        ...


class Subscription:
    """Events of a session (and of everything below it), over as many connections as it takes.

    Args:
        connect: gives the gateway to read from; called before every connection.
        session: the session's key; None for all.
        last_event_id: what the reader has seen; None begins with what happens from now on.
        on_lost: is told when a connection ends unexpectedly, before the next one is tried.
    """

    def __init__(
        self,
        connect: Callable[[], Awaitable[EventSource]],
        session: str | None = None,
        last_event_id: int | None = None,
        on_lost: Callable[[str], None] = lambda _reason: None,
    ) -> None:
        self._connect = connect
        self._session = session
        self._on_lost = on_lost
        self.last_event_id = last_event_id
        self.connected = asyncio.Event()
        """Set while a connection stands."""

    async def events(self) -> AsyncGenerator[Event]:
        """Yields each event once, in order; ends only by cancellation or by an error of `connect`."""
        wait = FIRST_WAIT_SECONDS
        while True:
            try:
                source = await self._connect()
                stream = source.stream(self._session, self.last_event_id, self.connected.set)
                async with aclosing(stream) as events:
                    async for event in events:
                        wait = FIRST_WAIT_SECONDS
                        if self._is_new(event):
                            yield event
            except StreamLost as error:
                self.connected.clear()
                self._on_lost(str(error))
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _is_new(self, event: Event) -> bool:
        if event.type == "reset":
            self.last_event_id = event.id
            return True
        if event.id is None:
            return True
        if event.type == POSITION:
            self.last_event_id = max(self.last_event_id or 0, event.id)
            return False
        if self.last_event_id is not None and event.id <= self.last_event_id:
            return False
        self.last_event_id = event.id
        return True
