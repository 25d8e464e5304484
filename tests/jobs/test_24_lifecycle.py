"""Pausing, running again, deleting (spec/jobs.md 24–26), over HTTP."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.jobs.scene import (
    CHAT,
    TOKENS,
    change,
    ended,
    jobs,
    letters,
    look,
    reached,
    rows,
    submit,
    until,
    waits_because,
)
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import call, fail, say
from tests.support.pilot import Json, Pilot, merged, pilot

ONE: Json = {"jobs": {"maxConcurrent": 1}}


async def replay(p: Pilot, job: Json, token: str | None = None, **body: Any) -> Json:
    """A replay that is accepted."""
    response = await p.post(f"/api/jobs/{job['id']}/replay", body, token=token)
    assert response.status == 202, response.text
    return response.json


async def test_24_pause_and_resume_while_queued(tmp_path: Path) -> None:
    """spec/jobs.md 24: from any open status: queued; twice changes nothing."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=ONE, plugins={"work": plugin}) as p:
        first = await submit(p, data={"hold": "x"})
        job = await submit(p, data={"give": 1})
        paused = await change(p, job, "pause")
        assert (paused["status"], paused["changed"], paused["waitingReason"]) == ("paused", 1, "paused")
        assert (await change(p, job, "pause"))["changed"] == 0
        plugin.release("x")
        await ended(p, first)
        await p.restart()
        assert (await look(p, job))["status"] == "paused"
        assert (await change(p, job, "resume"))["changed"] == 1
        assert (await ended(p, job))["output"] == 1
        assert (await change(p, job, "resume"))["changed"] == 0


async def test_24_pause_keeps_what_is_left_of_a_delay(tmp_path: Path) -> None:
    """spec/jobs.md 24 !: a remaining delay: it doesn't run off while it is paused, and isn't begun anew."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        job = await submit(p, delayMs=60_000)
        due = datetime.fromisoformat(job["notBefore"])
        await change(p, job, "pause")
        assert (await look(p, job))["notBefore"] is None
        await ended(p, await submit(p, data={"ms": 300}))
        await p.restart()
        now = await change(p, job, "resume")
        assert now["status"] == "delayed"
        later = (datetime.fromisoformat(now["notBefore"]) - due).total_seconds()
        assert 0.3 <= later < 30, "it is put off by the time of the pause"
        backoff = {"type": "fixed", "delayMs": 60_000}
        failed = await submit(p, data={"fail": 1, "give": 1}, backoff=backoff)
        await reached(p, failed, "delayed")
        await change(p, failed, "pause")
        now = await change(p, failed, "resume")
        assert (now["status"], now["attempt"]) == ("delayed", 2)


async def test_24_pause_and_resume_while_running(tmp_path: Path) -> None:
    """spec/jobs.md 24 !: keeps transcript, progress and what was kept; no attempt is burnt."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data={"hold": "x", "save": True, "give": 1}, maxAttempts=1)
        await until(p, job, lambda now: now["progress"]["step"])
        paused = await change(p, job, "pause")
        assert (paused["progress"]["message"], paused["status"]) == ("at work", "paused")
        other = await submit(p, data={"give": 2})
        await ended(p, other)
        assert not plugin.running
        plugin.release("x")
        await change(p, job, "resume")
        now = await ended(p, job)
        assert (now["outcome"], now["attempt"]) == ("ok", 1)
        assert [each.state.get("calls", 0) for each in plugin.calls_of(job["id"])] == [0, 1]


