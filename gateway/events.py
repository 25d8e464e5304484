"""The event log: what happened, in commit order, for whoever watches.

Owns the table `events` and every subscription to it. May be asked to append a durable event inside a unit of
work, to publish a fleeting one, to keep the partial text of an answer under way, and to give a subscriber all
that he missed and then all that comes, without a gap and without a double.

Survives a crash: durable events. Fleeting ones, partial texts and subscriptions do not.

Ids rise in commit order. On SQLite they do because there is one writer, and events are handed on as they are
committed. On PostgreSQL a unit's events are written last, under a lock that is held until its commit, or a subscriber
could step over an id that becomes visible late; they are read from the table when this process or another one says
that it has grown, and fleeting ones wait for what was committed before them.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from sqlalchemy import JSON, BigInteger, Text, bindparam, cast, column, delete, func, insert, select

from gateway.live import Live, Partial
from gateway.store.database import Database, StoreError, Transaction
from gateway.store.schema import events

log = logging.getLogger(__name__)
_NAMES = ("type", "session_id", "session_key", "run_id", "data", "created_at")
_TYPES = (*(Text,) * 5, BigInteger)
_ROWS = (
    func.json_to_recordset(cast(bindparam("rows", type_=Text), JSON))
    .table_valued(*(column(name, kind) for name, kind in zip(_NAMES, _TYPES, strict=True)))
    .render_derived(with_types=True)
)
_INSERT = insert(events).from_select(_NAMES, select(*(cast(_ROWS.c[name], events.c[name].type) for name in _NAMES)))
"""Several at once, as JSON, with their data as a text in it: on PostgreSQL."""
_APPEND = insert(events).returning(events.c.id)
LOCK = "events"
RETRY_SECONDS = 0.5
PAUSE_SECONDS = 0.005
"""So long after a look at the table what has come since is looked at together."""
KEPT_MILLISECONDS = 24 * 60 * 60 * 1000
KEPT_ROWS = 100_000
REPLAY_BATCH = 500
QUEUE_CAP = 2_000
"""Events that may wait for one slow subscriber before he is sent back to the table."""
COALESCE_SECONDS = 0.02
"""Deltas of one message within this time leave as one event: nobody reads faster, and each costs a frame."""


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    id: int | None
    """Rises in commit order; None for a fleeting event."""
    type: str
    data: Mapping[str, Any]
    session_key: str | None = None
    run_id: str | None = None


Wanted = Callable[[Event], bool]
TellFleeting = Callable[[str, Mapping[str, Any], str | None, str | None], None]


class Kept(NamedTuple):
    """Which ids the table holds."""

    oldest: int
    newest: int


class EventLog:
    """The one place where events are made. All but `append` and `prune` is for the event loop's thread."""

    def __init__(
        self,
        database: Database,
        tell: Callable[[Transaction], None] = lambda _tx: None,
        tell_fleeting: TellFleeting = lambda _type, _data, _session_key, _run_id: None,
    ) -> None:
        """
        Args:
            database: where events are kept.
            tell: lets the process that has subscribers know that the table has grown.
            tell_fleeting: hands a fleeting event on to it.
        """
        self._database = database
        self._tell = tell
        self._tell_fleeting = tell_fleeting
        self._follower: Follower | None = None
        self._subscriptions: set[Subscription] = set()
        self._deltas: dict[tuple[str, str], list[str]] = {}
        self._flush: asyncio.TimerHandle | None = None
        self._closed = False
        self.live = Live()
        """What is under way right now in each session."""

    def append(
        self,
        tx: Transaction,
        type: str,
        data: Mapping[str, Any],
        *,
        session_id: str | None,
        session_key: str | None,
        run_id: str | None = None,
    ) -> None:
        """Stores an event with this unit of work; subscribers get it once that is committed.

        Args:
            tx: the unit of work that the event tells of.
            type: `message`, `run`, `delivery`, `approval` or `session`.
            data: the event's JSON, in camelCase.
            session_id: the session that it is about.
            session_key: that session's key, by which subscribers filter.
            run_id: the run that it is about.
        """
        row = (type, session_id, session_key, run_id)
        if tx.alone:
            values = dict(zip(_NAMES, (*row, dict(data), tx.now), strict=True))
            event = Event(tx.execute(_APPEND, values).scalar_one(), type, data, session_key, run_id)
            tx.after_commit(lambda: self._dispatch(event))
            return
        waiting = tx.gathered.setdefault(LOCK, [])
        if not waiting:
            tx.before_commit(lambda: self._write(tx, waiting))
            tx.after_commit(self.look)  # before what the unit tells later, so that nothing fleeting overtakes it
        waiting.append((*row, json.dumps(data), tx.now))

    def _write(self, tx: Transaction, waiting: list[tuple[Any, ...]]) -> None:
        """Stores a transaction's events at its end: nobody waits for the lock longer than a commit takes."""
        tx.lock_names(LOCK)
        tx.execute(_INSERT, {"rows": json.dumps([dict(zip(_NAMES, row, strict=True)) for row in waiting])})
        waiting.clear()
        self._tell(tx)

    async def open(self) -> None:
        """Begins to follow the table, where events don't come by themselves."""
        if await self._database.read(_comes_by_table):
            self._follower = Follower(self._database, self._dispatch, (await self._database.read(_kept)).newest)

    def look(self) -> None:
        """The table has grown."""
        if self._follower is not None:
            self._follower.look()

    def publish(
        self, type: str, data: Mapping[str, Any], *, session_key: str | None, run_id: str | None = None
    ) -> None:
        """Tells current subscribers of something that isn't kept: `progress`, `idle`."""
        self.live.note(type, session_key, data)
        self._tell_fleeting(type, data, session_key, run_id)
        self._show(Event(None, type, data, session_key, run_id))

    def delta(self, session_key: str, message_id: str, text: str) -> None:
        """Adds to the partial text of an answer under way."""
        self.live.extend(session_key, message_id, text)
        if not self._subscriptions:
            return
        self._deltas.setdefault((session_key, message_id), []).append(text)
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(COALESCE_SECONDS, self._send_deltas)

    def restart(self, session_key: str, message_id: str, text: str = "") -> None:
        """Replaces the partial text: a model call is tried again, or a new message begins."""
        self._send_deltas()
        self.live.begin(session_key, message_id, text)
        self._show(_snapshot(session_key, Partial(message_id, [text])))

    def finish(self, session_key: str) -> None:
        """Forgets the partial text: the message is stored, or will never be."""
        self._send_deltas()
        self.live.forget(session_key)

    def partials(self) -> Mapping[str, Partial]:
        """Every partial text by session key; the deltas in it have been sent."""
        self._send_deltas()
        return self.live.partials

    def subscribe(self, *, last_id: int | None, wanted: Wanted = lambda _event: True) -> Subscription:
        """A subscription to use as `async with log.subscribe(…) as watch: async for event in watch`.

        Whatever is committed after the context was entered is delivered.

        Args:
            last_id: the last durable event that the subscriber has; None: from now on.
            wanted: which events he wants; is asked in order, once for each event.
        """
        return Subscription(self, self._database, last_id, wanted)

    def prune(self, tx: Transaction) -> int:
        """Deletes what is older than 24 hours or beyond 100,000 events; returns how many rows went."""
        kept = _kept(tx)
        # The newest row always stays: without it nobody could tell a current id from one of the future.
        horizon = kept.newest - KEPT_ROWS
        old = (events.c.created_at < tx.now - KEPT_MILLISECONDS) & (events.c.id < kept.newest)
        return tx.execute(delete(events).where(old | (events.c.id <= horizon))).rowcount

    async def close(self) -> None:
        """Ends every subscription; later ones end at once."""
        if self._follower is not None:
            await self._follower.stop()
        self._closed = True
        if self._flush is not None:
            self._flush.cancel()
        for subscription in list(self._subscriptions):
            subscription.end()

    def attach(self, subscription: Subscription) -> None:
        """Begins to hand events to `subscription`."""
        self._subscriptions.add(subscription)
        if self._closed:
            subscription.end()

    def detach(self, subscription: Subscription) -> None:
        """Hands nothing more to `subscription`."""
        self._subscriptions.discard(subscription)

    def _show(self, event: Event) -> None:
        """Hands a fleeting event on, after all that was committed before it."""
        if self._follower is None or not self._follower.behind:
            self._dispatch(event)
        else:
            self._send_deltas()
            self._follower.wait_with(event)

    def _dispatch(self, event: Event) -> None:
        self._send_deltas()
        message_id = event.data.get("messageId") if event.type == "message" else None
        if message_id is not None and event.session_key is not None:
            # Who connects between this and `finish` must not be shown the partial of a message that he has.
            self.live.forget(event.session_key, str(message_id))
        for subscription in self._subscriptions:
            subscription.offer(event)

    def _send_deltas(self) -> None:
        if self._flush is not None:
            self._flush.cancel()
            self._flush = None
        if not self._deltas:
            return
        waiting, self._deltas = self._deltas, {}
        for (session_key, message_id), pieces in waiting.items():
            data = {"sessionKey": session_key, "messageId": message_id, "text": "".join(pieces)}
            event = Event(None, "delta", data, session_key)
            if self._follower is not None and self._follower.behind:
                self._follower.wait_with(event)
                continue
            for subscription in self._subscriptions:
                subscription.offer(event)


