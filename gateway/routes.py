"""Routes and channels: where a message came from, and how an answer gets back there.

A channel turns a platform's events into `InboundMessage`s and a `Route` plus text into posts; it knows nothing of
agents. A route is stored with the inbox row, the run and the outbox row, and the answer goes to the route of the
message that asked, always (spec/channels.md).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Route:
    """An address on one channel. Two messages belong to the same conversation turn only if their routes are equal."""

    channel: str
    """The channel's name: `terminal`, `api`, `slack`, …"""
    account: str = "default"
    """Which of several accounts of that channel."""
    chat: str = ""
    """The platform's chat id; for `terminal` and `api` the session key."""
    thread: str | None = None
    """Thread, topic or request inside the chat."""

    def to_json(self) -> str:
        """The stored form; equal routes have equal texts, so that SQL can compare them."""
        return json.dumps({k: v for k, v in asdict(self).items() if v is not None}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Route:
        """The inverse of `to_json`."""
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Sender:
    """Who speaks, as the channel authenticated him."""

    id: str
    """`<channel>:<user id>`, compared with `owners`."""
    name: str = ""
    owner: bool = False
    """May use `exec`, approve commands and use operator commands."""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that a person sent, already stored on disk."""

    path: str
    media_type: str
    name: str = ""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message of a person, ready to be accepted."""

    route: Route
    session_key: str
    """The key of the session that it is for; made by the channel's key function."""
    text: str
    sender: Sender
    dedupe_key: str
    """Channel, account and the platform's id: a redelivered event is one message."""
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a channel can do. Asked before something is promised."""

    pull: bool = False
    """Readers fetch their posts from the event log, so that storing a post is delivering it."""
    held: bool = False
    """Posts wait in the outbox until their reader asks for them (the OpenAI-compatible API)."""
    asks: bool = True
    """A person reads along and can answer a question (approve a command)."""
    streaming: bool = False
    edits: bool = False
    threads: bool = False
    buttons: bool = False
    files: bool = False
    max_text: int | None = None
    """Longest post in characters; None is no limit."""


@dataclass(frozen=True, slots=True)
class Post:
    """One outbox row on its way to a platform."""

    id: int
    """The outbox id: stable over retries; put it into the platform's metadata where there is any."""
    route: Route
    text: str
    recovered: bool = False
    """The process died while this post was being sent: it may have arrived already."""
    replaces: str | None = None
    """Platform id of the streamed message that this text completes."""


class DeliveryError(Exception):
    """Posting failed.

    Args:
        permanent: never retried (chat not found, kicked).
        retry_after: seconds that the platform asked for.
    """

    def __init__(self, reason: str, *, permanent: bool = False, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.retry_after = retry_after


class Channel(Protocol):
    """A place where people talk to the assistant."""

    @property
    def name(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def start(self, intake: Intake) -> None:
        """Begins to take events and hands each to `intake`."""
        ...

    async def stop(self) -> None:
        """Takes no more events and ends all its tasks."""
        ...

    async def post(self, post: Post) -> str | None:
        """Posts a text and returns the platform's message id.

        Raises:
            DeliveryError: with what is known of why and when to try again.
        """
        ...

    async def typing(self, route: Route) -> None:
        """Shows that the assistant is at work. Best effort."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of an inbound message."""

    inbox_id: int | None
    """The durable row; None when a command answered it or it was refused."""
    duplicate: bool = False
    reply: str | None = None
    """A slash command's answer, or the notice that the message was dropped; the channel shows it at once."""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """A command's answer as data, for JSON surfaces."""


class Intake(Protocol):
    """What a channel calls with what it received."""

    async def accept(self, message: InboundMessage) -> Accepted:
        """Commits the message, or answers a slash command. When it returns the platform may be told."""
        ...