async def test_24_pause_and_resume_while_waiting(tmp_path: Path) -> None:
    """spec/jobs.md 24 !: trees included; children that settle under a paused parent are not forgotten."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        inner: Json = {"name": "aggregate", "children": [{"name": "work", "data": {"hold": "x", "give": 1}}]}
        top = await submit(p, "aggregate", children=[inner, {"name": "work", "delayMs": 60_000}])
        [middle, delayed] = await jobs(p, parent=top["id"])
        [leaf] = await jobs(p, parent=middle["id"])
        await reached(p, leaf, "running")
        said = await change(p, top, "pause")
        assert said["changed"] == 4
        assert {job["status"] for job in await jobs(p)} == {"paused"}
        plugin.release("x")
        # One below goes on alone; what is above it stays where it is, and takes note.
        await change(p, leaf, "resume")
        await ended(p, leaf)
        assert (await look(p, middle))["status"] == "paused"
        await p.restart()
        assert (await change(p, top, "resume"))["changed"] == 3
        assert (await look(p, delayed))["status"] == "delayed"
        await change(p, delayed, "stop")
        await ended(p, middle)
        assert (await ended(p, top))["cause"] == "child_failed"


async def test_24_pause_and_resume_while_held(tmp_path: Path) -> None:
    """spec/jobs.md 24: one that comes after others, which end meanwhile."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        first = await submit(p, data={"hold": "x"})
        job = await submit(p, data={"give": 1}, after=[str(first["id"])])
        await change(p, job, "pause")
        resumed = await change(p, job, "resume")
        assert (resumed["status"], resumed["waitingReason"]) == ("delayed", "dependencies: 0 of 1")
        await change(p, job, "pause")
        plugin.release("x")
        await ended(p, first)
        assert (await look(p, job))["status"] == "paused"
        await change(p, job, "resume")
        assert (await ended(p, job))["output"] == 1


async def test_24_pause_and_resume_an_agent(tmp_path: Path) -> None:
    """spec/jobs.md 24 !: an agent rests at its next boundary and goes on with its whole transcript."""
    async with pilot(tmp_path) as p:
        p.on(reply=call("ls"), task="^t$", step=1)
        p.on(reply=say("held", hold="x"), task="^t$", step=2)
        job = await submit(p, "subagent", data={"task": "t"})
        await p.wait_asked(lambda seen: seen.first_user == "t" and seen.step == 2)
        await change(p, job, "pause")
        log = (await p.get(f"/api/jobs/{job['id']}/log"))["messages"]
        await p.restart()
        assert (await look(p, job))["status"] == "paused"
        p.model.release("x")
        await change(p, job, "resume")
        assert (await ended(p, job))["outcome"] == "ok"
        after = (await p.get(f"/api/jobs/{job['id']}/log"))["messages"]
        assert after[: len(log)] == log


async def test_25_retry_opens_what_has_not_ended_well(tmp_path: Path) -> None:
    """spec/jobs.md 25: `retry` re-opens a failed, dead or stopped one with fresh counters, in place."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        one = {"type": "fixed", "delayMs": 1}
        dead = await submit(p, data={"fail": 9}, maxAttempts=2, backoff=one)
        failed = await submit(p, data={"unrecoverable": True})
        timed_out = await submit(p, data={"hold": "late"}, timeoutMs=700)
        stopped = await submit(p, data={"hold": "never", "give": 1})
        await change(p, stopped, "stop")
        jobs = (dead, failed, timed_out, stopped)
        for job, before in zip(jobs, [await ended(p, job) for job in jobs], strict=True):
            plugin.release("late")
            plugin.release("never")
            again = await change(p, job, "retry")
            assert (again["status"], again["attempt"], again["outcome"], again["error"]) == ("queued", 1, None, None)
            after = await ended(p, job)
            assert (after["id"], after["runId"]) == (before["id"], before["runId"])
        assert [call.attempt for call in plugin.calls_of(dead["id"])] == [1, 2, 1, 2]
        assert [(await look(p, job))["outcome"] for job in (timed_out, stopped)] == ["ok", "ok"]
        well = await p.post(f"/api/jobs/{stopped['id']}/retry")
        assert (well.status, "replay" in well.text) == (400, True)
        held = await submit(p, data={"hold": "held"})
        assert (await p.post(f"/api/jobs/{held['id']}/retry")).status == 400


async def test_25_retry_of_a_fan_out_does_again_what_failed_and_nothing_else(tmp_path: Path) -> None:
    """spec/jobs.md 25: what failed, or was stopped with it, is opened again with its parent; what is done stays so."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        children: list[Json] = [
            {"name": "work", "data": {"log": "well", "give": 1}},
            {"name": "work", "data": {"hold": "x", "give": 2}},
            {"name": "work", "data": {"hold": "y", "unrecoverable": False, "give": 3}, "timeoutMs": 400},
        ]
        top = await submit(p, "aggregate", children=children)
        kids = await jobs(p, parent=top["id"])
        await ended(p, kids[0])
        assert (await ended(p, top))["cause"] == "child_failed"
        assert (await p.post(f"/api/jobs/{kids[2]['id']}/retry")).status == 400, "its parent has ended"
        plugin.release("x")
        plugin.release("y")
        again = await change(p, top, "retry")
        assert again["status"] == "waiting"
        now = await ended(p, top)
        assert [each["output"] for each in now["output"]] == [1, 2, 3]
        assert plugin.effects == ["well"]
        stopped = await submit(p, "aggregate", children=[{"name": "work", "data": {"hold": "z", "give": 1}}])
        dependent = await submit(p, data={"give": 4}, after=[str(stopped["id"])])
        await change(p, stopped, "stop")
        plugin.release("z")
        await change(p, stopped, "retry")
        assert (await ended(p, dependent))["output"] == 4