class Follower:
    """Reads the table whenever it has grown, and hands on what is new, in order.

    A fleeting event that comes while there is something to read waits for a reading that was begun after it.
    """

    def __init__(self, database: Database, dispatch: Callable[[Event], None], newest: int) -> None:
        self._database = database
        self._dispatch = dispatch
        self._newest = newest
        self._grown = asyncio.Event()
        self._reading = False
        self._waiting: list[Event] = []
        self._task = asyncio.create_task(self._follow(), name="events")

    @property
    def behind(self) -> bool:
        """Something may have been committed that hasn't been handed on."""
        return self._reading or self._grown.is_set()

    def look(self) -> None:
        """The table has grown."""
        self._grown.set()

    def wait_with(self, event: Event) -> None:
        """Hands an event on after the next reading."""
        self._waiting.append(event)
        self._grown.set()

    async def stop(self) -> None:
        """Hands on what there is, and ends."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._grown.set()
        await self._read()

    async def _follow(self) -> None:
        while True:
            await self._grown.wait()
            try:
                await self._read()
            except StoreError as error:
                log.warning("events wait for the database: %s", error)
                await asyncio.sleep(RETRY_SECONDS)  # nothing tells when a server is back
                self._grown.set()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _read(self) -> None:
        self._grown.clear()
        self._reading = True
        later, self._waiting = self._waiting, []
        try:
            batch = await self._batch()
            while batch:
                for event in batch:
                    self._newest = event.id or self._newest
                    self._dispatch(event)
                batch = await self._batch() if len(batch) == REPLAY_BATCH else []
        finally:
            self._reading = False
        for event in later:
            self._dispatch(event)

    async def _batch(self) -> list[Event]:
        return await self._database.read(_after, self._newest)


class Subscription:
    """One subscriber's view of the log: first what the table has after his last id, then what comes.

    It is attached to the log before the table is read. What is committed before a read is in the read, what
    is committed later arrives in the queue, and what is in both is recognised by its id.
    """

    def __init__(self, log: EventLog, database: Database, last_id: int | None, wanted: Wanted) -> None:
        self._log = log
        self._database = database
        self._last_id = last_id
        self._wanted = wanted
        self._queue: deque[Event] = deque()
        self._ready: deque[Event] = deque()
        self._live = False
        self._lost = False
        self._ended = False
        self._wake = asyncio.Event()
        self.position = 0
        """The id up to which every wanted event has been handed over."""

    async def __aenter__(self) -> Self:
        self._log.attach(self)
        try:
            kept = await self._database.read(_kept)
        except BaseException:
            self._log.detach(self)
            raise
        self.position = kept.newest if self._last_id is None else self._last_id
        self._reset_if_unknown(kept)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._log.detach(self)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        """The next wanted event. May be cancelled (by a timeout) and asked again; nothing is lost by that.

        Raises:
            StopAsyncIteration: the gateway stops.
        """
        while not self._ended:
            event = self._take()
            if event is not None:
                return event
            if self._live and not self._lost:
                self._wake.clear()
                await self._wake.wait()
            else:
                await self._replay()
        raise StopAsyncIteration

    def offer(self, event: Event) -> None:
        """Queues an event, or notes that the subscriber has fallen behind."""
        if self._lost:
            return
        if len(self._queue) >= QUEUE_CAP:
            # The table has all that is durable; of the rest the newest state counts, and it ends a replay.
            self._queue.clear()
            self._lost = True
        else:
            self._queue.append(event)
        self._wake.set()

    def end(self) -> None:
        """Ends the iteration."""
        self._ended = True
        self._wake.set()

    def _take(self) -> Event | None:
        while self._ready or (self._live and not self._lost and self._queue):
            event = self._ready.popleft() if self._ready else self._queue.popleft()
            if event.type != "reset" and event.id is not None:
                if event.id <= self.position:
                    continue
                self.position = event.id
            if event.type == "reset" or self._wanted(event):
                return event
        return None

    async def _replay(self) -> None:
        """Reads the next batch; after the last one the queue is live."""
        self._live = False
        self._lost = False
        kept, batch = await self._database.read(_kept_after, self.position)
        if self._reset_if_unknown(kept):
            return
        self._ready.extend(batch)
        if len(batch) < REPLAY_BATCH and not self._lost:
            self._go_live()

    def _go_live(self) -> None:
        # Nothing can happen between the read and here: partial texts are taken as they stand now, and deltas
        # that are still queued are part of them.
        self._live = True
        partials = self._log.partials()
        self._queue = deque(event for event in self._queue if event.type not in ("delta", "snapshot"))
        self._queue.extend(_snapshot(key, partial) for key, partial in partials.items())

    def _reset_if_unknown(self, kept: Kept) -> bool:
        if kept.oldest - 1 <= self.position <= kept.newest:
            return False
        self.position = kept.newest
        self._ready.clear()
        self._ready.append(Event(kept.newest, "reset", {}))
        return True


def _snapshot(session_key: str, partial: Partial) -> Event:
    data = {"sessionKey": session_key, "messageId": partial.message_id, "text": partial.text}
    return Event(None, "snapshot", data, session_key)


def newest(tx: Transaction) -> int:
    """The id of the newest event that is kept."""
    return _kept(tx).newest


def _comes_by_table(tx: Transaction) -> bool:
    return not tx.alone


def _kept(tx: Transaction) -> Kept:
    oldest: int | None = tx.execute(select(func.min(events.c.id))).scalar()
    newest: int | None = tx.execute(select(func.max(events.c.id))).scalar()
    return Kept(oldest or 1, newest or 0)


def _after(tx: Transaction, last_id: int) -> list[Event]:
    query = select(events).where(events.c.id > last_id).order_by(events.c.id).limit(REPLAY_BATCH)
    return [Event(int(row.id), row.type, row.data, row.session_key, row.run_id) for row in tx.execute(query).all()]


def _kept_after(tx: Transaction, last_id: int) -> tuple[Kept, list[Event]]:
    return _kept(tx), _after(tx, last_id)
