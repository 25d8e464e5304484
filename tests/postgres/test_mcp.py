"""MCP servers with several processes: each has its own, and what is accepted of their tools is everybody's."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.mcp.faulty import Faulty, tool
from tests.postgres.fleet import Fleet, fleet
from tests.support.model_script import call, say

ALLOWED = {"tools": {"subagents": {"tools": {"allow": ["*", "mcp__odd__echo"]}}}}


async def test_workers_use_them_and_hear_of_approvals(tmp_path: Path) -> None:
    """A worker's sub-agents call its server; a change that it sees is seen by the gateway, and an approval by it."""
    odd = Faulty(tmp_path / "odd")
    odd.write("tools.json", [tool("echo", "Says it.")])
    async with fleet(tmp_path, config={**odd.config(), **ALLOWED}) as f:
        f.model.on(reply=call("mcp__odd__echo", text="from a worker"), role="child", turn_step=1)
        f.model.on(reply=say("done"), role="child")
        f.spawns(1)
        f.rest()
        await f.gateway()
        await until(f, "usable")
        first = await f.worker()
        await f.say("go")
        await f.runs_done(1)
        assert f.value("select text from messages where role = 'tool' and text = 'from a worker'")
        await first.stop()
        odd.write("tools.json", [tool("echo", "Says it to everybody.")])
        await f.worker()
        await until(f, "changed")
        assert (await f.post("/api/mcp/approve", {"server": "odd"}))["tools"] == ["echo"]
        await until(f, "usable")
        await f.say("go")
        await f.runs_done(2)
        assert f.value("select count(*) from messages where role = 'tool' and text = 'from a worker'") == 2


async def until(f: Fleet, standing: str) -> None:
    """Waits until the gateway sees the tool so; other processes tell the test nothing."""
    server: dict[str, Any] = {}
    for _ in range(600):
        [server] = (await f.get("/api/mcp/servers"))["servers"]
        if [each["standing"] for each in server["tools"]] == [standing]:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"the tool is never {standing}: {server}")
