"""Relay: answers that appear on a platform while they are being written (spec/architecture.md, protocol 8).

An answer's outbox row is committed before it is shown, and the platform's id of its message as soon as that is known,
so that whoever comes after a crash goes on in the same message. Nothing is shown before what is to be posted above it
is. Updates are spaced as the channel asks. What a stream couldn't show is no loss: the delivery posts the final text in
its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway import failpoints
from gateway.cards import CardRow
from gateway.channel import Channel, DeliveryError, Live, Post
from gateway.routes import Route
from gateway.store import outbox
from gateway.store.database import Database, Transaction
from gateway.tasks import TaskSet
from gateway.waiting import rung

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Stream:
    """One answer."""

    post: outbox.Post
    channel: Channel
    text: str = ""
    tasks: tuple[CardRow, ...] = ()
    shown: tuple[str, tuple[CardRow, ...]] = ("", ())
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False


class Relay:
    """Owns what is being streamed to platforms. For the event loop's thread."""

    def __init__(self, database: Database, channels: Mapping[str, Channel]) -> None:
        self._database = database
        self._channels = channels
        self._streams: dict[int, _Stream] = {}
        self._tasks = TaskSet()
        self._moved = asyncio.Event()
        """A post has been settled, on whichever route."""

    def moved(self) -> None:
        """A post has arrived, or can't: what waited for it may be next."""
        self._moved.set()
        self._moved = asyncio.Event()

    def show(self, post: outbox.Post, text: str) -> None:
        """The answer of this outbox row so far."""
        stream = self._stream(post)
        if stream is not None:
            stream.text = text
            stream.changed.set()

    def show_tasks(self, post: outbox.Post, rows: Sequence[CardRow]) -> None:
        """Shows rows of a card beside an answer, which may not have a word yet."""
        stream = self._stream(post)
        if stream is not None:
            stream.tasks = tuple(rows)
            stream.changed.set()

    async def settle(self, post_id: int) -> bool:
        """Ends a stream, if there is one; what is known of its message stands in the post's row then."""
        stream = self._streams.pop(post_id, None)
        if stream is None:
            return False
        stream.ended.set()
        stream.changed.set()
        await stream.done.wait()
        return True

    async def stop(self) -> None:
        """Shows nothing more."""
        self._streams.clear()
        await self._tasks.stop()

    def _stream(self, post: outbox.Post) -> _Stream | None:
        known = self._streams.get(post.id)
        if known is not None:
            return known
        if post.recovered and post.platform_id is None:
            # It may be on its platform already, cut off by a crash: the delivery looks for it, or marks what it sends.
            return None
        route = Route.from_json(post.route)
        channel = self._channels.get(route.channel)
        if channel is None or channel.capabilities.pull or not channel.able(route).streaming:
            return None
        stream = self._streams[post.id] = _Stream(post, channel)
        self._tasks.spawn(self._run(stream, route), f"stream:{post.id}")
        return stream

    async def _run(self, stream: _Stream, route: Route) -> None:
        try:
            if await self._is_next(stream):
                await self._follow(stream, route)
        except DeliveryError as error:
            log.info("post %s isn't streamed: %s", stream.post.id, error)
            if not stream.begun:
                await self._database.run(_not_begun, stream.post.id, error.uncertain)
        finally:
            stream.done.set()

    async def _is_next(self, stream: _Stream) -> bool:
        """Waits until no post stands before it on its route; False: it has come to its end meanwhile."""
        while not stream.ended.is_set():
            moved = self._moved
            if not await self._database.read(outbox.waits_for, stream.post):
                return True
            waits = [asyncio.create_task(event.wait()) for event in (moved, stream.ended)]
            try:
                await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for each in waits:
                    each.cancel()
        return False

    async def _follow(self, stream: _Stream, route: Route) -> None:
        await rung(stream.ended, stream.channel.able(route).stream_after)
        live = await self._begin(stream, route)
        if live is None:
            return
        row = stream.post
        if live.platform_id is not None and live.platform_id != row.platform_id:
            await self._database.run(_known_as, row.id, live.platform_id)
        while not stream.ended.is_set():
            await stream.changed.wait()
            stream.changed.clear()
            await self._update(stream, live)
            if not stream.ended.is_set():
                # Asked each time: where many answers stream at once, a channel may want each to be slower.
                await rung(stream.ended, stream.channel.able(route).stream_seconds)

    async def _begin(self, stream: _Stream, route: Route) -> Live | None:
        """Begins to show an answer as soon as its platform lets it; None if it is done before."""
        row = stream.post
        while not stream.ended.is_set():
            if not stream.channel.able(route).drafts:
                await self._database.run(_begun, row.id)
            post = Post(
                row.id,
                route,
                stream.text,
                replaces=row.platform_id,
                streamed=True,
                created_at=row.created_at,
            )
            failpoints.hit("effect:stream")
            try:
                live = await stream.channel.stream(post)
            except DeliveryError as error:
                if error.retry_after is None:
                    raise
                await self._database.run(_not_begun, row.id, error.uncertain)
                await rung(stream.ended, error.retry_after)
            else:
                failpoints.hit("effected:stream")
                stream.begun = True
                return live
        return None

    async def _update(self, stream: _Stream, live: Live) -> None:
        now = (stream.text, stream.tasks)
        if stream.ended.is_set() or now == stream.shown:
            return
        try:
            await live.show(*now)
        except DeliveryError as error:
            if error.permanent:
                raise
            log.debug("post %s: an update wasn't shown: %s", stream.post.id, error)
            await rung(stream.ended, error.retry_after or 0.0)
            stream.changed.set()
        else:
            stream.shown = now


def _begun(tx: Transaction, post_id: int) -> None:
    """From here on the platform may have a message that we don't know."""
    outbox.change(tx, post_id, streamed=True)


def _not_begun(tx: Transaction, post_id: int, uncertain: bool) -> None:
    """It has none, unless only the answer was lost: then it is looked for."""
    if outbox.get(tx, post_id).platform_id is None:
        outbox.change(tx, post_id, streamed=uncertain, recovered=uncertain)


def _known_as(tx: Transaction, post_id: int, platform_id: str) -> None:
    outbox.change(tx, post_id, platform_id=platform_id)
