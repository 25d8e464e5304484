"""What goes out to one Slack workspace: posts, edits, cards, streams, marks, threads.

Every message carries its outbox id in its metadata, so that one which may have arrived is looked for instead of being
sent twice (spec/channels.md 6). A reply to a thread whose first message was deleted is put to the top level by Slack:
it is taken back, because an answer belongs nowhere else. Nothing here survives a crash, and nothing needs to.
"""

from __future__ import annotations

from collections import OrderedDict

import aiohttp

from channels.slack import blocks, markdown
from channels.slack.client import PAUSE, Api, Payload, part
from channels.slack.identity import Identity, Names
from channels.slack.look import Finder, post_metadata, thread_metadata
from channels.slack.pace import Pace
from channels.slack.stream import ENDED, Edits, Stream
from gateway.channel import DeliveryError, Live, Mark, Opening, Post
from gateway.routes import Route

REACTIONS = {Mark.WORKING: "eyes", Mark.DONE: "white_check_mark", Mark.FAILED: "warning"}
UNREADABLE = frozenset(
    ("invalid_blocks", "invalid_markdown", "markdown_text_conflict", "invalid_blocks_format", "msg_blocks_too_long")
)
"""Slack can't render it: the text is sent as it is."""
GONE = "message_not_found"
NOT_STREAMING = frozenset((ENDED, GONE, "streaming_state_conflict"))
FIXED = frozenset((GONE, "cant_update_message", "edit_window_closed"))
"""The message can't be changed: what it was to become is posted below."""
REMEMBERED = 5_000
NOT_YET_SECONDS = 2.0
DOWNLOAD_SECONDS = 120.0
OK = 200


