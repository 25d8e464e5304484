"""The seam to channels: what one can do, what it is asked to do, and what it may call.

Capabilities are asked before something is promised. A channel implements what its capabilities name and inherits the
rest from `Channel`, which does nothing. Everything that must not be lost goes through `post`, which the delivery calls
from the outbox; typing, marks and streams are shown as well as may be and never retried.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

from gateway.cards import Button, Card, CardRow
from gateway.routes import Accepted, InboundMessage, Incoming, Press, Route

PostKind = Literal["text", "card", "retract"]


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
    """An answer can be shown while it is being written: as events on a `pull` channel, else by `Channel.stream`."""
    stream_seconds: float = 1.0
    """The shortest time between two updates of a stream."""
    stream_after: float = 0.0
    """How long an answer is written before its stream begins: one that is done by then is posted whole."""
    drafts: bool = False
    """What is streamed is a draft, of which nothing stays."""
    tasks: bool = False
    """A stream shows rows of a card beside its text."""
    edits: bool = False
    """A post can be replaced in place."""
    threads: bool = False
    """A thread can be opened for a sub-agent."""
    buttons: bool = False
    cards: bool = False
    """Cards are wanted here (`channels.<name>.liveCard`)."""
    files: bool = False
    """People can send files."""
    typing_seconds: float | None = None
    """How long a typing indicator stays; None: there is none."""
    marks: bool = False
    """A person's message can be marked as being worked on."""


class Mark(StrEnum):
    """How far the work on a person's message is."""

    WORKING = "working"
    DONE = "done"
    FAILED = "failed"
    NONE = "none"
    """Stopped, or no answer was called for: the mark is taken away."""


@dataclass(frozen=True, slots=True)
class Post:
    """One outbox row on its way to a platform."""

    id: int
    """The outbox id: stable over retries; put it into the platform's metadata where there is any."""
    route: Route
    text: str
    kind: PostKind = "text"
    """`retract`: the message `replaces` is to disappear."""
    recovered: bool = False
    """An earlier try may have arrived: ask the platform if it can be asked, else send it marked."""
    replaces: str | None = None
    """Platform id of the message that this one takes the place of: a streamed answer, or an earlier card."""
    copied: bool = False
    """It was recovered when it was sent: what marks it stays when it is edited, as its other copy does."""
    streamed: bool = False
    """`replaces` has been shown as a stream."""
    card: Card | None = None
    buttons: tuple[Button, ...] = ()
    created_at: int = 0
    """milliseconds; nothing of it can be on the platform from before"""


@dataclass(frozen=True, slots=True)
class Opening:
    """A thread that is to be opened for a sub-agent."""

    route: Route
    """Of the message that asked; the new thread is opened beside it."""
    title: str
    text: str
    """What is posted into it first."""
    key: str
    """Stable over retries: an opening that may have happened is looked for under it where the platform can tell."""
    recovered: bool = False
    created_at: int = 0
    """milliseconds; nothing of it can be on the platform from before"""


class DeliveryError(Exception):
    """A platform didn't do what it was asked for.

    Args:
        permanent: never retried (chat not found, kicked).
        retry_after: seconds that the platform asked for.
        uncertain: it may have been done all the same: the answer was lost.
        code: the platform's own word for it, for the channel itself.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool = False,
        retry_after: float | None = None,
        uncertain: bool = False,
        code: str = "",
    ) -> None:
        super().__init__(reason)
        self.permanent = permanent
        self.retry_after = retry_after
        self.uncertain = uncertain
        self.code = code


class Live(Protocol):
    """An answer on a screen while it is being written."""

    @property
    def platform_id(self) -> str | None:
        """The message that it is; None where a platform shows drafts, which vanish by themselves."""
        ...

    async def show(self, text: str, tasks: Sequence[CardRow]) -> None:
        """Shows the whole text so far.

        Raises:
            DeliveryError: it couldn't; the next call may.
        """
        ...


class Intake(Protocol):
    """What a channel calls with what it received. When a call returns, the platform may be told."""

    async def accept(self, message: InboundMessage) -> Accepted:
        """Commits a message whose sender and session are known, or answers a slash command."""
        ...

    async def receive(self, incoming: Incoming, *, quiet: bool = False) -> Accepted:
        """Decides whether somebody may speak here and to whom, and commits the message or answers the command.

        Args:
            incoming: what the platform has delivered.
            quiet: the channel shows a command's reply itself; otherwise it is posted through the outbox.
        """
        ...

    async def changed(self, route: Route, message_id: str, text: str | None) -> bool:
        """A person has edited (or, with None, deleted) a message; False: it has been read already."""
        ...

    async def press(self, press: Press) -> Accepted:
        """Does what a button stands for; `reply` is a short text for who pressed it."""
        ...

    async def newest_thread(self, route: Route, peer: str) -> Route | None:
        """The thread of a chat in which somebody has spoken to the assistant last."""
        ...

    async def moved(self, route: Route, now: str) -> None:
        """A platform has given a chat another id. Its channel goes on naming it by the one that it had first.

        Args:
            route: a place in the chat.
            now: the new id. Settings may name the chat by either.
        """
        ...

    async def moves(self, channel: str, account: str) -> Mapping[str, str]:
        """What `moved` was told of an account's chats, in this life or an earlier one: the first id → the new one."""
        ...


class Channel(Protocol):
    """A place where people talk to the assistant. To be inherited from."""

    name: str
    capabilities: Capabilities

    def able(self, route: Route) -> Capabilities:
        """What can be done on one route."""
        return self.capabilities

    async def start(self, intake: Intake) -> None:
        """Begins to take events and hands each to `intake`. Doesn't wait for a platform that can't be reached."""
        ...

    async def stop(self) -> None:
        """Takes no more events and ends all its tasks."""
        ...

    async def ready(self, route: Route) -> None:
        """Returns when a post may be sent on a route, where a platform limits how often.

        Asked before a post counts as being sent, so that one which waits is not in doubt after a crash.
        """

    async def post(self, post: Post) -> str | None:
        """Posts, replaces or retracts a message; returns the platform's id of it.

        Raises:
            DeliveryError: with what is known of why and when to try again.
        """
        return None

    def split(self, text: str) -> list[str]:
        """The pieces in which a text is posted; never empty."""
        return [text]

    async def typing(self, route: Route, *, active: bool) -> None:
        """Shows that the assistant is at work, or no longer."""

    async def mark(self, route: Route, message_id: str, mark: Mark) -> None:
        """Marks a person's message; takes the place of an earlier mark."""

    async def stream(self, post: Post) -> Live:
        """Begins to show an answer, or goes on in the message `post.replaces`.

        Raises:
            DeliveryError: it can't; the answer will be posted whole.
        """
        raise DeliveryError(f"channel `{self.name}` doesn't stream", permanent=True)

    async def open_thread(self, opening: Opening) -> Route:
        """Opens a thread and returns its route.

        Raises:
            DeliveryError: it can't.
        """
        raise DeliveryError(f"channel `{self.name}` has no threads", permanent=True)

    async def close_thread(self, route: Route) -> None:
        """Takes back a thread that was opened in vain.

        Raises:
            DeliveryError: it can't.
        """

    def state(self) -> dict[str, str]:
        """Each account with how its connection is, for people: `connected`, or what is wrong."""
        return {}
