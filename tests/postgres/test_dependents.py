"""Ends, and what waits for them, in two transactions at the same moment (spec/jobs.md 7)."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import psycopg

from gateway.store import jobs, runs
from gateway.store.database import Transaction
from gateway.store.postgres import PostgresDatabase
from gateway.store.runs import Outcome, Run
from tests.jobs.scene import ended, submit
from tests.support.pilot import Pilot, pilot

HOUR_MS = 3_600_000
PATIENCE = 20.0
_WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


def _until_one_waits(url: str) -> None:
    """Returns when a transaction waits for what another one holds."""
    until = time.monotonic() + PATIENCE
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as raw:
        while raw.execute(_WAITING).fetchone() != (1,):
            assert time.monotonic() < until, "nobody waits"
            time.sleep(0.005)  # in a thread of the database's: nothing tells


def _run(tx: Transaction, number: int) -> Run:
    found = jobs.by_number(tx, number)
    assert found is not None
    return found


async def test_its_time_comes_while_what_it_waits_for_ends(tmp_path: Path) -> None:
    """The end has read that the other's time is yet to come, and that one that the end is yet to come: it begins."""
    async with pilot(tmp_path, postgres=True) as p:
        first = await submit(p, "noop", delayMs=HOUR_MS)
        then = await submit(p, "noop", delayMs=HOUR_MS, after=[f"#{first['id']}"])
        await _at_the_same_moment(p, first["id"], then["id"])
        assert (await ended(p, then))["outcome"] == "ok"


async def _at_the_same_moment(p: Pilot, first: int, then: int) -> None:
    lifecycle, database = p.gateway.lifecycle, p.gateway.database
    assert isinstance(database, PostgresDatabase)
    url = database.url
    held = threading.Event()

    def due(tx: Transaction) -> None:
        run = _run(tx, then)
        runs.change(tx, run.id, not_before=tx.now)
        lifecycle.release_due(tx, run)
        held.set()
        _until_one_waits(url)

    def end(tx: Transaction) -> None:
        assert held.wait(PATIENCE)
        lifecycle.finish(tx, _run(tx, first).id, Outcome.OK)

    await asyncio.gather(database.run(due), database.run(end))
