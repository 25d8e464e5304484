"""PostgreSQL: a small pool of threads, each with a connection of its own.

Units of work are executed whole, side by side, at READ COMMITTED; what one must have for itself it locks. A unit that
loses a deadlock, or the connection before its commit was sent, is executed again from its start; so is one that has
met a row which another unit has just written under the same key: the second time it finds that row. If the connection
is lost while a commit is under way the server is asked afterwards what became of the transaction. Times are the
server's.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import psycopg
from sqlalchemy import Connection, create_engine, func, select
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from gateway import failpoints
from gateway.store.columns import POSTGRES_CLOCK
from gateway.store.database import DatabaseHealth, StoreError, Transaction
from gateway.store.postgres_connect import IDLE_SECONDS, connect, explain, is_lost, server_of, state_of
from gateway.store.postgres_transaction import PostgresTransaction, driver
from gateway.store.schema import sessions
from gateway.store.units import call, name_of, settled
from gateway.telemetry import context

P = ParamSpec("P")
T = TypeVar("T")

WRITERS = 6
READERS = 3
"""Threads, and so connections, of one process."""
MOST_TOGETHER = 16
"""Units that are committed together at most."""
PATIENCE_SECONDS = 15.0
"""How long a unit waits for a server that is gone: longer than a restart of it takes."""
CONFLICTS = 20
"""How often a unit is executed again after a deadlock."""
COLLISIONS = 3
"""How often it is executed again after it has met a key that was taken meanwhile."""
SERIALIZATION = ("40001", "40P01", "55P03")
_AHEAD_MS = 1_000
"""As in `sqlite.py`: times of units that follow each other fast may be ahead of the clock by this."""

_CLOCK = str(POSTGRES_CLOCK)
_NUMBERED = f"select {_CLOCK}, pg_current_xact_id()::text"
_WRITE = f"begin isolation level read committed read write; {_NUMBERED}".encode()
# What the lanes ask for takes several times as long to plan as to do.
_RELAXED = (
    "begin isolation level read committed read write; set local synchronous_commit = off; "
    f"set local plan_cache_mode = force_generic_plan; {_NUMBERED}"
).encode()
_READ = f"begin isolation level repeatable read read only; select {_CLOCK}, ''".encode()


@dataclass(slots=True)
class _Done:
    """What a unit came to, on its way back to the loop."""

    value: Any = None
    callbacks: Sequence[Callable[[], None]] = ()
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class _Member:
    """A unit that somebody waits for."""

    future: asyncio.Future[Any]
    name: str
    work: Callable[[Transaction], Any]
    holds: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Commit:
    """A commit that has been sent."""

    number: str
    """Of the transaction."""
    done: _Done
    """What the unit came to, if it was committed."""


_UNKNOWN = _Done(
    error=StoreError(
        "the connection to the database was lost while a change was being committed, and it can't be asked what became "
        "of it; what is true stands in the tables"
    )
)


class PostgresDatabase:
    """`Database` on a PostgreSQL server."""

    def __init__(
        self, url: str, durability: Literal["full", "process"] = "full", *, idle_seconds: float = IDLE_SECONDS
    ) -> None:
        """Opens nothing yet. The database must have been migrated.

        Args:
            url: `postgresql://…`.
            durability: `process`: a commit doesn't wait for the server's disk.
            idle_seconds: after which the server ends a transaction whose process has stopped in it.
        """
        self.url = url
        self._loop = asyncio.get_running_loop()
        self._open = partial(connect, url, "unit", durability=durability, idle_seconds=idle_seconds)
        self._engine = create_engine("postgresql+psycopg://", creator=self._open, poolclass=NullPool)
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="laneway-writer")
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="laneway-reader")
        self._local = threading.local()
        self._opened: dict[Connection, int] = {}
        """With the number of the server's process."""
        self._orders: dict[str, tuple[asyncio.Lock, int]] = {}
        self._together: list[_Member] = []
        """Units that wait for those that are being committed together."""
        self._sent_together = False
        self._closed = False
        self._asked_for = 0
        """Units that are not done yet."""
        self._moments = threading.Lock()
        self._next_commit: asyncio.Future[None] | None = None
        self._ahead = 0.0
        """By how much the server's clock is ahead of this machine's (milliseconds)."""
        self._last = 0
        """The moment of the unit before."""

    @property
    def file(self) -> Path | None:
        """It is no file."""
        return None

    async def run(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Database.run`."""
        return await self._ask(_WRITE, unit, args, kwargs)

    async def run_relaxed(
        self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """As `run`, for what may be lost with the server's last half second: it returns before the disk has it."""
        return await self._ask(_RELAXED, unit, args, kwargs)

    async def run_together(
        self,
        holds: Sequence[str],
        unit: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """See `Database.run_together`: what comes while the ones before are being committed goes together."""
        self._together.append(member := self._member(unit, args, kwargs, holds))
        self._send_together()
        return await settled(member.future)

    async def read(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Database.read`."""
        if self._closed:
            raise StoreError(f"database {server_of(self.url)}: it is closed")
        work = partial(self._insist, _READ, [name_of(unit)], partial(call, unit, args, kwargs))
        done = await self._loop.run_in_executor(self._readers, work)
        if done.error is not None:
            raise done.error
        return done.value

    async def health(self) -> DatabaseHealth:
        """See `Database.health`. The server's own log and checkpoints are its administrator's affair."""
        size = await self.read(_size)
        return DatabaseHealth("postgresql", server_of(self.url), size, 0, None, max(0, self._asked_for - WRITERS))

    def clock(self) -> float:
        """See `Database.clock`."""
        return time.time() * 1000 + self._ahead

    @asynccontextmanager
    async def in_order(self, key: str) -> AsyncGenerator[None]:
        """See `Database.in_order`."""
        lock, waiting = self._orders.get(key, (None, 0))
        lock = lock or asyncio.Lock()
        self._orders[key] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            waiting = self._orders[key][1] - 1
            if waiting:
                self._orders[key] = (lock, waiting)
            else:
                del self._orders[key]

    def next_commit(self) -> asyncio.Future[None]:
        """See `Database.next_commit`."""
        if self._next_commit is None or self._next_commit.done():
            self._next_commit = self._loop.create_future()
        return self._next_commit

    def is_own(self, pid: int) -> bool:
        """Whether a backend of the server works for this process."""
        return pid in tuple(self._opened.values())

    async def close(self) -> None:
        """See `Database.close`."""
        if self._closed:
            return
        self._closed = True
        if self._together:
            self._writers.submit(self._work_together, self._together)
        for pool in (self._writers, self._readers):
            await asyncio.to_thread(pool.shutdown)
        for connection in tuple(self._opened):
            self._drop(connection)
        self._engine.dispose()

    async def _ask(self, begin: bytes, unit: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        member = self._member(unit, args, kwargs)
        self._writers.submit(self._work, member, begin)
        return await settled(member.future)

    def _member(
        self, unit: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], holds: Sequence[str] = ()
    ) -> _Member:
        if self._closed:
            raise StoreError(f"database {server_of(self.url)}: it is closed")
        self._asked_for += 1
        work = partial(_traced, context.current.get(), partial(call, unit, args, kwargs))
        return _Member(self._loop.create_future(), name_of(unit), work, holds)

    def _send_together(self) -> None:
        if self._sent_together or not self._together or self._closed:  # `close` sends what waits
            return
        self._sent_together = True
        members, self._together = self._together[:MOST_TOGETHER], self._together[MOST_TOGETHER:]
        self._writers.submit(self._work_together, members)

    # ---- in a thread ----

    def _work(self, member: _Member, begin: bytes) -> None:
        done = self._insist(begin, [member.name], member.work)
        self._loop.call_soon_threadsafe(self._settle, member, done)

    def _work_together(self, members: Sequence[_Member]) -> None:
        done = self._insist(_WRITE, [member.name for member in members], partial(self._in_turn, members))
        if done.error is None:
            each = [_Done(value) for value in done.value]
            each[0].callbacks = done.callbacks
        elif isinstance(done.error, StoreError):
            each = [done] * len(members)
        else:  # one of them has failed, and takes no other with it
            each = [self._insist(_WRITE, [member.name], member.work) for member in members]
        self._loop.call_soon_threadsafe(self._settle_together, members, each)

    def _in_turn(self, members: Sequence[_Member], tx: Transaction) -> list[Any]:
        if len(members) > 1:  # one by one they might wait for another process that holds them the other way round
            tx.lock(sessions, *sorted({each for member in members for each in member.holds}))
        values: list[Any] = []
        for member in members:
            if values:
                tx.follow(self._moment(tx.now))
            values.append(member.work(tx))
        return values

    def _settle_together(self, members: Sequence[_Member], each: Sequence[_Done]) -> None:
        self._sent_together = False
        self._send_together()
        for member, done in zip(members, each, strict=True):
            self._loop.call_soon(self._settle, member, done)

    def _settle(self, member: _Member, done: _Done) -> None:
        self._asked_for -= 1
        try:
            for callback in done.callbacks:
                callback()
        finally:  # as in `sqlite.py`
            if not member.future.cancelled():
                if done.error is not None:
                    member.future.set_exception(done.error)
                else:
                    member.future.set_result(done.value)
            if done.error is None and self._next_commit is not None and not self._next_commit.done():
                self._next_commit.set_result(None)

    def _insist(self, begin: bytes, names: Sequence[str], unit: Callable[[Transaction], Any]) -> _Done:
        """Executes a unit, again if need be. Several in one give way at once: they are executed each by itself then."""
        since = time.monotonic()
        conflicts = collisions = 0
        while True:
            try:
                return self._once(begin, names, unit)
            except _Lost as lost:
                if lost.commit is not None and (found := self._asked(lost.commit, since)) is not None:
                    return found
                if time.monotonic() - since > PATIENCE_SECONDS or self._closed:
                    return _Done(error=lost.meaning)
                wait = 0.2
            except _Conflict as conflict:
                conflicts += 1
                if len(names) > 1:
                    return _Done(error=conflict)
                if conflicts > CONFLICTS:
                    return _Done(error=explain(conflict.error, self.url))
                wait = 0.002 * conflicts
            except IntegrityError as error:
                collisions += 1
                if collisions >= COLLISIONS:
                    return _Done(error=error)
                wait = 0.0
            except (DBAPIError, psycopg.Error) as error:
                return _Done(error=explain(error, self.url))
            except BaseException as error:  # the unit's own: its caller's to handle
                return _Done(error=error)
            time.sleep(wait * random.uniform(0.5, 1.5))  # noqa: S311 - jitter: nothing tells when a server is back

    def _once(self, begin: bytes, names: Sequence[str], unit: Callable[[Transaction], Any]) -> _Done:
        connection: Connection | None = None
        commit: _Commit | None = None
        try:
            connection = self._mine()
            raw = driver(connection)
            now, number = self._begin(raw, begin)
            tx = PostgresTransaction(connection, now, reading=begin is _READ)
            value = unit(tx)
            if begin is _READ:
                raw.execute("rollback")
                return _Done(value)
            tx.conclude()
            for name in names:
                failpoints.hit(f"before:{name}")
            commit = _Commit(number, _Done(value, tx.callbacks))
            raw.execute("commit")
            for name in names:
                failpoints.hit(f"after:{name}")
        except BaseException as error:
            self._undo(connection)
            meaning = self._sorted(error, commit)
            if meaning is error:
                raise
            raise meaning from error
        return commit.done

    def _asked(self, commit: _Commit, since: float) -> _Done | None:
        """What became of a commit whose answer was lost; None: the unit is to be executed again."""
        while True:
            try:
                row = driver(self._mine()).execute("select pg_xact_status(%s::xid8)", [commit.number]).fetchone()
                status = row[0] if row else None
                if status != "in progress":
                    return None if status == "aborted" else commit.done if status == "committed" else _UNKNOWN
            except (StoreError, psycopg.Error, SQLAlchemyError):
                self._undo(getattr(self._local, "connection", None))
            if time.monotonic() - since > PATIENCE_SECONDS or self._closed:
                return _UNKNOWN
            time.sleep(0.05)  # nothing tells when a server is back, or when it has given a transaction up

    def _begin(self, raw: psycopg.Connection[Any], begin: bytes) -> tuple[int, str]:
        cursor = raw.execute(begin)
        while cursor.nextset():
            pass
        row = cursor.fetchone()
        now, number = (int(row[0]), str(row[1])) if row else (0, "")
        self._ahead = now - time.time() * 1000
        return (now if begin is _READ else self._moment(now)), number

    def _sorted(self, error: BaseException, commit: _Commit | None) -> BaseException:
        """An error as what is to be done about it."""
        if isinstance(error, StoreError):
            return _Lost(error, None)
        if not isinstance(error, DBAPIError | psycopg.Error):
            return error
        if is_lost(error):
            return _Lost(explain(error, self.url), commit)
        if state_of(error) in SERIALIZATION:
            return _Conflict(error)
        return error

    def _undo(self, connection: Connection | None) -> None:
        if connection is None:
            return
        try:
            driver(connection).execute("rollback")
        except (psycopg.Error, SQLAlchemyError):  # one that SQLAlchemy knows to be gone has no driver any more
            self._drop(connection)

    def _mine(self) -> Connection:
        """This thread's connection, a new one if it has none that works."""
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None or connection not in self._opened:
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._local.connection = connection
            self._opened[connection] = driver(connection).info.backend_pid
        return connection

    def _drop(self, connection: Connection) -> None:
        self._opened.pop(connection, None)
        with suppress(psycopg.Error, SQLAlchemyError):
            connection.invalidate()
            connection.close()

    def _moment(self, now: int) -> int:
        """As in `sqlite.py`: of two units of this process the one that was begun later has a later time."""
        with self._moments:
            ahead = self._last + 1 - now
            self._last = now if ahead <= 0 or ahead > _AHEAD_MS else self._last + 1
            return self._last


def _traced(trace: str | None, unit: Callable[[Transaction], T], tx: Transaction) -> T:
    tx.trace = trace
    return unit(tx)


def _size(tx: Transaction) -> int:
    return int(tx.execute(select(func.pg_database_size(func.current_database()))).scalar_one())


class _Lost(Exception):
    """The connection is gone.

    Args:
        meaning: what to tell the caller if it doesn't come back.
        commit: it was lost while this was under way.
    """

    def __init__(self, meaning: StoreError, commit: _Commit | None) -> None:
        super().__init__(str(meaning))
        self.meaning = meaning
        self.commit = commit


class _Conflict(Exception):
    """The unit has lost against another one, and may be executed again."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(str(error))
        self.error = error