async def test_25_retry_of_a_held_one_waits_again(tmp_path: Path) -> None:
    """spec/jobs.md 25, 7: one that was stopped while it waited for another still comes after it."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        first = await submit(p, data={"hold": "x"})
        job = await submit(p, data={"give": 1}, after=[str(first["id"])])
        await change(p, job, "stop")
        assert (await change(p, job, "retry"))["waitingReason"] == "dependencies: 0 of 1"
        plugin.release("x")
        assert (await ended(p, job))["output"] == 1


async def test_25_retry_of_an_agent_goes_on_from_its_transcript(tmp_path: Path) -> None:
    """spec/jobs.md 25: it is told that it had ended, and does nothing again that it has done."""
    async with pilot(tmp_path) as p:
        p.on(reply=call("ls"), task="^t$", step=1)
        p.on(reply=fail(400, "broken"), task="^t$", step=2, once=True)
        p.on(reply=say("in the end"), task="^t$")
        job = await submit(p, "subagent", data={"task": "t"})
        assert (await ended(p, job))["outcome"] == "error"
        await change(p, job, "retry")
        now = await ended(p, job)
        assert (now["outcome"], now["output"]) == ("ok", "in the end")
        *_, last = p.child_requests()
        assert len(last.results) == 1
        assert "started again" in last.users[-1]


async def test_25_replay_makes_a_new_job_with_all_options(tmp_path: Path) -> None:
    """spec/jobs.md 25 !: `replay` makes a new job with all run options and merged overrides."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        options: Json = {
            "label": "mine",
            "priority": 3,
            "maxAttempts": 7,
            "timeoutMs": 60_000,
            "maxChildren": 2,
            "onChildFail": "ignore",
            "backoff": {"type": "fixed", "delayMs": 5, "jitter": 0.25, "maxMs": 9},
        }
        job = await submit(p, data={"give": 1, "log": "x"}, idempotencyKey="k", **options)
        await ended(p, job)
        again = await replay(p, job)
        assert (again["replayOf"], again["id"] != job["id"]) == (job["runId"], True)
        shown = {name: again[name] for name in options if name != "backoff"}
        assert shown == {name: value for name, value in options.items() if name != "backoff"}
        assert again["backoff"] == {"type": "fixed", "delayMs": 5, "jitter": 0.25}
        assert again["idempotencyKey"] is None
        changed = await replay(p, job, overrides={"data": {"give": 2}, "label": "other", "maxAttempts": 1})
        assert (changed["label"], changed["maxAttempts"], changed["priority"]) == ("other", 1, 3)
        now = await ended(p, changed)
        assert (now["output"], now["data"]["log"]) == (2, "x")
        for wrong in ({"data": 5}, {"maxAttempts": 0}, {"nonsense": 1}, {"data": {"nonsense": 1}}):
            body = {"overrides": wrong}
            assert (await p.post(f"/api/jobs/{job['id']}/replay", body)).status == 400
        key = {"Idempotency-Key": "once"}
        twice = [await p.post(f"/api/jobs/{job['id']}/replay", {}, headers=key) for _ in range(2)]
        assert twice[0].json["id"] == twice[1].json["id"]


