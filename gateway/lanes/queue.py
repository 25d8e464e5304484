"""The queue on PostgreSQL: PgQueuer's tables and statements, used inside our units of work.

A row says "activate session S" in a lane: `entrypoint` is the lane, `dedupe_key` the session. While it is `picked` it
holds one of the lane's seats, by a unique index over all processes; it goes when the activation has ended. PgQueuer's
own clockwork (its manager, heartbeats, retries) isn't used: who lives and who owns what stands in our tables.

Nothing here carries truth. The rows may be lost with the server's last half second, and are made again from the tables.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.metadata import version
from typing import Any

import psycopg
from pgqueuer.adapters.drivers.psycopg import SyncPsycopgDriver
from pgqueuer.adapters.persistence.qb import QueryBuilderEnvironment, QueryQueueBuilder
from pgqueuer.adapters.persistence.queries import SyncQueries
from pgqueuer.domain.settings import DBSettings, Durability
from pgqueuer.domain.types import Channel, QueueEntrypoint, QueueManagerId
from psycopg import RawCursor
from psycopg.rows import dict_row

TABLE = "laneway_queue"
CHANNEL = "laneway_queue"
"""Where it is told, with its name, that a lane has a new row or a free seat."""
NEVER = timedelta(days=36_500)
"""The engine finds no row stale: a worker's death is ours to notice."""


@dataclass(frozen=True, slots=True)
class Item:
    """One picked row."""

    id: int
    lane: str
    session_id: str
    waited: float
    """seconds"""


@cache
def _settings() -> DBSettings:
    # All by name: unnamed ones are read from the environment, under names as common as CHANNEL.
    return DBSettings(
        prefix="",
        db_schema=None,
        channel=Channel(CHANNEL),
        function="fn_laneway_queue_changed",
        statistics_table="laneway_queue_statistics",
        queue_status_type="laneway_queue_status",
        queue_table=TABLE,
        queue_table_log="laneway_queue_log",
        trigger="tg_laneway_queue_changed",
        schedules_table="laneway_queue_schedules",
        durability=Durability.balanced,
    )


@cache
def _statements() -> QueryQueueBuilder:
    return QueryQueueBuilder(settings=_settings())


# ---- the tables ----


def _version() -> str:
    return f"{version('pgqueuer')}, own notices"


def installed(raw: psycopg.Connection[Any]) -> bool:
    """Whether the engine's tables are there, in the version that is used."""
    return _noted(raw) == _version()


def install(raw: psycopg.Connection[Any]) -> None:
    """Makes the engine's tables, in the place of those of another version."""
    schema = QueryBuilderEnvironment(settings=_settings())
    if installed(raw):
        return
    if _noted(raw) is not None:
        raw.execute(schema.build_uninstall_query().encode())
    raw.execute(schema.build_install_query().encode())
    # The engine tells of every change, but not in which lane: every process would look whenever another one has worked.
    raw.execute(f"drop trigger {_settings().trigger} on {TABLE}".encode())
    raw.execute(
        "insert into meta (key, value) values ('queue', %s) on conflict (key) do update set value = excluded.value",
        [_version()],
    )


def _noted(raw: psycopg.Connection[Any]) -> str | None:
    row = raw.execute("select to_regclass('meta')").fetchone()
    if row is None or row[0] is None:
        return None
    found = raw.execute("select value from meta where key = 'queue'").fetchone()
    return str(found[0]) if found else None


# ---- rows ----

COUNTED = 1 << 20
"""The engine goes by priority and then by number, and counts its rows. A row that waits has as its number its age, and
below that what the engine has counted: so that of one priority the oldest goes first, whenever it was put here."""
_TELL = f"returning pg_notify('{CHANNEL}', entrypoint)"
"""Told once for each lane: the server leaves out what has been said in the same transaction."""
_AGED = f"update {TABLE} set id = %s + id %% %s where id = %s {_TELL}".encode()


def enqueue(raw: psycopg.Connection[Any], lane: str, session_id: str, priority: int, age: int) -> None:
    """Asks for a session. One that waits already keeps its place, and gets the higher priority.

    Args:
        raw: inside a transaction that has locked the session's row.
        lane: where.
        session_id: which.
        priority: lower goes first.
        age: since when (milliseconds) it has a right to its place: older ones go first.
    """
    queries = SyncQueries(SyncPsycopgDriver(raw), qbq=_statements())
    payload = session_id.encode()
    made = queries.enqueue(lane, payload, -priority, dedupe_key=session_id, on_conflict="update_priority")
    if made and not _is_new(made[0]) and _is_picked(raw, int(made[0])):
        # Whoever has picked it may have looked at the session already: this wish needs a row of its own.
        key = f"{session_id}:{uuid.uuid4()}"
        made = queries.enqueue(lane, payload, -priority, dedupe_key=key, on_conflict="skip")
    for row_id in made:
        if _is_new(row_id):
            raw.execute(_AGED, [age * COUNTED, COUNTED, row_id])


