"""What goes out to one Slack workspace: posts, edits, cards, streams, marks, threads.

Every message carries its outbox id in its metadata, so that one which may have arrived is looked for instead of being
sent twice (spec/channels.md 6). Nothing here survives a crash, and nothing needs to.
"""

from __future__ import annotations

from collections import OrderedDict

import aiohttp

from channels.slack import blocks, markdown
from channels.slack.client import Api, Payload, part
from channels.slack.identity import Identity, Names
from channels.slack.stream import Edits, Stream
from gateway.channel import DeliveryError, Live, Mark, Opening, Post
from gateway.routes import Route

POST, THREAD = "laneway_post", "laneway_thread"
"""Types of our metadata."""
REACTIONS = {Mark.WORKING: "eyes", Mark.DONE: "white_check_mark", Mark.FAILED: "warning"}
UNREADABLE = frozenset(("invalid_blocks", "invalid_markdown", "markdown_text_conflict", "invalid_blocks_format"))
"""Slack can't render it: the text is sent as it is."""
NOT_STREAMING = frozenset(("message_not_in_streaming_state", "message_not_found", "streaming_state_conflict"))
GONE = "message_not_found"
RECIPIENTS = 5_000
LOOK_BACK_SECONDS = 10.0
"""Slack's clock and ours may differ by so much."""
PAGE = 200
OK = 200


