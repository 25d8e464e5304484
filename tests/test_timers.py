"""Alarms: a due time that is written at any moment is not missed until the sweep."""

from __future__ import annotations

import asyncio
import time

from gateway.timers import Alarm

SOON_SECONDS = 20.0


class Table:
    """Due times as a table would hold them; `written` lets a test write one at an awkward moment."""

    def __init__(self) -> None:
        self.due: list[int] = []
        self.rounds = 0
        self.begun = asyncio.Event()
        self.looked = asyncio.Event()
        self.go_on = asyncio.Event()
        self.done = asyncio.Event()

    async def next_due(self) -> int | None:
        found = min(self.due, default=None)
        if self.rounds == 2:
            self.looked.set()
            await self.go_on.wait()
        return found

    async def work(self) -> None:
        self.rounds += 1
        self.begun.set()
        now = now_ms()
        if any(each <= now for each in self.due):
            self.due = [each for each in self.due if each > now]
            self.done.set()


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def test_what_becomes_due_while_a_round_looks_is_done_at_once() -> None:
    """The round has read the table already when the row is written; the ring must not be taken for an old one."""
    table = Table()
    alarm = Alarm("test", table.next_due, table.work)
    alarm.start()
    alarm.ring()
    async with asyncio.timeout(SOON_SECONDS):
        while table.rounds < 2:
            alarm.ring()
            await asyncio.sleep(0)
        await table.looked.wait()
        table.due.append(now_ms())
        alarm.ring(table.due[0])
        table.go_on.set()
        await table.done.wait()
    await alarm.stop()


async def test_later_times_that_are_written_while_a_round_looks_cost_no_round() -> None:
    """Otherwise whoever writes them one after the other keeps the alarm at work without end."""
    table = Table()
    alarm = Alarm("test", table.next_due, table.work)
    alarm.start()
    async with asyncio.timeout(SOON_SECONDS):
        await table.begun.wait()
        alarm.ring()
        await table.looked.wait()
        for hours in range(3, 0, -1):
            alarm.ring(now_ms() + hours * 3_600_000)
        table.go_on.set()
        table.due.append(now_ms() + 100)
        alarm.ring(table.due[0])  # whether the round has ended or not
        await table.done.wait()
    await alarm.stop()
    assert table.rounds == 3
