"""The events stream: server-sent events from the event log, for one session and everything below it, or for all.

Owns only its connections. A reader who comes back with the last id that he has gets all that he missed; between
events a comment keeps the connection alive, and carries the position that he has reached.
"""

from __future__ import annotations

import asyncio

from aiohttp import web
from pydantic import Field
from sqlalchemy import select

from gateway.events import Event, Subscription, Wanted
from gateway.http.errors import ApiError
from gateway.http.json import Body, dumps, read_query
from gateway.http.keys import GATEWAY
from gateway.store import runs
from gateway.store.database import Transaction
from gateway.store.schema import sessions

KEEP_ALIVE_SECONDS = 15.0
LARGEST_ID = 2**62


class EventsQuery(Body):
    """What may be asked of the stream."""

    session: str | None = None
    last_event_id: int | None = Field(None, ge=0, le=LARGEST_ID)


class Subtree:
    """The filter for a session and everything below it; learns of new sub-agents from the events that pass by."""

    def __init__(self, keys: set[str]) -> None:
        self._keys = keys

    def wanted(self, event: Event) -> bool:
        """Whether the event is about one of them."""
        if event.type == "run":
            run = event.data.get("run", {})
            if run.get("requesterKey") in self._keys and event.session_key is not None:
                self._keys.add(event.session_key)
        return event.session_key in self._keys


async def stream_events(request: web.Request) -> web.StreamResponse:
    """`GET /api/events`."""
    gateway = request.app[GATEWAY]
    query = read_query(request, EventsQuery)
    wanted: Wanted = lambda _event: True  # noqa: E731 - one of two filters
    if query.session is not None:
        wanted = Subtree(await gateway.database.read(keys_below, query.session)).wanted
    async with gateway.events.subscribe(last_id=_last_id(request, query), wanted=wanted) as watch:
        response = await open_stream(request)
        # An id without data moves the reader's position and shows him nothing: if the connection breaks before the
        # first event, he still comes back to the right place.
        await response.write(f"id: {watch.position}\n\n".encode())
        await _forward(watch, response)
    return response


async def open_stream(request: web.Request, headers: dict[str, str] | None = None) -> web.StreamResponse:
    """Begins a response of server-sent events."""
    response = web.StreamResponse(
        headers={
            "Content-Type": "text/event-stream; charset=utf-8",
            "Cache-Control": "no-store",
            "X-Accel-Buffering": "no",
            **(headers or {}),
        }
    )
    await response.prepare(request)
    return response


async def next_event(watch: Subscription, seconds: float) -> Event | None:
    """The next event, or None after a silence.

    Raises:
        StopAsyncIteration: the gateway stops.
    """
    try:
        async with asyncio.timeout(seconds):
            return await anext(watch)
    except TimeoutError:
        return None


def keys_below(tx: Transaction, key: str) -> set[str]:
    """The key itself and those of every session that was ever spawned below it."""
    ids = [str(row[0]) for row in tx.execute(select(sessions.c.id).where(sessions.c.key == key))]
    return {key} | {run.session_key for run in runs.below(tx, ids)}


def frame(event: Event) -> bytes:
    """An event as it goes over the wire."""
    head = f"id: {event.id}\n" if event.id is not None else ""
    return f"{head}event: {event.type}\ndata: {dumps(event.data)}\n\n".encode()


async def _forward(watch: Subscription, response: web.StreamResponse) -> None:
    try:
        while True:
            event = await next_event(watch, KEEP_ALIVE_SECONDS)
            if event is not None:
                await response.write(frame(event))
            else:
                await response.write(f": keep-alive\nid: {watch.position}\n\n".encode())
    except (StopAsyncIteration, ConnectionError):
        return


def _last_id(request: web.Request, query: EventsQuery) -> int | None:
    text = request.headers.get("Last-Event-ID", "").strip()
    if not text:
        return query.last_event_id
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ApiError(400, "the last event's id is a whole number", field="Last-Event-ID")
    return int(text)
