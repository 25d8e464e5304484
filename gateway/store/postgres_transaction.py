"""A unit of work's view of PostgreSQL: how its statements reach the driver, and what it locks."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, cast

import psycopg
from sqlalchemy import Connection, Executable, Table, Text, any_, bindparam, func, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.compiler import SQLCompiler

from gateway.store.columns import POSTGRES_CLOCK
from gateway.store.database import Transaction
from gateway.store.prepared import Statements

_NAMES = func.unnest(bindparam("of_names", type_=ARRAY(Text))).column_valued("name")
_LOCKED = select(func.pg_advisory_xact_lock(func.hashtextextended(_NAMES, 0)).label("locked")).cte("held")
_LOCK_NAMES = select(POSTGRES_CLOCK).select_from(select(func.count(_LOCKED.c.locked).label("locked")).subquery())


class _Places(dict[str, str]):
    """Gives each parameter its place, at its first mention."""

    def __missing__(self, name: str) -> str:
        self[name] = f"${len(self) + 1}"
        return self[name]


class _Driver:
    """See `prepared.Driver`."""

    def arrange(self, compiled: SQLCompiler) -> tuple[bytes, Sequence[str]]:
        places = _Places()
        return (compiled.string % places).encode(), tuple(places)

    def send(self, raw: psycopg.Connection[Any], text: bytes, values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        return psycopg.RawCursor(raw).execute(text, values)


_STATEMENTS = Statements(_Driver())


class PostgresTransaction(Transaction):
    """A unit of work's view of PostgreSQL."""

    def __init__(self, connection: Connection, now: int, *, reading: bool = False) -> None:
        """
        Args:
            connection: inside an open transaction.
            now: the server's clock.
            reading: it only reads, from one moment's state; there is nothing to lock.
        """
        super().__init__(connection, now, _STATEMENTS)
        self._reading = reading
        self._held: set[tuple[Table | None, str | int]] = set()

    @property
    def raw(self) -> psycopg.Connection[Any]:
        """The driver's own connection, for what writes in this transaction by itself: the queue engine, the bus."""
        return driver(self.connection)

    @property
    def alone(self) -> bool:
        """See `Transaction.alone`."""
        return False

    def lock(self, table: Table, *row_ids: str | int) -> bool:
        """See `Transaction.lock`."""
        wanted = [row_id for row_id in row_ids if (table, row_id) not in self._held]
        if not wanted or self._reading:
            return False
        self.advance(self.execute(_locking(table), {"of_ids": wanted}).scalar_one())
        self._held.update((table, row_id) for row_id in wanted)
        return True

    def note_lock(self, table: Table, row_id: str, now: int) -> None:
        """See `Transaction.note_lock`."""
        self.advance(now)
        self._held.add((table, row_id))

    def lock_names(self, *names: str) -> None:
        """See `Transaction.lock_names`."""
        wanted = sorted(name for name in names if (None, name) not in self._held)
        if wanted and not self._reading:
            self.advance(self.execute(_LOCK_NAMES, {"of_names": wanted}).scalar_one())
            self._held.update((None, name) for name in wanted)


@cache
def _locking(table: Table) -> Executable:
    # The clock is read outside, once all rows are locked: those that held them before have written earlier times.
    own = table.c.id
    wanted = own == any_(bindparam("of_ids", type_=ARRAY(own.type)))
    order = (table.c.depth, own) if "depth" in table.c else (own,)
    held = select(own).where(wanted).order_by(*order).with_for_update().cte("held")
    return select(POSTGRES_CLOCK).select_from(select(func.count().label("locked")).select_from(held).subquery())


def driver(connection: Connection) -> psycopg.Connection[Any]:
    """The driver's connection under one of SQLAlchemy's."""
    raw = connection.connection.driver_connection
    if not isinstance(raw, psycopg.Connection):
        raise TypeError("this isn't a connection of psycopg")
    return cast("psycopg.Connection[Any]", raw)
