"""The workspace itself: who is in it, what was said, and what happens to it. Nothing here knows of HTTP.

Everything that changes goes through its methods, whoever causes it: a person of the driver or a call of the web API.
Each change wakes those who wait (`until`) and is told to `heard`, which makes events of it.
"""

from __future__ import annotations

import asyncio
import hashlib
import mimetypes
import re
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Protocol, TypeVar

from tests.standins.slack.errors import NotThere, Timeout
from tests.standins.slack.model import App, Call, Channel, File, Json, Kind, Message, Session, User
from tests.standins.slack.options import Options

T = TypeVar("T")
PATIENCE_SECONDS = 20.0


class Ears(Protocol):
    """Who is told what happened."""

    def posted(self, message: Message) -> None: ...
    def changed(self, message: Message, before: Json, *, tombstone: bool = False) -> None: ...
    def deleted(self, message: Message, before: Json) -> None: ...
    def reacted(self, message: Message, user: str, emoji: str, *, added: bool) -> None: ...
    def joined(self, channel: Channel, user: str) -> None: ...
    def before(self, message: Message) -> Json: ...


class Workspace:
    """State and what can happen to it."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.base_url = ""
        self.team_id = self.new_id("T", options.team)
        bot = options.app.lower()
        self.app = App(
            id=self.new_id("A", bot),
            name=options.app,
            bot_id=self.new_id("B", bot),
            user_id=self.new_id("U", bot),
            bot_token=options.bot_token,
            app_token=options.app_token,
            config_token=options.config_token,
            signing_secret=options.signing_secret,
            scopes=set(options.scopes),
            events=set(options.events),
            commands=set(options.commands),
            request_url=options.request_url,
        )
        self.users: dict[str, User] = {}
        self.channels: dict[str, Channel] = {}
        self.files: dict[str, File] = {}
        self.ephemerals: list[Message] = []
        self.sessions: dict[tuple[str, str], Session] = {}
        """Agent sessions by channel and thread."""
        self.statuses: dict[tuple[str, str], tuple[str, float]] = {}
        """Assistant status by channel and thread, and when it was set (`time.monotonic()`)."""
        self.titles: dict[tuple[str, str], str] = {}
        self.calls: list[Call] = []
        self.limited: Counter[str] = Counter()
        """How often each method was answered 429, by the limits or on demand."""
        self.faults: list[str] = []
        self.ears: Ears | None = None
        self.link: Callable[[], str] | None = None
        """Makes the address of a socket."""
        self.version = 0
        """Rises with every change."""
        self._last_ts = 0
        self._change = asyncio.Event()
        self.users[self.app.user_id] = User(id=self.app.user_id, name=bot, is_bot=True)

    # ------------------------------------------------------------------ small things

    def new_id(self, letter: str, name: str) -> str:
        """An id that is the same in every run for the same name, readable, and unlike another workspace's."""
        slug = re.sub(r"[^A-Z0-9]", "", name.upper())[:8]
        return f"{letter}{slug}{hashlib.sha256(f'{self.options.team}/{name}'.encode()).hexdigest()[:6].upper():0>8}"

    def new_ts(self) -> str:
        """A timestamp that no message had before, rising."""
        self._last_ts = max(self._last_ts + 1, time.time_ns() // 1000)
        return f"{self._last_ts // 1_000_000}.{self._last_ts % 1_000_000:06d}"

    def fault(self, text: str) -> None:
        """Records what a correct client would not have done."""
        self.faults.append(text)
        self.touch()

    def write(self, record: Json) -> None:
        """A line in the log, where there is one."""

    def touch(self) -> None:
        """Something has changed: whoever waits looks again."""
        self.version += 1
        self._change.set()
        self._change = asyncio.Event()

    async def next_change(self) -> None:
        """Waits until anything changes."""
        await self._change.wait()

    async def until_version(self, version: int, seconds: float) -> None:
        """Waits until something has changed since a version, or the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while self.version <= version:
                    await self._change.wait()
        except TimeoutError:
            return

    async def until(self, found: Callable[[], T | None], what: str, seconds: float = PATIENCE_SECONDS) -> T:
        """Waits until a look at the workspace finds something.

        Raises:
            Timeout: after so many seconds, with the faults so far.
        """
        try:
            async with asyncio.timeout(seconds):
                while not (result := found()):
                    await self._change.wait()
                return result
        except TimeoutError:
            faults = "".join(f"\n  fault: {fault}" for fault in self.faults)
            raise Timeout(f"no {what} within {seconds} s{faults}") from None

    # ------------------------------------------------------------------ people and places

    def add_user(self, name: str) -> User:
        """The person of this name, new or known."""
        user_id = self.new_id("U", name)
        return self.users.setdefault(user_id, User(id=user_id, name=name))

    def add_channel(self, name: str, *, kind: Kind, members: Iterable[str], bot: bool | None) -> Channel:
        """A conversation with a name, new or known; who isn't in it yet joins silently.

        Args:
            name: without `#`.
            kind: of a new one.
            members: ids of who is in it now, besides those who were.
            bot: whether the bot is; None is that it is in a new one, and that nothing changes in a known one.
        """
        channel_id = self.new_id("C", name)
        fresh = channel_id not in self.channels
        if fresh:
            self.channels[channel_id] = Channel(id=channel_id, name=name, kind=kind, created=int(time.time()))
        channel = self.channels[channel_id]
        channel.members.update(members)
        if fresh if bot is None else bot:
            channel.members.add(self.app.user_id)
        return channel

    def direct(self, user_id: str) -> Channel:
        """The direct conversation of a user with the bot."""
        channel_id = self.new_id("D", self.users[user_id].name)
        members = {user_id, self.app.user_id}
        fresh = Channel(id=channel_id, name="directmessage", kind=Kind.DIRECT, members=members)
        return self.channels.setdefault(channel_id, fresh)

    def find(self, channel: str, ts: str) -> Message:
        """A message that a test speaks of, ephemeral ones included.

        Raises:
            NotThere: there is none.
        """
        if (message := self.channels[channel].messages.get(ts)) is not None:
            return message
        for message in self.ephemerals:
            if (message.channel, message.ts) == (channel, ts):
                return message
        raise NotThere(f"no message {ts} in {channel}")

    def join(self, channel: Channel, user_id: str) -> None:
        """Somebody comes in."""
        channel.members.add(user_id)
        if self.ears:
            self.ears.joined(channel, user_id)
        self.touch()

    def leave(self, channel: Channel, user_id: str) -> None:
        """Somebody goes, or is removed."""
        channel.members.discard(user_id)
        channel.former.add(user_id)
        self.touch()

    # ------------------------------------------------------------------ messages

    def post(self, message: Message) -> Message:
        """A message appears; an ephemeral one only to its reader."""
        if message.ephemeral_for:
            self.ephemerals.append(message)
        else:
            self.channels[message.channel].messages[message.ts] = message
            if message.by_app:  # docs.slack.dev/reference/methods/assistant.threads.setStatus: a reply clears it
                self.statuses.pop((message.channel, message.root), None)
            if self.ears:
                self.ears.posted(message)
        self.touch()
        return message

    def edit(self, message: Message, *, silent: bool = False, edited: bool = True, **fields: Any) -> bool:
        """Changes a message.

        Args:
            message: which.
            silent: no event; for what flows into a stream.
            edited: whether it is marked as edited.
            fields: new values of its attributes.

        Returns:
            Whether anything is different now.
        """
        before = self.ears.before(message) if self.ears else {}
        different = any(getattr(message, name) != value for name, value in fields.items())
        for name, value in fields.items():
            setattr(message, name, value)
        if not different:
            return False
        message.edits += 1
        if edited:
            message.edited = self.new_ts()
        if self.ears and not silent:
            self.ears.changed(message, before)
        self.touch()
        return True

    def delete(self, message: Message) -> None:
        """A message goes. A parent with replies stays as a tombstone, as in Slack."""
        channel = self.channels[message.channel]
        before = self.ears.before(message) if self.ears else {}
        if not message.thread_ts and channel.replies(message.ts):
            message.subtype, message.text = "tombstone", "This message was deleted."
            message.blocks, message.files, message.user = [], [], "USLACKBOT"
            if self.ears:
                self.ears.changed(message, before, tombstone=True)
        else:
            channel.messages.pop(message.ts, None)
            channel.deleted.add(message.ts)
            if self.ears:
                self.ears.deleted(message, before)
        self.touch()

    def stream_state(self, message: Message) -> str | None:
        """How a message's stream stands now; None if it is none. It ends by itself in time."""
        stream = message.stream
        if stream is None:
            return None
        if stream.state == "in_progress" and time.monotonic() - stream.started > self.options.stream_seconds:
            stream.state = "expired"
        return stream.state

    def react(self, message: Message, user_id: str, emoji: str, *, added: bool = True) -> bool:
        """Somebody adds or takes back a reaction; False if that changes nothing."""
        users = message.reactions.get(emoji, [])
        if (user_id in users) is added:
            return False
        users = [*users, user_id] if added else [one for one in users if one != user_id]
        message.reactions[emoji] = users
        if not users:
            del message.reactions[emoji]
        if self.ears:
            self.ears.reacted(message, user_id, emoji, added=added)
        self.touch()
        return True

    def add_file(self, name: str, content: bytes, user_id: str, title: str = "") -> File:
        """A file is uploaded; its type follows from its name."""
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        file = File(
            id=self.new_id("F", f"{len(self.files)}{name}"),
            name=name,
            title=title or name,
            media_type=media_type,
            content=content,
            user=user_id,
            created=int(time.time()),
        )
        self.files[file.id] = file
        return file

    def typed_by(self, user_id: str, channel: str, text: str, **more: Any) -> Message:
        """A message of a person, not posted yet."""
        return Message(
            channel=channel, ts=self.new_ts(), user=user_id, text=text, client_msg_id=str(uuid.uuid4()), **more
        )