class Posts:
    """Sends to one workspace."""

    def __init__(self, account: str, api: Api, names: Names, http: aiohttp.ClientSession) -> None:
        self.identity: Identity | None = None
        self._account = account
        self._api = api
        self._names = names
        self._http = http
        self._finder = Finder(api, lambda: self.identity.bot if self.identity else "")
        self._pace = Pace()
        self._recipients: OrderedDict[Route, tuple[str, str]] = OrderedDict()
        """Route → who has spoken there last, and his team: a stream in a channel is begun for somebody."""
        self._live: dict[str, Stream | Edits] = {}
        """Message → how it is being written."""

    def spoke(self, route: Route, user: str, team: str) -> None:
        """Somebody has written on a route."""
        self._recipients[route] = (user, team)
        self._recipients.move_to_end(route)
        while len(self._recipients) > REMEMBERED:
            self._recipients.popitem(last=False)

    @property
    def live(self) -> int:
        """How many answers are being written."""
        return len(self._live)

    async def post(self, post: Post) -> str | None:
        """See `Channel.post`."""
        if self.identity is None:
            raise DeliveryError("Slack isn't connected yet", retry_after=NOT_YET_SECONDS)
        if post.kind == "retract":
            await self._retract(post)
            return None
        replaces = post.replaces
        if post.recovered and replaces is None:
            found = await self._finder.arrived(post, self._live.__contains__)
            if found is not None:
                await self._in_place(post.route, found.ts, found.thread)
                if not post.streamed:
                    return found.ts
                replaces = found.ts
        if replaces is not None:
            try:
                return await self._replace(post, replaces)
            except DeliveryError as error:
                if error.permanent:
                    self._live.pop(replaces, None)
                if error.code not in FIXED:
                    raise
        return await self._send(post)

    # ---- messages ----

    async def _send(self, post: Post) -> str:
        chat = post.route.chat
        self._wait_for_turn(post)
        where: Payload = {"channel": chat, "thread_ts": post.route.thread, "metadata": post_metadata(post)}
        try:
            answer = await self._readable("chat_postMessage", post, unfurl_links=False, **where)
        except DeliveryError as error:
            if error.code == PAUSE:
                self._pace.pause(chat, error.retry_after or 0.0)
                self._wait_for_turn(post)
            raise
        await self._in_place(post.route, str(answer["ts"]), _thread_of(answer))
        return str(answer["ts"])

    def _wait_for_turn(self, post: Post) -> None:
        """Puts a post off while others wait in its channel."""
        if (seconds := self._pace.wait(post.route.chat, post.id)) > 0:
            raise DeliveryError("Slack has asked for a pause in this channel", retry_after=seconds)

    async def _replace(self, post: Post, ts: str) -> str:
        """Turns a message into what the post says."""
        live = self._live.get(ts)
        metadata = post_metadata(post)
        if post.streamed and await self._streams(post, ts):
            answer = await self._stop(post.route, ts, metadata)
            if live is not None:
                live.streaming = False
            if answer.get("ok"):
                await self._in_place(post.route, ts, _thread_of(answer))
        text = markdown.harmless(post.text, self._names.users)
        if live is None or post.buttons or not live.holds(text):
            await self._readable("chat_update", post, channel=post.route.chat, ts=ts, metadata=metadata)
        self._live.pop(ts, None)
        return ts

    async def _streams(self, post: Post, ts: str) -> bool:
        """Whether Slack takes a message for a stream; asked where only an earlier process could know."""
        live = self._live.get(ts)
        return live.streaming if live is not None else not await self._finder.carries(post, ts)

    async def _readable(self, method: str, post: Post, **where: object) -> Payload:
        """Sends what a post shows, and its bare text if Slack can't render that."""
        try:
            return await self._api(method, **where, **self._content(post))
        except DeliveryError as error:
            if error.code not in UNREADABLE:
                raise
        return await self._api(method, **where, **blocks.bare(post.text))

    async def _in_place(self, route: Route, ts: str, thread: str | None) -> None:
        """Takes a message back that isn't in the thread that it was for.

        Raises:
            DeliveryError: it wasn't.
        """
        if route.thread in (None, thread) or await self._is_reply(route, ts):
            return
        await self._delete(route.chat, ts)
        raise DeliveryError("the thread was deleted, and an answer belongs nowhere else", permanent=True)

    async def _is_reply(self, route: Route, ts: str) -> bool:
        """Whether a message stands in the thread of a route, by its address."""
        answer = await self._api("chat_getPermalink", channel=route.chat, message_ts=ts)
        return f"thread_ts={route.thread}" in str(answer.get("permalink", ""))

    def _content(self, post: Post) -> Payload:
        """What a message shows."""
        if post.card is not None:
            return {"text": blocks.notice(post.card.text()), "blocks": blocks.card_blocks(post.card)}
        if post.buttons:
            return {"text": blocks.notice(post.text), "blocks": blocks.text_blocks(post.text, post.buttons)}
        return {"markdown_text": markdown.harmless(post.text, self._names.users)}

    async def _retract(self, post: Post) -> None:
        ts = post.replaces
        if ts is None and post.recovered:
            found = await self._finder.arrived(post, self._live.__contains__)
            ts = found.ts if found else None
        if ts is None:
            return
        if await self._streams(post, ts):
            await self._stop(post.route, ts, None)
        await self._delete(post.route.chat, ts)
        self._live.pop(ts, None)

    async def _delete(self, chat: str, ts: str) -> None:
        await self._api("chat_delete", channel=chat, ts=ts, ignore=frozenset((GONE,)))

    # ---- streams ----

    async def stream(self, post: Post) -> Live:
        """See `Channel.stream`: a new stream, or edits of the message that one before a crash has left."""
        channel, thread = post.route.chat, post.route.thread
        if (known := post.replaces) is not None:
            if await self._streams(post, known):
                await self._stop(post.route, known, post_metadata(post))
            live = self._live[known] = Edits(self._api, channel, known, self._names, post_metadata(post))
            return live
        user, team = self._recipients.get(post.route, ("", ""))
        if thread is None or (not user and not channel.startswith("D")):
            raise DeliveryError("there is no thread, or nobody is known to stream to", permanent=True)
        if self._pace.busy(channel):
            raise DeliveryError("posts wait in this channel", permanent=True)
        answer = await self._api(
            "chat_startStream",
            channel=channel,
            thread_ts=thread,
            recipient_user_id=user or None,
            recipient_team_id=team or None,
        )
        ts = str(answer["ts"])
        stream = self._live[ts] = Stream(self._api, channel, ts, self._names, post_metadata(post))
        await self._check_place(post.route, ts)
        return stream

    async def _check_place(self, route: Route, ts: str) -> None:
        """Before a stream shows a word: sees that it is in its thread, which Slack's answer doesn't tell."""
        try:
            there = await self._is_reply(route, ts)
        except DeliveryError:
            return  # the end of the stream tells it as well
        if not there:
            self._live.pop(ts, None)
            await self._stop(route, ts, None)
            await self._in_place(route, ts, None)

    async def _stop(self, route: Route, ts: str, metadata: Payload | None) -> Payload:
        return await self._api("chat_stopStream", channel=route.chat, ts=ts, metadata=metadata, ignore=NOT_STREAMING)

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
        where = {"channel": channel, "user": user, "thread_ts": thread}
        await self._api("chat_postEphemeral", **where, **blocks.private(text))

    # ---- threads and files ----

    async def open_thread(self, opening: Opening) -> Route:
        """See `Channel.open_thread`."""
        place = Route(opening.route.channel, self._account, opening.route.chat)
        ts = await self._finder.opened(place, opening) if opening.recovered else None
        if ts is None:
            ts = await self._open(place, opening)
        return Route(place.channel, place.account, place.chat, ts)

    async def _open(self, place: Route, opening: Opening) -> str:
        """Posts a thread's first message; looks for it if Slack's answer is lost."""
        text = markdown.harmless(blocks.shortened(opening.text, markdown.ROOM))
        try:
            answer = await self._api(
                "chat_postMessage",
                channel=place.chat,
                markdown_text=text,
                unfurl_links=False,
                metadata=thread_metadata(opening),
            )
        except DeliveryError as error:
            if error.uncertain and (ts := await self._finder.opened(place, opening)) is not None:
                return ts
            raise
        return str(answer["ts"])

    async def close_thread(self, route: Route) -> None:
        """See `Channel.close_thread`."""
        if route.thread is not None:
            await self._delete(route.chat, route.thread)

    async def download(self, url: str, limit: int) -> bytes:
        """A file that a person has sent.

        Raises:
            DeliveryError: it can't be had, or is larger than `limit` bytes.
        """
        headers = {"Authorization": f"Bearer {self._api.token}"}
        timeout = aiohttp.ClientTimeout(total=DOWNLOAD_SECONDS)
        try:
            async with self._http.get(url, headers=headers, allow_redirects=False, timeout=timeout) as response:
                if response.status != OK or response.content_type == "text/html":
                    raise DeliveryError(f"Slack answered with status {response.status}", permanent=True)
                content = bytearray()
                async for piece in response.content.iter_any():
                    content += piece
                    if len(content) > limit:
                        raise DeliveryError(f"it is larger than {limit // 1024 // 1024} MB", permanent=True)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise DeliveryError(f"Slack can't be reached: {type(error).__name__} {error}") from error
        return bytes(content)


def _thread_of(answer: Payload) -> str | None:
    """The thread in which a message stands, as Slack's answer tells it."""
    thread = part(answer, "message").get("thread_ts")
    return str(thread) if thread else None
