"""`laneway mcp`, started by the official client: a bridge to the running gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mcp.clients import over_stdio
from tests.support.job_kinds import WorkPlugin
from tests.support.pilot import pilot


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_calls_reach_the_gateway(tmp_path: Path, mode: str) -> None:
    """One gateway owns the work; the bridge has its operator's token, and still submits no protected kind."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p, over_stdio(p.paths.state, mode) as c:
        assert len((await c.client.list_tools()).tools) == 12
        job = await c.done("submit_job", name="work", data={"give": "🚲"})
        await p.wait_until(lambda: "done" in p.changes(job["runId"]), "the end")
        assert "completed in" in await c.said("get_job", id=job["id"])
        assert (await p.get("/api/jobs/1"))["submittedBy"] == "http:operator"
        assert (await c.refused("submit_job", name="guarded"))["code"] == "permission_denied"
        assert (await c.refused("get_job", id="nope"))["code"] == "not_found"


async def test_gateways_come_and_go(tmp_path: Path) -> None:
    """Where none runs each call says so; the connection outlives a restart."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}, start=False) as p, over_stdio(p.paths.state) as c:
        fault = await c.refused("list_jobs")
        assert fault["code"] == "unavailable"
        assert "laneway start" in fault["message"]
        await p.start()
        await c.done("submit_job", name="work")
        await p.restart()
        assert len((await c.done("list_jobs"))["jobs"]) == 1
        await p.stop()
        assert "laneway start" in (await c.refused("list_jobs"))["message"]
