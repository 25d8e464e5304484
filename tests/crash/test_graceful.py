"""A graceful stop: what is in flight may finish, nothing is repeated, nobody is blamed (spec/subagents.md 24)."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import pytest_asyncio

from tests.crash.scene import NET_SECONDS
from tests.crash.stage import Stage
from tests.support.model_script import Seen, call, say
from tests.support.model_server import ScriptedModelServer
from tests.support.process import Life, Site, gateway

KEY = "agent:main:main"
SOON_SECONDS = 15.0

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def models() -> AsyncGenerator[ScriptedModelServer]:
    async with ScriptedModelServer() as server:
        yield server


def site_of(folder: Path, models: ScriptedModelServer, drain_seconds: float) -> Site:
    return Site(folder, models.base_url).prepare({"gateway": {"port": 0, "drainSeconds": drain_seconds}})


async def send(site: Site, text: str, number: str, key: str = KEY) -> int:
    """A person's message; returns the status."""
    headers = {"Authorization": f"Bearer {site.token()}", "Idempotency-Key": number}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{site.url()}/api/sessions/{key}/messages", json={"text": text}) as response,
    ):
        return response.status


async def answered(site: Site, text: str, key: str = KEY) -> None:
    """Waits until an assistant's text is in the events, from the first on."""
    headers = {"Authorization": f"Bearer {site.token()}", "Last-Event-ID": "0"}
    timeout = aiohttp.ClientTimeout(total=SOON_SECONDS)
    async with (
        aiohttp.ClientSession(headers=headers, timeout=timeout) as http,
        http.get(f"{site.url()}/api/events?session={key}") as stream,
    ):
        async for line in stream.content:
            if line.startswith(b"data: ") and text in line.decode() and '"assistant"' in line.decode():
                return


def rows(site: Site, statement: str) -> list[dict[str, Any]]:
    with site.rows() as database:
        return [dict(row) for row in database.execute(statement)]


def blamed(site: Site) -> list[dict[str, Any]]:
    """Sessions that a death counts against, or that somebody still claims."""
    return rows(site, "select key, deaths, claimed_by from sessions where deaths > 0 or claimed_by is not null")


def says(text: str) -> Any:
    def matches(seen: Seen) -> bool:
        return text in seen.last_user

    return matches


async def test_24_a_model_call_in_flight_finishes(crash: Stage, tmp_path: Path, models: ScriptedModelServer) -> None:
    """Within `drainSeconds` the answer is stored and nothing new begins; exit 0, no death, no second request."""
    models.on(user="slow", reply=say("at last", hold="slow"))
    models.on(user="later", reply=say("in my own time"))
    site = site_of(tmp_path, models, drain_seconds=20)
    async with gateway(site, crash.start) as first:
        await send(site, "slow", "1")
        await models.wait_for(says("slow"))
        url = site.url()
        first.terminate()
        await unready(url)
        models.release("slow")
        assert await first.stop() == 0
    assert [row["text"] for row in rows(site, "select text from messages where role = 'assistant'")] == ["at last"]
    assert blamed(site) == []
    async with gateway(site, crash.start) as second:
        assert await send(site, "later", "2") == 202
        await answered(site, "in my own time")
        assert await second.stop() == 0
    assert [seen.last_user for seen in models.requests] == ["slow", "later"]


async def unready(url: str) -> None:
    """Waits until a gateway says that it isn't ready any more."""
    async with aiohttp.ClientSession() as http:
        for _ in range(int(SOON_SECONDS / 0.01)):
            try:
                async with http.get(f"{url}/readyz") as response:
                    if response.status == 503:
                        return
            except aiohttp.ClientError:
                return
    raise TimeoutError("it stays ready")


async def test_24_what_takes_longer_is_cancelled_and_done_after_the_start(
    crash: Stage, tmp_path: Path, models: ScriptedModelServer
) -> None:
    """After `drainSeconds` the call is cancelled; the next start makes it again, and nobody is blamed."""
    models.on(user="slow", once=True, reply=say("never seen", hold="never"))
    models.on(user="slow", reply=say("at last"))
    site = site_of(tmp_path, models, drain_seconds=0.2)
    async with gateway(site, crash.start) as first:
        await send(site, "slow", "1")
        await models.wait_for(says("slow"))
        assert await first.stop(SOON_SECONDS) == 0
    await models.wait_gone()
    assert rows(site, "select text from messages where role = 'assistant'") == []
    assert blamed(site) == []
    async with gateway(site, crash.start) as second:
        await answered(site, "at last")
        assert await second.stop() == 0
    assert len(models.requests) == 2
    assert len(rows(site, "select seq from messages where role = 'user'")) == 1
    models.assert_done()


async def test_24_a_command_in_flight_is_ended_and_told_as_interrupted(
    crash: Stage, tmp_path: Path, models: ScriptedModelServer
) -> None:
    """Its processes are gone with the gateway; the model is told to check, and the command isn't run again."""
    models.on(user="work", last_role="user", reply=call("exec", command="echo began >> log; sleep 300"))
    models.on(result="interrupted this call", reply=say("I will check"))
    site = site_of(tmp_path, models, drain_seconds=0.2)
    async with gateway(site, crash.start) as first:
        await send(site, "work", "1")
        await begun(first, "sleep")
        assert await first.stop(SOON_SECONDS) == 0
    assert commands(site) == []
    assert blamed(site) == []
    async with gateway(site, crash.start) as second:
        await answered(site, "I will check")
        assert await second.stop() == 0
    assert (site.workspace / "log").read_text() == "began\n"
    models.assert_done()


async def begun(life: Life, name: str) -> None:
    """Waits until a process of this name runs below a gateway, by its progress events."""
    headers = {"Authorization": f"Bearer {life.site.token()}"}
    timeout = aiohttp.ClientTimeout(total=NET_SECONDS)
    for _ in range(int(SOON_SECONDS / NET_SECONDS)):
        if any(name in process.name() for process in psutil.Process(life.pid).children(recursive=True)):
            return
        async with aiohttp.ClientSession(headers=headers, timeout=timeout) as http:
            try:
                async with http.get(f"{life.site.url()}/api/events") as stream:
                    await stream.content.readline()
                    await stream.content.readuntil(b"event: progress")
            except TimeoutError:
                continue
    raise TimeoutError(f"no process {name} has begun")


def commands(site: Site) -> list[int]:
    """Processes that work in the workspace of a site."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if process.cwd().startswith(str(site.workspace)):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


async def test_24_a_stop_while_starting(crash: Stage, tmp_path: Path, models: ScriptedModelServer) -> None:
    """SIGTERM between the first line and readiness, or right after it, is a graceful stop as well."""
    models.on(user="slow", reply=say("never seen", hold="never"))
    site = site_of(tmp_path, models, drain_seconds=0.2)
    async with gateway(site, crash.start) as first:
        await send(site, "slow", "1")
        await models.wait_for(says("slow"))
        first.kill()
        await first.exited
    second = await crash.start(site)
    await models.wait_for(says("slow"), count=2)
    second.kill()
    await second.exited
    # The session is under suspicion now: it is resumed alone, and the start waits for it.
    third = await crash.start(site)
    await models.wait_for(says("slow"), count=3)
    assert await third.stop(SOON_SECONDS) == 0
    assert [row["deaths"] for row in rows(site, "select deaths from sessions")] == [2]
