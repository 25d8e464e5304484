"""Delivery: sends what stands in the outbox, in order per route.

A row is marked as being sent before it is sent and as delivered after; transient errors are retried with backoff and
Retry-After, permanent ones never. What was being sent when the process died is sent again once, marked as recovered.
Nothing here survives a crash but the rows (spec/subagents.md 21). It is one of the three places that catch every
exception: what a channel breaks holds up no route.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Mapping

from gateway import failpoints, logs
from gateway.cards import Card, buttons_from
from gateway.channel import Channel, DeliveryError, Post
from gateway.events import EventLog
from gateway.relay import Relay
from gateway.routes import Route
from gateway.store import outbox
from gateway.store.database import Database, Transaction
from gateway.store.outbox import State
from gateway.telemetry import names
from gateway.telemetry.tracing import Tracing
from gateway.timers import Alarm
from gateway.views import capped, route_json

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 300.0
STOP_SECONDS = 10.0
"""What a stop gives the posts that are being sent."""
MAX_ATTEMPTS = 12
"""About half an hour of tries; then the post is listed as failed, with a command to retry it."""

log = logging.getLogger(__name__)


class Delivery:
    """Owns the sending of every outbox row of channels that post."""

    def __init__(
        self, database: Database, channels: Mapping[str, Channel], events: EventLog, relay: Relay, tracing: Tracing
    ) -> None:
        self._database = database
        self._tracing = tracing
        self._relay = relay
        self._channels = channels
        self._events = events
        self._sending: dict[str, asyncio.Task[None]] = {}
        self._waiting: set[str] = set()
        """Routes among them whose channel isn't ready for a post."""
        self._looked = 0
        """When posts to send were looked for (milliseconds): what becomes due after that is still to come."""
        self._alarm = Alarm("delivery", self._due, self._send_due, database.clock)

    def start(self) -> None:
        """Begins to send."""
        self._alarm.start()

    async def stop(self) -> None:
        """Lets what is being sent finish; what takes too long is sent once more after the next start, marked."""
        await self._alarm.stop()
        for route in self._waiting:
            self._sending[route].cancel()
        sending = tuple(self._sending.values())
        if sending:
            _, late = await asyncio.wait(sending, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def wake(self) -> None:
        """There is something new to send."""
        self._alarm.ring()

    async def retry(self, post_id: int) -> outbox.Post:
        """Sends a failed post again.

        Raises:
            LookupError: there is no such post, or it isn't undelivered.
        """
        post = await self._database.run(_reopen, post_id)
        self.wake()
        return post

    async def drop(self, post_id: int) -> outbox.Post:
        """Gives a post up.

        Raises:
            LookupError: as in `retry`.
        """
        return await self._database.run(self._drop, post_id)

    async def _due(self) -> int | None:
        return await self._database.read(outbox.next_due, self._looked)

    async def _send_due(self) -> None:
        posts, self._looked = await self._database.read(_sendable)
        for post in posts:
            if post.route not in self._sending:
                task = asyncio.create_task(self._send_route(post.route), name=f"deliver:{post.id}")
                self._sending[post.route] = task
                task.add_done_callback(lambda _done, route=post.route: self._route_done(route))

    def _route_done(self, route: str) -> None:
        task = self._sending.pop(route)
        self._alarm.ring()
        self._relay.moved()
        if not task.cancelled():
            task.result()

    async def _send_route(self, route: str) -> None:
        """Sends one post of a route; the next one follows when this one is settled."""
        place = Route.from_json(route)
        if (channel := self._channels.get(place.channel)) is not None:
            self._waiting.add(route)
            try:
                await channel.ready(place)
            finally:
                self._waiting.discard(route)
        post = await self._database.run(_mark_sending, route)
        if post is None:
            return
        logs.bind(session=post.session_key)
        try:
            with self._tracing.span(names.delivery(channel_of(post)), "client", post.trace) as span:
                attempt = post.attempts + 1
                span.set({names.POST_ID: post.id, names.POST_KIND: post.kind, names.POST_ATTEMPT: attempt})
                platform_id = await self._post(post)
        except DeliveryError as error:
            await self._database.run(
                self._failed, post.id, str(error), error.permanent, error.retry_after, error.uncertain
            )
        except Exception as error:  # the border to a channel: whatever breaks in it, the route goes on
            log.exception("post %s (session %s): channel `%s` broke", post.id, post.session_key, channel_of(post))
            await self._database.run(self._failed, post.id, f"{type(error).__name__}: {error}", True, None, False)
        else:
            await self._database.run(self._delivered, post.id, platform_id)

    async def _post(self, post: outbox.Post) -> str | None:
        route = Route.from_json(post.route)
        channel = self._channels.get(route.channel)
        if channel is None:
            raise DeliveryError(
                f"no channel `{route.channel}` is configured; configure it, then: laneway outbox retry {post.id}",
                permanent=True,
            )
        if await self._relay.settle(post.id):
            post = await self._database.read(outbox.get, post.id)
        failpoints.hit("effect:post")
        try:
            platform_id = await channel.post(outgoing(post, route))
        finally:
            failpoints.hit("effected:post")
        return platform_id

    def _delivered(self, tx: Transaction, post_id: int, platform_id: str | None) -> None:
        post = outbox.get(tx, post_id)
        copied = post.copied or (post.recovered and post.platform_id is None)
        arrived = {"platform_id": platform_id, "recovered": False, "copied": copied}
        if post.state is not State.SENDING:  # it was changed meanwhile: what it is now follows
            outbox.change(tx, post_id, **arrived)
            return
        outbox.change(
            tx,
            post_id,
            **arrived,
            state=State.DELIVERED,
            delivered_at=tx.now,
            error=None,
            next_at=None,
        )
        self._tell(tx, post_id)

    def _failed(
        self,
        tx: Transaction,
        post_id: int,
        reason: str,
        permanent: bool,
        retry_after: float | None,
        uncertain: bool,
    ) -> None:
        post = outbox.get(tx, post_id)
        # A pause that the platform asks for is no failure (spec/architecture.md, protocol 7).
        attempts = post.attempts + (retry_after is None or uncertain)
        if uncertain:
            outbox.change(tx, post_id, recovered=True)
        if permanent or attempts >= MAX_ATTEMPTS:
            log.warning("post %s failed for good: %s", post_id, reason)
            outbox.change(tx, post_id, state=State.FAILED, attempts=attempts, error=capped(reason, 500), next_at=None)
        else:
            wait = retry_after if retry_after is not None else _backoff(attempts)
            outbox.change(
                tx,
                post_id,
                state=State.PENDING,
                attempts=attempts,
                error=capped(reason, 500),
                next_at=tx.now + int(wait * 1000),
            )
        self._tell(tx, post_id)

    def _drop(self, tx: Transaction, post_id: int) -> outbox.Post:
        _undelivered(tx, post_id)
        outbox.change(tx, post_id, state=State.DROPPED, next_at=None)
        self._tell(tx, post_id)
        tx.after_commit(self.wake)
        tx.after_commit(self._relay.moved)
        return outbox.get(tx, post_id)

    def _tell(self, tx: Transaction, post_id: int) -> None:
        post = outbox.get(tx, post_id)
        if post.state is State.PENDING:
            return
        data = {
            "messageId": str(post.id),
            "state": post.state.value,
            "error": post.error,
            "route": route_json(post.route),
        }
        self._events.append(tx, "delivery", data, session_id=post.session_id, session_key=post.session_key)


def _sendable(tx: Transaction) -> tuple[list[outbox.Post], int]:
    return outbox.sendable(tx), tx.now


def outgoing(post: outbox.Post, route: Route) -> Post:
    """A row as its channel gets it; what is known to stand on the platform for it already is replaced."""
    return Post(
        post.id,
        route,
        post.text,
        kind=post.kind,
        recovered=post.recovered,
        replaces=post.platform_id,
        copied=post.copied,
        streamed=post.streamed,
        card=Card.from_json(post.card) if post.card else None,
        buttons=buttons_from(post.buttons),
        created_at=post.created_at,
    )


def channel_of(post: outbox.Post) -> str:
    """The name of the channel that a post goes through."""
    return Route.from_json(post.route).channel


def _mark_sending(tx: Transaction, route: str) -> outbox.Post | None:
    for post in outbox.sendable(tx):
        if post.route == route:
            outbox.change(tx, post.id, state=State.SENDING)
            return post
    return None


def _reopen(tx: Transaction, post_id: int) -> outbox.Post:
    _undelivered(tx, post_id)
    outbox.change(tx, post_id, state=State.PENDING, attempts=0, next_at=None, error=None)
    return outbox.get(tx, post_id)


def _undelivered(tx: Transaction, post_id: int) -> None:
    post = outbox.get(tx, post_id)
    if post.state not in (State.FAILED, State.PENDING, State.HELD, State.DROPPED):
        raise LookupError(f"post {post_id} is {post.state.value}: only an undelivered one can be retried or dropped")


def _backoff(attempts: int) -> float:
    wait = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2 ** (attempts - 1))
    return wait * random.uniform(0.8, 1.2)  # noqa: S311 - jitter, not a secret
