"""Polling: asks for updates, and confirms one only when it has been taken in (spec/channels.md 1).

The library's own loop confirms updates before anybody has handled them, so that this one stands in its place. Updates
of one chat are taken in one after the other, those of different chats at once; a large file in one chat holds up no
other. What can't be taken in isn't confirmed: Telegram delivers it again, and its chat waits a little longer each time.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from telegram import Update

from channels.telegram.timing import Timing
from gateway import failpoints
from gateway.channel import DeliveryError
from gateway.tasks import TaskSet
from gateway.waiting import rung

Ask = Callable[[int, int], Awaitable[Sequence[Update]]]
"""Asks for updates from an id on, which confirms those below it; for at most so many seconds."""
Take = Callable[[Update], Awaitable[None]]
CONNECTED = "connected"
CONFIRM_SECONDS = 2.0
PAGE = 100
"""Updates that Telegram gives at once."""


@dataclass(slots=True)
class _Lane:
    """The updates of one chat that are waiting."""

    waiting: deque[Update] = field(default_factory=deque[Update])


@dataclass(slots=True)
class _Rest:
    """A chat whose update couldn't be taken in."""

    until: float
    seconds: float


class Polling:
    """The updates of one bot."""

    def __init__(self, ask: Ask, take: Take, tell: Callable[[str], None], timing: Timing) -> None:
        """
        Args:
            ask: one request for updates.
            take: takes an update in; what it raises leaves the update unconfirmed.
            tell: gets how the connection is, for people.
            timing: how long things take.
        """
        self._ask = ask
        self._take = take
        self._tell = tell
        self._timing = timing
        self._tasks = TaskSet()
        self._lanes: dict[int, _Lane] = {}
        self._rests: dict[int, _Rest] = {}
        self._pending: dict[int, int] = {}
        """Updates that are being taken in, or couldn't be, with their chats."""
        self._done: set[int] = set()
        """Updates that were, behind such."""
        self._next = 0
        """One above the last update that was seen."""
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Polls until it is cancelled; then confirms what was taken in."""
        wait, hurry = self._timing.first_retry, True
        try:
            while True:
                trouble = await self._round(hurry=hurry)
                self._tell(str(trouble) if trouble else CONNECTED)
                hurry = trouble is not None  # whether it is over is to be known at once
                if trouble is None:
                    wait = self._timing.first_retry
                    await self._linger()
                else:
                    await asyncio.sleep(trouble.retry_after or wait)
                    wait = min(self._timing.longest_retry, wait * 2)
        finally:
            await self._tasks.stop()
            await self._confirm()

    async def _round(self, *, hurry: bool) -> DeliveryError | None:
        """One request; returns what went wrong with it."""
        seconds = 0 if hurry or self._pending else self._timing.poll
        offset = self._offset()
        if offset:
            failpoints.hit("effect:confirm")
        try:
            async with asyncio.timeout(self._timing.watchdog):
                updates = await self._ask(offset, seconds)
        except TimeoutError:
            return DeliveryError(f"polling hung for {self._timing.watchdog:g} s and was begun anew")
        except DeliveryError as error:
            return error
        if offset:
            failpoints.hit("effected:confirm")
        for update in updates:
            self._begin(update)
        if len(updates) < PAGE:
            self._forget({update.update_id for update in updates})
        return None

    def _offset(self) -> int:
        """Up to where everything has been taken in."""
        offset = min(self._pending, default=self._next)
        self._done = {number for number in self._done if number >= offset}
        return offset

    def _forget(self, told: set[int]) -> None:
        """What couldn't be taken in and doesn't come any more: Telegram keeps updates for a day."""
        gone = [number for number, chat in self._pending.items() if number not in told and chat not in self._lanes]
        for number in gone:
            del self._pending[number]

    def _begin(self, update: Update) -> None:
        number, chat = update.update_id, _chat(update)
        self._next = max(self._next, number + 1)
        if number in self._done or (number in self._pending and chat in self._lanes):
            return
        self._pending[number] = chat
        rest = self._rests.get(chat)
        if rest is not None and time.monotonic() < rest.until:
            return
        lane = self._lanes.get(chat)
        if lane is None:
            lane = self._lanes[chat] = _Lane()
            self._tasks.spawn(self._work(chat, lane), f"telegram:{chat}")
        lane.waiting.append(update)

    async def _work(self, chat: int, lane: _Lane) -> None:
        """Takes in the updates of a chat. One that breaks ends it; it and those behind it come again."""
        whole = False
        try:
            while lane.waiting:
                update = lane.waiting.popleft()
                await self._take(update)
                self._pending.pop(update.update_id, None)
                self._done.add(update.update_id)
            whole = True
        finally:
            del self._lanes[chat]
            if whole:
                self._rests.pop(chat, None)
            else:
                self._rest(chat)
            self._changed.set()

    def _rest(self, chat: int) -> None:
        known = self._rests.get(chat)
        seconds = min(self._timing.longest_retry, known.seconds * 2) if known else self._timing.first_retry
        self._rests[chat] = _Rest(time.monotonic() + seconds, seconds)

    async def _linger(self) -> None:
        """While updates are being taken in, waits for that, and looks for others in between."""
        end = time.monotonic() + self._timing.linger
        while self._pending and (left := end - time.monotonic()) > 0:
            self._changed.clear()
            await rung(self._changed, left)

    async def _confirm(self) -> None:
        """A last word before the end, so that Telegram doesn't deliver again what was taken in."""
        with contextlib.suppress(DeliveryError, TimeoutError):
            async with asyncio.timeout(CONFIRM_SECONDS):
                await self._ask(self._offset(), 0)


def _chat(update: Update) -> int:
    """What an update must stay in order with: the chat, else the update itself."""
    return update.effective_chat.id if update.effective_chat else -update.update_id
