"""Running jobs (spec/jobs.md 9, 11, 13–15), over HTTP. Deaths of processes (10–12) are in
`tests/postgres/test_workers.py`, `tests/crash/` and `laneway jobs smoke`.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from tests.jobs.scene import change, ended, jobs, look, reached, submit, until, waits_because
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import say
from tests.support.pilot import Json, Pilot, pilot

ONE: Json = {"jobs": {"maxConcurrent": 1}}
THREE: Json = {"jobs": {"maxConcurrent": 3}}
PAUSES = 12


async def test_9_each_job_has_one_owner_and_the_cap_holds(tmp_path: Path) -> None:
    """spec/jobs.md 9: with W workers each job has one owner at a time; the handler itself would notice a second one."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=THREE, plugins={"work": plugin}) as p:
        found = await asyncio.gather(*(submit(p, data={"ms": 5, "log": str(number)}) for number in range(30)))
        for job in found:
            await ended(p, job)
        assert sorted(plugin.effects, key=int) == [str(number) for number in range(30)]
        assert plugin.peak == 3
        assert {job["attempt"] for job in await jobs(p)} == {1}


async def test_9_order_is_priority_then_age(tmp_path: Path) -> None:
    """spec/jobs.md 9: order is priority, then age, then id; a restart changes nothing of it."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=ONE, plugins={"work": plugin}) as p:
        await reached(p, await submit(p, data={"hold": "first"}), "running")
        found: list[Json] = []
        for number, priority in enumerate((5, 0, -3, 0, 5, -3)):
            found.append(await submit(p, data={"log": f"{priority}/{number}"}, priority=priority))
        reasons = [(await look(p, job))["waitingReason"] for job in found]
        assert reasons == [f"lane_full: {ahead} ahead" for ahead in (4, 2, 0, 3, 5, 1)]
        await p.restart()
        plugin.release("first")
        for job in found:
            await ended(p, job)
        assert plugin.effects == ["-3/2", "-3/5", "0/1", "0/3", "5/0", "5/4"]


async def test_9_of_one_age_the_id_decides(tmp_path: Path) -> None:
    """spec/jobs.md 9: priority, then age, then id: what was submitted at once keeps its order, over a restart too."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=ONE, plugins={"work": plugin}) as p:
        await reached(p, await submit(p, data={"hold": "first"}), "running")
        children = [{"name": "work", "data": {"log": f"{number}"}} for number in range(9)]
        found: list[int] = (await submit(p, "aggregate", children=children))["children"]
        reasons = [f"lane_full: {ahead} ahead" for ahead in range(9)]
        assert [(await look(p, job))["waitingReason"] for job in found] == reasons
        await p.restart()
        for job, reason in zip(found, reasons, strict=True):
            await waits_because(p, job, reason)
        plugin.release("first")
        for job in found:
            await ended(p, job)
        assert plugin.effects == [f"{number}" for number in range(9)]


async def test_9_what_was_put_off_comes_by_its_age(tmp_path: Path) -> None:
    """spec/jobs.md 9: an older job that was delayed or paused goes before younger ones of its priority."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=ONE, plugins={"work": plugin}) as p:
        await reached(p, await submit(p, data={"hold": "first"}), "running")
        delayed = await submit(p, data={"log": "delayed"}, delayMs=50)
        paused = await submit(p, data={"log": "paused"})
        await change(p, paused, "pause")
        young = await submit(p, data={"log": "young"})
        await change(p, paused, "resume")
        await reached(p, delayed, "queued")
        plugin.release("first")
        await ended(p, young)
        assert plugin.effects == ["delayed", "paused", "young"]


async def test_11_who_has_lost_a_job_writes_nothing(tmp_path: Path) -> None:
    """spec/jobs.md 11 !: whoever goes on after his job was taken from him writes nothing (fence), and learns it before
    an effect."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data={"hold": "never", "stubborn": True, "save": True})
        await until(p, job, lambda now: now["progress"]["step"])
        await change(p, job, "stop")
        other = await submit(p, data={"hold": "never", "stubborn": True})
        await until(p, other, lambda now: now["progress"]["step"])
        await change(p, other, "pause")
        await change(p, other, "resume")
        await until(p, other, lambda now: now["status"] == "running" and len(plugin.calls_of(other["id"])) == 2)
        assert plugin.after_loss == ["refused"] * 8
        for each in (job, other):
            assert (await p.get(f"/api/jobs/{each['id']}/log"))["messages"] == []
            assert (await look(p, each))["progress"]["message"] == "at work"
        await change(p, other, "stop")


