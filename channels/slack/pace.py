"""Pace: once Slack has asked for a pause in a channel, its posts go one a second, each at a time of its own.

Slack takes about one post a second in a channel, and short bursts. Without this, all that wait would try again
together, of which Slack takes one.
"""

from __future__ import annotations

import time

SPACE_SECONDS = 1.0
EARLY_SECONDS = 0.05
"""Who comes so much too early comes in time."""


class Pace:
    """Gives out times."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        """Channel → the first time that is still free; only while there is a queue."""
        self._times: dict[int, float] = {}
        """Post → its time."""

    def pause(self, channel: str, seconds: float) -> None:
        """Slack has asked for a pause."""
        free = time.monotonic() + seconds
        self._next[channel] = max(free, self._next.get(channel, free))

    def busy(self, channel: str) -> bool:
        """Whether posts wait for their times."""
        return self._next.get(channel, 0.0) > time.monotonic()

    def wait(self, channel: str, post_id: int) -> float:
        """Seconds until a post may go, at a time that is its own from then on; 0: now."""
        now = time.monotonic()
        at = self._times.pop(post_id, None)
        if at is None:
            free = self._next.get(channel, 0.0)
            if free + SPACE_SECONDS <= now:  # nobody waits any more
                self._next.pop(channel, None)
                return 0.0
            at = max(free, now)
            self._next[channel] = at + SPACE_SECONDS
        if at - now <= EARLY_SECONDS:
            return 0.0
        self._times[post_id] = at
        return at - now
