"""Routes and channels: where a message came from, and how an answer gets back there.

A channel turns a platform's events into `Incoming` messages and a `Route` plus text into posts; it knows nothing of
agents. A route is stored with the inbox row, the run and the outbox row, and the answer goes to the route of the
message that asked, always (spec/channels.md).
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

PlaceKind = Literal["direct", "group", "channel"]
"""A conversation with one person, with several, or a named room of a workspace."""


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
class RemoteFile:
    """A file that a person sent, still on the platform."""

    name: str
    media_type: str
    size: int | None
    fetch: Callable[[int], Awaitable[bytes]]
    """Fetches it, at most so many bytes; raises `DeliveryError` if it can't or there are more."""


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """One message of a person, ready to be accepted."""

    route: Route
    session_key: str
    """The key of the session that it is for; made by `keys.py`."""
    text: str
    sender: Sender
    dedupe_key: str
    """Channel, account and the platform's id: a redelivered event is one message."""
    attachments: tuple[Attachment, ...] = ()
    message_id: str | None = None
    """The platform's id of it, for reactions."""
    private: bool = True
    """Nobody else reads along: an owner's rights hold in the whole conversation."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """What a platform has delivered, before anybody has decided who it is for and whether its sender may speak."""

    route: Route
    kind: PlaceKind
    peer: str
    """The platform's id of who speaks."""
    peer_name: str
    text: str
    """As its writer meant it: without the mention of the assistant."""
    message_id: str
    """The platform's id of the message."""
    addressed: bool = False
    """It mentions the assistant or replies to it."""
    files: tuple[RemoteFile, ...] = ()
    """What came with it; fetched once its sender is known to be allowed."""
    topics: bool = False
    """The platform calls its threads topics."""
    event_id: str | None = None
    """What makes a redelivered event the same, where the message's id doesn't."""

    @property
    def dedupe_key(self) -> str:
        """Channel, account, chat and the platform's id (spec/channels.md 1)."""
        return dedupe_key(self.route, self.event_id or self.message_id)


def dedupe_key(route: Route, message_id: str) -> str:
    """Under which a platform's message is accepted once."""
    return f"{route.channel}:{route.account}:{route.chat}:{message_id}"


@dataclass(frozen=True, slots=True)
class Press:
    """Somebody has pressed a button."""

    route: Route
    """Where the button stands; the thread may be unknown."""
    kind: PlaceKind
    peer: str
    peer_name: str
    token: str
    event_id: str
    """Makes a redelivered press one press."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of something that a channel has received."""

    inbox_id: int | None
    """The durable row; None when a command answered it or it was refused."""
    duplicate: bool = False
    reply: str | None = None
    """A slash command's answer, or the notice that the message was dropped; the channel shows it at once."""
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """A command's answer as data, for JSON surfaces."""
    session_key: str | None = None
    """Whose inbox it is in, or which session the command was for."""


IGNORED = Accepted(None)
"""Not for the assistant, or from somebody who may not speak to it."""
