"""PostgreSQL: what a sub-agent's birth costs, how soon another process begins it, how soon a dead worker's work goes
on, and what ten thousand that wait cost. On a server that waits for its disk, as in production.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg

from gateway.lanes import queue
from gateway.store import schema, sessions
from gateway.store.database import Transaction
from subagents.admission import Requester, SpawnArguments
from subagents.rooms import Rooms
from subagents.spawn import Spawner
from tests.bench.jobs import submissions
from tests.bench.report import Measurement
from tests.postgres.fleet import Fleet, fleet, subagents
from tests.support.model_script import say
from tests.support.pilot import pilot
from tests.support.postgres import PostgresServer

WARM_UP = 20
SUBMITTED = 300
STARTED = 150
RESCUED = 5
WAITING = 10_000
SETTLE_SECONDS = 10.0
LOOK_SECONDS = 60.0
"""Two sweeps."""
SUBMIT_MS = 4.0
START_MS = 15.0
START_HIGH_MS = 80.0
EACH_MS = 2.5
"""400 a second."""
MANY = 2_000
"""Jobs that wait for two workers."""
EACH_RUNS = 32
"""Jobs that one worker runs at once."""
AT_ONCE = 20
ROUNDS = 3
RESCUE_SECONDS = 2.0
IDLE_PERCENT = 1.0
_ALL_DONE = "select not exists (select 1 from runs where status in ('queued', 'running'))"
"""Finds it out by an index, beside what is measured."""


async def postgres(folder: Path) -> list[Measurement]:
    """All of it, on a server of its own."""
    with PostgresServer.start(durable=True) as server:
        return [
            *await _submit(folder / "submit", server),
            await _job(folder / "job", server),
            await _rate(folder / "rate", server),
            *await _start(folder / "start", server),
            *await _rescue(folder / "rescue", server),
            *await _idle(folder / "idle", server),
        ]


@asynccontextmanager
async def _fleet(
    folder: Path, server: PostgresServer, jobs: dict[str, Any] | None = None, **settings: Any
) -> AsyncGenerator[Fleet]:
    await asyncio.to_thread(folder.mkdir, parents=True)
    url = await asyncio.to_thread(server.migrated)
    config = {"database": {"url": url}, "jobs": jobs or {}, **subagents(maxChildrenPerAgent=1000, **settings)}
    async with fleet(folder, config=config, url=url) as f:
        yield f


async def _submit(folder: Path, server: PostgresServer) -> list[Measurement]:
    """The unit of work that creates a sub-agent: run, session, first message, queue row, event; committed."""
    url = await asyncio.to_thread(server.migrated)
    config: dict[str, Any] = {
        "database": {"url": url, "durability": "full"},
        "workers": {"gatewayLanes": []},
        "agents": {"defaults": {"subagents": {"maxChildrenPerAgent": 1000}}},
    }
    found: list[float] = []
    async with pilot(folder, config=config, postgres=False) as p:
        await p.say("hello")
        await p.wait_idle()
        session_id = (await p.session())["sessionId"]
        registry = p.gateway.registry
        spawner = Spawner(registry, Rooms(registry))

        def spawn(tx: Transaction) -> None:
            session = sessions.get(tx, session_id)
            arguments = SpawnArguments.model_validate({"task": "a task"})
            spawner.spawn(tx, Requester(session, None, session.last_route, 0), arguments)

        for _ in range(WARM_UP + SUBMITTED):
            begun = time.perf_counter()
            await p.gateway.database.run(spawn)
            found.append((time.perf_counter() - begun) * 1000)
    return [Measurement("PostgreSQL: spawn unit, committed", "ms", found[WARM_UP:], SUBMIT_MS)]


async def _job(folder: Path, server: PostgresServer) -> Measurement:
    """The unit of work that creates a job."""
    url = await asyncio.to_thread(server.migrated)
    config: dict[str, Any] = {"database": {"url": url, "durability": "full"}, "workers": {"gatewayLanes": []}}
    return await submissions(folder, "PostgreSQL", SUBMIT_MS, config, postgres=False)


async def _rate(folder: Path, server: PostgresServer) -> Measurement:
    """From the first start to the last end of jobs that were there before two workers came, for each of them."""
    found: list[float] = []
    async with _fleet(folder, server, jobs={"maxConcurrent": 2 * EACH_RUNS}) as f:
        await f.gateway()
        for number in range(ROUNDS):
            for _ in range(MANY // AT_ONCE):
                await asyncio.gather(*(f.post("/api/jobs", {"name": "noop"}) for _ in range(AT_ONCE)))
            lives = [await f.worker("jobs", concurrency=EACH_RUNS) for _ in range(2)]
            await f.until(_ALL_DONE, seconds=120)
            for life in lives:
                await life.stop()
            row = f.rows(
                "select max(ended_at) as over, min(started_at) as begun from runs where number > %s", number * MANY
            )[0]
            found.append((row["over"] - row["begun"]) / MANY)
    return Measurement(f"PostgreSQL: no-op jobs, each of {MANY:,}, two workers (2.5 ms: 400/s)", "ms", found, EACH_MS)


async def _start(folder: Path, server: PostgresServer) -> list[Measurement]:
    """From the submission to the claim by another process, by the database's clock: of jobs, and of sub-agents whose
    forerunner is just being announced."""
    async with _fleet(folder, server) as f:
        f.rest()
        await f.gateway()
        await f.worker("subagent", "jobs")
        total = WARM_UP + STARTED
        for number in range(total):
            await f.post("/api/jobs", {"name": "noop"})
            await f.runs_done(number + 1)
        for number in range(total):
            await f.say("/subagents spawn main quick")
            await f.runs_done(total + number + 1)
        waits = [
            float(row["wait"]) for row in f.rows("select started_at - created_at as wait from runs order by number")
        ]
    name = "PostgreSQL: submit → start in another process"
    return [
        Measurement(name, "ms", waits[WARM_UP:total], START_MS, START_HIGH_MS),
        Measurement(f"{name}, a sub-agent", "ms", waits[total + WARM_UP :], START_MS, START_HIGH_MS),
    ]


async def _rescue(folder: Path, server: PostgresServer) -> list[Measurement]:
    """From a worker's SIGKILL to the next request for its sub-agent."""
    found: list[float] = []
    async with _fleet(folder, server) as f:
        f.children(say("late", hold="late"))
        f.rest()
        await f.gateway()
        worker = await f.worker()
        await f.say("/subagents spawn main long")
        await f.model.wait_for(lambda seen: seen.role == "child", seconds=30)
        for number in range(RESCUED):
            heir = await f.worker()
            killed = time.monotonic()
            await f.kill(worker)
            seen = await f.model.wait_for(lambda seen: seen.role == "child", count=number + 2, seconds=30)
            found.append(seen[-1].arrived - killed)
            # A session that has seen three deaths would be under suspicion; its count isn't what is measured.
            assert f.site.postgres is not None
            await asyncio.to_thread(_execute, f.site.postgres, "update sessions set deaths = 0, deaths_seq = null")
            worker = heir
    return [Measurement("PostgreSQL: rescue after SIGKILL of a local worker", "s", found, RESCUE_SECONDS)]