class Posts:
    """Sends to one workspace."""

    def __init__(self, account: str, api: Api, names: Names, http: aiohttp.ClientSession) -> None:
        self.identity: Identity | None = None
        self._account = account
        self._api = api
        self._names = names
        self._http = http
        self._recipients: OrderedDict[Route, tuple[str, str]] = OrderedDict()
        """Route → who has spoken there last, and his team: a stream in a channel is begun for somebody."""
        self._streams: dict[str, Stream] = {}
        """Message → the stream that it is."""

    def spoke(self, route: Route, user: str, team: str) -> None:
        """Somebody has written on a route."""
        self._recipients[route] = (user, team)
        self._recipients.move_to_end(route)
        while len(self._recipients) > RECIPIENTS:
            self._recipients.popitem(last=False)

    async def post(self, post: Post) -> str | None:
        """See `Channel.post`."""
        if self.identity is None:
            raise DeliveryError("Slack isn't connected yet")
        if post.kind == "retract":
            await self._retract(post)
            return None
        replaces = post.replaces
        if post.recovered and replaces is None:
            replaces = await self._arrived(post)
            if replaces is not None and not post.streamed:
                return replaces
        if replaces is not None:
            try:
                return await self._replace(post, replaces)
            except DeliveryError as error:
                if error.code != GONE:
                    raise
        return await self._send(post)

    # ---- messages ----

    async def _send(self, post: Post) -> str:
        where: Payload = {"channel": post.route.chat, "thread_ts": post.route.thread, "metadata": _metadata(post)}
        try:
            answer = await self._api("chat_postMessage", **where, unfurl_links=False, **self._content(post))
        except DeliveryError as error:
            if error.code not in UNREADABLE:
                raise
            text = markdown.plain(post.text)
            answer = await self._api("chat_postMessage", **where, text=text, mrkdwn=False)
        return str(answer["ts"])

    async def _replace(self, post: Post, ts: str) -> str:
        stream = self._streams.pop(ts, None)
        text = markdown.harmless(post.text, self._names.users)
        if post.streamed:
            await self._stop(post.route, ts, _metadata(post))
            if stream is not None and stream.shown == text and not post.buttons:
                return ts
        content = self._content(post)
        try:
            await self._api("chat_update", channel=post.route.chat, ts=ts, metadata=_metadata(post), **content)
        except DeliveryError as error:
            if error.code not in UNREADABLE:
                raise
            await self._api("chat_update", channel=post.route.chat, ts=ts, text=markdown.plain(post.text))
        return ts

    def _content(self, post: Post) -> Payload:
        """What a message shows."""
        if post.card is not None:
            return {"text": markdown.plain(post.card.text()), "blocks": blocks.card_blocks(post.card)}
        if post.buttons:
            return {"text": markdown.plain(post.text), "blocks": blocks.text_blocks(post.text, post.buttons)}
        return {"markdown_text": markdown.harmless(post.text, self._names.users)}

    async def _retract(self, post: Post) -> None:
        ts = post.replaces or (await self._arrived(post) if post.recovered else None)
        if ts is None:
            return
        self._streams.pop(ts, None)
        await self._stop(post.route, ts, None)
        await self._api("chat_delete", channel=post.route.chat, ts=ts, ignore=frozenset((GONE,)))

    async def _arrived(self, post: Post) -> str | None:
        """The message as which an earlier try has arrived: by its metadata, or a stream that nobody has ended."""
        since = post.created_at / 1000 - LOOK_BACK_SECONDS
        for message in await self._ours(post.route, since):
            if _says(message, POST, "id") == str(post.id):
                return str(message["ts"])
            if post.streamed and not message.get("metadata") and str(message["ts"]) not in self._streams:
                return str(message["ts"])
        return None

    async def _ours(self, route: Route, since: float) -> list[Payload]:
        """The assistant's own messages in a place since a time."""
        bot = self.identity.bot if self.identity else ""
        found: list[Payload] = []
        cursor: str | None = None
        while True:
            page: Payload = {
                "channel": route.chat,
                "oldest": f"{max(0.0, since):.6f}",
                "limit": PAGE,
                "cursor": cursor,
                "include_all_metadata": True,
            }
            if route.thread is not None:
                answer = await self._api("conversations_replies", ts=route.thread, **page)
            else:
                answer = await self._api("conversations_history", **page)
            found += [each for each in answer.get("messages", []) if each.get("bot_id") == bot]
            cursor = str(part(answer, "response_metadata").get("next_cursor") or "") or None
            if cursor is None:
                return found

    # ---- streams ----

    async def stream(self, post: Post) -> Live:
        """See `Channel.stream`: a new stream, or edits of the message that one before a crash has left."""
        channel, thread = post.route.chat, post.route.thread
        if post.replaces is not None:
            await self._stop(post.route, post.replaces, None)
            return Edits(self._api, channel, post.replaces, self._names)
        user, team = self._recipients.get(post.route, ("", ""))
        if thread is None or (not user and not channel.startswith("D")):
            raise DeliveryError("there is no thread, or nobody is known to stream to", permanent=True)
        answer = await self._api(
            "chat_startStream",
            channel=channel,
            thread_ts=thread,
            recipient_user_id=user or None,
            recipient_team_id=team or None,
        )
        stream = Stream(self._api, channel, str(answer["ts"]), self._names)
        self._streams[stream.platform_id] = stream
        return stream

    async def _stop(self, route: Route, ts: str, metadata: Payload | None) -> None:
        await self._api("chat_stopStream", channel=route.chat, ts=ts, metadata=metadata, ignore=NOT_STREAMING)

    # ---- presence ----

    async def status(self, route: Route, *, active: bool) -> None:
        """The thread's status, with Slack's Stop button while the assistant is at work."""
        await self._api(
            "agents_sessions_setStatus",
            channel_id=route.chat,
            thread_ts=route.thread,
            status="processing" if active else "active",
        )

    async def mark(self, route: Route, message_id: str, mark: Mark) -> None:
        """One reaction at a time on a person's message."""
        ignore = frozenset(("already_reacted", "no_reaction", GONE))
        where = {"channel": route.chat, "timestamp": message_id}
        if mark is not Mark.WORKING:
            await self._api("reactions_remove", name=REACTIONS[Mark.WORKING], **where, ignore=ignore)
        if mark in REACTIONS:
            await self._api("reactions_add", name=REACTIONS[mark], **where, ignore=ignore)

    async def whisper(self, channel: str, user: str, thread: str | None, text: str) -> None:
        """A text that only one person sees."""
        block = {"type": "markdown", "text": markdown.harmless(text)[: blocks.MARKDOWN_CHARS]}
        await self._api(
            "chat_postEphemeral",
            channel=channel,
            user=user,
            thread_ts=thread,
            text=markdown.plain(text),
            blocks=[block],
        )

    # ---- threads and files ----

    async def open_thread(self, opening: Opening) -> Route:
        """See `Channel.open_thread`."""
        place = Route(opening.route.channel, self._account, opening.route.chat)
        ts = await self._opened(place, opening) if opening.recovered else None
        if ts is None:
            answer = await self._api(
                "chat_postMessage",
                channel=place.chat,
                markdown_text=markdown.harmless(opening.text[: markdown.ROOM]),
                metadata={"event_type": THREAD, "event_payload": {"key": opening.key}},
            )
            ts = str(answer["ts"])
        return Route(place.channel, place.account, place.chat, ts)

    async def close_thread(self, route: Route) -> None:
        """See `Channel.close_thread`."""
        if route.thread is not None:
            await self._api("chat_delete", channel=route.chat, ts=route.thread, ignore=frozenset((GONE,)))

    async def _opened(self, place: Route, opening: Opening) -> str | None:
        for message in await self._ours(place, 0.0):
            if _says(message, THREAD, "key") == opening.key:
                return str(message["ts"])
        return None

    async def download(self, url: str, limit: int) -> bytes:
        """A file that a person has sent.

        Raises:
            DeliveryError: it can't be had, or is larger than `limit` bytes.
        """
        headers = {"Authorization": f"Bearer {self._api.token}"}
        try:
            async with self._http.get(url, headers=headers, allow_redirects=False) as response:
                if response.status != OK or response.content_type == "text/html":
                    raise DeliveryError(f"Slack answered with status {response.status}", permanent=True)
                content = await response.content.read(limit + 1)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DeliveryError(f"Slack can't be reached: {error}") from error
        if len(content) > limit:
            raise DeliveryError(f"it is larger than {limit // 1024 // 1024} MB", permanent=True)
        return content


def _says(message: Payload, kind: str, field: str) -> str | None:
    """What a message's metadata of this type says."""
    metadata = part(message, "metadata")
    return str(part(metadata, "event_payload").get(field)) if metadata.get("event_type") == kind else None


def _metadata(post: Post) -> Payload:
    return {"event_type": POST, "event_payload": {"id": str(post.id)}}