async def test_25_replay_of_protected_ones_is_for_operators(tmp_path: Path) -> None:
    """spec/jobs.md 25 !: for shell and sub-agent jobs as well, protected ones for an operator."""
    config = merged(TOKENS, {"jobs": {"shell": {"enabled": True}}})
    async with pilot(tmp_path, config=config, plugins={"work": WorkPlugin()}) as p:
        shell = await submit(p, "shell", data={"cmd": "echo one", "cwd": str(tmp_path)})
        assert (await ended(p, shell))["output"]["stdout"] == "one\n"
        assert (await p.post(f"/api/jobs/{shell['id']}/replay", token=CHAT)).status == 404, "he doesn't see it"
        again = await replay(p, shell, overrides={"data": {"cmd": "echo two"}})
        now = await ended(p, again)
        assert (now["output"]["stdout"], now["data"]["cwd"]) == ("two\n", str(tmp_path))


async def test_25_replay_of_sub_agents(tmp_path: Path) -> None:
    """spec/jobs.md 25 !: also of one that a conversation has spawned, with what it was asked for."""
    async with pilot(tmp_path) as p:
        asked: Json = {
            "task": "count",
            "label": "counter",
            "model": "test/other",
            "runTimeoutSeconds": 77,
            "budgetTokens": 9999,
        }
        spawned = await p.spawn(**asked)
        await p.wait_idle()
        [job] = await jobs(p)
        again = await replay(p, job)
        assert (again["runId"] != spawned["runId"], again["label"], again["model"]) == (True, "counter", "test/other")
        assert (again["timeoutMs"], again["data"]["budgetTokens"], again["task"]) == (77_000, 9999, "count")
        await ended(p, again)
        other = await replay(p, again, overrides={"data": {"task": "count more", "runTimeoutSeconds": 5}})
        assert (other["task"], other["timeoutMs"], other["model"]) == ("count more", 5_000, "test/other")
        await ended(p, other)
        assert [seen.first_user for seen in p.child_requests()] == ["count", "count", "count more"]


