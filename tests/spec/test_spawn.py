"""`sessions_spawn`: what is accepted, what is refused and in which order, and that a refusal leaves nothing behind."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_script import Call, Seen, call, calls, say
from tests.support.pilot import KEY, MODEL, REPORT, Json, Pilot, pilot, subagents
from tests.support.probes import Probes

CHILD_KEY = re.compile(
    r"agent:[a-z0-9][a-z0-9_-]{0,63}:subagent:[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)


def agents(*entries: Json, **defaults: Any) -> Json:
    """A configuration of several agents."""
    return {"agents": {"list": list(entries), "defaults": {"subagents": defaults}}}


async def nothing_behind(p: Pilot) -> None:
    """No run, no child session, no file and no request of a child."""
    await p.wait_idle()
    assert await p.runs() == []
    assert await p.sessions(kind="subagent") == []
    assert not p.child_requests()
    assert not list(p.paths.agents.glob("*/sessions/*"))
    assert not any(e.type == "run" for e in p.events)


async def test_1_accepted_at_once_and_committed_before(tmp_path: Path) -> None:
    """spec/subagents.md 1: the call returns at once; run, child session and first row were committed before that."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("late", hold="child"), role="child")
        accepted = await p.spawn(task="  count the files  ", label="counting")
        assert accepted.pop("note")
        run_id, child = accepted.pop("runId"), accepted.pop("childSessionKey")
        assert accepted == {
            "status": "accepted",
            "mode": "run",
            "context": "isolated",
            "label": "counting",
            "resolvedModel": MODEL,
        }
        run = await p.run(run_id)
        assert (run["sessionKey"], run["requesterKey"], run["task"]) == (child, KEY, "count the files")
        assert (await p.session(child))["kind"] == "subagent"
        assert not run["outcome"], "the child is still at work"
        p.model.release("child")
        await p.wait_idle()


async def test_1_the_effect_and_the_result_are_one_transaction(tmp_path: Path) -> None:
    """spec/subagents.md 1, architecture protocol 3: a spawn that hits a lost fence leaves neither run nor result."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(reply=calls(Call("gate", {"name": "g"}), Call("sessions_spawn", {"task": "x"})), user="^go$", turn_step=1)
        p.on(reply=say("late", hold="child"), role="child")
        await p.say("go")
        await probes.wait_entered("g")
        await p.wait_until(lambda: any(e.type == "run" for e in p.events))
        [result] = [m for m in await p.transcript() if m["role"] == "tool"]
        [run] = await p.runs()
        assert json.loads(result["text"])["runId"] == run["runId"]
        await p.command("/stop")
        await p.wait_idle()
        assert [m["tool"] for m in await p.transcript() if m["role"] == "tool"] == ["sessions_spawn", "gate"]


async def test_2_child_keys_have_one_pattern_at_every_depth(tmp_path: Path) -> None:
    """spec/subagents.md 2: the key's pattern is the same at every depth; depth is stored, not read off the key."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=3)) as p:
        p.on(reply=call("sessions_spawn", task="two"), task="^one$", turn_step=1, step=1)
        p.on(reply=call("sessions_spawn", task="three"), task="^two$", turn_step=1, step=1)
        await p.spawn(task="one")
        await p.wait_idle()
        runs = await p.runs()
        assert [run["depth"] for run in runs] == [1, 2, 3]
        assert all(CHILD_KEY.fullmatch(run["sessionKey"]) for run in runs)
        assert [run["requesterKey"] for run in runs] == [KEY, runs[0]["sessionKey"], runs[1]["sessionKey"]]


