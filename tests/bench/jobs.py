"""Jobs on SQLite: what a submission costs, how soon it begins, how many are done in a second, and what ten thousand
cost that wait. `postgres.py` has the same for PostgreSQL.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway.jobs.owner import OPERATOR
from gateway.jobs.submission import Submission
from gateway.jobs.submit import Submitter
from tests.bench.process import Frame, GatewayProcess, gateway
from tests.bench.report import Measurement
from tests.support.pilot import Pilot, pilot

WARM_UP = 20
SUBMITTED = 300
STARTED = 200
MANY = 2_000
ROUNDS = 3
WAITING = 10_000
AT_ONCE = 1_000
NEWEST = 20
"""Events that may come between two looks."""
SETTLE_SECONDS = 5.0
LOOK_SECONDS = 60.0
SUBMIT_MS = 2.0
START_MS = 5.0
START_HIGH_MS = 25.0
EACH_MS = 1.0
"""1,000 a second."""
IDLE_PERCENT = 1.0
FULL: Mapping[str, Any] = {"database": {"durability": "full"}}
LATER_MS = 24 * 3_600_000


async def jobs(folder: Path) -> list[Measurement]:
    """All of it."""
    return [
        await submissions(folder / "submit", "SQLite", SUBMIT_MS, FULL, postgres=False),
        *await _start(folder / "start"),
        await _rate(folder / "rate"),
        await _idle(folder / "idle"),
    ]


async def submissions(
    folder: Path, name: str, target: float, config: Mapping[str, Any], *, postgres: bool
) -> Measurement:
    """The unit of work that creates a job: run, session, queue, event; committed to the disk."""
    found: list[float] = []
    async with pilot(folder, config=config, postgres=postgres) as p:
        submitter = Submitter(p.gateway.registry)
        body = Submission(name="noop", delay_ms=LATER_MS)
        for _ in range(WARM_UP + SUBMITTED):
            begun = time.perf_counter()
            await p.gateway.database.run(submitter.submit, body, OPERATOR)
            found.append((time.perf_counter() - begun) * 1000)
    return Measurement(f"{name}: a job is submitted, committed", "ms", found[WARM_UP:], target)


async def _start(folder: Path) -> list[Measurement]:
    """From the submission to the claim, by the database's clock; a slot is free."""
    async with pilot(folder, config=FULL, postgres=False) as p:
        waits: list[float] = []
        for _ in range(WARM_UP + STARTED):
            job = (await p.post("/api/jobs", {"name": "noop"})).json
            await p.wait_until(lambda job=job: "done" in p.changes(job["runId"]))
            waits.append(_wait(p, job["runId"]))
            p.events.clear()
    found = waits[WARM_UP:]
    return [Measurement("SQLite: submit → start, a slot is free", "ms", found, START_MS, START_HIGH_MS)]


def _wait(p: Pilot, run_id: str) -> float:
    seen = {e.data["change"]: e.data["run"] for e in p.events if e.type == "run" and e.data["run"]["runId"] == run_id}
    return between(seen["done"], "createdAt", "startedAt")


def between(run: Mapping[str, Any], first: str, then: str) -> float:
    """Milliseconds between two times of a run."""
    return (datetime.fromisoformat(run[then]) - datetime.fromisoformat(run[first])).total_seconds() * 1000


async def _rate(folder: Path) -> Measurement:
    """From a fan-out's commit to its end, for each of its children."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    async with gateway(folder, {"gateway": {"port": 0}, "jobs": {"maxConcurrent": 8}}) as process:
        found = [await each_of_many(process) for _ in range(ROUNDS)]
    return Measurement("SQLite: no-op jobs, each of 2,000 (1 ms: 1,000/s)", "ms", found, EACH_MS)


async def each_of_many(process: GatewayProcess) -> float:
    """Milliseconds for each of many jobs that do nothing."""
    async with process.watch() as watch:
        body = {"name": "aggregate", "children": [{"name": "noop"}] * MANY}
        job = await _post(process, body)
        begun = time.monotonic()
        await watch.until(lambda: any(_is_end(each, job["runId"]) for each in watch.frames[-NEWEST:]))
        return (time.monotonic() - begun) * 1000 / MANY


def _is_end(frame: Frame, run_id: str) -> bool:
    if frame.type != "run" or run_id.encode() not in frame.data:
        return False
    return frame.json["change"] == "done" and frame.json["run"]["runId"] == run_id


async def _post(process: GatewayProcess, body: Mapping[str, Any]) -> Any:
    async with process.http.post(f"{process.url}/api/jobs", json=body) as response:
        response.raise_for_status()
        return await response.json()


async def _idle(folder: Path) -> Measurement:
    """Processor time while the lane is full and ten thousand wait."""
    await asyncio.to_thread(folder.mkdir, parents=True)
    config = {"gateway": {"port": 0}, "jobs": {"maxConcurrent": 1}}
    async with gateway(folder, config) as process:
        await _post(process, {"name": "noop", "data": {"ms": LATER_MS}})
        some: Sequence[Mapping[str, Any]] = [{"name": "noop"}] * AT_ONCE
        for _ in range(WAITING // AT_ONCE):
            await _post(process, {"name": "aggregate", "children": some})
        await asyncio.sleep(SETTLE_SECONDS)
        before, since = process.cpu, time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)
        used = (process.cpu - before) / (time.monotonic() - since) * 100
    return Measurement(f"SQLite: {WAITING:,} jobs waiting: processor", "%", [used], IDLE_PERCENT)
