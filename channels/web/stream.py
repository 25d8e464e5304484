"""The live stream of a page: `GET /web/events`.

It says that something has changed, and where; what it is now the page asks for. So a page that has missed something,
or was told twice, is right again with the next answer. Only the text of an answer under way is sent as it is.

Frames: `hello` (connected; the version of the page's files), `stir` (kinds of events, and the conversations that they
were about), `partial` (the answer under way as HTML), `reset` (too much was missed: ask for everything), `bye` (the
sign-in has ended). Durable events move the id, with which a browser comes back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web
from pydantic import Field
from sqlalchemy import select

from channels.web import render
from channels.web.eyes import Eyes
from channels.web.partial import Partial
from channels.web.site import Source, View
from gateway.events import Event
from gateway.http.errors import ApiError
from gateway.http.json import Body, dumps, read_query
from gateway.http.signins import REVOKED
from gateway.http.stream import LARGEST_ID, Subtree, next_event, open_stream
from gateway.store import signins
from gateway.store.database import Transaction
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as sessions_table

CHECK_SECONDS = 15.0
"""How often a sign-in is looked at again, and the rhythm of keep-alives."""
GATHER_SECONDS = 0.25
"""Events within this time are told together."""
SOON_SECONDS = 0.02
"""The same for those that end an answer in the conversation that is looked at."""
PARTIAL_SECONDS = 0.1
COST_FACTOR = 5
"""Rendering an answer may take at most this part of the time."""
TEXTS = ("delta", "snapshot")
URGENT = ("message", "idle", "approval", "session")


class StreamQuery(Body):
    """What a page wants to hear of."""

    key: str | None = None
    """The conversation that it shows."""
    last_event_id: int | None = Field(None, ge=0, le=LARGEST_ID)
    """Where it stands, if the browser doesn't say so itself."""


@dataclass
class Flow:
    """What is to be sent, and when."""

    key: str | None
    kinds: set[str] = field(default_factory=set[str])
    keys: set[str] = field(default_factory=set[str])
    last_id: int | None = None
    stir_at: float = 0.0
    partial: Partial | None = None
    begun_ms: int = 0
    changed: bool = False
    partial_at: float = 0.0

    def take(self, event: Event) -> None:
        """Notes an event."""
        if event.type in TEXTS:
            self._text(event)
            return
        if event.session_key == self.key and event.type in ("message", "idle") and self._ends(event):
            self.partial, self.changed = None, False
        now = time.monotonic()
        urgent = event.type in URGENT and event.session_key == self.key
        due = now + (SOON_SECONDS if urgent else GATHER_SECONDS)
        self.stir_at = min(self.stir_at, due) if self.kinds else due
        self.kinds.add(event.type)
        if event.session_key is not None:
            self.keys.add(event.session_key)
        self.last_id = event.id or self.last_id

    def adds(self, event: Event) -> bool:
        """Notes a fleeting event together with those that are told soon; False: there are none."""
        if not self.kinds or event.id is not None:
            return False
        self.kinds.add(event.type)
        if event.session_key is not None:
            self.keys.add(event.session_key)
        return True

    def wait(self) -> float:
        """Seconds until something is to be sent."""
        now = time.monotonic()
        due = [self.stir_at] if self.kinds else []
        if self.changed:
            due.append(self.partial_at)
        return max(0.0, min([CHECK_SECONDS, *(each - now for each in due)]))

    def frames(self) -> Iterator[bytes]:
        """What is due."""
        now = time.monotonic()
        if self.changed and self.partial is not None and self.partial_at <= now:
            self.changed = False
            update = self.partial.update()
            cost = time.monotonic() - now
            self.partial_at = now + max(PARTIAL_SECONDS, cost * COST_FACTOR)
            yield frame("partial", {"id": self.partial.message_id, "begun": self.begun_ms, **asdict(update)})
        if self.kinds and self.stir_at <= now:
            data = {"kinds": sorted(self.kinds), "keys": sorted(self.keys)}
            yield frame("stir", data, self.last_id)
            self.kinds, self.keys = set(), set()

    def _ends(self, event: Event) -> bool:
        """Whether nothing more will come of the answer under way."""
        message_id = str(event.data.get("messageId"))
        return event.type == "idle" or (self.partial is not None and message_id == self.partial.message_id)

    def _text(self, event: Event) -> None:
        message_id, text = str(event.data["messageId"]), str(event.data["text"])
        if self.partial is None or self.partial.message_id != message_id:
            self.partial = Partial(message_id)
            self.begun_ms = time.time_ns() // 1_000_000
        if event.type == "snapshot":
            self.partial.replace(text)
            self.begun_ms = time.time_ns() // 1_000_000
        else:
            self.partial.extend(text)
        self.changed = True


