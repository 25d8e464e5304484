"""The bus and the queue: what is lost with a connection is made good, and work is taken in order."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import psycopg
import pytest

from gateway.lanes import queue
from tests.postgres.fleet import fleet, subagents
from tests.support.model_script import say
from tests.support.postgres import PostgresServer

SUBMITTERS = 8
MOST_OVERTAKEN = 12


LEASES = """
select 1 from pg_stat_activity where application_name = 'laneway lease' and datname = current_database()
having count(*) = 2
"""


def _end(url: str, role: str) -> int:
    """Cuts the connections of one kind; returns how many there were."""
    cut = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = %s"
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as raw:
        row = raw.execute(cut + " and datname = current_database()", [f"laneway {role}"]).fetchone()
    return int(row[0]) if row else 0


async def test_a_listener_that_is_cut_off_listens_again_and_misses_nothing(tmp_path: Path) -> None:
    """What was said meanwhile is made good by looking at everything once."""
    async with fleet(tmp_path, lease=10) as f:
        f.spawns(2)
        f.children(say("one", hold="one"), task="^task 0")
        f.rest()
        await f.gateway()
        await f.worker()
        assert f.site.postgres is not None
        assert await asyncio.to_thread(_end, f.site.postgres, "bus") == 2
        await f.say("go")
        await f.model.wait_for(lambda seen: seen.first_user.startswith("task 0"), seconds=40)
        assert await asyncio.to_thread(_end, f.site.postgres, "bus") >= 1
        f.model.release("one")
        await f.runs_done(2)
        await f.until("select 1 where (select count(*) from inbox where kind = 'announce' and state = 'consumed') = 2")
        await f.until(LEASES)
        assert await asyncio.to_thread(_end, f.site.postgres, "lease") == 2
        await f.until(LEASES)
        assert f.value("select count(*) from workers") == 2


async def test_new_rows_and_free_seats_are_told_by_their_lane(tmp_path: Path) -> None:
    """Who doesn't work on a lane needn't look at the queue because of it."""
    async with fleet(tmp_path) as f:
        f.rest()
        await f.gateway()
        await f.worker("jobs")
        assert f.site.postgres is not None
        async with await psycopg.AsyncConnection.connect(f.site.postgres, autocommit=True) as raw:
            await raw.execute(f"listen {queue.CHANNEL}".encode())
            await f.post("/api/jobs", {"name": "noop"})
            told = [notice.payload async for notice in raw.notifies(timeout=20, stop_after=2)]
            assert told == ["jobs", "jobs"]
            await f.until("select not exists (select 1 from laneway_queue)")
            await f.say("hello")
            assert [notice.payload async for notice in raw.notifies(timeout=20, stop_after=1)] == ["main"]


async def test_what_waits_goes_on_after_the_queue_was_made_anew(tmp_path: Path) -> None:
    """The queue of another version is replaced at the start; its rows carried no truth."""
    async with fleet(tmp_path) as f:
        gateway = await f.gateway()
        await f.post("/api/jobs", {"name": "noop"})
        await gateway.stop()
        assert f.site.postgres is not None
        async with await psycopg.AsyncConnection.connect(f.site.postgres, autocommit=True) as raw:
            await raw.execute("update meta set value = '1.0' where key = 'queue'")
        await f.gateway()
        await f.worker("jobs")
        await f.runs_done(1)


async def test_everything_goes_on_after_a_restart_of_the_database(tmp_path: Path) -> None:
    """Gateway and worker stay; what was in flight ends once."""
    with PostgresServer.start() as server:
        url = await asyncio.to_thread(server.migrated)
        async with fleet(tmp_path, url=url) as f:
            f.spawns(2)
            f.children(say("late", hold="late"))
            f.rest()
            gateway, worker = await f.gateway(), await f.worker()
            await f.say("go")
            await f.model.wait_for(lambda seen: seen.role == "child", count=2, seconds=40)
            await asyncio.to_thread(server.restart)
            f.model.release("late")
            await f.runs_done(2)
            await f.until("select 1 where (select count(*) from inbox where kind = 'announce') = 2")
            assert not gateway.exited.done()
            assert not worker.exited.done()
            assert [seen.role for seen in f.model.requests].count("child") == 2
            assert {row["deaths"] for row in f.rows("select deaths from sessions")} == {0}


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [150, pytest.param(1_000, marks=pytest.mark.long)])
async def test_many_that_queue_are_taken_in_order(tmp_path: Path, count: int) -> None:
    """First in, first out, over two workers."""
    settings = subagents(maxConcurrent=4, maxChildrenPerAgent=1000)
    async with fleet(tmp_path, config=settings) as f:
        f.model.keep = False
        f.rest()
        await f.gateway()

        async def submit(number: int) -> None:
            for each in range(number, count, SUBMITTERS):
                await f.say(f"/subagents spawn main task {each}.")

        await asyncio.gather(*(submit(number) for number in range(SUBMITTERS)))
        assert f.value("select count(*) from laneway_queue where status = 'queued'") == count
        await f.worker(concurrency=4)
        await f.worker(concurrency=4)
        await f.runs_done(count, seconds=240)
        assert f.value("select count(*) from runs where outcome = 'ok'") == count
        # Four run at once, so that a run can be overtaken by those that are picked with it, and by no others.
        order = [int(row["number"]) for row in f.rows("select number from runs order by started_at, number")]
        assert max(abs(place - number) for place, number in enumerate(order, 1)) <= MOST_OVERTAKEN
