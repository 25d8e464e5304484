"""What happens in two transactions at the same moment: ends and what waits for them, claims and takeovers."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from pathlib import Path

import psycopg

from gateway.store import jobs, runs, workers
from gateway.store.database import Transaction
from gateway.store.postgres import PostgresDatabase
from gateway.store.runs import Outcome, Run
from tests.jobs.scene import ended, submit
from tests.support.model_script import call
from tests.support.pilot import Pilot, pilot
from tests.support.probes import Probes

HOUR_MS = 3_600_000
PATIENCE = 20.0
_WAITING = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"


class _Enough(Exception):
    """Nothing of this unit is to be kept."""


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
    """spec/jobs.md 7: the end has read that the other has to wait for its time, and that one that it hasn't ended."""
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


async def test_whoever_was_taken_for_dead_claims_nothing(tmp_path: Path) -> None:
    """spec/jobs.md 11: his seat is somebody else's; and nobody takes him for dead in the middle of a claim."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}, postgres=True) as p:
        p.on(reply=call("gate", name="g"), user="^work$", turn_step=1)
        await p.say("work")
        await probes.wait_entered("g")
        gateway, session_id = p.gateway, (await p.session())["sessionId"]
        database, lanes = gateway.database, gateway.lanes
        assert isinstance(database, PostgresDatabase)
        url, order = database.url, list[str]()
        claiming = threading.Event()

        def claim(tx: Transaction) -> bool:
            may = lanes.may_claim(tx, session_id)
            claiming.set()
            _until_one_waits(url)
            order.append("claimed")
            return may

        def take_over(tx: Transaction) -> None:
            assert claiming.wait(PATIENCE)
            assert workers.remove(tx, gateway.instance, lapsed_only=False)
            order.append("taken over")
            assert not lanes.may_claim(tx, session_id)
            raise _Enough

        first, second = await asyncio.gather(database.run(claim), database.run(take_over), return_exceptions=True)
        assert first is True
        assert isinstance(second, _Enough)
        assert order == ["claimed", "taken over"]
        assert not await database.run(lanes.may_claim, "another"), "only what it was asked for"
        probes.open("g")
        await p.wait_idle()