REFUSED: list[tuple[Json, str, list[str]]] = [
    ({"task": "   "}, "error", ["task"]),
    ({}, "error", ["`task` is required"]),
    ({"task": 7}, "error", ["task"]),
    ({"task": "x", "agentId": "no such!"}, "error", ["agentId", "no such!"]),
    ({"task": "x", "agentId": ""}, "error", ["agentId"]),
    ({"task": "x", "agentId": "a" * 65}, "error", ["agentId"]),
    ({"task": "x", "agentId": "nobody"}, "forbidden", ["nobody", "allowed: main"]),
    ({"task": "x", "model": "nope/nothing"}, "error", ["nope/nothing"]),
    ({"task": "x", "thinking": "deeply"}, "error", ["deeply", "off, minimal, low, medium, high, xhigh, max"]),
    ({"task": "x", "runTimeoutSeconds": -1}, "error", ["runTimeoutSeconds"]),
    ({"task": "x", "runTimeoutSeconds": 1.5}, "error", ["runTimeoutSeconds"]),
    ({"task": "x", "runTimeoutSeconds": 10**30}, "error", ["runTimeoutSeconds"]),
    ({"task": "x", "cleanup": "shred"}, "error", ["cleanup", "keep", "delete"]),
    ({"task": "x", "context": "clone"}, "error", ["context", "isolated", "fork"]),
    ({"task": "x", "cwd": "../.."}, "error", ["cwd", "inside"]),
    ({"task": "x", "cwd": "/etc"}, "error", ["cwd", "inside"]),
    ({"task": "x", "cwd": "missing"}, "error", ["cwd", "missing"]),
    ({"task": "x", "cwd": "a\0b"}, "error", ["cwd"]),
    ({"task": "x", "cwd": "a" * 5000}, "error", ["cwd"]),
    ({"task": "x", "budgetUsd": 0}, "error", ["budgetUsd"]),
    ({"task": "x", "budgetUsd": 1e300}, "error", ["budgetUsd"]),
    ({"task": "x", "budgetTokens": -5}, "error", ["budgetTokens"]),
    ({"task": "x", "budgetTokens": 10**30}, "error", ["budgetTokens"]),
    ({"task": "x", "budgetUsd": 1, "model": "test/unpriced"}, "error", ["models.providers.test.models[].cost"]),
    ({"task": "x", "outputSchema": {"type": "nonsense"}}, "error", ["outputSchema"]),
    ({"task": "x", "outputSchema": "text"}, "error", ["outputSchema"]),
    # rule 5: unknown and delivery parameters, with the right name where there is one
    ({"task": "x", "timeoutSeconds": 5}, "error", ["timeoutSeconds", "runTimeoutSeconds"]),
    ({"task": "x", "timeout": 5}, "error", ["timeout", "runTimeoutSeconds"]),
    ({"task": "x", "channel": "slack"}, "error", ["channel"]),
    ({"task": "x", "to": "#general"}, "error", ["`to`"]),
    ({"task": "x", "threadId": "1"}, "error", ["threadId"]),
    ({"task": "x", "deliver": True}, "error", ["deliver"]),
    ({"task": "x", "agent": "main"}, "error", ["`agent`", "agentId"]),
    ({"task": "x", "prompt": "y"}, "error", ["prompt", "use task"]),
    ({"task": "x", "colour": "red"}, "error", ["colour", "known are"]),
    ({"task": "x", "agent_id": "main"}, "error", ["agent_id"]),
]


async def test_3_and_5_refusals_say_what_is_right_and_leave_nothing(tmp_path: Path) -> None:
    """spec/subagents.md 3, 5 and the table: each refusal names the fault; nothing created stays behind."""
    async with pilot(tmp_path, config=subagents(maxChildrenPerAgent=1)) as p:
        answers = await p.use([("sessions_spawn", json.dumps(args)) for args, _, _ in REFUSED])
        for (args, status, words), text in zip(REFUSED, answers, strict=True):
            answer = json.loads(text)
            assert answer["status"] == status, (args, answer)
            assert set(answer) == {"status", "error"}
            assert all(word in answer["error"] for word in words), (args, answer)
            assert len(answer["error"]) < 2_000
        await nothing_behind(p)


@pytest.mark.parametrize("arguments", ["{not json", "[1, 2]", '"text"', "null"])
async def test_3_arguments_that_are_no_object_are_an_error(tmp_path: Path, arguments: str) -> None:
    """spec/subagents.md 3: argument faults are `{status:"error", error}`, also where they aren't JSON."""
    async with pilot(tmp_path) as p:
        p.on(reply=calls(Call("sessions_spawn", arguments)), user="^go$", turn_step=1)
        await p.say("go")
        await nothing_behind(p)
        [result] = [m for m in await p.transcript() if m["role"] == "tool"]
        assert json.loads(result["text"])["status"] == "error"
        assert p.said() == ["ok"]


