"""Relay: answers that appear on a platform while they are being written (spec/architecture.md, protocol 8).

An answer's outbox row is committed before it is shown, and the platform's id of its message as soon as that is known,
so that whoever comes after a crash goes on in the same message. Updates are spaced as the channel asks. What a stream
couldn't show is no loss: the delivery posts the final text in its place.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.cards import CardRow
from gateway.channel import Channel, DeliveryError, Live, Post
from gateway.routes import Route
from gateway.store import outbox
from gateway.store.database import Database, Transaction
from gateway.tasks import TaskSet

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
    platform_id: str | None = None


class Relay:
    """Owns what is being streamed to platforms. For the event loop's thread."""

    def __init__(self, database: Database, channels: Mapping[str, Channel]) -> None:
        self._database = database
        self._channels = channels
        self._streams: dict[int, _Stream] = {}
        self._tasks = TaskSet()

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

    async def settle(self, post_id: int) -> str | None:
        """Ends a stream; returns the platform's id of its message, None if there is none that is known."""
        stream = self._streams.pop(post_id, None)
        if stream is None:
            return None
        stream.ended.set()
        stream.changed.set()
        await stream.done.wait()
        return stream.platform_id

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
        stream = self._streams[post.id] = _Stream(post, channel, platform_id=post.platform_id)
        self._tasks.spawn(self._run(stream, route), f"stream:{post.id}")
        return stream

    async def _run(self, stream: _Stream, route: Route) -> None:
        try:
            await self._follow(stream, route)
        except DeliveryError as error:
            log.info("post %s isn't streamed: %s", stream.post.id, error)
            if error.uncertain:
                await self._database.run(_in_doubt, stream.post.id)
        finally:
            stream.done.set()

    async def _follow(self, stream: _Stream, route: Route) -> None:
        await _either(stream.ended, stream.channel.able(route).stream_after)
        live = await self._begin(stream, route)
        if live is None:
            return
        row = stream.post
        stream.platform_id = live.platform_id
        if live.platform_id is not None and live.platform_id != row.platform_id:
            await self._database.run(_known_as, row.id, live.platform_id)
        seconds = stream.channel.able(route).stream_seconds
        while not stream.ended.is_set():
            await stream.changed.wait()
            stream.changed.clear()
            await self._update(stream, live)
            if not stream.ended.is_set():
                await _either(stream.ended, seconds)

    async def _begin(self, stream: _Stream, route: Route) -> Live | None:
        """Begins to show an answer as soon as its platform lets it; None if it is done before."""
        row = stream.post
        while not stream.ended.is_set():
            if not stream.channel.able(route).drafts:
                await self._database.run(_begun, row.id)
            try:
                return await stream.channel.stream(
                    Post(row.id, route, stream.text, replaces=row.platform_id, streamed=True, created_at=row.created_at)
                )
            except DeliveryError as error:
                if error.retry_after is None:
                    raise
                await _either(stream.ended, error.retry_after)
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
            await _either(stream.ended, error.retry_after or 0.0)
            stream.changed.set()
        else:
            stream.shown = now


async def _either(ended: asyncio.Event, seconds: float) -> None:
    """Waits so long, or for the end of the stream."""
    try:
        await asyncio.wait_for(ended.wait(), seconds)
    except TimeoutError:
        return


def _begun(tx: Transaction, post_id: int) -> None:
    """From here on the platform may have a message that we don't know."""
    outbox.change(tx, post_id, streamed=True)


def _in_doubt(tx: Transaction, post_id: int) -> None:
    """The platform may have a message whose id was lost on its way."""
    outbox.change(tx, post_id, recovered=True)


def _known_as(tx: Transaction, post_id: int, platform_id: str) -> None:
    outbox.change(tx, post_id, platform_id=platform_id)