async def _idle(folder: Path, server: PostgresServer) -> list[Measurement]:
    """Processor time of gateway, worker and server while the lane is full and ten thousand wait."""
    async with _fleet(folder, server, maxConcurrent=1) as f:
        f.children(say("never", hold="ever"))
        f.rest()
        gateway = await f.gateway()
        worker = await f.worker()
        await f.say("/subagents spawn main long")
        await f.model.wait_for(lambda seen: seen.role == "child", seconds=30)
        assert f.site.postgres is not None
        await asyncio.to_thread(_fill, f.site.postgres)
        assert f.value("select count(*) from laneway_queue where status = 'queued'") == WAITING
        await asyncio.sleep(SETTLE_SECONDS)
        pids = (gateway.pid, worker.pid)
        before, since = await asyncio.to_thread(_cpu, f.site.postgres, *pids), time.monotonic()
        await asyncio.sleep(LOOK_SECONDS)
        after, seconds = await asyncio.to_thread(_cpu, f.site.postgres, *pids), time.monotonic() - since
    names = ("gateway", "worker", "server")
    return [
        Measurement(f"PostgreSQL: {WAITING:,} waiting, {name}: processor", "%", [(b - a) / seconds * 100], IDLE_PERCENT)
        for name, a, b in zip(names, before, after, strict=True)
    ]


def _cpu(url: str, *pids: int) -> tuple[float, ...]:
    """Seconds of processor time of these processes, and of all of the server's that live."""
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as raw:
        postmaster = psutil.Process(raw.info.backend_pid).parent()
        assert postmaster is not None
        server = [postmaster, *(each for each in postmaster.children() if each.pid != raw.info.backend_pid)]
        return (*(_seconds(psutil.Process(pid)) for pid in pids), sum(map(_seconds, server)))


def _seconds(process: psutil.Process) -> float:
    try:
        return sum(process.cpu_times()[:2])
    except psutil.NoSuchProcess:
        return 0.0


def _execute(url: str, statement: str) -> None:
    with contextlib.closing(psycopg.connect(url, autocommit=True)) as raw:
        raw.execute(statement.encode())


def _fill(url: str) -> None:
    """Copies the sub-agent at work into so many that wait."""
    at_rest = {"claimed_by": "null", "turn_seq": "null", "turn_route": "null", "fence": "0"}
    waits = {"status": "'queued'", "started_at": "null"}
    unread = {"state": "'pending'", "consumed_at": "null", "consumed_seq": "null", "due_at": "0"}
    session, run = "'w' || n", "'r' || n"
    copies = (
        (
            schema.sessions,
            {"id": session, "key": "'agent:main:s:' || n", "run_id": run, **at_rest},
            "kind = 'subagent'",
        ),
        (schema.runs, {"id": run, "session_id": session, "number": "n + 10", **waits}, "true"),
        (schema.inbox, {"id": "n + 1000000", "session_id": session, "dedupe": "'d' || n", **unread}, "kind = 'task'"),
    )
    for table, changed, which in copies:
        names = [column.name for column in table.columns]
        values = ", ".join(changed.get(name, name) for name in names)
        _execute(
            url,
            f"insert into {table.name} ({', '.join(names)}) select {values} from {table.name}, "  # noqa: S608
            f"generate_series(1, {WAITING}) n where {which}",
        )
    columns = "priority, entrypoint, payload, dedupe_key, status"
    row = f"0, 'subagent', convert_to('w' || n, 'UTF8'), 'w' || n, 'queued' from generate_series(1, {WAITING}) n"
    _execute(url, f"insert into {queue.TABLE} ({columns}) select {row}")
    _execute(url, "analyze")