async def test_3_depth_is_checked_before_slots_and_named_with_its_key(tmp_path: Path) -> None:
    """spec/subagents.md 3: depth says `current depth D, max M` and the config key, and comes before active children."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2, maxChildrenPerAgent=2)) as p:
        p.on(
            reply=calls(Call("sessions_spawn", {"task": "b"}), Call("sessions_spawn", {"task": "c"})),
            task="^a$",
            step=1,
        )
        p.on(reply=say("late", hold="b"), task="^b$")
        await p.spawn(task="a")
        await p.wait_until(lambda: sum(e.type == "run" and e.data["change"] == "done" for e in p.events))
        p.configure(subagents(maxSpawnDepth=1, maxChildrenPerAgent=1))
        assert (await p.post("/api/reload")).json["reloaded"]
        answer = await p.command("/subagents retry c")
        assert "current depth 1, max 1" in answer
        assert "agents.defaults.subagents.maxSpawnDepth" in answer
        p.model.release("b")
        await p.wait_idle()
        assert len(await p.runs()) == 3


async def test_3_check_order_children_then_require_then_allow_then_model(tmp_path: Path) -> None:
    """spec/subagents.md 3: … active children, requireAgentId, allowAgents, model and thinking, then creation."""
    config = subagents(maxChildrenPerAgent=1, requireAgentId=True)
    async with pilot(tmp_path, config=config) as p:
        p.on(reply=say("late", hold="child"), role="child")
        bad = {"model": "nope/x", "thinking": "deeply"}
        first = await p.spawn_many(
            [
                {"task": "x", **bad},
                {"task": "x", "agentId": "stranger", **bad},
                {"task": "x", "agentId": "main", **bad},
                {"task": "x", "agentId": "main", "thinking": "deeply"},
            ]
        )
        assert [each["status"] for each in first] == ["forbidden", "forbidden", "error", "error"]
        for answer, word in zip(first, ("requireAgentId", "stranger", "nope/x", "deeply"), strict=True):
            assert word in answer["error"]
        assert "main" in first[0]["error"], "it names the allowed ids"
        assert (await p.spawn(task="x", agentId="main"))["status"] == "accepted"
        full = await p.spawn(task="x", **bad)
        assert full["status"] == "forbidden"
        assert "1/1" in full["error"]
        assert "agents.defaults.subagents.maxChildrenPerAgent" in full["error"]
        p.model.release("child")
        await p.wait_idle()
        assert len(await p.runs()) == 1


async def test_3_a_user_s_spawn_meets_the_same_checks(tmp_path: Path) -> None:
    """spec/subagents.md, Control, spawn: as a user; same checks."""
    async with pilot(tmp_path) as p:
        assert "nobody" in await p.command("/subagents spawn nobody do it")
        assert "nope/x" in await p.command("/subagents spawn main do it --model nope/x")
        assert "deeply" in await p.command("/subagents spawn main do it --thinking deeply")
        await nothing_behind(p)
        assert "🚀" in await p.command("/subagents spawn MAIN do it well --thinking low")
        await p.wait_idle()
        [run] = await p.runs()
        assert (run["task"], run["thinking"], run["outcome"]) == ("do it well", "low", "ok")


async def test_4_allow_agents_replaces_the_default(tmp_path: Path) -> None:
    """spec/subagents.md 4: `allowAgents` on the requester's agent replaces (does not merge with) the default."""
    config = agents(
        {"id": "main", "default": True, "subagents": {"allowAgents": ["coder"]}},
        {"id": "coder"},
        {"id": "writer"},
        allowAgents=["writer"],
    )
    async with pilot(tmp_path, config=config) as p:
        answers = await p.spawn_many([{"task": "x", "agentId": name} for name in ("coder", "CODER", "writer", "main")])
        assert [each["status"] for each in answers] == ["accepted", "accepted", "forbidden", "forbidden"]
        assert "allowed: coder" in answers[2]["error"]
        assert "writer" not in answers[2]["error"].split("allowed:")[-1]
        await p.wait_idle()
        assert {run["agentId"] for run in await p.runs()} == {"coder"}


