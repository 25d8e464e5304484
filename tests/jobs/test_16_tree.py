"""Trees of jobs (spec/jobs.md 16–20), over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.jobs.scene import change, ended, jobs, letters, look, reached, submit, until, waits_because
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import Tokens, call, fail, say
from tests.support.pilot import Json, Pilot, pilot

ENDS: dict[str, Json] = {
    "ok": {"name": "work", "data": {"give": {"a": 1}}},
    "error": {"name": "work", "data": {"unrecoverable": True}},
    "dead": {"name": "work", "data": {"fail": 9}, "maxAttempts": 2, "backoff": {"delayMs": 1}},
    "timeout": {"name": "work", "data": {"hold": "never"}, "timeoutMs": 50},
    "stopped": {"name": "work", "data": {"hold": "never"}},
    "budget": {"name": "subagent", "data": {"task": "dear", "budgetTokens": 10}},
}
"""A child for each outcome; `stopped` needs somebody who stops it."""
FAILURES = [outcome for outcome in ENDS if outcome != "ok"]


async def child_of(p: Pilot, parent: Json, outcome: str, policy: str) -> Json:
    """A child of a job that ends in this way."""
    child = await submit(p, **ENDS[outcome], parent=str(parent["id"]), onChildFail=policy)
    if outcome == "stopped":
        await change(p, child, "stop")
    return await ended(p, child)


async def test_16_a_parent_waits_until_no_child_is_open(tmp_path: Path) -> None:
    """spec/jobs.md 16: a parent waits until no child is open."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        children: list[Json] = [{"name": "work", "data": {"hold": f"g{n}", "give": n}} for n in range(3)]
        parent = await submit(p, "aggregate", children=children)
        for done in range(3):
            now = await waits_because(p, parent, f"children: {done} of 3")
            assert now["status"] == "waiting"
            plugin.release(f"g{done}")
        assert [each["output"] for each in (await ended(p, parent))["output"]] == [0, 1, 2]


async def test_16_two_that_finish_together_release_it_once(tmp_path: Path) -> None:
    """spec/jobs.md 16: two that finish together release it once."""
    plugin = WorkPlugin()
    config: Json = {"jobs": {"maxConcurrent": 40}}
    async with pilot(tmp_path, config=config, plugins={"work": plugin}) as p:
        data = {"children": 20, "child": {"hold": "all", "give": 1}}
        parents = [await submit(p, data=data) for _ in range(2)]
        for parent in parents:
            await waits_because(p, parent, "children: 0 of 20")
        plugin.release("all")
        for parent in parents:
            assert (await ended(p, parent))["output"] == [1] * 20
            assert len(plugin.calls_of(parent["id"])) == 2, "it began, and was called again once"
            changes = p.changes(parent["runId"])
            assert (changes.count("released"), changes.count("done")) == (1, 1)


@pytest.mark.parametrize("outcome", ENDS)
async def test_17_every_terminal_child_leaves_one_child_done(tmp_path: Path, outcome: str) -> None:
    """spec/jobs.md 17 !: every terminal child leaves exactly one `child_done` in the parent's inbox with outcome,
    result or error, tokens, whatever ended it."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        parent = await submit(p, data={"hold": "never"})
        child = await child_of(p, parent, outcome, "ignore")
        assert child["outcome"] == outcome
        await change(p, child, "stop")
        await p.restart()
        [letter] = await letters(p, parent)
        said = json.loads(letter["text"])
        assert (letter["kind"], said["number"], said["outcome"]) == ("child_done", child["id"], outcome)
        assert said["output"] == child["output"]
        assert (said["error"] is None) == (outcome == "ok")
        assert set(said["tokens"]) == {"input", "output", "cacheRead"}
        await reached(p, parent, "running")


async def test_17_a_retried_child_reports_once_for_each_end(tmp_path: Path) -> None:
    """spec/jobs.md 17, 25: a child that was opened again ends once more, and says so once more."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        parent = await submit(p, data={"hold": "parent"})
        child = await submit(p, data={"hold": "child"}, parent=str(parent["id"]), onChildFail="ignore")
        await change(p, child, "stop")
        await change(p, child, "retry")
        plugin.release("child")
        await ended(p, child)
        outcomes = [json.loads(each["text"])["outcome"] for each in await letters(p, parent)]
        assert outcomes == ["stopped", "ok"]


