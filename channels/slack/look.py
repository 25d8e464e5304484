"""Looking for what was sent: whether a message is there whose sending nobody has recorded (spec/channels.md 6).

Every message carries in its metadata what it is. A stream that a crash has cut off carries nothing yet: it is the
assistant's only message that doesn't.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from channels.slack.client import Api, Payload, part
from gateway.channel import Opening, Post
from gateway.routes import Route

POST, THREAD = "laneway_post", "laneway_thread"
"""Types of our metadata."""
NO_THREAD = "thread_not_found"
LOOK_BACK_SECONDS = 300.0
"""Slack's clock and ours may differ by so much; Slack's signatures allow no more."""
PAGE = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A message of the assistant's."""

    ts: str
    thread: str | None
    """Where it really is."""


def post_metadata(post: Post) -> Payload:
    """What a post carries."""
    return {"event_type": POST, "event_payload": {"id": _post_key(post)}}


def thread_metadata(opening: Opening) -> Payload:
    """What the first message of a thread carries that was opened for a sub-agent."""
    return {"event_type": THREAD, "event_payload": {"key": opening.key}}


class Finder:
    """Looks at one workspace."""

    def __init__(self, api: Api, bot: Callable[[], str]) -> None:
        """
        Args:
            api: the workspace.
            bot: the assistant's bot id.
        """
        self._api = api
        self._bot = bot

    async def arrived(self, post: Post, streams: Callable[[str], bool]) -> Found | None:
        """The message as which an earlier try has arrived, wherever that was.

        Args:
            post: that is looked for.
            streams: whether a message is known to be another post's stream.
        """

        def fits(message: Payload) -> bool:
            if _says(message, POST, "id") == _post_key(post):
                return True
            return post.streamed and not message.get("metadata") and not streams(str(message["ts"]))

        since = post.created_at / 1000 - LOOK_BACK_SECONDS
        found = await self._first(post.route, since, fits)
        if found is None and post.route.thread is not None:
            place = Route(post.route.channel, post.route.account, post.route.chat)
            if not await self._there(post.route):  # Slack may have put it to the top level instead
                found = await self._first(place, since, fits)
        return found

    async def carries(self, post: Post, ts: str) -> bool:
        """Whether a message has been turned into this post, at least partly."""
        answer = await self._page(post.route, oldest=ts, latest=ts, inclusive=True)
        messages: list[Payload] = answer.get("messages", [])
        return any(message["ts"] == ts and _says(message, POST, "id") == _post_key(post) for message in messages)

    async def opened(self, place: Route, opening: Opening) -> str | None:
        """The first message of a thread that may have been opened."""
        since = opening.created_at / 1000 - LOOK_BACK_SECONDS
        found = await self._first(place, since, lambda message: _says(message, THREAD, "key") == opening.key)
        return found.ts if found else None

    async def _there(self, route: Route) -> bool:
        """Whether a thread exists."""
        return bool((await self._page(route, limit=1)).get("ok", True))

    async def _first(self, route: Route, since: float, fits: Callable[[Payload], bool]) -> Found | None:
        """The first of the assistant's own messages in a place, since a time, that fits."""
        cursor: str | None = None
        while True:
            answer = await self._page(route, oldest=f"{max(0.0, since):.6f}", limit=PAGE, cursor=cursor)
            messages: list[Payload] = answer.get("messages", [])
            for message in messages:
                if message.get("bot_id") == self._bot() and fits(message):
                    return Found(str(message["ts"]), _thread(message))
            cursor = str(part(answer, "response_metadata").get("next_cursor") or "") or None
            if cursor is None:
                return None

    async def _page(self, route: Route, **bounds: object) -> Payload:
        where: Payload = {"channel": route.chat, "include_all_metadata": True, **bounds}
        if route.thread is None:
            return await self._api("conversations_history", **where)
        return await self._api("conversations_replies", ts=route.thread, ignore=frozenset((NO_THREAD,)), **where)


def _thread(message: Payload) -> str | None:
    """The thread of a reply; a message that a thread begins with is at top level."""
    thread = message.get("thread_ts")
    return str(thread) if thread and thread != message["ts"] else None


def _post_key(post: Post) -> str:
    """An outbox id is used again after the state folder was made anew: the time tells the two apart."""
    return f"{post.id}.{post.created_at}"


def _says(message: Payload, kind: str, field: str) -> str | None:
    """What a message's metadata of this type says."""
    metadata = part(message, "metadata")
    return str(part(metadata, "event_payload").get(field)) if metadata.get("event_type") == kind else None
