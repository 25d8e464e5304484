"""A gateway and workers as real processes on one PostgreSQL database, with the models' script in the test's hands.

async with fleet(tmp_path) as f:
    await f.gateway()
    worker = await f.worker()
    await f.say("go")
    await f.until("select 1 from runs where outcome = 'ok'")
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psycopg

from tests.support import databases
from tests.support.model_script import Call, Reply, calls, say
from tests.support.model_server import ScriptedModelServer
from tests.support.process import KILLED, Life, Site, start, start_worker

KEY = "agent:main:main"
LOOK_SECONDS = 0.02
PATIENCE = 45.0


@dataclass
class Fleet:
    """Everything that a test starts and looks at."""

    site: Site
    model: ScriptedModelServer
    http: aiohttp.ClientSession
    lives: list[Life] = field(default_factory=list[Life])

    async def gateway(self) -> Life:
        """Starts the gateway; it is ready."""
        life = await start(self.site)
        self.lives.append(life)
        await life.ready()
        return life

    async def worker(self, *lanes: str, concurrency: int = 8, env: Mapping[str, str] | None = None) -> Life:
        """Starts a worker; it is ready."""
        life = await start_worker(self.site, *lanes, concurrency=concurrency, env=env)
        self.lives.append(life)
        return life

    async def kill(self, life: Life) -> None:
        """SIGKILL, and waits for the end."""
        life.kill()
        assert await life.exited == KILLED

    def spawns(self, number: int, **more: Any) -> None:
        """Lets the assistant spawn so many sub-agents when it is told to `go`: `task 0`, `task 1`, …"""
        made = calls(*(Call("sessions_spawn", {"task": f"task {i}.", "label": f"t{i}", **more}) for i in range(number)))
        self.model.on(reply=made, role="main", user="^go$", turn_step=1)

    def rest(self) -> None:
        """What the script doesn't say is answered too; to be called last."""
        self.model.on(reply=say("child done"), role="child")
        self.model.on(reply=say("ok"))

    def children(self, reply: Reply, **conditions: Any) -> None:
        """What sub-agents answer."""
        self.model.on(reply=reply, role="child", **conditions)

    async def say(self, text: str, session: str = KEY) -> None:
        """Says something in a conversation."""
        await self.post(f"/api/sessions/{session}/messages", {"text": text})

    async def post(self, path: str, body: Any) -> Any:
        """One POST to the gateway, which must go well."""
        headers = {"Authorization": f"Bearer {self.site.token()}"}
        async with self.http.post(self.site.url() + path, json=body, headers=headers) as response:
            text = await response.text()
            assert response.status < 400, text
            return json.loads(text)

    async def get(self, path: str) -> Any:
        """One GET."""
        headers = {"Authorization": f"Bearer {self.site.token()}"}
        async with self.http.get(self.site.url() + path, headers=headers) as response:
            text = await response.text()
            assert response.status < 400, text
            return json.loads(text)

    def rows(self, statement: str, *values: Any) -> list[dict[str, Any]]:
        """What stands in the database."""
        with self.site.rows() as rows:
            return [dict(row) for row in rows.execute(statement, values)]

    def value(self, statement: str, *values: Any) -> Any:
        """The one value that a statement finds; None if it finds none."""
        found = self.rows(statement, *values)
        return next(iter(found[0].values())) if found else None

    def change(self, statement: str, *values: Any) -> None:
        """Writes into the database, behind everybody's back."""
        assert self.site.postgres is not None
        with contextlib.closing(psycopg.connect(self.site.postgres, autocommit=True)) as raw:
            raw.execute(statement.encode(), values)

    async def until(self, statement: str, *values: Any, seconds: float = PATIENCE) -> Any:
        """Waits until a statement finds something that isn't null or zero; returns it."""
        try:
            async with asyncio.timeout(seconds):
                while not (found := await asyncio.to_thread(self.value, statement, *values)):  # noqa: ASYNC110
                    await asyncio.sleep(LOOK_SECONDS)  # other processes tell the test nothing
                return found
        except TimeoutError:
            raise AssertionError(f"in vain: {statement}\n{self.state()}\n{self.site.said()}") from None

    async def runs_done(self, number: int, seconds: float = PATIENCE) -> None:
        """Waits until so many runs have ended."""
        await self.until("select 1 from runs where status = 'done' having count(*) >= %s", number, seconds=seconds)

    def state(self) -> str:
        """For a test that fails: how things stand."""
        runs = self.rows("select label, status, outcome, error from runs order by number")
        sessions = self.rows("select key, claimed_by, fence, turn_seq, deaths from sessions")
        queue = self.rows("select entrypoint, status, queue_manager_id, dedupe_key from laneway_queue")
        workers = self.rows("select id, role, pid, lease_until from workers")
        return json.dumps([runs, sessions, queue, workers], default=str)[:4000]

    def most_at_once(self) -> int:
        """How many of the sub-agents' model calls were in flight at the same time at most."""
        ends = dict(self.model.answered)
        children = [(seen.arrived, ends[seen.number]) for seen in self.model.requests if seen.role == "child"]
        return max(sum(begin <= moment < end for begin, end in children) for moment, _ in children)

    def worker_id(self, life: Life) -> str:
        """By which a process claims sessions."""
        return str(self.value("select id from workers where pid = %s", life.pid))


@asynccontextmanager
async def fleet(
    folder: Path, *, config: Mapping[str, Any] | None = None, lease: float = 30, url: str | None = None
) -> AsyncGenerator[Fleet]:
    """A site on a fresh database. The gateway leaves sub-agents to the workers, unless the configuration says else.

    Args:
        folder: for the state.
        config: goes over the usual configuration, section by section.
        lease: `workers.leaseSeconds`.
        url: of a migrated database; None: a fresh one.
    """
    async with AsyncExitStack() as stack:
        stack.enter_context(databases.owned(folder))
        model = await stack.enter_async_context(ScriptedModelServer())
        http = await stack.enter_async_context(aiohttp.ClientSession())
        site = Site(folder, model.base_url, postgres=url or databases.url_of(folder))
        usual: dict[str, Any] = {"workers": {"leaseSeconds": lease, "gatewayLanes": []}}
        site.prepare({**usual, **(config or {})})
        f = Fleet(site, model, http)
        try:
            yield f
        finally:
            for life in f.lives:
                life.wake()
                life.kill()
                await life.exited


def subagents(**settings: Any) -> dict[str, Any]:
    """A configuration of the sub-agents of the default agent."""
    return {"agents": {"defaults": {"model": {"primary": "scripted/scripted"}, "subagents": settings}}}
