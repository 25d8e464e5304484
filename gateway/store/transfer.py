"""Moving a state from SQLite to PostgreSQL: every table, row by row, and checked the same way.

Everything is written in one transaction, into a database that has no sessions yet; the SQLite file is only read. What
has been written is read again and compared with what it came from before it is committed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, Table, create_engine, func, insert, select, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from gateway.store import postgres_migrate
from gateway.store.database import StoreError
from gateway.store.migrate import migrate
from gateway.store.postgres_connect import connect, explain, server_of
from gateway.store.schema import meta, metadata, runs, workers
from gateway.store.sqlite import connect as connect_file

AT_ONCE = 500
LEFT_OUT = frozenset({workers.name})
"""Only what is running now stands in them."""
QUEUE = "queue"
"""Key in `meta` that belongs to the database itself: the queue engine's version."""


def transfer(file: Path, url: str, progress: Callable[[str, int], None]) -> int:
    """Copies all rows of a file into a PostgreSQL database; returns how many. The caller holds the state's lock.

    Args:
        file: the SQLite file; it is migrated first if need be.
        url: where to; its tables are made.
        progress: is told each table and its number of rows, once it has been checked.

    Raises:
        StoreError: one of the two can't be used, the target isn't empty, or a row didn't arrive as it was.
    """
    migrate(file)
    postgres_migrate.migrate(url)
    try:
        with closing(connect_file(file, read_only=True)) as source, closing(connect(url, "transfer")) as raw:
            engine = create_engine("postgresql+psycopg://", creator=lambda: raw, poolclass=NullPool)
            target = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                return _copy_all(source, target, url, progress)
            finally:
                target.detach()
    except (psycopg.Error, DBAPIError) as error:
        raise explain(error, url) from error


def _copy_all(source: Connection, target: Connection, url: str, progress: Callable[[str, int], None]) -> int:
    target.exec_driver_sql("begin")
    try:
        _refuse_full(target, url)
        target.execute(meta.delete().where(meta.c.key != QUEUE))
        total = 0
        for table in metadata.sorted_tables:
            if table.name not in LEFT_OUT:
                total += (number := _copy(source, target, table))
                progress(table.name, number)
        target.exec_driver_sql("commit")
    except BaseException:
        target.exec_driver_sql("rollback")
        raise
    return total


def _refuse_full(target: Connection, url: str) -> None:
    for table in metadata.sorted_tables:
        if table.name == meta.name:
            continue
        if target.execute(select(func.count()).select_from(table)).scalar():
            raise StoreError(
                f"database {server_of(url)}: its table `{table.name}` isn't empty; name an empty database: nothing "
                "that is there is ever overwritten"
            )


def _copy(source: Connection, target: Connection, table: Table) -> int:
    wanted = select(table).order_by(*table.primary_key.columns)
    if table.name == meta.name:
        wanted = wanted.where(meta.c.key != QUEUE)
    number = 0
    for batch in source.execute(wanted).mappings().partitions(AT_ONCE):
        target.execute(insert(table), [dict(row) for row in batch])
        number += len(batch)
    _compare(source, target, table, wanted)
    _go_on_counting(target, table)
    return number


def _compare(source: Connection, target: Connection, table: Table, wanted: Any) -> None:
    """Row by row, in the order of the key as a text: databases sort texts differently."""
    before, after = sorted(_digests(source, wanted)), sorted(_digests(target, wanted))
    if before != after:
        lost = next((pair for pair in zip(before, after, strict=False) if pair[0] != pair[1]), None)
        where = f": the row {lost[0][0]} isn't the same" if lost else f": {len(before)} rows became {len(after)}"
        raise StoreError(f"table `{table.name}` didn't arrive as it was{where}; nothing was moved")


def _digests(connection: Connection, wanted: Any) -> Iterator[tuple[str, str]]:
    for row in connection.execute(wanted):
        values = [_plain(value) for value in row]
        yield str(values[0]), hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()


def _plain(value: Any) -> Any:
    # The one thing that PostgreSQL can't hold; see `postgres_connect`.
    return value.replace("\0", "\ufffd") if isinstance(value, str) else value


def _go_on_counting(target: Connection, table: Table) -> None:
    """The next row of a table that counts its rows gets the next number."""
    if table is runs:
        target.execute(text("select setval('run_numbers', (select coalesce(max(number), 0) + 1 from runs), false)"))
    own = table.primary_key.columns.values()
    if len(own) != 1 or own[0].name != "id" or own[0].type.python_type is not int:
        return
    target.execute(
        text(
            f"select setval(pg_get_serial_sequence('{table.name}', 'id'), "  # noqa: S608 - our own tables
            f"(select coalesce(max(id), 0) + 1 from {table.name}), false)"
        )
    )
