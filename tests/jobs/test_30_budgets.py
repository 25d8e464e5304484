"""Budgets of jobs (spec/jobs.md 30), over HTTP: of a job, of a tree, of an agent's day, before every model call."""

from __future__ import annotations

from pathlib import Path

from tests.jobs.scene import ended, jobs, submit, until
from tests.support.model_script import Call, Reply, Tokens, call, say
from tests.support.pilot import Json, Pilot, pilot

LS = (Call("ls", {"path": "."}),)


def costs(p: Pilot, tokens_in: int, tokens_out: int = 10) -> None:
    """Every call of a sub-agent costs so much, and leads to another one."""
    p.on(reply=Reply(calls=LS, tokens=Tokens(tokens_in, tokens_out)), role="child")


async def test_30_tokens_of_a_job(tmp_path: Path) -> None:
    """spec/jobs.md 30 !: tokens per job: the call that wouldn't fit isn't made, and the job ends with `budget`."""
    async with pilot(tmp_path) as p:
        costs(p, 20_000)
        now = await ended(p, await submit(p, "subagent", data={"task": "t", "budgetTokens": 70_000}))
        assert (now["outcome"], "budgetTokens 70000" in now["error"]) == ("budget", True)
        assert len(p.child_requests()) == 4, "three times 20,010 leave room for one more, and four for none"
        assert now["tokens"]["total"] == 4 * 20_010


async def test_30_usd_of_a_job(tmp_path: Path) -> None:
    """spec/jobs.md 30 !: USD per job, at the models' prices (1 and 2 micro-USD a token)."""
    async with pilot(tmp_path) as p:
        costs(p, 30_000)
        now = await ended(p, await submit(p, "subagent", data={"task": "t", "budgetUsd": 0.05}))
        assert (now["outcome"], "budgetUsd 0.05" in now["error"]) == ("budget", True)
        assert len(p.child_requests()) == 2
        unpriced: Json = {"task": "t", "budgetUsd": 1, "model": "test/unpriced"}
        refused = await p.post("/api/jobs", {"name": "subagent", "data": unpriced})
        assert (refused.status, "cost" in refused.text) == (400, True)


async def test_30_of_a_tree(tmp_path: Path) -> None:
    """spec/jobs.md 30 !: what is used below counts above, and nobody below gets past the budget of one above him."""
    async with pilot(tmp_path, config={"agents": {"defaults": {"subagents": {"maxSpawnDepth": 3}}}}) as p:
        p.on(reply=call("sessions_spawn", task="inner"), task="^outer$", step=1)
        p.on(reply=Reply(calls=LS, tokens=Tokens(20_000, 10)), task="^inner$")
        p.on(reply=say("all told", tokens=Tokens(10, 10)), task="^outer$")
        top = await submit(p, "subagent", data={"task": "outer", "budgetTokens": 50_000})
        await until(p, top, lambda now: now["children"])
        [inner] = await jobs(p, parent=top["id"])
        now = await ended(p, inner)
        assert (now["outcome"], "“outer”" in now["error"]) == ("budget", True)
        assert sum(seen.first_user == "inner" for seen in p.child_requests()) <= 3
        assert (await ended(p, top))["tokens"]["total"] > 40_000


async def test_30_of_an_agent_s_day(tmp_path: Path) -> None:
    """spec/jobs.md 30 !: per agent and day: all its jobs together, also those that were submitted side by side."""
    entry: Json = {"id": "main", "default": True, "budgetUsd": 0.04}
    async with pilot(tmp_path, config={"agents": {"list": [entry]}}) as p:
        p.on(reply=say("done", tokens=Tokens(15_000, 10)), role="child")
        found = [await ended(p, await submit(p, "subagent", data={"task": f"t{number}"})) for number in range(4)]
        assert [job["outcome"] for job in found] == ["ok", "ok", "ok", "budget"]
        assert "agents.list[].budgetUsd" in found[-1]["error"]
        assert len(p.child_requests()) == 3


async def test_30_a_retry_doesn_t_get_past_it(tmp_path: Path) -> None:
    """spec/jobs.md 25, 30: fresh counters are those of attempts, not of money; a replay has a budget of its own."""
    async with pilot(tmp_path) as p:
        costs(p, 20_000)
        job = await submit(p, "subagent", data={"task": "t", "budgetTokens": 30_000})
        assert (await ended(p, job))["outcome"] == "budget"
        asked = len(p.child_requests())
        assert (await p.post(f"/api/jobs/{job['id']}/retry")).status == 200
        assert (await ended(p, job))["outcome"] == "budget"
        assert len(p.child_requests()) == asked
        again = (await p.post(f"/api/jobs/{job['id']}/replay")).json
        assert (await ended(p, again))["outcome"] == "budget"
        assert len(p.child_requests()) == 2 * asked