async def test_13_a_failure_is_tried_again_while_attempts_are_left(tmp_path: Path) -> None:
    """spec/jobs.md 13: failure retries with backoff while attempts are left; what was kept is there again."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        backoff = {"type": "exponential", "delayMs": 60}
        job = await submit(p, data={"fail": 3, "give": 7, "save": True}, maxAttempts=4, backoff=backoff)
        now = await ended(p, job)
        assert (now["outcome"], now["output"], now["attempt"], now["error"]) == ("ok", 7, 4, None)
        calls = plugin.calls_of(job["id"])
        assert [(each.attempt, each.state.get("calls", 0)) for each in calls] == [(1, 0), (2, 1), (3, 2), (4, 3)]
        gaps = [later.at - earlier.at for earlier, later in pairwise(calls)]
        assert all(gap >= wait for gap, wait in zip(gaps, (0.06, 0.12, 0.24), strict=True)), gaps
        dead = await ended(p, await submit(p, data={"fail": 9}, maxAttempts=2, backoff={"delayMs": 1}))
        assert (dead["outcome"], dead["attempt"]) == ("dead", 2)
        assert "attempt 2 failed" in dead["error"]


async def test_13_backoff_is_fixed_or_exponential_with_jitter_and_a_ceiling(tmp_path: Path) -> None:
    """spec/jobs.md 13, the record: backoff `fixed | exponential`, delay, jitter 0..1, ceiling."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        data = {"fail": 9}

        async def wait(**backoff: object) -> float:
            job = await submit(p, data=data, backoff=backoff)
            now = await reached(p, job, "delayed")
            assert now["waitingReason"].startswith("delayed_until")
            began = datetime.fromisoformat(now["startedAt"])
            return (datetime.fromisoformat(now["notBefore"]) - began).total_seconds()

        assert 60 <= await wait(type="fixed", delayMs=60_000) < 75
        assert 20 <= await wait(type="exponential", delayMs=60_000, maxMs=20_000) < 35
        waits = [await wait(type="fixed", delayMs=100_000, jitter=0.5) for _ in range(8)]
        assert all(50 <= each < 165 for each in waits)
        assert max(waits) - min(waits) > 1, "it is left to chance"


async def test_13_unrecoverable_isn_t_tried_again(tmp_path: Path) -> None:
    """spec/jobs.md 13: `Unrecoverable` doesn't retry."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        now = await ended(p, await submit(p, data={"unrecoverable": True}, maxAttempts=5))
        assert (now["outcome"], now["attempt"], now["error"]) == ("error", 1, "it can't be done")
        assert len(plugin.calls) == 1


async def test_13_a_bounce_burns_no_attempt(tmp_path: Path) -> None:
    """spec/jobs.md 13: a bounce (rate limit, lane full, shutdown) burns no attempt; the record says `rate_limited`."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data={"bounce": 3, "give": 1}, maxAttempts=1)
        bounced = await reached(p, job, "delayed")
        assert bounced["waitingReason"].startswith("rate_limited_until")
        assert bounced["progress"]["message"] == "the provider is busy"
        now = await ended(p, job)
        assert (now["outcome"], now["attempt"], len(plugin.calls)) == ("ok", 1, 4)
        assert now["cause"] is None


async def test_13_a_shutdown_burns_no_attempt(tmp_path: Path) -> None:
    """spec/jobs.md 13: a graceful stop in the middle of an attempt; the next process goes on in the same one."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data={"hold": "x", "save": True, "give": 1}, maxAttempts=1)
        await until(p, job, lambda now: now["progress"]["step"] == 1)
        await p.restart()
        plugin.release("x")
        now = await ended(p, job)
        assert (now["outcome"], now["attempt"]) == ("ok", 1)
        assert [each.state.get("calls", 0) for each in plugin.calls] == [0, 1]


async def test_14_a_timeout_ends_it_for_good_with_all_that_it_has_started(tmp_path: Path) -> None:
    """spec/jobs.md 14: timeout ends it with `timeout`, not retried, and kills what it started."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config={"jobs": {"shell": {"enabled": True}}}, plugins={"work": plugin}) as p:
        data = {"leave": 2, "child": {"hold": "never"}, "then": "never"}
        job = await submit(p, data=data, timeoutMs=300, maxAttempts=3)
        now = await ended(p, job)
        assert (now["outcome"], now["attempt"], "timeoutMs" in now["error"]) == ("timeout", 1, True)
        assert [child["outcome"] for child in await jobs(p, parent=job["id"])] == ["stopped"] * 2
        shell = await submit(p, "shell", data={"cmd": "sleep 321 & sleep 321", "cwd": str(tmp_path)}, timeoutMs=500)
        assert (await ended(p, shell))["outcome"] == "timeout"
        assert not [each for each in psutil.process_iter(["cmdline"]) if each.info["cmdline"] == ["sleep", "321"]]
        waits = await submit(p, "aggregate", children=[{"name": "work", "data": {"hold": "never"}}], timeoutMs=100)
        assert (await ended(p, waits))["outcome"] == "timeout", "waiting for children counts"


