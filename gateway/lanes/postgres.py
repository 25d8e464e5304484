"""Lanes over several processes, on PostgreSQL: the queue of `queue.py`, and a pump in every process.

Each process takes as many rows as it has room for, the most urgent first, and never more than a lane's cap over all
processes: a picked row holds a seat until its activation has ended. Whoever is at work on a session looks at its inbox
before he rests, so that nobody is asked for a session which is claimed. Nothing is polled: a process picks when it is
told of new rows or free seats, when one of its own activations ends, and at the sweep.

Nothing here survives a crash, and nothing needs to: what a dead process had picked is taken over with its sessions.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from sqlalchemy import select

from gateway.bus import Words
from gateway.lanes import queue
from gateway.lanes.base import FRESH, Activate, LaneStats, Solitude, place
from gateway.lanes.pace import Pace
from gateway.lanes.queue import Item
from gateway.store import sessions, workers
from gateway.store.database import StoreError, Transaction
from gateway.store.notify import PostgresBus
from gateway.store.postgres import PostgresDatabase
from gateway.store.postgres_transaction import PostgresTransaction
from gateway.store.schema import sessions as table

MOST_AT_ONCE = 16
"""Rows that are picked in one unit of work."""
CROWD = 4
"""Activations in this process, from which on it looks at the queue at a pace: with fewer, none waits for others."""
RETRY_SECONDS = 1.0
REST_SECONDS = 5.0
"""So long the others have to come to rest before a suspect runs."""
KEPT = "lanes"
MEMBER = "member"

OnStart = Callable[[str, float], None]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Picked:
    """What a pick has brought."""

    items: list[Item]
    suspects: frozenset[str]
    """Sessions that are to run alone."""


@dataclass(slots=True)
class _Running:
    """One activation."""

    item: Item
    task: asyncio.Task[None] | None = None
    fence: int | None = None
    """Under which its session is claimed; None: not yet."""
    void_below: int = 0
    """Claims under a lower fence are somebody else's by now."""
    kept: list[Item] = field(default_factory=list[Item])
    """Rows for the same session that were picked meanwhile."""
    proven: bool = False
    """It has come on while it ran alone."""
    lost: bool = False
    """Its seat is gone: this process was taken for dead."""


