"""Rate limits as Slack's own: per method by its tier, and one post a second per channel after a short burst."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque

from tests.standins.slack.scopes import Tier

_MINUTE = 60.0
POSTS = frozenset({"chat.postMessage", "chat.startStream", "chat.postEphemeral", "files.completeUploadExternal"})


class Limits:
    """Counts calls and says how long one has to wait."""

    def __init__(self, burst: int) -> None:
        self._burst = burst
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)
        self._rooms: dict[str, float] = {}
        """When each channel's bucket of posts is full again."""

    def wait(self, method: str, tier: Tier, channel: str | None) -> int:
        """Seconds that this call comes too early; 0 counts it as made."""
        now = time.monotonic()
        calls = self._calls[method]
        while calls and calls[0] <= now - _MINUTE:
            calls.popleft()
        if len(calls) >= tier.value:
            return max(1, math.ceil(calls[0] + _MINUTE - now))
        if method in POSTS and channel:
            full = max(now, self._rooms.get(channel, now))
            if full - now > self._burst - 1:
                return max(1, math.ceil(full - now - self._burst + 1))
            self._rooms[channel] = full + 1
        calls.append(now)
        return 0
