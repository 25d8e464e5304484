"""Lanes inside one process: a heap and a set of tasks per lane.

Nothing here survives a crash, and nothing needs to: at start-up every session with something to do is enqueued anew
from the tables.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from gateway.lanes.base import FRESH, RESUMED, Activate, LaneStats, Solitude
from gateway.store import sessions
from gateway.store.database import Transaction

log = logging.getLogger(__name__)

OnStart = Callable[[str, float], None]


@dataclass(order=True, slots=True)
class _Item:
    priority: int
    age: int
    number: int
    session_id: str = field(compare=False)
    since: float = field(compare=False)
    dropped: bool = field(default=False, compare=False)


@dataclass(slots=True)
class _Lane:
    cap: int
    heap: list[_Item] = field(default_factory=list[_Item])
    waiting: dict[str, _Item] = field(default_factory=dict[str, _Item])
    running: dict[str, asyncio.Task[None]] = field(default_factory=dict[str, asyncio.Task[None]])


class LocalLanes:
    """`Lanes` on asyncio tasks."""

    def __init__(self, caps: Mapping[str, int], on_start: OnStart | None = None) -> None:
        """
        Args:
            caps: each lane's name and cap.
            on_start: gets lane and wait in seconds whenever an activation starts.
        """
        self._lanes = {name: _Lane(cap) for name, cap in caps.items()}
        self._numbers = itertools.count()
        self._unknown: set[str] = set()
        self._again: dict[str, tuple[str, int, int | None]] = {}
        self._activate: Activate | None = None
        self._solitude: Solitude | None = None
        self._draining = False
        self._only: str | None = None
        self._on_start = on_start
        self._watchers: dict[str, Callable[[], None]] = {}
        self._stirred = asyncio.Event()
        """Set whenever a session may have come to rest; cleared by who waits for that."""

    def enqueue(
        self, tx: Transaction, lane: str, session_id: str, priority: int = FRESH, *, age: int | None = None
    ) -> None:
        """See `Lanes.enqueue`."""
        since = tx.now if age is None else age
        tx.after_commit(lambda: self.push(lane, session_id, priority, since))

    def cancel(self, tx: Transaction, session_id: str) -> None:
        """See `Lanes.cancel`."""
        tx.after_commit(lambda: self._cancel(session_id))

    def may_claim(self, tx: Transaction, session_id: str) -> bool:
        """See `Lanes.may_claim`: there is nobody else."""
        return True

    def holds(self, session_id: str, fence: int) -> None:
        """See `Lanes.holds`: here whoever activates a session holds it."""

    def poke(self, tx: Transaction, session_id: str) -> None:
        """See `Lanes.poke`."""
        tx.after_commit(lambda: self._poke(session_id))

    def watch(self, session_id: str, poked: Callable[[], None] | None) -> None:
        """See `Lanes.watch`."""
        if poked is None:
            self._watchers.pop(session_id, None)
        else:
            self._watchers[session_id] = poked

    def push(self, lane: str, session_id: str, priority: int = FRESH, age: int | None = None) -> None:
        """Puts a session into a lane now; see `Lanes.enqueue`."""
        found = self._lanes.get(lane)
        if found is None:
            # Of a plugin that isn't loaded now: what it has begun rests in the tables until it is.
            if lane not in self._unknown:
                log.warning("no lane `%s`: its sessions wait until its plugin is loaded again", lane)
            self._unknown.add(lane)
            return
        if session_id in found.running:
            self._again[session_id] = (lane, priority, age)
            return
        known = found.waiting.get(session_id)
        if known is not None:
            if known.priority <= priority:
                return
            known.dropped = True
        since = int(time.time() * 1000) if age is None else age
        item = _Item(priority, since, next(self._numbers), session_id, time.monotonic())
        found.waiting[session_id] = item
        heapq.heappush(found.heap, item)
        self._fill(found, lane)

    def set_caps(self, caps: Mapping[str, int]) -> None:
        """See `Lanes.set_caps`."""
        for name, cap in caps.items():
            lane = self._lanes.setdefault(name, _Lane(cap))
            lane.cap = cap
            self._fill(lane, name)

    def cap(self, lane: str) -> int:
        """See `Lanes.cap`."""
        return self._lanes[lane].cap

    def stats(self, tx: Transaction) -> Mapping[str, LaneStats]:
        """See `Lanes.stats`."""
        now = time.monotonic()
        return {
            name: LaneStats(
                lane.cap,
                len(lane.running),
                len(lane.waiting),
                max((now - item.since for item in list(lane.waiting.values())), default=0.0),
            )
            for name, lane in self._lanes.items()
        }

    def positions(self, tx: Transaction, session_ids: Sequence[str]) -> Mapping[str, int]:
        """See `Lanes.positions`."""
        found: dict[str, int] = {}
        for lane in self._lanes.values():
            for session_id in session_ids:
                mine = lane.waiting.get(session_id)
                if mine is not None:
                    found[session_id] = 1 + sum(1 for item in list(lane.waiting.values()) if item < mine)
        return found

    def restrict(self, session_id: str | None) -> None:
        """Starts nothing but this session until it is called with None."""
        self._only = session_id
        for name, lane in self._lanes.items():
            self._fill(lane, name)

    @property
    def alone(self) -> str | None:
        """See `Lanes.alone`."""
        return self._only

    def is_busy(self, session_id: str) -> bool:
        """Whether the session waits or is being activated in this process."""
        return self.is_running(session_id) or any(session_id in lane.waiting for lane in self._lanes.values())

    def is_running(self, session_id: str) -> bool:
        """Whether the session is being activated in this process."""
        return any(session_id in lane.running for lane in self._lanes.values())

    async def at_rest(self, session_id: str) -> None:
        """Returns once the session neither waits nor is being activated in this process."""
        while self.is_busy(session_id):
            self._stirred.clear()
            await self._stirred.wait()

    def unasked(self, tx: Transaction) -> list[sessions.Unfinished]:
        """See `Lanes.unasked`."""
        unasked = sessions.unfinished_ids(tx)
        for lane in self._lanes.values():
            unasked.difference_update(list(lane.running), list(lane.waiting))
        return [each for each in sessions.unfinished(tx) if each.id in unasked] if unasked else []

    def give_up(self, tx: Transaction, worker_id: str) -> list[str]:
        """See `Lanes.give_up`: the slots have gone with their process."""
        return []

    def tidy(self, tx: Transaction) -> None:
        """See `Lanes.tidy`."""

    def is_draining(self, session_id: str) -> bool:
        """See `Lanes.is_draining`."""
        return self._draining

    def start(self, activate: Activate, solitude: Solitude, suspects: Sequence[str] = ()) -> None:
        """See `Lanes.start`."""
        self._activate, self._solitude = activate, solitude
        self._only = suspects[0] if suspects else None
        for name, lane in self._lanes.items():
            self._fill(lane, name)

    async def resume_alone(self, suspects: Sequence[str]) -> None:
        """See `Lanes.resume_alone`."""
        try:
            for session_id in suspects:
                await self._resume_alone(session_id)
        finally:
            self.restrict(None)

    async def _resume_alone(self, session_id: str) -> None:
        begun = await self._solitude.size(session_id) if self._solitude else None
        if self._solitude is None or begun is None:
            return
        lane, before = begun
        await self._solitude.note(session_id)
        self.restrict(session_id)
        self.push(lane, session_id, RESUMED)
        resting = asyncio.create_task(self.at_rest(session_id), name="alone")
        try:
            while not resting.done():
                commit = self._solitude.next_commit()
                now = await self._solitude.size(session_id)
                if now is None or now[1] > before:
                    break
                await asyncio.wait([commit, resting], return_when=asyncio.FIRST_COMPLETED)
        finally:
            resting.cancel()
            await asyncio.gather(resting, return_exceptions=True)
        await self._solitude.note(None)

    async def drain(self, seconds: float) -> None:
        """See `Lanes.drain`."""
        self._draining = True
        tasks = [task for lane in self._lanes.values() for task in lane.running.values()]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    @property
    def draining(self) -> bool:
        """The process is about to stop: turns rest at their next boundary."""
        return self._draining

    def _fill(self, lane: _Lane, name: str) -> None:
        while self._activate is not None and not self._draining and len(lane.running) < lane.cap:
            item = self._next(lane)
            if item is None:
                return
            if self._on_start:
                self._on_start(name, time.monotonic() - item.since)
            task = asyncio.ensure_future(self._activate(item.session_id))
            task.set_name(f"activate:{item.session_id}")
            lane.running[item.session_id] = task
            task.add_done_callback(lambda done, item=item: self._ended(lane, name, item.session_id, done))

    def _next(self, lane: _Lane) -> _Item | None:
        """Takes the next item that may start."""
        if self._only is not None:
            item = lane.waiting.pop(self._only, None)
            if item is not None:
                item.dropped = True
            return item
        while lane.heap:
            item = heapq.heappop(lane.heap)
            if not item.dropped:
                del lane.waiting[item.session_id]
                return item
        return None

    def _ended(self, lane: _Lane, name: str, session_id: str, task: asyncio.Task[None]) -> None:
        del lane.running[session_id]
        again = self._again.pop(session_id, None)
        if again is not None:
            self.push(again[0], session_id, *again[1:])
        self._fill(lane, name)
        self._stirred.set()
        if not task.cancelled():
            task.result()  # an activation handles its own errors; anything else must not pass unseen

    def _poke(self, session_id: str) -> None:
        watcher = self._watchers.get(session_id)
        if watcher is not None:
            watcher()

    def _cancel(self, session_id: str) -> None:
        for lane in self._lanes.values():
            item = lane.waiting.pop(session_id, None)
            if item is not None:
                item.dropped = True
                self._stirred.set()
            task = lane.running.get(session_id)
            if task is not None:
                task.cancel()
