"""What Slack sends, turned into what the gateway takes in: messages, edits, commands, buttons, its own Stop button.

One mention arrives twice, as `message` and as `app_mention`; both have the same place and time, and so the same key.
Events of the assistant itself and of other bots are dropped first. What comes from one thread is taken in in its order,
so that no edit overtakes its message, and no message the one before.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from channels.slack import markdown, texts
from channels.slack.client import Payload, part
from channels.slack.identity import Identity, Names
from channels.slack.order import Order
from channels.slack.posts import Posts
from gateway.channel import DeliveryError, Intake
from gateway.config.channels import SlackAccount
from gateway.routes import Accepted, Incoming, Press, RemoteFile, Route
from gateway.tasks import TaskSet

NAME = "slack"
SPOKEN = frozenset((None, "file_share", "thread_broadcast", "me_message"))
"""Subtypes of messages that a person has written."""


class Events:
    """Takes what comes in for one account."""

    def __init__(
        self,
        account: str,
        policy: Callable[[], SlackAccount],
        identity: Identity,
        intake: Intake,
        names: Names,
        posts: Posts,
        tasks: TaskSet,
    ) -> None:
        self._account = account
        self._policy = policy
        self._identity = identity
        self._intake = intake
        self._names = names
        self._posts = posts
        self._tasks = tasks
        self._order = Order()

    async def take(self, body: Payload) -> Payload | None:
        """Handles one payload; when this returns it is committed. Returns what Slack is to show at once."""
        if body.get("command"):
            return await self._command(body)
        if body.get("type") == "block_actions":
            await self._pressed(body)
            return None
        event = part(body, "event")
        kind = event.get("type")
        if kind in ("message", "app_mention"):
            await self._message(event)
        elif kind == "agent_session_stopped":
            await self._stopped(event)
        return None

    # ---- messages ----

    async def _message(self, event: Payload) -> None:
        subtype = event.get("subtype")
        if subtype == "message_changed":
            await self._edited(event)
        elif subtype == "message_deleted":
            await self._changed(event, part(event, "previous_message"), None)
        elif subtype in SPOKEN and self._from_person(event):
            route = self._route(event, event)
            async with self._order.of(route):
                await self._intake.receive(await self._incoming(event, route))

    def _from_person(self, event: Payload) -> bool:
        user = event.get("user")
        return bool(user) and user != self._identity.user and not event.get("bot_id")

    async def _incoming(self, event: Payload, route: Route) -> Incoming:
        raw, user, channel = str(event.get("text", "")), str(event["user"]), str(event["channel"])
        kind = await self._names.kind(channel, event.get("channel_type"))
        name = await self._names.of_user(user)
        for mentioned in markdown.mentions(raw):
            if mentioned != self._identity.user:
                await self._names.of_user(mentioned)
        self._posts.spoke(route, user, str(event.get("team") or event.get("user_team") or self._identity.team))
        return Incoming(
            route,
            kind,
            user,
            name,
            markdown.incoming(raw, self._identity.user, self._names.known),
            str(event["ts"]),
            addressed=event.get("type") == "app_mention"
            or self._identity.user in markdown.mentions(raw)
            or event.get("parent_user_id") == self._identity.user,
            files=tuple(self._file(each) for each in event.get("files") or ()),
        )

    def _route(self, event: Payload, message: Payload) -> Route:
        """Where an answer goes: into the message's thread; one at top level begins a thread, or is answered beside."""
        channel = str(event.get("channel", ""))
        direct = event.get("channel_type") == "im" or channel.startswith("D")
        thread = message.get("thread_ts")
        if thread == message.get("ts"):  # of a thread it is the head, which was at top level when it came
            thread = None
        if thread is None and not direct and self._policy().reply_to_mode != "channel":
            thread = message.get("ts")
        return Route(NAME, self._account, channel, str(thread) if thread else None)

    async def _edited(self, event: Payload) -> None:
        message, before = part(event, "message"), part(event, "previous_message")
        if message.get("subtype") == "tombstone":  # so a message is deleted that has replies
            await self._changed(event, before, None)
        elif self._from_person(message) and message.get("text") != before.get("text"):
            text = markdown.incoming(str(message.get("text", "")), self._identity.user, self._names.known)
            await self._changed(event, message, text)

    async def _changed(self, event: Payload, message: Payload, text: str | None) -> None:
        ts = str(message.get("ts") or event.get("deleted_ts") or "")
        route = self._route(event, {"ts": ts, **message})
        async with self._order.of(route):
            await self._intake.changed(route, ts, text)

    def _file(self, file: Payload) -> RemoteFile:
        url = str(file.get("url_private_download") or file.get("url_private") or "")

        async def fetch(limit: int) -> bytes:
            return await self._posts.download(url, limit)

        size = file.get("size")
        return RemoteFile(
            str(file.get("name") or "file"),
            str(file.get("mimetype") or ""),
            int(size) if isinstance(size, int) else None,
            fetch,
        )

    # ---- commands, buttons, stop ----

    async def _command(self, body: Payload) -> Payload:
        """`/laneway …`: carries no thread, so that it is for the newest one in which its writer has spoken here."""
        channel, user = str(body.get("channel_id", "")), str(body.get("user_id", ""))
        place = Route(NAME, self._account, channel)
        kind = await self._names.kind(channel, None)
        route = await self._intake.newest_thread(place, user) if kind != "direct" else None
        text = texts.command(str(body.get("text", "")))
        accepted = await self._intake.receive(
            Incoming(
                route or place,
                kind,
                user,
                await self._names.of_user(user),
                text,
                str(body.get("trigger_id", "")),
                addressed=True,
            ),
            quiet=True,
        )
        place = texts.about(self._link(route), kind) if accepted.reply else ""
        return texts.ephemeral(_reply(accepted), place)

    def _link(self, route: Route | None) -> str | None:
        """The address of a thread's first message."""
        if route is None or route.thread is None:
            return None
        return f"{self._identity.url}archives/{route.chat}/p{route.thread.replace('.', '')}"

    async def _pressed(self, body: Payload) -> None:
        user = str(part(body, "user").get("id", ""))
        channel = str(part(body, "channel").get("id") or part(body, "container").get("channel_id") or "")
        thread = part(body, "message").get("thread_ts") or part(body, "container").get("thread_ts")
        kind = await self._names.kind(channel, None)
        for action in cast("list[Payload]", body.get("actions") or []):
            token = str(action.get("value") or "")
            accepted = await self._intake.press(
                Press(
                    Route(NAME, self._account, channel, str(thread) if thread else None),
                    kind,
                    user,
                    await self._names.of_user(user),
                    token,
                    f"{action.get('action_ts') or body.get('trigger_id')}:{token}",
                )
            )
            if accepted.reply:
                self._tasks.spawn(self._whisper(channel, user, thread, accepted.reply), "slack:whisper")

    async def _whisper(self, channel: str, user: str, thread: Any, text: str) -> None:
        try:
            await self._posts.whisper(channel, user, str(thread) if thread else None, text)
        except DeliveryError as error:
            texts.log.info("what a button did isn't shown: %s", error)

    async def _stopped(self, event: Payload) -> None:
        """Slack's own Stop button ends the turn of that thread."""
        channel, user = str(event.get("channel", "")), str(event.get("user", ""))
        thread = event.get("thread_ts")
        await self._intake.receive(
            Incoming(
                Route(NAME, self._account, channel, str(thread) if thread else None),
                await self._names.kind(channel, None),
                user,
                await self._names.of_user(user),
                "/stop turn",
                f"stop:{event.get('event_ts', '')}",
                addressed=True,
            )
        )


def _reply(accepted: Accepted) -> str:
    if accepted.duplicate:
        return "This was answered already."
    return accepted.reply or "You may not do that here."
