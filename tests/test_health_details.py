"""The health page in detail, and what `/metrics` tells of the process."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from gateway.pulse import INTERVAL_SECONDS, Pulse, peak_bytes, resident_bytes
from gateway.store.database import Transaction
from tests.support.databases import ON_POSTGRES, url_of
from tests.support.pilot import pilot


async def test_the_details_of_a_process(tmp_path: Path) -> None:
    """Issue part 3, Health: doctor, versions, database, channels, event-loop lag, memory."""
    async with pilot(tmp_path) as p:
        await p.say("hello")
        await p.wait_idle()
        page = await p.get("/api/health/details")
        assert page["ready"] and page["uptimeSeconds"] >= 0
        assert {"python", "sqlite", "aiohttp"} <= set(page["versions"])
        assert 10_000_000 < page["memory"]["residentBytes"] <= page["memory"]["peakBytes"] + 50_000_000
        database = page["database"]
        assert database["sizeBytes"] > 0
        if ON_POSTGRES:
            assert database["kind"] == "postgresql" and database["place"] == url_of(p.paths.state)
        else:
            assert database["kind"] == "sqlite" and database["place"] == str(p.paths.database)
            assert database["logBytes"] > 0 and database["lastCheckpoint"]
        assert {"api", "openai"} <= {channel["name"] for channel in page["channels"]}
        assert page["telemetry"] == {"on": False}
        [start] = page["starts"]
        assert (start["before"], start["downSince"], start["role"]) == ("first", None, "gateway")
        assert {"database", "providers"} <= {finding["part"] for finding in page["doctor"]["findings"]}
        again = await p.get("/api/health/details")
        assert again["doctor"] == page["doctor"], "not asked anew each time"


async def test_it_is_for_operators(tmp_path: Path) -> None:
    tokens = [{"token": "readread", "scopes": ["read"], "name": "reader"}]
    async with pilot(tmp_path, config={"gateway": {"auth": {"tokens": tokens}}}) as p:
        refused = await p.ask("GET", "/api/health/details", token="readread")  # noqa: S106
        assert refused.status == 403


@pytest.mark.embedded
async def test_units_that_wait_are_counted(tmp_path: Path) -> None:
    def slow(_tx: Transaction) -> None:
        time.sleep(0.3)  # holds the writer's thread, as a slow disk would

    async with pilot(tmp_path) as p:
        waiting = [asyncio.create_task(p.gateway.database.run(slow)) for _ in range(3)]
        await asyncio.sleep(0.05)
        more = [asyncio.create_task(p.gateway.database.run(slow)) for _ in range(2)]
        await asyncio.sleep(0)
        health = await p.gateway.database.health()
        assert health.waiting >= 1
        await asyncio.gather(*waiting, *more)


async def test_a_loop_that_is_held_up_is_seen() -> None:
    pulse = Pulse()
    assert pulse.lag().samples == 0
    pulse.start()
    time.sleep(INTERVAL_SECONDS + 0.2)  # noqa: ASYNC251 - holds up the loop, which is what is measured
    await asyncio.sleep(0.01)
    pulse.stop()
    lag = pulse.lag()
    assert lag.samples >= 1
    assert 0.19 < lag.worst < 5
    assert lag.p50 <= lag.p99 <= lag.worst


async def test_metrics_of_the_process(tmp_path: Path) -> None:
    """Brief: metrics for lag and RSS in /metrics."""
    async with pilot(tmp_path) as p:
        text = (await p.ask("GET", "/metrics")).text
        assert 'laneway_event_loop_lag_seconds{quantile="0.99"}' in text
        [held] = [line for line in text.splitlines() if line.startswith("laneway_resident_memory_bytes ")]
        assert float(held.split()[1]) > 10_000_000
        assert resident_bytes() > 10_000_000 and peak_bytes() > 10_000_000