async def test_17_sub_agents_tell_a_sub_agent(tmp_path: Path) -> None:
    """spec/jobs.md 17: where the parent is an agent it reads the same as a report, once."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("the child's finding"), task="^part$")
        children: list[Json] = [{"name": "subagent", "data": {"task": "part"}}] * 2
        await ended(p, await submit(p, "subagent", data={"task": "join"}, children=children))
        [seen] = [seen for seen in p.child_requests() if seen.first_user == "join"]
        assert sum("the child's finding" in text for text in seen.users) == 2


@pytest.mark.parametrize("outcome", FAILURES)
@pytest.mark.parametrize("kind", ["work", "aggregate"])
async def test_18_fail_parent_acts_the_same_for_every_outcome(tmp_path: Path, outcome: str, kind: str) -> None:
    """spec/jobs.md 18 !: `fail_parent` acts the same for error, timeout, crash, stop and budget."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        data = {"hold": "never"} if kind == "work" else {}
        top = await submit(p, kind, data=data)
        sibling = await submit(p, data={"hold": "never"}, parent=str(top["id"]))
        child = await child_of(p, top, outcome, "fail_parent")
        now = await ended(p, top)
        assert (now["outcome"], now["cause"]) == ("error", "child_failed")
        assert f"#{child['id']}" in now["error"]
        assert (await look(p, sibling))["outcome"] == "stopped"
        assert p.changes(top["runId"]).count("done") == 1


async def test_18_each_level_by_its_own_policy(tmp_path: Path) -> None:
    """spec/jobs.md 18 !: it goes up level by level, each level by its own policy."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        for policies, outcomes in (
            (("fail_parent", "fail_parent", "fail_parent"), ("error", "error", "error")),
            (("fail_parent", "fail_parent", "ignore"), ("error", "error", None)),
            (("fail_parent", "ignore", "fail_parent"), ("error", "ok", "ok")),
            (("ignore", "fail_parent", "fail_parent"), ("ok", "ok", "ok")),
        ):
            leaf, middle, upper = policies
            nested: Json = {"name": "work", "data": {"unrecoverable": True}, "onChildFail": leaf}
            for policy in (middle, upper):
                nested = {"name": "aggregate", "children": [nested], "onChildFail": policy}
            top = await submit(p, "aggregate", children=[nested])
            await ended(p, top)
            [below] = await jobs(p, parent=top["id"])
            [deeper] = await jobs(p, parent=below["id"])
            found = (deeper["outcome"], below["outcome"], (await look(p, top))["outcome"])
            expected = tuple(outcome or "ok" for outcome in outcomes)
            assert found == expected, policies


async def test_18_what_happens_to_live_siblings_is_configured(tmp_path: Path) -> None:
    """spec/jobs.md 18 !: what happens to live siblings is configured (`stop | let_run`); ended ones are untouched."""
    for siblings, outcome in (("stop", "stopped"), ("let_run", "ok")):
        plugin = WorkPlugin()
        config: Json = {"jobs": {"siblings": siblings}}
        async with pilot(tmp_path / siblings, config=config, plugins={"work": plugin}) as p:
            live: Json = {"name": "aggregate", "children": [{"name": "work", "data": {"hold": "live"}}]}
            over: Json = {"name": "work", "data": {"give": 1}}
            doomed: Json = {"name": "work", "data": {"hold": "doom", "unrecoverable": True}}
            parent = await submit(p, "aggregate", children=[live, over, doomed])
            first, second, third = await jobs(p, parent=parent["id"])
            await ended(p, second)
            plugin.release("doom")
            assert (await ended(p, parent))["outcome"] == "error"
            plugin.release("live")
            assert (await ended(p, first))["outcome"] == outcome
            [deep] = await jobs(p, parent=first["id"])
            assert deep["outcome"] == outcome
            assert ((await look(p, second))["outcome"], (await look(p, third))["outcome"]) == ("ok", "error")


async def test_18_the_other_policies(tmp_path: Path) -> None:
    """spec/jobs.md, the record: `ignore` counts the failure among the results, `remove_dep` leaves it out, and with
    `continue` a handler is called at once, beside the children that still run."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:

        def children(policy: str) -> list[Json]:
            return [
                {"name": "work", "data": {"give": 1}, "onChildFail": policy},
                {"name": "work", "data": {"unrecoverable": True}, "onChildFail": policy},
            ]

        for policy, outcomes in (("ignore", ["ok", "error"]), ("continue", ["ok", "error"]), ("remove_dep", ["ok"])):
            now = await ended(p, await submit(p, "aggregate", children=children(policy)))
            assert (now["outcome"], [each["outcome"] for each in now["output"]]) == ("ok", outcomes)
        parent = await submit(p, data={"children": 2, "child": {"hold": "some"}, "policy": "continue"})
        await waits_because(p, parent, "children: 0 of 2")
        first, _ = await jobs(p, parent=parent["id"])
        await change(p, first, "stop")
        await until(p, parent, lambda now: now["status"] == "waiting" and len(plugin.calls_of(parent["id"])) == 2)
        assert (await look(p, parent))["waitingReason"] == "children: 1 of 2"
        plugin.release("some")
        now = await ended(p, parent)
        assert (now["outcome"], now["output"]) == ("ok", ["stopped", None])
        assert len(plugin.calls_of(parent["id"])) == 3, "it is called for a reason, and not again and again"