class Ears:
    """Which events somebody hears."""

    def __init__(self, eyes: Eyes, keys: set[str], flow: Flow) -> None:
        self._eyes = eyes
        self._flow = flow
        self._key = flow.key
        self._below = Subtree(keys)

    def wanted(self, event: Event) -> bool:
        """Whether he hears it. What he will be told of anyway in a moment is added to that and wakes nobody: fifty
        runs at work say ten times a second what they are doing."""
        if not self._concerned(event):
            return False
        return not (event.type == "progress" and self._flow.adds(event))

    def _concerned(self, event: Event) -> bool:
        if event.type == REVOKED:
            return event.data.get("signIn") == self._eyes.who.signin
        if event.type in TEXTS:
            return event.session_key == self._key
        if self._eyes.operator:
            return True
        return (event.session_key is not None and self._eyes.own(event.session_key)) or self._below.wanted(event)


async def listen(view: View) -> web.StreamResponse:
    """`GET /web/events`."""
    query = read_query(view.request, StreamQuery)
    if query.key is not None:
        await view.read(view.eyes.session, query.key)
    flow = Flow(query.key)
    ears = Ears(view.eyes, await view.read(_keys, view.eyes), flow)
    log = view.gateway.events
    async with log.subscribe(last_id=_last_id(view.request, query), wanted=ears.wanted) as watch:
        response = await open_stream(view.request, dict(render.SAFE))
        await response.write(frame("hello", {"version": render.static_files().version}, watch.position))
        checked = time.monotonic()
        try:
            while True:
                event = await next_event(watch, flow.wait())
                if event is not None and event.type == REVOKED:
                    break
                if event is not None and event.type == "reset":
                    await response.write(frame("reset", {}, event.id))
                elif event is not None:
                    flow.take(event)
                for each in flow.frames():
                    await response.write(each)
                if time.monotonic() - checked >= CHECK_SECONDS:
                    checked = time.monotonic()
                    if not await _still_valid(view):
                        break
                    await response.write(f": alive\nid: {watch.position}\n\n".encode())
            await response.write(frame("bye", {}))
        except (StopAsyncIteration, ConnectionError):
            pass
    return response


def frame(kind: str, data: dict[str, Any], event_id: int | None = None) -> bytes:
    """One event as it goes over the wire."""
    head = f"id: {event_id}\n" if event_id is not None else ""
    return f"{head}event: {kind}\ndata: {dumps(data)}\n\n".encode()


async def _still_valid(view: View) -> bool:
    signin = view.eyes.who.signin
    return signin is None or await view.read(signins.valid, signin)


def _keys(tx: Transaction, eyes: Eyes) -> set[str]:
    """Every session that somebody sees now; of an operator none, since he hears everything."""
    if eyes.operator:
        return set()
    own = tx.execute(select(sessions_table.c.key).where(eyes.keys())).scalars().all()
    below = tx.execute(select(runs_table.c.session_key).where(eyes.runs())).scalars().all()
    return {*map(str, own), *map(str, below)}


def _last_id(request: web.Request, query: StreamQuery) -> int | None:
    text = request.headers.get("Last-Event-ID", "").strip()
    if not text:
        return query.last_event_id
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise ApiError(400, "the last event's id is a whole number", field="Last-Event-ID")
    return int(text)


EVENTS = Source("/web/events", listen)
