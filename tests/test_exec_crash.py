"""What is left of a command when its gateway is killed: nothing, at once; and at the next start at the latest."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.store.database import Database
from gateway.tools import processes
from gateway.tools.command import MARK
from gateway.tools.processes import StoreLedger, kill_survivors, recorded_groups
from tests.support.tools import World, open_database
from tests.test_exec import alive, until_dead, until_written


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state")


@pytest.fixture
async def database(world: World) -> AsyncIterator[Database]:
    opened = open_database(world.state)
    yield opened
    await opened.close()


async def start_parent(world: World, command: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.support.tools_parent", str(world.state), command)
    )


async def test_a_killed_gateway_takes_its_commands_along(world: World) -> None:
    """Children, grandchildren, and those that have left the group and ignore signals."""
    line = (
        "(trap '' TERM HUP; sleep 601) & echo $! > child; "
        "setsid sh -c 'trap \"\" TERM HUP; sleep 602 & echo $! > grandchild; wait' & echo $$ > shell; wait"
    )
    parent = await start_parent(world, line)
    pids: list[int] = []
    for name in ("child", "grandchild", "shell"):
        pids += await until_written(world.workspace / name)
    assert all(alive(pid) for pid in pids)
    parent.kill()
    await parent.wait()
    await until_dead(pids, 2)


@pytest.mark.embedded
async def test_survivors_are_killed_at_the_next_start(world: World) -> None:
    """The worst case: who would have cleaned up is killed first, and the gateway in the same moment."""
    line = "(trap '' TERM HUP; sleep 603 & echo $! > grandchild; wait) & echo $$ $PPID > shell; wait"
    parent = await start_parent(world, line)
    grandchild = await until_written(world.workspace / "grandchild")
    shell, shim = await until_written(world.workspace / "shell")
    os.kill(parent.pid, signal.SIGSTOP)
    os.kill(shim, signal.SIGKILL)
    parent.kill()
    await parent.wait()
    await until_dead([shell], 2)  # the direct child dies with the shim
    assert alive(grandchild[0])
    database = open_database(world.state)
    try:
        assert await kill_survivors(database) == 1
        assert not alive(grandchild[0])
        assert await database.read(recorded_groups) == ()
        assert await kill_survivors(database) == 0
    finally:
        await database.close()


@pytest.mark.embedded
async def test_a_frozen_command_is_killed_with_what_has_left_its_group(world: World) -> None:
    """As one of a paused job is: who would have cleaned up stands still as well when its gateway dies."""
    line = "setsid sh -c 'trap \"\" TERM HUP; echo $$ > away; sleep 606' & echo $$ $PPID > shell; wait"
    parent = await start_parent(world, line)
    away = await until_written(world.workspace / "away")
    shell, shim = await until_written(world.workspace / "shell")
    os.killpg(shim, signal.SIGSTOP)
    parent.kill()
    await parent.wait()
    database = open_database(world.state)
    try:
        assert await kill_survivors(database) == 1
        assert not [pid for pid in (*away, shell, shim) if alive(pid)]
    finally:
        await database.close()


async def test_a_number_that_is_used_again_is_left_alone(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    stranger = await asyncio.create_subprocess_exec("sleep", "604", start_new_session=True)
    marked = await asyncio.create_subprocess_exec("sleep", "605", start_new_session=True, env={MARK: "1", **os.environ})
    try:
        started = await StoreLedger(database, "s1").record(stranger.pid)
        groups = await database.read(recorded_groups)
        assert groups[0].id == started and groups[0].pgid == stranger.pid
        await database.run(processes.forget_process, started)
        boot = groups[0].boot_id
        await database.run(processes.record_process, "s1", stranger.pid, "123", boot)  # started at another time
        await database.run(processes.record_process, "s1", marked.pid, groups[0].started, "another-boot")
        assert await kill_survivors(database) == 0
        assert alive(stranger.pid) and alive(marked.pid)
        await database.run(processes.record_process, "s1", stranger.pid, groups[0].started, boot)
        assert await kill_survivors(database) == 1
        assert await stranger.wait() == -signal.SIGKILL
    finally:
        for process in (stranger, marked):
            if process.returncode is None:
                process.kill()
                await process.wait()