class PostgresLanes:
    """`Lanes` over all processes of one database."""

    def __init__(
        self,
        database: PostgresDatabase,
        bus: PostgresBus,
        own_id: str,
        caps: Mapping[str, int],
        *,
        serves: Sequence[str] | None = None,
        concurrency: int = 0,
        on_start: OnStart | None = None,
    ) -> None:
        """
        Args:
            database: whose queue it is.
            bus: tells of new rows and free seats, and carries cancellations.
            own_id: by which this process claims sessions.
            caps: each lane's name and cap, over all processes.
            serves: the lanes that this process works on; None: all.
            concurrency: how many activations at once in this process; 0: as many as the lanes allow.
            on_start: gets lane and wait in seconds whenever an activation starts.
        """
        self._database = database
        self._bus = bus
        self._own_id = own_id
        self._caps = dict(caps)
        self._serves = frozenset(serves) if serves is not None else None
        self._concurrency = concurrency
        self._on_start = on_start
        self._activate: Activate | None = None
        self._solitude: Solitude | None = None
        self._running: dict[str, _Running] = {}
        self._ended: list[_Running] = []
        self._suspects: list[Item] = []
        self._held: list[Item] = []
        """Picked, to be begun when nothing runs alone any more."""
        self._returned: list[Item] = []
        """Picked, and never begun here."""
        self._only: str | None = None
        self._alone: asyncio.Task[None] | None = None
        self._pace = Pace()
        self._draining = False
        self._audit = False
        self._pump: asyncio.Task[None] | None = None
        self._watchers: dict[str, Callable[[], None]] = {}
        bus.on_channel(queue.CHANNEL, self._told)
        bus.on("cancel", self._heard_cancel)
        bus.on("poke", self._heard_poke)
        bus.on_return(self._returned_to)

    # ---- in units of work ----

    def enqueue(
        self, tx: Transaction, lane: str, session_id: str, priority: int = FRESH, *, age: int | None = None
    ) -> None:
        """See `Lanes.enqueue`. A session that somebody is at work on isn't queued: he looks before he rests."""
        held = sessions.hold(tx, session_id)
        if held is None or held.claimed_by is not None:
            return
        queue.enqueue(_raw(tx), lane, session_id, priority, tx.now if age is None else age)
        tx.after_commit(lambda: self._told(lane))

    def ask_again(self, tx: Transaction, session_ids: set[str]) -> None:
        """Asks for sessions that were asked for, or at work, before: each keeps its priority and its age."""
        sessions.hold_all(tx, session_ids)
        for each in sessions.wishes(tx, list(session_ids)):
            self.enqueue(tx, each.lane, each.id, place(each.started, each.priority), age=each.age)

    def cancel(self, tx: Transaction, session_id: str) -> None:
        """See `Lanes.cancel`."""
        fence = tx.execute(select(table.c.fence).where(table.c.id == session_id)).scalar() or 0
        queue.forget(_raw(tx), session_id)
        self._bus.send(tx, "cancel", session=session_id, fence=fence)
        tx.after_commit(lambda: self._cancel(session_id, fence))

    def poke(self, tx: Transaction, session_id: str) -> None:
        """See `Lanes.poke`."""
        self._bus.send(tx, "poke", session=session_id)
        tx.after_commit(lambda: self._poke(session_id))

    def unasked(self, tx: Transaction) -> list[sessions.Unfinished]:
        """See `Lanes.unasked`."""
        known = queue.known(_raw(tx))
        found = sessions.unfinished(tx, unclaimed=True)
        return [each for each in found if each.id not in known]

    def tidy(self, tx: Transaction) -> None:
        """See `Lanes.tidy`."""
        queue.remove(_raw(tx), [item.id for item in queue.picked_by_nobody(_raw(tx))])
        queue.clear_log(_raw(tx))

    def give_up(self, tx: Transaction, worker_id: str) -> list[str]:
        """See `Lanes.give_up`."""
        items = queue.picked_by(_raw(tx), worker_id)
        queue.remove(_raw(tx), [item.id for item in items])
        return [item.session_id for item in items]

    # ---- on the loop ----

    def may_claim(self, tx: Transaction, session_id: str) -> bool:
        """See `Lanes.may_claim`. A process that was suspended for longer than its lease may wake up in here."""
        if MEMBER not in tx.gathered:
            tx.gathered[MEMBER] = [workers.hold(tx, self._own_id)]
        running = self._running.get(session_id)
        return tx.gathered[MEMBER] == [True] and running is not None and not running.lost

    def holds(self, session_id: str, fence: int) -> None:
        """See `Lanes.holds`."""
        running = self._running.get(session_id)
        if running is not None:
            running.fence = fence
            if fence < running.void_below and running.task is not None:
                running.task.cancel()

    def watch(self, session_id: str, poked: Callable[[], None] | None) -> None:
        """See `Lanes.watch`."""
        if poked is None:
            self._watchers.pop(session_id, None)
        else:
            self._watchers[session_id] = poked

    def set_caps(self, caps: Mapping[str, int]) -> None:
        """See `Lanes.set_caps`."""
        self._caps.update(caps)
        self._pace.now()

    def cap(self, lane: str) -> int:
        """See `Lanes.cap`."""
        return self._caps.get(lane, 0)

    def stats(self, tx: Transaction) -> Mapping[str, LaneStats]:
        """See `Lanes.stats`. Looked up once in a unit of work."""
        if KEPT not in tx.kept:
            found, none = queue.waiting(_raw(tx)), (0, 0, 0.0)
            tx.kept[KEPT] = {name: LaneStats(cap, *found.get(name, none)) for name, cap in self._caps.items()}
        return tx.kept[KEPT]

    def positions(self, tx: Transaction, session_ids: Sequence[str]) -> Mapping[str, int]:
        """See `Lanes.positions`."""
        return queue.positions(_raw(tx), session_ids) if session_ids else {}

    def is_running(self, session_id: str) -> bool:
        """See `Lanes.is_running`."""
        return session_id in self._running

    def is_draining(self, session_id: str) -> bool:
        """See `Lanes.is_draining`."""
        return self._draining or self._only not in (None, session_id)

    @property
    def alone(self) -> str | None:
        """See `Lanes.alone`: here it keeps one process to itself."""
        return None

    @property
    def draining(self) -> bool:
        """The process is about to stop."""
        return self._draining

    @property
    def running(self) -> int:
        """How many activations are under way in this process."""
        return len(self._running)

    def start(self, activate: Activate, solitude: Solitude, suspects: Sequence[str] = ()) -> None:
        """See `Lanes.start`. Suspects are recognised when they are picked, by whichever process picks them."""
        self._activate, self._solitude = activate, solitude
        self._pace.now()
        self._pump = asyncio.create_task(self._work(), name="lanes")

    async def resume_alone(self, suspects: Sequence[str]) -> None:
        """See `Lanes.resume_alone`: nothing has to be waited for here."""

    async def drain(self, seconds: float) -> None:
        """See `Lanes.drain`."""
        self._draining = True
        self._pace.now()
        if self._alone is not None:
            self._alone.cancel()
            await asyncio.gather(self._alone, return_exceptions=True)
        tasks = [each.task for each in self._running.values() if each.task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        if self._pump is not None:  # rows that it hasn't given back go when the process leaves
            self._pump.cancel()
            await asyncio.gather(self._pump, return_exceptions=True)

    def abandon(self) -> None:
        """Somebody else has taken over all that this process had claimed: cancels everything at once."""
        self._held.clear()
        for running in self._running.values():
            running.lost = True
            running.kept.clear()
            if running.task is not None:
                running.task.cancel()

    @property
    def caps(self) -> Mapping[str, int]:
        """Each lane's cap."""
        return self._caps

    # ---- the pump ----

    def _told(self, lane: str) -> None:
        """A lane has a new row, or a free seat."""
        if self._works_on(lane):
            self._stirred()

    def _works_on(self, lane: str) -> bool:
        return self._serves is None or lane in self._serves

    def _stirred(self) -> None:
        """There may be something to pick, or a seat to give back."""
        self._pace.stirred(calm=len(self._running) < CROWD)

    def _returned_to(self) -> None:
        """The server may have forgotten the last half second."""
        self._audit = True
        self._pace.now()

    async def _work(self) -> None:
        while True:
            await self._pace.turn()
            ended, self._ended = self._ended, []
            returned, self._returned = self._returned, []
            audit, self._audit = self._audit, False
            caps, most = self._room(len(ended))
            if not (ended or returned or audit or (caps and most > 0)):
                continue
            try:
                picked = await self._database.run_relaxed(self._turn_over, ended, returned, audit, caps, most)
            except StoreError:
                self._audit = True
                log.exception("the lanes wait for the database")
                self._ended, self._returned = [*ended, *self._ended], [*returned, *self._returned]
                asyncio.get_running_loop().call_later(RETRY_SECONDS, self._pace.now)
                continue
            self._pace.looked()
            self._settle(ended)
            self._take(picked)
            if len(picked.items) >= max(1, most):
                self._pace.now()  # there may be more
            elif picked.items:
                self._pace.soon()  # what somebody had just locked was passed over

    def _room(self, ended: int) -> tuple[dict[str, int], int]:
        """The lanes that may be picked from, with their caps, and how many rows there is room for once those that have
        ended are given back."""
        if self._activate is None or self._draining or self._suspects:
            return {}, 0
        caps = {name: cap for name, cap in self._caps.items() if self._works_on(name)}
        free = self._concurrency - len(self._running) + ended if self._concurrency else MOST_AT_ONCE
        return caps, min(free, MOST_AT_ONCE)

    def _turn_over(
        self,
        tx: Transaction,
        ended: list[_Running],
        returned: list[Item],
        audit: bool,
        caps: dict[str, int],
        most: int,
    ) -> Picked:
        """Gives back what has ended, and picks anew."""
        if ended or returned:
            self._give_back(tx, ended, returned)
        if audit:
            known = self._mine()
            mine = queue.picked_by(_raw(tx), self._own_id)
            queue.remove(_raw(tx), [item.id for item in mine if item.id not in known])
        if most < 1 or not caps:
            return Picked([], frozenset())
        tx.lock_names(*(f"lane:{lane}" for lane in caps))
        items = queue.pick(_raw(tx), self._own_id, caps, most)
        return Picked(items, sessions.suspects(tx, [item.session_id for item in items]))

    def _give_back(self, tx: Transaction, ended: list[_Running], returned: list[Item]) -> None:
        """Frees seats. A session that is still claimed by an activation which has ended was left in the lurch by the
        database, and is asked for again."""
        left = sessions.claims_of(tx, self._own_id, [each.item.session_id for each in ended])
        for session_id in left:
            sessions.change(tx, session_id, claimed_by=None)
        queue.remove(_raw(tx), [*(each.item.id for each in ended), *(item.id for item in returned)])
        self.ask_again(tx, {*left, *(item.session_id for item in returned)})

    def _mine(self) -> set[int]:
        """The rows that this process has picked and not given back."""
        waiting = [*self._suspects, *self._held, *self._returned]
        begun = [item for each in [*self._running.values(), *self._ended] for item in (each.item, *each.kept)]
        return {item.id for item in [*waiting, *begun]}

    def _settle(self, ended: list[_Running]) -> None:
        for each in ended:
            del self._running[each.item.session_id]
            for item in each.kept:
                self._begin(item)

    def _take(self, picked: Picked) -> None:
        for item in picked.items:
            if item.session_id in picked.suspects:
                self._suspects.append(item)
            elif self._suspects:
                self._held.append(item)
            else:
                self._begin(item)
        if self._suspects and self._alone is None:
            self._alone = asyncio.create_task(self._one_by_one(), name="lanes:alone")

    def _begin(self, item: Item) -> None:
        running = self._running.get(item.session_id)
        if running is not None:
            running.kept.append(item)
            return
        if self._activate is None or self._draining:
            self._returned.append(item)
            return
        if self._on_start:
            self._on_start(item.lane, item.waited)
        running = self._running[item.session_id] = _Running(item)
        running.task = asyncio.ensure_future(self._activate(item.session_id))
        running.task.set_name(f"activate:{item.session_id}")
        running.task.add_done_callback(lambda task: self._over(running, task))

    def _over(self, running: _Running, task: asyncio.Task[None]) -> None:
        self._ended.append(running)
        self._stirred()
        if not task.cancelled() and (error := task.exception()) is not None:
            # An activation handles its own errors; what gets here is a fault of ours, and must be seen.
            log.error("session %s: the activation broke", running.item.session_id, exc_info=error)

    # ---- alone ----

    async def _one_by_one(self) -> None:
        """Lets suspects run with nothing beside them: nothing else begins in this process, and what runs rests at its
        next boundary."""
        try:
            while self._suspects:
                await self._run_alone(self._suspects[0])
                self._suspects.pop(0)
        except StoreError:
            log.exception("running a suspect alone: it goes on with all at once")
        finally:
            self._held, held = [], [*self._suspects, *self._held]
            self._suspects.clear()
            self._only = self._alone = None
            for item in held:
                self._begin(item)
            self._pace.now()

    async def _run_alone(self, item: Item) -> None:
        self._only = item.session_id
        alone = await self._others_rest()
        begun = await self._solitude.size(item.session_id) if self._solitude else None
        if self._solitude is None or begun is None:
            self._returned.append(item)
            return
        if alone:  # else its death could be another one's fault, and isn't held against it
            await self._solitude.note(item.session_id)
        self._begin(item)
        running = self._running.get(item.session_id)
        while running is not None and running.task is not None and not running.task.done():
            commit = self._solitude.next_commit()
            now = await self._solitude.size(item.session_id)
            if now is None or now[1] > begun[1]:
                running.proven = True
                break
            await asyncio.wait([commit, running.task], return_when=asyncio.FIRST_COMPLETED)
        await self._solitude.note(None)

    async def _others_rest(self) -> bool:
        """Waits for all but those that have proven themselves; returns whether they rest in time. One that is in the
        middle of a long call is neither waited for nor disturbed."""
        until = asyncio.get_running_loop().time() + REST_SECONDS
        while others := [
            each.task for each in self._running.values() if each.task and not each.task.done() and not each.proven
        ]:
            left = until - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            await asyncio.wait(others, timeout=left)
        return True

    # ---- words of others ----

    def _heard_cancel(self, words: Words) -> None:
        if "session" in words:
            self._cancel(str(words["session"]), int(words["fence"]))

    def _cancel(self, session_id: str, fence: int) -> None:
        """Claims of the session under a lower fence are void."""
        running = self._running.get(session_id)
        if running is None or running.task is None:
            return
        if running.fence is None:
            running.void_below = max(running.void_below, fence)
        elif running.fence < fence:
            running.task.cancel()

    def _heard_poke(self, words: Words) -> None:
        self._poke(str(words.get("session")))

    def _poke(self, session_id: str) -> None:
        watcher = self._watchers.get(session_id)
        if watcher is not None:
            watcher()


def _raw(tx: Transaction) -> psycopg.Connection[Any]:
    if not isinstance(tx, PostgresTransaction):
        raise TypeError("lanes over several processes need PostgreSQL")
    return tx.raw
