"""How a method is registered, and the look-ups that many of them begin with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from tests.standins.slack.errors import Refusal
from tests.standins.slack.model import Channel, Json, Kind, Message
from tests.standins.slack.scopes import Tier
from tests.standins.slack.workspace import Workspace


class Token(Enum):
    """Which kind of token a method asks for."""

    BOT = auto()
    APP = auto()
    CONFIG = auto()
    NONE = auto()


Handler = Callable[[Workspace, Json], Json]


@dataclass(frozen=True, slots=True)
class Method:
    """One method of the web API."""

    name: str
    handler: Handler
    """Gets the workspace and the checked arguments; returns what the answer holds beside `ok`."""
    scopes: tuple[str, ...]
    """Any one of them is enough."""
    tier: Tier
    token: Token


METHODS: dict[str, Method] = {}


def method(
    name: str, *, scopes: tuple[str, ...] = (), tier: Tier = Tier.THREE, token: Token = Token.BOT
) -> Callable[[Handler], Handler]:
    """Registers a handler."""

    def register(handler: Handler) -> Handler:
        METHODS[name] = Method(name, handler, scopes, tier, token)
        return handler

    return register


def channel_of(ws: Workspace, name: str, *, inside: bool = True, write: bool = False) -> Channel:
    """The conversation that a call is about.

    Args:
        ws: the workspace.
        name: its id.
        inside: whether the bot must be a member.
        write: whether something is written there; not into archives.

    Raises:
        Refusal: channel_not_found, not_in_channel, is_archived. Not the app's fault where it was a member once.
    """
    channel = ws.channels.get(name)
    bot = ws.app.user_id
    if channel is None:
        raise Refusal("channel_not_found", f"no channel {name!r}")
    if inside and bot not in channel.members:
        hidden = channel.kind is not Kind.PUBLIC
        error = "channel_not_found" if hidden else "not_in_channel"
        raise Refusal(error, f"the bot isn't in {channel.name}", fault=bot not in channel.former)
    if write and channel.archived:
        raise Refusal("is_archived", channel.name, fault=False)
    return channel


def message_of(channel: Channel, ts: str, *, error: str = "message_not_found") -> Message:
    """The message that a call is about.

    Raises:
        Refusal: there is none; the app's fault unless somebody has deleted it.
    """
    if (message := channel.messages.get(ts)) is None:
        raise Refusal(error, f"no message {ts} in {channel.name}", fault=ts not in channel.deleted)
    return message


def thread_of(ws: Workspace, channel: Channel, ts: str) -> str | None:
    """The root of the thread that a post goes to; None if it goes to the top level after all.

    Raises:
        Refusal: thread_not_found.
    """
    if (parent := channel.messages.get(ts)) is not None:
        if parent.thread_ts:
            # docs.slack.dev/reference/methods/chat.postMessage: "Avoid using a reply's `ts` value"
            ws.fault(f"thread_ts {ts} is that of a reply in {channel.name}; its thread is {parent.thread_ts}")
        return parent.root
    if ts in channel.deleted and ws.options.deleted_thread == "unthread":
        return None
    raise Refusal("thread_not_found", f"no thread {ts} in {channel.name}", fault=ts not in channel.deleted)