async def test_4_unset_means_own_id_only(tmp_path: Path) -> None:
    """spec/subagents.md 4: unset = own id only."""
    async with pilot(tmp_path, config=agents({"id": "main"}, {"id": "coder"})) as p:
        own, other = await p.spawn_many([{"task": "x", "agentId": "main"}, {"task": "x", "agentId": "coder"}])
        assert (own["status"], other["status"]) == ("accepted", "forbidden")
        assert "allowed: main" in other["error"]
        await p.wait_idle()


async def test_4_a_star_is_every_configured_agent_and_no_other(tmp_path: Path) -> None:
    """spec/subagents.md 4: `["*"]` = any *configured* agent; others are refused and hidden from `agents_list`."""
    entries = ({"id": "main", "subagents": {"allowAgents": ["*"]}}, {"id": "coder"})
    async with pilot(tmp_path, config=agents(*entries)) as p:
        answers = await p.use(
            [
                ("sessions_spawn", {"task": "x", "agentId": "coder"}),
                ("sessions_spawn", {"task": "x", "agentId": "ghost"}),
                ("agents_list", {}),
            ]
        )
        assert [json.loads(text).get("status") for text in answers[:2]] == ["accepted", "forbidden"]
        listed = json.loads(answers[2])["agents"]
        assert [(each["id"], each["model"]) for each in listed] == [("main", MODEL), ("coder", MODEL)]
        await p.wait_idle()


async def test_4_ids_that_are_no_longer_configured_are_refused_and_hidden(tmp_path: Path) -> None:
    """spec/subagents.md 4: ids of agents that are no longer configured are refused and hidden from `agents_list`."""
    config = agents({"id": "main", "subagents": {"allowAgents": ["main", "gone"]}})
    async with pilot(tmp_path, config=config) as p:
        spawned, listed = await p.use([("sessions_spawn", {"task": "x", "agentId": "gone"}), ("agents_list", {})])
        assert json.loads(spawned)["status"] == "forbidden"
        assert [each["id"] for each in json.loads(listed)["agents"]] == ["main"]
        await nothing_behind(p)


