"""Brings a PostgreSQL database to this program's schema, or refuses to touch it.

Two processes that start at once would run the same statements; an advisory lock lets one after the other through. The
queue engine's tables are made with the rest, and made anew when its version has changed: they carry no truth.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg
from sqlalchemy import create_engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from gateway.lanes import queue
from gateway.store.database import StoreError
from gateway.store.migrate import HEAD, refuse_newer, upgrade
from gateway.store.postgres_connect import connect, explain, server_of

LOCK = 0x6C616E65
"""The advisory lock around all changes of the schema."""


def migrate(url: str) -> None:
    """Migrates the database to `HEAD`, making the tables if need be.

    Raises:
        StoreError: it was written by a newer Laneway, holds other tables, or can't be used.
    """
    try:
        with closing(connect(url, "migration", idle_seconds=0)) as raw:
            if not _complete(raw, url):
                raw.execute("select pg_advisory_lock(%s)", [LOCK])
                _migrate(raw, url)
    except (psycopg.Error, DBAPIError) as error:
        raise explain(error, url) from error


def current(raw: psycopg.Connection[Any], url: str) -> str | None:
    """The database's schema version; None if it is empty.

    Raises:
        StoreError: its tables aren't Laneway's.
    """
    if _exists(raw, "alembic_version"):
        row = raw.execute("select version_num from alembic_version").fetchone()
        return str(row[0]) if row else None
    if _exists(raw, "sessions") or _exists(raw, "runs"):
        raise StoreError(
            f"database {server_of(url)}: it holds tables that aren't Laneway's; name another database in database.url"
        )
    return None


def _complete(raw: psycopg.Connection[Any], url: str) -> bool:
    version = current(raw, url)
    refuse_newer(server_of(url), version)
    return version == HEAD and queue.installed(raw)


def _migrate(raw: psycopg.Connection[Any], url: str) -> None:
    if _complete(raw, url):
        return  # by whoever held the lock before
    if current(raw, url) != HEAD:
        engine = create_engine("postgresql+psycopg://", creator=lambda: raw, poolclass=NullPool)
        connection = engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        upgrade(connection, "begin")
        connection.detach()
    with raw.transaction():
        queue.install(raw)


def _exists(raw: psycopg.Connection[Any], table: str) -> bool:
    row = raw.execute("select to_regclass(%s)", [table]).fetchone()
    return row is not None and row[0] is not None