async def test_19_stop_goes_down_in_one_transaction(tmp_path: Path) -> None:
    """spec/jobs.md 19: stop goes down to all descendants in one transaction; finished ones are untouched."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        waiting: Json = {"name": "aggregate", "children": [{"name": "work", "data": {"hold": "x"}}] * 2}
        delayed: Json = {"name": "work", "delayMs": 60_000}
        over: Json = {"name": "work", "data": {"give": 5}}
        top = await submit(p, "aggregate", children=[waiting, delayed, over, {"name": "aggregate"}])
        first, _, third, _ = await jobs(p, parent=top["id"])
        await ended(p, third)
        for child in await jobs(p, parent=first["id"]):
            await reached(p, child, "running")
        said = await change(p, top, "stop")
        assert (said["changed"], "5 below it" in said["text"]) == (6, True)
        found = await jobs(p)
        assert {job["outcome"] for job in found if job["id"] != third["id"]} == {"stopped"}
        assert (await look(p, third))["outcome"] == "ok"
        ends = {job["endedAt"] for job in found if job["id"] != third["id"]}
        assert len(ends) == 1, "one moment, one transaction"
        for job in found:
            await ended(p, job)
        again = await change(p, top, "stop")
        assert (again["changed"], again["endedAt"]) == (0, (await look(p, top))["endedAt"])
        assert {p.changes(job["runId"]).count("done") for job in found} == {1}
        assert not plugin.running


async def test_19_what_ends_a_parent_is_what_its_record_says(tmp_path: Path) -> None:
    """spec/jobs.md 18, 19: children that are stopped with a parent don't fail it again, whatever their policy."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        for outcome, timeout in (("stopped", 60_000), ("timeout", 150)):
            child: Json = {"name": "work", "data": {"hold": "never"}, "onChildFail": "fail_parent"}
            top = await submit(p, "aggregate", children=[child, child], timeoutMs=timeout)
            if outcome == "stopped":
                await change(p, top, "stop")
            now = await ended(p, top)
            assert now["outcome"] == outcome
            assert p.changes(top["runId"]).count("done") == 1
            assert len(await letters(p, top)) == 2


