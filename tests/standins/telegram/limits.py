"""Flood limits: 30 messages a second overall, one a second in a chat, 20 a minute in a group.

They are counted always and enforced on demand, by the stand-in's clock.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass

COUNTED = frozenset(
    ("sendMessage", "sendPhoto", "sendDocument", "sendVoice", "editMessageText", "editMessageCaption")
) | {"editMessageReplyMarkup"}
EVERYWHERE = 0


@dataclass(frozen=True)
class Limits:
    """How many messages and edits in how many seconds."""

    per_second: int = 30
    per_chat: int = 1
    chat_seconds: float = 1
    per_group: int = 20
    group_seconds: float = 60


class Flood:
    """What was sent when."""

    def __init__(self) -> None:
        self.limits: Limits | None = None
        """None: counted, not enforced."""
        self._sent: defaultdict[int, list[float]] = defaultdict(list)

    def wait(self, chat: int, now: float) -> int | None:
        """Seconds to wait before a message may go to a chat; None if it may go now."""
        if self.limits is None:
            return None
        limits = self.limits
        waits = [
            self._left(EVERYWHERE, limits.per_second, 1, now),
            self._left(chat, limits.per_chat, limits.chat_seconds, now),
        ]
        if chat < 0:
            waits.append(self._left(chat, limits.per_group, limits.group_seconds, now))
        longest = max(waits)
        return math.ceil(longest) if longest > 0 else None

    def count(self, chat: int, now: float) -> None:
        """A message went out."""
        self._sent[EVERYWHERE].append(now)
        self._sent[chat].append(now)

    def busiest(self, chat: int | None, seconds: float) -> int:
        """Most messages and edits within so many seconds, in one chat or overall."""
        times = self._sent[EVERYWHERE if chat is None else chat]
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= seconds:
                first += 1
            most = max(most, last - first + 1)
        return most

    def _left(self, chat: int, allowed: int, seconds: float, now: float) -> float:
        recent = [at for at in self._sent[chat][-allowed:] if now - at < seconds]
        return recent[0] + seconds - now if len(recent) >= allowed else 0
