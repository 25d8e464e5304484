"""`laneway mcp list` and `laneway mcp approve` against a running gateway."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.mcp.faulty import Faulty, faulty, ready, tool
from tests.support.laneway import Home


async def test_list_and_approve(tmp_path: Path) -> None:
    """What waits is shown with what it was and what it is now; approving needs a name."""
    odd, home = Faulty(tmp_path / "odd"), Home(tmp_path)
    odd.write("tools.json", [tool("echo", "Says it.")])
    async with faulty(tmp_path) as (p, _):
        odd.write("tools.json", [tool("echo", "Says it to everybody.")])
        await p.restart()
        await ready(p)
        listed, unclear = await asyncio.gather(
            asyncio.to_thread(home.run, "mcp", "list"), asyncio.to_thread(home.run, "mcp", "approve", "odd")
        )
        assert listed.out.splitlines()[1].split()[:4] == ["odd", "ready", "0/1", "0"]
        assert "✗ mcp__odd__echo: its description or schema has changed; an owner must approve it" in listed.out
        assert "accepted: Says it.\n      now:      Says it to everybody." in listed.out
        assert (unclear.code, "--all" in unclear.err) == (2, True)
        done = await asyncio.to_thread(home.run, "mcp", "approve", "odd", "echo")
        assert done.out == "✅ odd: echo may be used.\n"
        assert "mcp__odd__echo" in p.gateway.registry.tools
