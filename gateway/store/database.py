"""The seam to the database: units of work, executed whole, in order, durably.

A unit of work is a plain function `def append(tx, …)` that takes a `Transaction` and returns frozen dataclasses.
`await database.run(append, …)` executes it in the database's own thread and returns when it is committed;
`await database.read(load, …)` executes it on a read-only connection beside the writer. What a unit wants to happen in
this process once it is committed (wake a lane, show an event) it leaves with `tx.after_commit`.

SQLite has one writer, so that a unit that reads, decides and writes is alone. PostgreSQL has many: a unit that relies
on being alone takes a lock first (`tx.lock`, `tx.lock_names`, `sessions.hold`), which does nothing on SQLite; what is
locked and why stands in docs/scaling.md. There a unit may also be run again from its start, after a deadlock or the
loss of the connection: it must have no effect but through its transaction, or one that may be repeated.

Survives a crash: everything for which `run` has returned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy import Connection, CursorResult, Executable, Table
from sqlalchemy.dialects import sqlite

from gateway.store.prepared import Rows, Statements

if TYPE_CHECKING:
    from sqlalchemy.dialects.postgresql import Insert as PostgresInsert

P = ParamSpec("P")
T = TypeVar("T")


def insert_into(table: Table, dialect: str) -> sqlite.Insert | PostgresInsert:
    """An insert that knows `on_conflict_do_nothing` and `on_conflict_do_update`, in a database's dialect."""
    if dialect == "postgresql":
        from sqlalchemy.dialects import postgresql  # lazy: the embedded database never needs it

        return postgresql.insert(table)
    return sqlite.insert(table)


class StoreError(Exception):
    """The database can't be used. The text names the file and says what to do."""


@dataclass(frozen=True, slots=True)
class DatabaseHealth:
    """How a database is at this moment."""

    kind: str
    """`sqlite` or `postgresql`"""
    place: str
    """The file, or the server and its database; never a password."""
    size_bytes: int
    log_bytes: int
    """Written and not yet taken over into the database itself."""
    checkpoint_at: int | None
    """When that was done last (milliseconds); None where it isn't known."""
    waiting: int
    """Units of work of this process that wait for their turn."""


class Transaction:
    """One unit of work's view of the database."""

    def __init__(self, connection: Connection, now: int, statements: Statements) -> None:
        """
        Args:
            connection: inside an open transaction.
            statements: what this kind of database has been given before.
            now: the database's clock, milliseconds since the epoch; of two units that write, the later one's is later.
        """
        self.connection = connection
        self._raw = connection.connection.driver_connection
        self._statements = statements
        self.now = now
        self.began = now
        """The time at its begin: the same all through it."""
        self.callbacks: list[Callable[[], None]] = []
        self.kept: dict[str, Any] = {}
        """What parts of the program gather in the course of this unit, by their names."""
        self.gathered: dict[str, list[Any]] = {}
        """What they gather for the end of the transaction, which may be that of several units."""
        self.last_words: list[Callable[[], None]] = []
        """What is done right before the commit, in this transaction."""
        self.trace: str | None = None
        """The span of whoever has asked for this unit (`telemetry/context.py`); what it writes belongs to it."""

    def execute(self, statement: Executable, parameters: Any = None) -> CursorResult[Any] | Rows:
        """Executes one statement."""
        prepared = self._statements.find(self.connection, statement, parameters)
        if prepared is not None:
            return prepared.execute(self._raw, parameters or {})
        return self.connection.execute(statement, parameters)

    @property
    def dialect(self) -> str:
        """Which SQL this database speaks: `sqlite` or `postgresql`."""
        return self.connection.dialect.name

    def insert(self, table: Table) -> sqlite.Insert | PostgresInsert:
        """See `insert_into`."""
        return insert_into(table, self.dialect)

    def after_commit(self, callback: Callable[[], None]) -> None:
        """Calls back on the event loop once this unit is committed, before its caller goes on; never if it fails."""
        self.callbacks.append(callback)

    def before_commit(self, callback: Callable[[], None]) -> None:
        """Calls back within this unit when all else in it is done: for what others should wait for as shortly as may
        be."""
        self.last_words.append(callback)

    def conclude(self) -> None:
        """Does what was left for the end; whoever executes the unit calls it before the commit."""
        while self.last_words:
            self.last_words.pop(0)()

    @property
    def alone(self) -> bool:
        """No other unit that writes is under way, in any process."""
        return self.dialect == "sqlite"

    def lock(self, table: Table, *row_ids: str | int) -> bool:
        """Keeps others from changing rows until this unit is committed, where they could.

        Returns whether it had to: False if this unit holds them all already, or is alone.

        A unit that decides on what it has read takes the rows' locks before it reads; what was read of them earlier
        must be read again. Several rows are locked from the top of their tree down (by `depth`), as everybody does.
        On SQLite every unit is alone.
        """
        return False

    def note_lock(self, table: Table, row_id: str, now: int) -> None:
        """This unit has locked a row by changing it, or making it, at this time."""

    def lock_names(self, *names: str) -> None:
        """Keeps everybody else out who locks one of the same names, until the end of this unit."""

    def follow(self, now: int) -> None:
        """Another unit begins in the same transaction."""
        self.now = self.began = now
        self.kept = {}

    def advance(self, now: int) -> None:
        """The clock has been read again, after a wait for a lock: what the one before has written isn't of later."""
        self.now = max(self.now, now)


class Database(Protocol):
    """What the rest of the gateway knows of a database."""

    @property
    def file(self) -> Path | None:
        """The file behind it, if it is one."""
        ...

    async def run(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Executes a unit of work and returns its value once it is durable.

        A cancelled caller still waits for its unit, and is cancelled then.

        Raises:
            StoreError: the database is unusable (full disk, corrupt or read-only file).
            Exception: whatever the unit raised; nothing of it is stored.
        """
        ...

    async def run_together(
        self,
        holds: Sequence[str],
        unit: Callable[Concatenate[Transaction, P], T],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """As `run`, for what comes often and is short: units that wait at the same time may be committed together. One
        that fails takes no other with it.

        Args:
            holds: ids of the sessions that the unit will hold: those of several are held at once, in their order.
            unit: the unit of work.
            args: its arguments.
            kwargs: the same.
        """
        ...

    async def read(self, unit: Callable[Concatenate[Transaction, P], T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Executes a unit that only reads. Sees everything committed before the call.

        Raises:
            StoreError: as in `run`.
        """
        ...

    async def health(self) -> DatabaseHealth:
        """How it is at this moment."""
        ...

    def next_commit(self) -> asyncio.Future[None]:
        """Is done when this process has committed its next unit, whosever it is: for who waits for a row to change."""
        ...

    def clock(self) -> float:
        """The database's time now (milliseconds), as well as it is known without asking: to wait by."""
        ...

    def in_order(self, key: str) -> AbstractAsyncContextManager[None]:
        """Units that are run inside, under the same key, are executed in the order in which they were asked for."""
        ...

    async def close(self) -> None:
        """Waits for the units under way and closes."""
        ...
