"""The embedded database: one SQLite file, one writer thread, read-only connections beside it.

WAL with `synchronous=FULL` (`database.durability: "full"`): what was accepted survives a power cut; with `"process"`
(`NORMAL`) it survives the death of the process. Units of work that wait together are committed together, each in a
savepoint of its own, so that one that fails takes no other with it.
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.pool import NullPool
from sqlalchemy.sql.compiler import SQLCompiler

from gateway import failpoints
from gateway.store.database import DatabaseHealth, StoreError, Transaction
from gateway.store.prepared import Statements
from gateway.store.units import call, name_of, settled
from gateway.telemetry import context

P = ParamSpec("P")
T = TypeVar("T")

_BATCH = 64
_READERS = 2
_BUSY_SECONDS = 5.0
_AHEAD_MS = 1_000
"""The times of units that follow each other fast may be ahead of the clock by this; by more, it was put back."""


class _Driver:
    """See `prepared.Driver`."""

    def arrange(self, compiled: SQLCompiler) -> tuple[str, Sequence[str]]:
        return compiled.string, compiled.positiontup or ()

    def send(self, raw: sqlite3.Connection, text: str, values: Sequence[Any]) -> sqlite3.Cursor:
        return raw.execute(text, values)


_STATEMENTS = Statements(_Driver())


@dataclass(slots=True)
class _Job:
    name: str
    unit: Callable[[Transaction], Any]
    future: asyncio.Future[Any]
    callbacks: list[Callable[[], None]]
    trace: str | None
    value: Any = None
    error: BaseException | None = None


def connect(file: Path, *, durability: Literal["full", "process"] = "full", read_only: bool = False) -> Connection:
    """Opens one connection whose transactions are begun and ended by hand.

    Raises:
        StoreError: the file can't be opened, isn't a database or can't be written.
    """

    def opened() -> sqlite3.Connection:
        mode = "ro" if read_only else "rwc"
        raw = sqlite3.connect(
            f"{file.absolute().as_uri()}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            timeout=_BUSY_SECONDS,
            cached_statements=256,
        )
        raw.execute("pragma foreign_keys=on")
        if not read_only:
            raw.execute("pragma journal_mode=wal")
            raw.execute(f"pragma synchronous={'full' if durability == 'full' else 'normal'}")
        raw.execute("pragma temp_store=memory")
        raw.execute("pragma cache_size=-4096")
        return raw

    engine = create_engine("sqlite://", creator=opened, poolclass=NullPool)
    try:
        return engine.connect().execution_options(isolation_level="AUTOCOMMIT")
    except (DBAPIError, sqlite3.Error) as error:
        raise explain(error, file) from error


def explain(error: Exception, file: Path) -> StoreError:
    """What an error of SQLite means to a person, naming the file."""
    text = str(getattr(error, "orig", None) or error)
    advice = "see `laneway doctor`"
    for sign, meaning in (
        ("malformed", "the file is damaged; restore a backup with `laneway restore`, or move the file away"),
        ("not a database", "this isn't a SQLite database; move it away or choose another LANEWAY_HOME"),
        ("readonly", "the file or its folder can't be written; check its owner and permissions"),
        (
            "unable to open",
            "the file or its folder can't be opened; check that it exists and its permissions",
        ),
        ("full", "the disk is full; free some space, what was accepted before is intact"),
        ("disk I/O", "the disk reports an error; check it, what was accepted before is intact"),
        ("locked", "another program holds the file; close it"),
    ):
        if sign in text:
            advice = meaning
            break
    return StoreError(f"database {file}: {text}: {advice}")


class SqliteDatabase:
    """`Database` on one SQLite file."""

    def __init__(self, file: Path, durability: Literal["full", "process"] = "full") -> None:
        """Opens the file, which must have been migrated.

        Raises:
            StoreError: it can't be used.
        """
        self._file = file
        self._loop = asyncio.get_running_loop()
        self._connection = connect(file, durability=durability)
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write, name="laneway-writer", daemon=True)
        self._readers = ThreadPoolExecutor(_READERS, thread_name_prefix="laneway-reader")
        self._local = threading.local()
        self._opened: list[Connection] = []
        self._closed = False
        self._next_commit: asyncio.Future[None] | None = None
        self._last = 0
        """The moment of the unit before."""
        self._writer.start()

    @property
    def file(self) -> Path | None:
        """The file behind it."""
        return self._file

    async def run(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Database.run`."""
        if self._closed:
            raise StoreError(f"database {self._file}: it is closed")
        job = _Job(
            name_of(unit),
            partial(call, unit, args, kwargs),
            self._loop.create_future(),
            [],
            context.current.get(),
        )
        self._jobs.put(job)
        return await settled(job.future)

    async def run_together(
        self,
        holds: Sequence[str],
        unit: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """See `Database.run_together`: here all are."""
        return await self.run(unit, *args, **kwargs)

    async def read(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """See `Database.read`."""
        return await self._loop.run_in_executor(self._readers, self._read, partial(call, unit, args, kwargs))

    def clock(self) -> float:
        """See `Database.clock`."""
        return time.time() * 1000

    def in_order(self, key: str) -> AbstractAsyncContextManager[None]:
        """See `Database.in_order`: they always are."""
        return nullcontext()

    async def health(self) -> DatabaseHealth:
        """See `Database.health`. Only a checkpoint writes to the main file: its time is that of the last one."""
        return await self._loop.run_in_executor(self._readers, self._health)

    def _health(self) -> DatabaseHealth:
        main, log = self._file.stat(), self._file.with_name(self._file.name + "-wal")
        size = log.stat().st_size if log.exists() else 0
        waiting = self._jobs.qsize()
        return DatabaseHealth("sqlite", str(self._file), main.st_size, size, main.st_mtime_ns // 1_000_000, waiting)

    def next_commit(self) -> asyncio.Future[None]:
        """See `Database.next_commit`."""
        if self._next_commit is None or self._next_commit.done():
            self._next_commit = self._loop.create_future()
        return self._next_commit

    async def close(self) -> None:
        """See `Database.close`."""
        if self._closed:
            return
        self._closed = True
        self._jobs.put(None)
        await asyncio.to_thread(self._writer.join)
        await asyncio.to_thread(self._readers.shutdown)
        for connection in [*self._opened, self._connection]:
            connection.close()

    def _read(self, unit: Callable[[Transaction], T]) -> T:
        connection: Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = connect(self._file, read_only=True)
            self._opened.append(connection)
        try:
            connection.exec_driver_sql("begin")
            try:
                return unit(Transaction(connection, _now(), _STATEMENTS))
            finally:
                connection.exec_driver_sql("rollback")
        except DBAPIError as error:
            raise explain(error, self._file) from error

    def _write(self) -> None:
        while (first := self._jobs.get()) is not None:
            batch, last = [first], False
            while len(batch) < _BATCH:
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
                if job is None:
                    last = True
                    break
                batch.append(job)
            self._commit(batch)
            self._loop.call_soon_threadsafe(self._settle, batch)
            if last:
                return

    def _commit(self, batch: list[_Job]) -> None:
        execute = self._connection.exec_driver_sql
        try:
            execute("begin immediate")
            for job in batch:
                self._execute(job, alone=len(batch) == 1)
            for job in batch:
                failpoints.hit(f"before:{job.name}")
            execute("commit")
            for job in batch:
                failpoints.hit(f"after:{job.name}")
        except DBAPIError as error:
            failure = explain(error, self._file)
            for job in batch:
                job.error = job.error or failure
            self._rollback()

    def _execute(self, job: _Job, *, alone: bool) -> None:
        execute = self._connection.exec_driver_sql
        tx = Transaction(self._connection, self._moment(), _STATEMENTS)
        tx.trace = job.trace
        if not alone:
            execute("savepoint unit")
        try:
            job.value = job.unit(tx)
            tx.conclude()
            job.callbacks = tx.callbacks
        except BaseException as error:
            storage = isinstance(error, DBAPIError) and not isinstance(error, IntegrityError)
            job.error = explain(error, self._file) if isinstance(error, Exception) and storage else error
            execute("rollback" if alone else "rollback to unit")
            if alone:
                execute("begin")
        if not alone:
            execute("release unit")

    def _moment(self) -> int:
        """A time for each unit that no other has, so that the order of times is that of the units: sub-agents asked
        for within the same millisecond queue and are listed in the order in which they were asked for."""
        now = _now()
        ahead = self._last + 1 - now
        self._last = now if ahead <= 0 or ahead > _AHEAD_MS else self._last + 1
        return self._last

    def _settle(self, batch: list[_Job]) -> None:
        try:
            for job in batch:
                if job.error is None:
                    for callback in job.callbacks:
                        callback()
        finally:  # a callback that breaks must not leave anybody waiting for what is committed
            for job in batch:
                if job.future.cancelled():
                    continue
                if job.error is not None:
                    job.future.set_exception(job.error)
                else:
                    job.future.set_result(job.value)
            if self._next_commit is not None and not self._next_commit.done():
                self._next_commit.set_result(None)

    def _rollback(self) -> None:
        raw = self._connection.connection.driver_connection
        if isinstance(raw, sqlite3.Connection) and raw.in_transaction:
            raw.rollback()


def _now() -> int:
    return time.time_ns() // 1_000_000
