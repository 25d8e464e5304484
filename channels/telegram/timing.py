"""How long things take and wait in Telegram, and how much may be sent: one place, so that a test can hurry them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timing:
    """Times in seconds."""

    poll: int = 30
    """How long Telegram holds a request for updates that has nothing to tell."""
    watchdog: float = 120.0
    """A round of polling that isn't over by then is ended, and another one begun (spec/channels.md, Telegram)."""
    linger: float = 1.0
    """While an update is being taken in, others are asked for so often."""
    read: float = 20.0
    """How long an answer is waited for; after that nobody knows whether the call was done."""
    connect: float = 10.0
    stream: float = 1.0
    """Between two updates of an answer that is being written: a message can be edited once a second."""
    quick: float = 1.0
    """In a group an answer that is written faster is posted whole."""
    first_retry: float = 1.0
    longest_retry: float = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """How many messages and edits Telegram takes, with a little air for what is on its way."""

    chat_seconds: float = 1.05
    """One in a chat …"""
    flight_seconds: float = 2.0
    """… after the answer to the one before, which is waited for so long."""
    group: int = 20
    """In a group, within `group_seconds`."""
    group_seconds: float = 60.5
    overall: int = 29
    """In all chats, within `overall_seconds`."""
    overall_seconds: float = 1.05
    fleeting: int = 6
    """Edits that show progress in a group at once …"""
    fleeting_seconds: float = 7.5
    """… and then one in so many: fourteen a minute, so that six are left for what must be posted."""