async def test_6_a_parallel_batch_accepts_exactly_the_free_slots(tmp_path: Path) -> None:
    """spec/subagents.md 6: a parallel batch of n spawns accepts exactly the free slots (default 5)."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("late", hold="child"), role="child")
        answers = await p.spawn_many([{"task": f"job {n}"} for n in range(9)])
        statuses = [each["status"] for each in answers]
        assert statuses.count("accepted") == 5
        assert statuses.count("forbidden") == 4
        assert all("5/5" in each["error"] for each in answers if each["status"] == "forbidden")
        assert len(await p.runs()) == 5
        p.model.release("child")
        await p.wait_idle()


async def test_6_a_slot_frees_when_the_child_ends_not_when_it_is_announced(tmp_path: Path) -> None:
    """spec/subagents.md 6: a slot frees when the child ends, not when it is announced."""
    probes = Probes()
    async with pilot(tmp_path, config=subagents(maxChildrenPerAgent=1), plugins={"probes": probes}) as p:
        p.on(reply=call("sessions_spawn", task="one"), user="^go$", turn_step=1)
        p.on(reply=call("gate", name="g"), user="^go$", turn_step=2)
        p.on(reply=say("done", hold="child"), role="child", once=True)
        # An announcement that enters here makes a new last user text, so that this answers the same boundary.
        p.on(
            reply=calls(Call("sessions_spawn", {"task": "two"})),
            anywhere="passed g",
            turn_step=1,
            user=REPORT,
            once=True,
        )
        await p.say("go")
        await probes.wait_entered("g")
        p.model.release("child")
        [run] = await p.runs()
        await p.wait_run(run["runId"])
        assert "🚀" in await p.command("/subagents spawn main from outside"), "the announcement still waits"
        assert [m["kind"] for m in await p.transcript()].count("announce") == 0
        probes.open("g")
        await p.wait_idle()


async def test_6_slots_are_counted_per_requester_session(tmp_path: Path) -> None:
    """spec/subagents.md 6: active children per requester session."""
    async with pilot(tmp_path, config=subagents(maxChildrenPerAgent=1)) as p:
        p.on(reply=say("late", hold="child"), role="child")
        assert (await p.spawn(task="x"))["status"] == "accepted"
        assert (await p.spawn("agent:main:api:other", task="x"))["status"] == "accepted"
        p.model.release("child")
        await p.wait_idle()
        await p.wait_idle("agent:main:api:other")


async def test_7_spawns_beyond_the_cap_queue_first_in_first_out(tmp_path: Path) -> None:
    """spec/subagents.md 7: beyond `maxConcurrent` they are accepted and queue, first in first out, and say so."""
    async with pilot(tmp_path, config=subagents(maxConcurrent=2)) as p:
        p.on(lambda seen: say("late", hold=seen.first_user), role="child")
        answers = await p.spawn_many([{"task": f"job {n}"} for n in range(5)])
        assert [each["status"] for each in answers] == ["accepted"] * 5
        assert [each.get("queued", "")[:10] for each in answers] == ["", "", "position 1", "position 2", "position 3"]
        assert "agents.defaults.subagents.maxConcurrent" in answers[2]["queued"]
        await p.wait_asked(lambda seen: seen.role == "child", count=2)
        runs = await p.runs()
        assert [run["position"] for run in runs] == [None, None, 1, 2, 3]
        assert [run["status"] for run in runs] == ["running", "running", "queued", "queued", "queued"]
        for done in range(5):
            p.model.release(f"job {done}")
            await p.wait_run(runs[done]["runId"])
        await p.wait_idle()
        order = [seen.first_user for seen in p.child_requests()]
        assert set(order[:2]) == {"job 0", "job 1"}, "both at once"
        assert order[2:] == ["job 2", "job 3", "job 4"]


@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_8_max_spawn_depth(tmp_path: Path, depth: int) -> None:
    """spec/subagents.md 8: `maxSpawnDepth` (default 1: no nesting)."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=depth)) as p:

        def nest(seen: Seen) -> Any:
            if seen.step > 1:
                return None
            return call("sessions_spawn", task=f"{seen.first_user}+")

        p.on(nest, role="child")
        await p.spawn(task="t")
        await p.wait_idle()
        assert [run["depth"] for run in await p.runs()] == list(range(1, depth + 1))
        offered = {seen.first_user: "sessions_spawn" in seen.tools for seen in p.child_requests() if seen.step == 1}
        assert list(offered.values()) == [True] * (depth - 1) + [False]


async def test_table_the_label_is_the_beginning_of_the_task(tmp_path: Path) -> None:
    """spec/subagents.md, table: `label` defaults to the first 48 characters of the task."""
    async with pilot(tmp_path) as p:
        task = "Look through all the files of the project and count every line of it"
        answers = await p.spawn_many(
            [{"task": task}, {"task": task, "label": "  "}, {"task": task, "label": "y" * 200}]
        )
        assert [each["label"] for each in answers[:2]] == [task[:48]] * 2
        assert len(answers[2]["label"]) == 80
        await p.wait_idle()


async def test_10_every_schema_and_prompt_is_valid_for_a_strict_provider(tmp_path: Path) -> None:
    """spec/subagents.md 3: a batch with good and bad calls mixed gives each its own result, in the calls' order."""
    async with pilot(tmp_path) as p:
        answers = await p.spawn_many([{"task": "a"}, {"task": ""}, {"task": "b", "nope": 1}, {"task": "c"}])
        assert [each["status"] for each in answers] == ["accepted", "error", "error", "accepted"]
        await p.wait_idle()
        assert {run["label"] for run in await p.runs()} == {"a", "c"}
