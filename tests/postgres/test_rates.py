"""Rate leases over several processes (spec/jobs.md 31): how many calls to a provider are in flight at once."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.postgres.fleet import Fleet, fleet
from tests.support.model_script import say


def limit(f: Fleet, most: int) -> None:
    """Configures the provider's `maxInFlight`."""
    file = f.site.state / "config.json5"
    config: dict[str, Any] = json.loads(file.read_text("utf-8"))
    config["models"]["providers"]["scripted"]["maxInFlight"] = most
    file.write_text(json.dumps(config), "utf-8")


async def submit(f: Fleet, number: int) -> None:
    """So many sub-agents that are asked once."""
    for each in range(number):
        await f.post("/api/jobs", {"name": "subagent", "data": {"task": f"task {each}."}})


async def test_31_a_provider_has_so_many_calls_in_flight_over_all_workers(tmp_path: Path) -> None:
    """spec/jobs.md 31: N calls in flight over all workers, as the provider sees it."""
    async with fleet(tmp_path) as f:
        limit(f, 2)
        f.children(say("done", delay=0.3))
        f.rest()
        await f.gateway()
        for _ in range(2):
            await f.worker()
        await submit(f, 9)
        await f.until("select 1 from runs where status = 'running' having count(*) > 2")
        await f.runs_done(9)
        assert f.most_at_once() == 2
        assert f.rows("select distinct outcome from runs") == [{"outcome": "ok"}]
        assert f.value("select count(*) from rate_leases") == 0


async def test_31_a_crashed_holder_s_lease_lapses(tmp_path: Path) -> None:
    """spec/jobs.md 31: that of a killed worker at once, that of a suspended one with its own lease, and that of one
    whom nobody knows when its time is over; nobody's call is made beside theirs before."""
    async with fleet(tmp_path, lease=2) as f:
        limit(f, 1)
        f.model.on(reply=say("never", hold="ever"), role="child", once=True)
        f.model.on(reply=say("never", hold="ever"), role="child", once=True)
        f.children(say("done"))
        f.rest()
        await f.gateway()
        first = await f.worker()
        await submit(f, 2)
        await f.model.wait_for(lambda seen: seen.role == "child", seconds=30)
        second = await f.worker()
        await f.kill(first)
        await f.model.wait_for(lambda seen: seen.role == "child", count=2, seconds=10)
        assert f.value("select holder from rate_leases") == f.worker_id(second)
        await f.worker()
        suspended = time.monotonic()
        second.suspend()
        seen = await f.model.wait_for(lambda seen: seen.role == "child", count=3, seconds=15)
        assert seen[-1].arrived - suspended > 1, "not before it may be taken for dead"
        await f.runs_done(2)
        assert f.rows("select distinct outcome, attempt from runs") == [{"outcome": "ok", "attempt": 1}]
        f.change(
            "insert into rate_leases (id, provider, holder, until) values "
            "('x', 'scripted', 'nobody', (extract(epoch from clock_timestamp()) * 1000)::bigint + 1500)"
        )
        begun = time.monotonic()
        await submit(f, 1)
        await f.runs_done(3)
        assert time.monotonic() - begun > 1
