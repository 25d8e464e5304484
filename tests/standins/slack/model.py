"""The nouns of a workspace: people, conversations, messages, files."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


class Kind(StrEnum):
    """What kind of conversation; the value is `channel_type` in events."""

    PUBLIC = "channel"
    PRIVATE = "group"
    DIRECT = "im"
    GROUP = "mpim"
    """A direct conversation of several."""

    @property
    def scope(self) -> str:
        """How scopes and event names speak of it: `channels:history`, `message.groups`, `im:read`."""
        return {"channel": "channels", "group": "groups", "im": "im", "mpim": "mpim"}[self.value]


@dataclass(slots=True, kw_only=True)
class User:
    """Somebody, or the bot."""

    id: str
    name: str
    is_bot: bool = False
    deleted: bool = False


@dataclass(slots=True, kw_only=True)
class App:
    """The installed app: who it is, what it may do, and what it hears."""

    id: str
    name: str
    bot_id: str
    user_id: str
    """Of the bot user, the one that people mention."""
    bot_token: str
    app_token: str
    config_token: str
    signing_secret: str
    scopes: set[str]
    events: set[str]
    commands: set[str]
    request_url: str | None = None
    broken: str | None = None
    """An error that every call of the bot token gets: account_inactive, token_revoked, …"""


@dataclass(slots=True, kw_only=True)
class File:
    """An uploaded file."""

    id: str
    name: str
    title: str
    media_type: str
    content: bytes
    user: str
    created: int
    channels: list[str] = field(default_factory=list[str])


@dataclass(slots=True, kw_only=True)
class Stream:
    """The streaming side of a message."""

    started: float
    """`time.monotonic()`."""
    mode: str = "timeline"
    state: str = "in_progress"
    """in_progress, completed, stopped (by a person) or expired."""
    plan: str | None = None
    tasks: dict[str, Json] = field(default_factory=dict[str, Json])
    """By id, in the order of their first mention."""
    extra: list[Json] = field(default_factory=list[Json])
    """Blocks from chunks and from the stop."""


@dataclass(slots=True, kw_only=True)
class Message:
    """One message; `ts` is its id within its channel."""

    channel: str
    ts: str
    user: str
    text: str = ""
    thread_ts: str | None = None
    """Of the parent; None on top level, also for a parent."""
    subtype: str | None = None
    by_app: bool = False
    markdown: bool = False
    """The text came as `markdown_text`."""
    blocks: list[Json] = field(default_factory=list[Json])
    attachments: list[Json] = field(default_factory=list[Json])
    metadata: Json | None = None
    files: list[File] = field(default_factory=list[File])
    reactions: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Users by emoji."""
    broadcast: bool = False
    edited: str | None = None
    """When it was last edited, as a ts."""
    edits: int = 0
    """How often its content was changed."""
    stream: Stream | None = None
    ephemeral_for: str | None = None
    """Only this user sees it; it is in no history."""
    client_msg_id: str | None = None
    username: str | None = None

    @property
    def root(self) -> str:
        """The ts of its thread, or of itself."""
        return self.thread_ts or self.ts


@dataclass(slots=True, kw_only=True)
class Channel:
    """A conversation and its messages."""

    id: str
    name: str
    kind: Kind
    members: set[str] = field(default_factory=set[str])
    former: set[str] = field(default_factory=set[str])
    """Who was a member once."""
    archived: bool = False
    created: int = 0
    creator: str = ""
    messages: dict[str, Message] = field(default_factory=dict[str, Message])
    """By ts, oldest first."""
    deleted: set[str] = field(default_factory=set[str])
    """ts of messages that are gone."""

    def replies(self, root: str) -> list[Message]:
        """The replies of a thread, oldest first, without their parent."""
        return [message for message in self.messages.values() if message.thread_ts == root]


@dataclass(slots=True, kw_only=True)
class Session:
    """An agent session: a thread that the app works in."""

    status: str
    title: str | None = None
    initiator: str | None = None


@dataclass(slots=True, kw_only=True)
class Call:
    """One call of the web API, as it arrived and as it ended."""

    number: int
    at: float
    """`time.monotonic()` of its arrival."""
    method: str
    args: Json
    outcome: str = "open"
    """ok, an error code, an HTTP status, `dropped`, or `open` while it is being answered."""
    applied: bool = False
    """Whether it took effect."""
    answered: bool = False
    """Whether the answer was written in full."""