def pick(raw: psycopg.Connection[Any], worker: str, caps: Mapping[str, int], most: int) -> list[Item]:
    """Takes rows whose lanes have seats left, the most urgent first. The caller has locked these lanes.

    Args:
        raw: inside a transaction.
        worker: who takes them.
        caps: the lanes with their caps.
        most: how many at most.
    """
    open_lanes = {lane: cap for lane, cap in caps.items() if cap > 0}
    if not open_lanes or most < 1:
        return []
    query = _statements().build_dequeue_query(
        batch_size=most,
        entrypoints=[QueueEntrypoint(lane) for lane in open_lanes],
        concurrency_limits=list(open_lanes.values()),
        queue_manager_id=_manager(worker),
        global_concurrency_limit=None,
        heartbeat_timeout=NEVER,
    )
    rows = _fetch(raw, query.sql, *query.args)
    return [_item(row) for row in rows]


def remove(raw: psycopg.Connection[Any], ids: Sequence[int]) -> None:
    """Their activations have ended: the seats are free."""
    if ids:  # not by way of the engine, which would note each of them in its log
        raw.execute(f"delete from {TABLE} where id = any(%s) {_TELL}".encode(), [list(ids)])


def picked_by(raw: psycopg.Connection[Any], worker: str) -> list[Item]:
    """The rows that a process has taken."""
    found = f"select * from {TABLE} where queue_manager_id = $1 order by id"
    return [_item(row) for row in _fetch(raw, found, _manager(worker))]


def picked_by_nobody(raw: psycopg.Connection[Any]) -> list[Item]:
    """The rows that were taken by processes which are no longer there."""
    found = (
        f"select * from {TABLE} where queue_manager_id is not null "
        "and queue_manager_id::text not in (select id from workers) order by id"
    )
    return [_item(row) for row in _fetch(raw, found)]


def forget(raw: psycopg.Connection[Any], session_id: str) -> None:
    """Nobody is to be asked for a session any more that waits."""
    raw.execute(f"delete from {TABLE} where dedupe_key = %s and status = 'queued'".encode(), [session_id])


def clear_log(raw: psycopg.Connection[Any]) -> None:
    """Deletes what the engine has noted of rows that are gone: nobody reads it."""
    raw.execute("delete from laneway_queue_log")


def waiting(raw: psycopg.Connection[Any]) -> dict[str, tuple[int, int, float]]:
    """Of each lane: how many run, how many wait, and how long the oldest has waited, in seconds."""
    rows = raw.execute(
        f"select entrypoint, count(*) filter (where status = 'picked'), count(*) filter (where status = 'queued'), "
        f"coalesce(extract(epoch from now() - min(created) filter (where status = 'queued')), 0) "
        f"from {TABLE} group by entrypoint".encode()
    ).fetchall()
    return {str(row[0]): (int(row[1]), int(row[2]), max(0.0, float(row[3]))) for row in rows}


def positions(raw: psycopg.Connection[Any], session_ids: Sequence[str]) -> dict[str, int]:
    """The places of those of the sessions that wait, each in its lane."""
    places = (
        "select dedupe_key, row_number() over (partition by entrypoint order by priority desc, id) as place "
        f"from {TABLE} where status = 'queued'"
    )
    wanted = f"select dedupe_key, place from ({places}) as queued where dedupe_key = any(%s)"
    rows = raw.execute(wanted.encode(), [list(session_ids)])
    return {str(row[0]): int(row[1]) for row in rows}


def known(raw: psycopg.Connection[Any]) -> set[str]:
    """The sessions that wait or have been picked."""
    return {bytes(row[0]).decode() for row in raw.execute(f"select payload from {TABLE}".encode())}


def _is_new(row_id: int | None) -> bool:
    """Whether a row has just been made: no age is as low as what the engine counts."""
    return row_id is not None and row_id < COUNTED**2


def _is_picked(raw: psycopg.Connection[Any], row_id: int) -> bool:
    row = raw.execute(f"select status = 'picked' from {TABLE} where id = %s".encode(), [row_id]).fetchone()
    return row is not None and bool(row[0])


def _manager(worker: str) -> QueueManagerId:
    return QueueManagerId(uuid.UUID(worker))


def _item(row: Mapping[str, Any]) -> Item:
    waited = (row["updated"] - row["created"]).total_seconds()
    return Item(int(row["id"]), str(row["entrypoint"]), bytes(row["payload"]).decode(), max(0.0, waited))


def _fetch(raw: psycopg.Connection[Any], statement: str, *arguments: object) -> list[dict[str, Any]]:
    cursor = RawCursor(raw, row_factory=dict_row)
    cursor.execute(statement.encode(), arguments or None)
    return cursor.fetchall()