async def test_14_the_clock_is_per_attempt(tmp_path: Path) -> None:
    """spec/jobs.md 14 !: the clock is per attempt: four attempts may together take longer than one may."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        data = {"ms": 600, "fail": 3, "give": 1}
        job = await submit(p, data=data, timeoutMs=2_000, maxAttempts=4, backoff={"type": "fixed", "delayMs": 1})
        now = await ended(p, job)
        assert (now["outcome"], now["attempt"]) == ("ok", 4)


async def test_14_the_clock_stands_still_while_it_is_queued(tmp_path: Path) -> None:
    """spec/jobs.md 14 !: … and stands still while queued, or held by what it comes after."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=ONE, plugins={"work": plugin}) as p:
        first = await submit(p, data={"ms": 900})
        queued = await submit(p, data={"ms": 50}, timeoutMs=700)
        held = await submit(p, data={"ms": 50}, timeoutMs=700, after=[str(first["id"])])
        assert [(await ended(p, job))["outcome"] for job in (queued, held)] == ["ok", "ok"]


async def test_14_the_clock_stands_still_while_it_is_paused(tmp_path: Path) -> None:
    """spec/jobs.md 14 !: … and while paused; what was used up before stays used."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data={"hold": "x", "give": 1}, timeoutMs=800)
        await reached(p, job, "running")
        await change(p, job, "pause")
        pause = await submit(p, data={"ms": 1_000})
        await ended(p, pause)
        assert (await look(p, job))["status"] == "paused"
        plugin.release("x")
        await change(p, job, "resume")
        assert (await ended(p, job))["outcome"] == "ok"
        endless = await submit(p, data={"hold": "never"}, timeoutMs=800)
        for _ in range(PAUSES):
            await ended(p, await submit(p, data={"ms": 150}))
            if (await look(p, endless))["status"] == "done":
                break
            await change(p, endless, "pause")
            await change(p, endless, "resume")
        assert (await look(p, endless))["outcome"] == "timeout"


async def test_15_who_waits_for_children_holds_no_slot(tmp_path: Path) -> None:
    """spec/jobs.md 15: in a lane of one slot parents, children and theirs come to their ends."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=ONE, plugins={"work": plugin}) as p:
        job = await submit(p, data={"children": 3, "child": {"children": 2}})
        now = await ended(p, job)
        assert now["output"] == [[0, 1]] * 3
        assert plugin.peak == 1


async def test_15_a_running_job_may_add_children_without_losing_its_run(tmp_path: Path) -> None:
    """spec/jobs.md 15 !: it goes on beside them, and ends when they have, with what it has returned."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data={"leave": 2, "child": {"hold": "child", "give": 0}, "then": "me", "give": "mine"})
        await until(p, job, lambda now: len(now["children"]) == 2)
        outside = await submit(p, parent=str(job["id"]), data={"give": 3})
        await ended(p, outside)
        assert (await look(p, job))["status"] == "running"
        plugin.release("me")
        await waits_because(p, job, "children: 1 of 3")
        plugin.release("child")
        now = await ended(p, job)
        assert (now["outcome"], now["output"], len(plugin.calls_of(job["id"]))) == ("ok", "mine", 1)


@pytest.mark.parametrize("lane", ["subagent", "jobs"])
async def test_15_sub_agents_that_wait_hold_no_slot(tmp_path: Path, lane: str) -> None:
    """spec/jobs.md 15: a fan-out of sub-agents with a joining one, in a lane of one slot."""
    config: Json = {**ONE, "agents": {"defaults": {"subagents": {"maxConcurrent": 1}}}}
    async with pilot(tmp_path, config=config) as p:
        children = [{"name": "subagent", "queue": lane, "data": {"task": f"t{number}"}} for number in range(3)]
        job = await submit(p, "subagent", data={"task": "join"}, queue=lane, children=children)
        now = await ended(p, job)
        assert (now["outcome"], now["queue"]) == ("ok", lane)
        await first_asked_last(p)


async def first_asked_last(p: Pilot) -> None:
    """The joining one is asked once, after all others, and with their results."""
    asked = [seen.first_user for seen in p.child_requests()]
    assert sorted(asked[:3]) == ["t0", "t1", "t2"]
    assert asked[3:] == ["join"]
    assert sum("Report of a sub-agent" in text for text in p.child_requests()[3].users) == 3


async def test_unloaded_kinds_wait_for_their_plugin(tmp_path: Path) -> None:
    """spec/jobs.md 13: a job whose plugin isn't there now is put off, and loses nothing."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data={"give": 1}, delayMs=300)
        p.plugins = {}
        await p.restart()
        off = await until(p, job, lambda now: "plugin" in (now["progress"]["message"] or ""))
        assert (off["status"], off["outcome"]) == ("delayed", None)
        p.plugins = {"work": plugin}
        await p.restart()
        await change(p, job, "pause")
        assert (await change(p, job, "resume"))["waitingReason"].startswith("unavailable_until")


async def test_a_sub_agent_runs_in_one_attempt(tmp_path: Path) -> None:
    """spec/jobs.md, the record: kind `subagent`: max_attempts 1 and one clock per run."""
    async with pilot(tmp_path) as p:
        p.on(role="child", reply=say("late", delay=5))
        now = await ended(p, await submit(p, "subagent", data={"task": "slow"}, timeoutMs=200))
        assert (now["outcome"], now["attempt"], now["maxAttempts"]) == ("timeout", 1, 1)
