"""Pace: when a message or an edit may go to a chat, so that Telegram never has to say no.

Each chat waits for itself: what a busy group has to wait for holds up nobody else, and neither does a 429. What must
be posted waits its turn; what shows progress goes if there is room and leaves room for what must be posted. Nothing of
it survives the process; Telegram remembers, and says so (`hold`).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from channels.telegram.timing import Limits

KEPT = 5_000
"""Chats that are remembered: those that were written to last."""


@dataclass(slots=True)
class _Chat:
    """What was sent to one chat."""

    sent: deque[float]
    tokens: float
    """Edits that may show progress, as of `counted`."""
    counted: float
    held: float = 0.0
    """Telegram has asked for a pause until then."""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    flying: int = 0
    """Calls that aren't answered yet."""
    landed: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when something was answered."""


class Pace:
    """Counts what one bot sends. For the event loop's thread."""

    def __init__(self, limits: Limits | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits or Limits()
        self._clock = clock
        self._chats: OrderedDict[int, _Chat] = OrderedDict()
        self._overall: deque[float] = deque(maxlen=self._limits.overall)

    async def turn(self, chat_id: int) -> None:
        """Waits until a message may go to a chat, first come first served, and counts it."""
        chat = self._chat(chat_id)
        async with chat.turn:
            await self._land(chat)
            while (wait := self._wait(chat_id, chat)) > 0:
                await asyncio.sleep(wait)
                await self._land(chat)
            self._count(chat)

    def room(self, chat_id: int) -> float:
        """In how many seconds there is room for an edit that shows progress; if that is now, 0, it is counted."""
        chat = self._chat(chat_id)
        if chat.turn.locked() or chat.flying:
            return self._limits.chat_seconds
        wait = self._wait(chat_id, chat)
        if chat_id < 0:
            wait = max(wait, self._refill(chat))
        if wait > 0:
            return wait
        if chat_id < 0:
            chat.tokens -= 1
        self._count(chat)
        return 0.0

    def goes(self, chat_id: int) -> None:
        """A message or an edit is on its way."""
        self._chat(chat_id).flying += 1

    def went(self, chat_id: int) -> None:
        """It has been answered: by now at the latest Telegram has counted it."""
        chat = self._chat(chat_id)
        if chat.sent:
            chat.sent[-1] = self._clock()
        chat.flying -= 1
        chat.landed.set()

    def hold(self, chat_id: int, seconds: float) -> None:
        """Telegram has asked for a pause in a chat."""
        chat = self._chat(chat_id)
        chat.held = max(chat.held, self._clock() + seconds)

    async def _land(self, chat: _Chat) -> None:
        """Waits for the answer to what is on its way, unless that takes too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.flight_seconds):
                while chat.flying:
                    chat.landed.clear()
                    await chat.landed.wait()

    def _wait(self, chat_id: int, chat: _Chat) -> float:
        now, limits = self._clock(), self._limits
        waits = [chat.held - now, _left(self._overall, limits.overall, limits.overall_seconds, now)]
        waits.append(_left(chat.sent, 1, limits.chat_seconds, now))
        if chat_id < 0:
            waits.append(_left(chat.sent, limits.group, limits.group_seconds, now))
        return max(waits)

    def _refill(self, chat: _Chat) -> float:
        """Seconds until a group has room for an edit that shows progress."""
        now, limits = self._clock(), self._limits
        chat.tokens = min(limits.fleeting, chat.tokens + (now - chat.counted) / limits.fleeting_seconds)
        chat.counted = now
        return (1 - chat.tokens) * limits.fleeting_seconds if chat.tokens < 1 else 0.0

    def _count(self, chat: _Chat) -> None:
        now = self._clock()
        chat.sent.append(now)
        self._overall.append(now)

    def _chat(self, chat_id: int) -> _Chat:
        chat = self._chats.get(chat_id)
        if chat is None:
            sent = deque[float](maxlen=self._limits.group)
            chat = self._chats[chat_id] = _Chat(sent, self._limits.fleeting, self._clock())
        self._chats.move_to_end(chat_id)
        while len(self._chats) > KEPT:
            self._chats.popitem(last=False)
        return chat


def _left(sent: deque[float], allowed: int, seconds: float, now: float) -> float:
    """Seconds until the oldest of the last `allowed` is so long ago."""
    return sent[-allowed] + seconds - now if len(sent) >= allowed else 0.0