async def test_20_tokens_and_cost_roll_up_once(tmp_path: Path) -> None:
    """spec/jobs.md 20 !: tokens and cost roll up once, from failed and stopped children too, at every level."""
    async with pilot(tmp_path) as p:
        spent = Tokens(input=100, output=20, cached=40)
        p.on(reply=say("well", tokens=spent), task="^well$")
        p.on(reply=call("ls"), task="^(fails|stops)$", step=1)
        p.on(reply=fail(400, "no more"), task="^fails$", step=2)
        p.on(reply=say("never", hold="never"), task="^stops$", step=2)
        names = ("well", "fails", "stops")
        children: list[Json] = [
            {"name": "subagent", "data": {"task": name}, "label": name, "onChildFail": "ignore"} for name in names
        ]
        inner: Json = {"name": "aggregate", "children": children}
        top = await submit(p, "aggregate", children=[inner, {"name": "subagent", "data": {"task": "well"}}])
        [middle, _] = await jobs(p, parent=top["id"])
        await p.wait_asked(lambda seen: seen.first_user == "stops" and seen.step == 2)
        [_, fails, stops] = await jobs(p, parent=middle["id"])
        await ended(p, fails)
        await change(p, stops, "stop")
        await ended(p, top)
        outcomes = [job["outcome"] for job in await jobs(p, parent=middle["id"])]
        assert outcomes == ["ok", "error", "stopped"]
        each = {"input": 100, "output": 20}
        for job, calls in ((middle, 3), (top, 4)):
            now = await look(p, job)
            assert {name: now["tokens"][name] for name in each} == {name: n * calls for name, n in each.items()}
            assert now["ownTokens"]["total"] == 0
            assert now["costUsd"] == pytest.approx(calls * (100 * 1 + 20 * 2) / 1e6)
        assert (await look(p, top))["tokens"]["cacheRead"] == 80
        [letter] = [each for each in await letters(p, top) if json.loads(each["text"])["number"] == middle["id"]]
        assert json.loads(letter["text"])["tokens"]["input"] == 300


async def test_20_a_retry_goes_on_counting_and_a_replay_begins_anew(tmp_path: Path) -> None:
    """spec/jobs.md 20, 25: nothing is counted twice, and nothing is forgotten."""
    async with pilot(tmp_path) as p:
        p.on(reply=fail(400, "no"), task="^t$", step=2, once=True)
        p.on(reply=call("ls"), task="^t$", step=1)
        p.on(reply=say("done"), task="^t$")
        child: Json = {"name": "subagent", "data": {"task": "t"}, "onChildFail": "fail_parent"}
        top = await submit(p, "aggregate", children=[child])
        assert (await ended(p, top))["outcome"] == "error"
        before = (await look(p, top))["tokens"]["total"]
        await change(p, top, "retry")
        now = await ended(p, top)
        assert (now["outcome"], now["tokens"]["total"] > before) == ("ok", True)
        [kid] = await jobs(p, parent=top["id"])
        assert kid["tokens"] == now["tokens"]
        again = (await p.post(f"/api/jobs/{kid['id']}/replay")).json
        alone = await ended(p, again)
        assert alone["tokens"]["total"] > 0
        assert (await look(p, top))["tokens"] == now["tokens"]


async def test_16_many_trees_at_once(tmp_path: Path) -> None:
    """spec/jobs.md 16–19: thirty trees that fail, are stopped and end well side by side: every job ends once."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:

        async def tree(number: int) -> Json:
            bad: Json = {"name": "work", "data": {"unrecoverable": number % 3 == 1, "ms": number}}
            leaf: Json = {"name": "work", "data": {"ms": 5}}
            inner: Json = {"name": "aggregate", "children": [leaf, bad, leaf]}
            top = await submit(p, "aggregate", children=[inner, leaf])
            if number % 3 == 2:
                await change(p, top, "stop")
            return await ended(p, top)

        found = await asyncio.gather(*(tree(number) for number in range(30)))
        assert [job["outcome"] for job in found] == ["ok", "error", "stopped"] * 10
        every = await jobs(p)
        assert {job["status"] for job in every} == {"done"}
        done = [
            event.data["run"]["runId"] for event in p.events if event.type == "run" and event.data["change"] == "done"
        ]
        assert len(done) == len(set(done)) == len(every) == 30 * 6
