"""What `laneway doctor` sees of a PostgreSQL database: whether it answers, its schema, and who works on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg

from gateway.lanes import queue
from gateway.machine import machine_id, start_time
from gateway.store import postgres_migrate
from gateway.store.database import StoreError
from gateway.store.migrate import HEAD
from gateway.store.postgres import READERS, WRITERS
from gateway.store.postgres_connect import connect, explain, server_of

OLDEST = 130_000
"""PostgreSQL 13: the oldest that the queue engine knows."""

Said = tuple[str, str, str]
"""Level, text, and what to do."""


def examine(url: str) -> Iterator[Said]:
    """Looks at a database; changes nothing."""
    try:
        with closing(connect(url, "doctor")) as raw:
            yield from _examine(raw, url)
    except StoreError as error:
        yield "fail", str(error), "correct database.url, or start the server"
    except psycopg.Error as error:
        yield "fail", str(explain(error, url)), "see the server's log"


def _examine(raw: psycopg.Connection[Any], url: str) -> Iterator[Said]:
    version = raw.info.server_version
    name = f"{version // 10_000}.{version % 10_000}"
    if version < OLDEST:
        yield "fail", f"PostgreSQL {name} is too old", "use 13 or newer"
        return
    schema = postgres_migrate.current(raw, url)
    if schema is None:
        yield "ok", f"{server_of(url)}: PostgreSQL {name}, empty; the first start makes the tables", ""
        return
    if schema != HEAD or not queue.installed(raw):
        yield "ok", f"{server_of(url)}: schema {schema}; the next start brings it to {HEAD}", ""
        return
    row = raw.execute("select pg_database_size(current_database())").fetchone()
    size = int(row[0]) / 1e6 if row else 0.0
    yield "ok", f"{server_of(url)}: PostgreSQL {name}, schema {schema}, {size:.1f} MB; pg_dump backs it up", ""
    yield from _room(raw)
    yield from _workers(raw)


def _room(raw: psycopg.Connection[Any]) -> Iterator[Said]:
    """Each process of Laneway keeps a handful of connections."""
    row = raw.execute(
        "select current_setting('max_connections')::int, (select count(*) from pg_stat_activity where backend_type = "
        "'client backend')"
    ).fetchone()
    most, used = (int(row[0]), int(row[1])) if row else (0, 0)
    each = WRITERS + READERS + 2
    if most - used < each:
        fix = f"raise max_connections: each process of Laneway uses up to {each}"
        yield "warn", f"the server has {used} of {most} connections in use", fix


def _workers(raw: psycopg.Connection[Any]) -> Iterator[Said]:
    rows = raw.execute(
        "select role, host, pid, machine, process_started, lease_until < (extract(epoch from now()) * 1000)::bigint "
        "from workers order by role, started_at"
    ).fetchall()
    if not any(row[0] == "gateway" for row in rows):
        yield "ok", "no gateway works on it now", ""
    for role, host, pid, machine, started, lapsed in rows:
        who = f"{role} on {host} (process {pid})"
        gone = machine == machine_id() and start_time(int(pid)) != started
        if gone or lapsed:
            yield "warn", f"{who} is dead; the gateway or another worker takes over what it had", "start the gateway"
        else:
            yield "ok", f"{who} is alive", ""
