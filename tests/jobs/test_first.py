"""Jobs end to end over HTTP: the thinnest paths."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.support.job_kinds import WorkPlugin
from tests.support.pilot import Pilot, pilot


async def submit(p: Pilot, name: str = "work", **fields: Any) -> dict[str, Any]:
    response = await p.post("/api/jobs", {"name": name, **fields})
    assert response.status in (200, 202), response.text
    return response.json


async def done(p: Pilot, number: int) -> dict[str, Any]:
    job = await p.get(f"/api/jobs/{number}")
    await p.wait_until(lambda: "done" in p.changes(job["runId"]), f"the end of job #{number}")
    return await p.get(f"/api/jobs/{number}")


async def test_a_job_runs_and_returns(tmp_path: Path) -> None:
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        job = await submit(p, data={"give": {"a": 1}})
        ended = await done(p, job["id"])
        assert (ended["outcome"], ended["output"], ended["attempt"]) == ("ok", {"a": 1}, 1)


async def test_a_failure_is_tried_again(tmp_path: Path) -> None:
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        job = await submit(p, data={"fail": 2, "give": 7}, backoff={"type": "fixed", "delayMs": 10})
        ended = await done(p, job["id"])
        assert (ended["outcome"], ended["output"], ended["attempt"]) == ("ok", 7, 3)
        dead = await submit(p, data={"fail": 9}, maxAttempts=2, backoff={"delayMs": 1})
        assert (await done(p, dead["id"]))["outcome"] == "dead"


async def test_children_and_fan_out(tmp_path: Path) -> None:
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        job = await submit(p, data={"children": 3})
        assert (await done(p, job["id"]))["output"] == [0, 1, 2]
        left = await submit(p, data={"leave": 2, "give": "mine"})
        assert (await done(p, left["id"]))["output"] == "mine"
        fan = await submit(p, "aggregate", children=[{"name": "work", "data": {"give": n}} for n in range(3)])
        ended = await done(p, fan["id"])
        assert [each["output"] for each in ended["output"]] == [0, 1, 2]


async def test_a_sub_agent_as_a_job(tmp_path: Path) -> None:
    async with pilot(tmp_path) as p:
        job = await submit(p, "subagent", data={"task": "count"})
        ended = await done(p, job["id"])
        assert (ended["outcome"], ended["output"]) == ("ok", "child done")