async def test_25_replay_of_a_fan_out_is_a_fan_out(tmp_path: Path) -> None:
    """spec/jobs.md 25 !: what came with it in one submission goes with it; what it has added itself it adds again."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        children: list[Json] = [{"name": "work", "data": {"give": n}, "label": f"c{n}"} for n in range(3)]
        top = await submit(p, "aggregate", children=children)
        late = await submit(p, data={"children": 2})
        await ended(p, top)
        await ended(p, late)
        again = await replay(p, top)
        assert [job["label"] for job in await jobs(p, parent=again["id"])] == ["c0", "c1", "c2"]
        assert [each["output"] for each in (await ended(p, again))["output"]] == [0, 1, 2]
        own = await replay(p, late)
        assert (await ended(p, own))["output"] == [0, 1]
        assert len(await jobs(p, parent=own["id"])) == 2


async def test_25_a_fork_from_a_turn(tmp_path: Path) -> None:
    """spec/jobs.md 25: `replay --from-turn N` forks a sub-agent from that turn of its transcript."""
    async with pilot(tmp_path) as p:
        for step in (1, 2):
            p.on(reply=call("ls", path="."), task="^t$", step=step)
        p.on(reply=say("first end"), task="^t$", step=3, once=True)
        p.on(reply=say("other end"), role="child")
        job = await submit(p, "subagent", data={"task": "t"})
        await ended(p, job)
        fork = await replay(p, job, fromTurn=1)
        now = await ended(p, fork)
        assert (now["outcome"], now["replayOf"]) == ("ok", job["runId"])
        seen = next(seen for seen in p.child_requests() if "copy of what came before" in "".join(seen.users))
        assert (seen.users[0], seen.step) == ("t", 2)
        told = await ended(p, await replay(p, job, fromTurn=2, overrides={"data": {"task": "now write it down"}}))
        *_, last = p.child_requests()
        assert (last.users[-1], last.step, told["outcome"]) == ("now write it down", 3, "ok")
        for turn in (0, 4):
            body = {"fromTurn": turn}
            assert (await p.post(f"/api/jobs/{job['id']}/replay", body)).status == 400
        work = await submit(p, "noop")
        assert (await p.post(f"/api/jobs/{work['id']}/replay", {"fromTurn": 1})).status == 400


async def test_25_what_a_fork_needs_is_kept(tmp_path: Path) -> None:
    """spec/jobs.md 25, 26: the transcript that a running fork begins with is neither archived nor deleted."""
    config: Json = {"agents": {"defaults": {"subagents": {"archiveAfterMinutes": 0.005}}}}
    async with pilot(tmp_path, config=config) as p:
        p.on(reply=call("ls"), task="^t$", step=1)
        p.on(reply=say("end"), task="^t$", step=2, once=True)
        p.on(reply=say("late", hold="fork"), role="child", once=True)
        job = await submit(p, "subagent", data={"task": "t"})
        await ended(p, job)
        fork = await replay(p, job, fromTurn=1)
        await p.wait_asked(lambda seen: len(seen.users) == 2)
        await ended(p, await submit(p, "noop", data={"ms": 600}))
        refusal = await p.ask("DELETE", f"/api/jobs/{job['id']}")
        assert (refusal.status, "transcript" in refusal.text) == (400, True)
        assert (await look(p, job))["archiveAt"] is not None
        p.model.release("fork")
        assert (await ended(p, fork))["outcome"] == "ok"


async def test_26_delete_touches_finished_ones_only(tmp_path: Path) -> None:
    """spec/jobs.md 26: delete touches finished ones only, and none that an open one needs; nothing is left of it."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=TOKENS, plugins={"work": plugin}) as p:

        async def delete(job: Json, token: str | None = None) -> tuple[int, str]:
            response = await p.ask("DELETE", f"/api/jobs/{job['id']}", token=token)
            return response.status, response.text

        running = await submit(p, data={"hold": "x"})
        assert (await delete(running))[0] == 400
        parent = await submit(p, "aggregate")
        child = await ended(p, await submit(p, data={"give": 1, "hold": None}, parent=str(parent["id"]), delayMs=0))
        await ended(p, parent)
        failed = await ended(p, await submit(p, data={"unrecoverable": True}))
        waiting = await submit(p, after=[str(failed["id"])])
        status, text = await delete(failed)
        assert (status, f"#{waiting['id']}" in text) == (400, True)
        open_parent = await submit(p, "aggregate", children=[{"name": "work"}, {"name": "work", "data": {"hold": "x"}}])
        done, _ = await jobs(p, parent=open_parent["id"])
        await ended(p, done)
        assert f"#{open_parent['id']}" in (await delete(done))[1]
        assert (await delete(child, CHAT))[0] == 403
        for job in (child, parent):
            assert (await delete(job))[0] == 200
            assert (await p.ask("GET", f"/api/jobs/{job['id']}")).status == 404
        await change(p, waiting, "stop")
        plugin.release("x")
        await ended(p, open_parent)
        await ended(p, running)
        for job in await jobs(p):
            assert (await delete(job))[0] == 200
        assert await rows(p) == {"runs": 0, "sessions": 0, "inbox": 0, "messages": 0, "run_after": 0}


