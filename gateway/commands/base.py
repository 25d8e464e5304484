"""Slash commands: what one is and what it gets. They are answered without a model call and while a turn runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from gateway.routes import Route, Sender

if TYPE_CHECKING:
    from gateway.app import Gateway


class CommandError(Exception):
    """The command can't be done as given. The text is the answer: what is wrong and what would be right."""


@dataclass(frozen=True, slots=True)
class CommandContext:
    """Who asks, where."""

    gateway: Gateway
    session_key: str
    route: Route
    sender: Sender
    dedupe_key: str
    """Of the message that holds the command: makes what it creates idempotent."""
    private: bool
    """Nobody else reads along."""

    @property
    def owned(self) -> bool:
        """Whether a conversation that begins with this command has an owner's rights."""
        return self.sender.owner and self.private


@dataclass(frozen=True, slots=True)
class CommandReply:
    """A command's answer."""

    text: str
    details: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The same as data."""


@dataclass(frozen=True, slots=True)
class Command:
    """One slash command."""

    name: str
    """Without the slash."""
    usage: str
    """What follows the name: `[off|low|high]`."""
    help: str
    run: Callable[[CommandContext, str], Awaitable[CommandReply]]
    """Gets everything after the name, trimmed."""
    operator: bool = False
    """For owners only."""
    words: tuple[str, ...] = ()
    """First arguments, for completion."""
