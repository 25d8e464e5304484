"""When the storage fails: an error that names the file, and what was accepted before is intact."""

from __future__ import annotations

import ctypes
import fcntl
import os
import resource
import sqlite3
from collections.abc import AsyncGenerator
from contextlib import closing
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from gateway.store.lock import LINGER_SECONDS
from tests.crash.stage import Stage
from tests.crash.test_graceful import answered, rows, send
from tests.support.model_script import Reply, Seen, say
from tests.support.model_server import ScriptedModelServer
from tests.support.process import Ended, Site, gateway, start

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1
PAGE = 4096

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def site(crash: Stage, tmp_path: Path) -> AsyncGenerator[Site]:
    """A site on which one message was accepted and answered; no gateway runs."""
    async with ScriptedModelServer() as models:
        models.on(echo)
        site = Site(tmp_path, models.base_url).prepare()
        async with gateway(site, crash.start) as first:
            await send(site, "remember this", "1")
            await answered(site, "heard: remember this")
            assert await first.stop() == 0
        yield site


def echo(seen: Seen) -> Reply:
    return say(f"heard: {seen.last_user[:40]}")


async def refused(site: Site, *, like_anybody: bool = False) -> str:
    """Starts a gateway that must end with 1, and returns what it said."""
    site.errors.unlink(missing_ok=True)
    life = await start(site, limit=_like_anybody if like_anybody else None)
    with pytest.raises(Ended):
        await life.ready()
    assert life.exited.result() == 1
    said = site.said()
    assert "Traceback" not in said
    return said


def _like_anybody() -> None:
    """Root loses the right to write what it may not; others never had it."""
    if os.geteuid() == 0:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE, 0, 0, 0)


def texts(site: Site) -> list[str]:
    return [str(row["text"]) for row in rows(site, "select text from messages order by session_id, seq")]


KEPT = ["remember this", "heard: remember this"]


async def test_a_second_gateway_is_refused_at_once(crash: Stage, site: Site) -> None:
    """It says which process holds the folder; the first one goes on."""
    async with gateway(site, crash.start) as first:
        said = await refused(site)
        assert str(first.pid) in said
        assert str(site.state) in said
        assert await send(site, "still there?", "2") == 202
        await answered(site, "heard: still there?")
        assert await first.stop() == 0


async def test_a_lock_dies_with_its_holder(crash: Stage, site: Site) -> None:
    """A gateway that was killed leaves nothing that keeps the next one out."""
    async with gateway(site, crash.start) as first:
        first.kill()
        await first.exited
    async with gateway(site, crash.start) as second:
        assert await second.stop() == 0


async def test_a_lock_that_a_dying_process_has_left_to_another(crash: Stage, site: Site) -> None:
    """Killed between fork and exec, a gateway's lock lives a moment longer than it; the next one waits for that."""
    async with gateway(site, crash.start) as first:
        first.kill()
        await first.exited
    with (site.state / "gateway.lock").open("r+") as file:  # names the dead process
        fcntl.flock(file, fcntl.LOCK_EX)
        life = await crash.start(site)
        with pytest.raises(TimeoutError):
            await life.ready(LINGER_SECONDS / 4)
    await life.ready()
    assert await life.stop() == 0


async def test_a_newer_schema_is_refused(site: Site) -> None:
    """The file is named, the program is to be updated, and nothing is changed."""
    with closing(sqlite3.connect(site.database)) as raw, raw:
        raw.execute("update alembic_version set version_num = '9999'")
    said = await refused(site)
    assert str(site.database) in said
    assert "newer" in said
    assert texts(site) == KEPT


@pytest.mark.parametrize("first_byte", [0, PAGE], ids=["no database", "malformed"])
async def test_a_corrupt_file_is_named(site: Site, first_byte: int) -> None:
    """Found at the start or at the first use, it is an error for people; the file isn't touched."""
    whole = site.database.read_bytes()
    damaged = whole[:first_byte] + b"\xa5" * (len(whole) - first_byte)
    site.database.write_bytes(damaged)
    said = await refused(site)
    assert str(site.database) in said
    assert site.database.read_bytes() == damaged


async def test_a_read_only_file_is_named(crash: Stage, site: Site) -> None:
    """Permissions are what to check; after that all is there."""
    site.database.chmod(0o444)
    said = await refused(site, like_anybody=True)
    assert str(site.database) in said
    assert "permissions" in said
    site.database.chmod(0o600)
    assert texts(site) == KEPT
    async with gateway(site, crash.start) as life:
        await send(site, "again", "2")
        await answered(site, "heard: again")
        assert await life.stop() == 0


async def test_a_full_disk_is_named_and_loses_nothing(crash: Stage, site: Site) -> None:
    """What can't be stored isn't accepted; with space again the gateway goes on, and what was accepted is there."""
    async with gateway(site, crash.start) as life:
        await send(site, "before", "2")
        await answered(site, "heard: before")
        fill_disk(site, life.pid)
        status, text = await try_to_send(site, "x" * 200_000, "3")
        assert status >= 500
        assert str(site.database) in text + site.said()
        assert "disk" in text + site.said()
        resource.prlimit(life.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert await send(site, "after", "4") == 202
        await answered(site, "heard: after")
        assert await life.stop() == 0
    with site.rows() as database:
        assert database.execute("pragma integrity_check").fetchone()[0] == "ok"
    assert texts(site) == [*KEPT, "before", "heard: before", "after", "heard: after"]


def fill_disk(site: Site, pid: int) -> None:
    """No file of the process may grow beyond what the largest has now: what SQLite sees is a disk that is full."""
    wal = site.database.with_name(f"{site.database.name}-wal")
    size = max(site.database.stat().st_size, wal.stat().st_size)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def try_to_send(site: Site, text: str, number: str) -> tuple[int, str]:
    headers = {"Authorization": f"Bearer {site.token()}", "Idempotency-Key": number}
    async with (
        aiohttp.ClientSession(headers=headers) as http,
        http.post(f"{site.url()}/api/sessions/agent:main:main/messages", json={"text": text}) as response,
    ):
        return response.status, await response.text()