async def test_26_a_sub_agent_is_deleted_with_its_transcript(tmp_path: Path) -> None:
    """spec/jobs.md 26: with all that is kept of it."""
    async with pilot(tmp_path) as p:
        job = await ended(p, await submit(p, "subagent", data={"task": "t"}))
        folder = p.paths.state / "agents" / "main" / "sessions"
        assert [str(file) for file in folder.iterdir()] == [job["transcriptPath"]]
        assert (await p.ask("DELETE", f"/api/jobs/{job['id']}")).status == 200
        assert list(folder.iterdir()) == []
        assert await p.sessions(kind="subagent") == []


async def test_26_prune_says_what_would_go(tmp_path: Path) -> None:
    """spec/jobs.md 26: prune touches finished ones only; `--dry-run` shows what would go."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        old = [await ended(p, await submit(p)) for _ in range(3)]
        other = await ended(p, await submit(p, "noop"))
        running = await submit(p, data={"hold": "x"})

        async def prune(**body: Any) -> Json:
            response = await p.post("/api/jobs/prune", body)
            assert response.status == 200, response.text
            return response.json

        assert (await prune(olderThanDays=1, dryRun=True))["jobs"] == []
        shown = await prune(olderThanDays=0, name="work", dryRun=True)
        assert (sorted(shown["jobs"]), shown["deleted"]) == ([job["id"] for job in old], 0)
        assert len(await jobs(p)) == 5
        assert (await prune(olderThanDays=0, name="work"))["deleted"] == 3
        assert [job["id"] for job in await jobs(p)] == [other["id"], running["id"]]
        await prune(olderThanDays=0)
        assert [job["id"] for job in await jobs(p)] == [running["id"]]
        plugin.release("x")
        await ended(p, running)


async def test_26_retention_prunes_by_itself(tmp_path: Path) -> None:
    """spec/jobs.md 26, spec/subagents.md 30: `retention.runsDays` covers jobs of every kind, sessions included."""
    plugin = WorkPlugin()
    config: Json = {
        "retention": {"runsDays": 1 / 86_400, "deletedDays": 1 / 86_400},
        "agents": {"defaults": {"subagents": {"archiveAfterMinutes": 0.001}}},
    }
    async with pilot(tmp_path, config=config, plugins={"work": plugin}) as p:
        await ended(p, await submit(p, "aggregate", children=[{"name": "work"}] * 2))
        await ended(p, await submit(p, "subagent", data={"task": "t"}))
        kept = await submit(p, data={"hold": "x"})
        while len(await jobs(p)) > 1:
            await p.restart()  # its first look is at the start
        assert [job["id"] for job in await jobs(p)] == [kept["id"]]
        assert (await rows(p))["sessions"] == 1
        plugin.release("x")
        await ended(p, kept)


@pytest.mark.parametrize("days", [0, 1])
async def test_26_retention_keeps_what_isn_t_old(tmp_path: Path, days: int) -> None:
    """spec/jobs.md 26: 0 days keep for ever."""
    async with pilot(tmp_path, config={"retention": {"runsDays": days}}, plugins={"work": WorkPlugin()}) as p:
        job = await ended(p, await submit(p, "noop"))
        await p.restart()
        assert (await look(p, job))["outcome"] == "ok"


async def test_24_letters_survive_a_pause(tmp_path: Path) -> None:
    """spec/jobs.md 24, 17: a child that ends while its parent is paused reports all the same."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        parent = await submit(p, data={"children": 1, "child": {"hold": "x", "give": 5}})
        await waits_because(p, parent, "children: 0 of 1")
        [child] = await jobs(p, parent=parent["id"])
        await change(p, parent, "pause")
        await change(p, child, "resume")
        plugin.release("x")
        await ended(p, child)
        assert len(await letters(p, parent)) == 1
        await change(p, parent, "resume")
        assert (await ended(p, parent))["output"] == [5]
