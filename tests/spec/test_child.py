"""The child: what it is told, which tools it has, where it runs and when its time is up (spec/subagents.md 9–14)."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import psutil
import pytest

from tests.support.model_script import Call, call, calls, say, text_of
from tests.support.pilot import KEY, Json, pilot, subagents
from tests.support.probes import Probes

NEVER = ("SOUL.md", "IDENTITY.md", "USER.md", "HEARTBEAT.md", "BOOTSTRAP.md", "MEMORY.md")
DENIED = {
    "sessions_list",
    "sessions_history",
    "sessions_send",
    "sessions_spawn",
    "fanout",
    "subagents",
    "agents_list",
    "session_status",
    "memory_search",
    "memory_get",
}
NESTING = {"sessions_spawn", "fanout", "sessions_list", "sessions_history", "subagents"}


async def test_9_the_reduced_prompt(tmp_path: Path) -> None:
    """spec/subagents.md 9: Tooling, Workspace, Runtime, `AGENTS.md`, `TOOLS.md` and a task section; nothing else."""
    async with pilot(tmp_path) as p:
        for name in (*NEVER, "AGENTS.md", "TOOLS.md"):
            (p.workspace / name).write_text(f"words of {name}")
        await p.spawn(task="The very special task")
        await p.wait_idle()
        [seen] = p.child_requests()
        for part in ("## Tooling", "## Workspace", "## Runtime", "words of AGENTS.md", "words of TOOLS.md"):
            assert part in seen.system
        for name in NEVER:
            assert name not in seen.system
        assert "The very special task" not in seen.system
        assert seen.users == ("The very special task",)
        assert seen.messages[1]["role"] == "user"
        for wish in ("stay on that task", "finish it", "not the main agent", "last message"):
            assert wish in seen.system.lower()


async def test_9_the_files_are_those_of_the_target_agent(tmp_path: Path) -> None:
    """spec/subagents.md 9: `AGENTS.md` and `TOOLS.md` of the *target agent's* workspace."""
    entries = [{"id": "main", "subagents": {"allowAgents": ["*"]}}, {"id": "coder"}]
    async with pilot(tmp_path, config={"agents": {"list": entries}}) as p:
        coder = p.paths.state / "workspace-coder"
        coder.mkdir()
        (p.workspace / "AGENTS.md").write_text("rules of main")
        (coder / "AGENTS.md").write_text("rules of coder")
        await p.spawn(task="t", agentId="coder")
        await p.wait_idle()
        [seen] = p.child_requests()
        assert "rules of coder" in seen.system
        assert "rules of main" not in seen.system
        assert str(coder) in seen.system


@pytest.mark.parametrize("depth", [1, 3])
async def test_10_the_prompt_is_small(tmp_path: Path, depth: int) -> None:
    """spec/subagents.md 10: with an empty workspace < 4,000 characters of prompt and < 12,000 of tool schemas."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=depth)) as p:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
        await p.spawn_many([{"task": "t"}, {"task": "t", "outputSchema": schema, "context": "fork"}])
        await p.wait_idle()
        for seen in p.child_requests():
            assert len(seen.system) < 4_000
            assert len(json.dumps(seen.body["tools"])) < 12_000


async def test_11_the_deny_list(tmp_path: Path) -> None:
    """spec/subagents.md 11: the deny-list by default; every other tool of its requester is there."""
    async with pilot(tmp_path, plugins={"probes": Probes()}) as p:
        await p.spawn(task="t")
        await p.wait_idle()
        main, child = set(p.main_requests()[0].tools), set(p.child_requests()[0].tools)
        assert main - child == DENIED
        assert child <= main
        assert {"read", "write", "exec", "echo"} <= child


async def test_11_nesting_gives_four_tools_back_where_it_is_allowed(tmp_path: Path) -> None:
    """spec/subagents.md 11: at a depth where nesting is allowed it gets four tools back, for its own children only."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2)) as p:
        p.on(reply=call("sessions_spawn", task="inner"), task="^outer$", step=1)
        p.on(
            reply=calls(
                Call("subagents", {"action": "list"}),
                Call("sessions_list", {}),
                Call("sessions_history", {"sessionKey": KEY}),
                Call("subagents", {"action": "stop", "target": "sibling"}),
            ),
            task="^outer$",
            step=2,
        )
        p.on(reply=say("late", hold="all"), task="^(inner|sibling)$")
        await p.spawn_many([{"task": "sibling"}, {"task": "outer"}])
        [seen] = await p.wait_asked(lambda seen: seen.first_user == "outer" and seen.step == 3)
        listed, sessions, history, stopped = seen.results
        assert "inner" in listed
        assert "sibling" not in listed
        keys = [each["sessionKey"] for each in json.loads(sessions)["sessions"]]
        assert KEY not in keys
        assert len(keys) == 2, "itself and its child"
        assert "plum" not in history
        results = [m for m in await p.transcript((await p.runs())[1]["sessionKey"]) if m["role"] == "tool"][1:]
        assert {m["callIndex"]: m["error"] for m in results} == {0: False, 1: False, 2: True, 3: True}
        assert "No sub-agent" in stopped
        p.model.release("all")
        await p.wait_idle()
        offered = {seen.first_user: set(seen.tools) for seen in p.child_requests()}
        assert offered["outer"] & DENIED == NESTING
        assert not offered["inner"] & DENIED


@pytest.mark.parametrize(
    ("lists", "present", "absent"),
    [
        ({"deny": ["exec", "ghost_tool"]}, {"read"}, {"exec"}),
        ({"allow": ["read", "ls", "sessions_spawn", "memory_get"]}, {"read", "ls"}, {"write", "exec", *DENIED}),
        ({"allow": ["read"], "deny": ["read"]}, set[str](), {"read"}),
        ({"deny": ["group:fs"]}, {"exec"}, {"read", "write", "edit", "ls", "glob", "grep"}),
        ({"deny": ["Exec"]}, {"read"}, {"exec"}),
    ],
)
async def test_11_configured_lists(tmp_path: Path, lists: Json, present: set[str], absent: set[str]) -> None:
    """spec/subagents.md 11: `deny` always wins; `allow` is allow-only and can't restore what is denied."""
    async with pilot(tmp_path, config={"tools": {"subagents": {"tools": lists}}}) as p:
        await p.spawn(task="t")
        await p.wait_idle()
        tools = set(p.child_requests()[0].tools)
        assert present <= tools
        assert not absent & tools


async def test_11_deny_wins_over_nesting(tmp_path: Path) -> None:
    """spec/subagents.md 11: `tools.subagents.tools.deny` always wins, also over what nesting gives back."""
    config = subagents(maxSpawnDepth=2) | {"tools": {"subagents": {"tools": {"deny": ["sessions_spawn"]}}}}
    async with pilot(tmp_path, config=config) as p:
        await p.spawn(task="t")
        await p.wait_idle()
        assert "sessions_spawn" not in p.child_requests()[0].tools


async def test_11_a_child_never_has_what_its_requester_lacks(tmp_path: Path) -> None:
    """spec/subagents.md 11: same agent: never a tool that its requester lacks; other agent: minus requester's deny."""
    entries = [
        {
            "id": "main",
            "subagents": {"allowAgents": ["*"]},
            "tools": {"allow": ["read", "write", "sessions_spawn"], "deny": ["write"]},
        },
        {"id": "coder"},
    ]
    async with pilot(tmp_path, config={"agents": {"list": entries}}) as p:
        await p.spawn_many([{"task": "same"}, {"task": "other", "agentId": "coder"}])
        await p.wait_idle()
        tools = {seen.first_user: set(seen.tools) for seen in p.child_requests()}
        assert tools["same"] == {"read"}
        assert "exec" in tools["other"], "allowAgents grants the other agent's policy"
        assert "write" not in tools["other"], "what the requester's deny names is gone"


async def test_12_a_denied_tool_is_absent_and_refused(tmp_path: Path) -> None:
    """spec/subagents.md 12, 3: a denied tool is absent, and refused with a clear result if it is called anyway."""
    async with pilot(tmp_path) as p:
        made = calls(
            Call("sessions_spawn", {"task": "inner"}), Call("memory_get", {"path": "MEMORY.md"}), Call("cron", {})
        )
        p.on(reply=made, role="child", step=1)
        await p.spawn(task="t")
        await p.wait_idle()
        first, second = p.child_requests()
        assert not {"sessions_spawn", "memory_get", "cron"} & set(first.tools)
        spawned, *others = second.results
        assert json.loads(spawned)["status"] == "forbidden"
        assert "current depth 1, max 1 (agents.defaults.subagents.maxSpawnDepth)" in spawned
        assert all("not available" in text for text in others)
        assert "read" in others[0], "it says what there is"
        assert len(await p.runs()) == 1


async def test_13_a_lane_full_of_stuck_children_holds_up_nobody(tmp_path: Path) -> None:
    """spec/subagents.md 13: with the lane `subagent` full of stuck children a main turn still starts at once."""
    async with pilot(tmp_path, config=subagents(maxConcurrent=2, maxChildrenPerAgent=30)) as p:
        p.on(reply=say("late", hold="all"), role="child")
        await p.spawn_many([{"task": f"job {n}"} for n in range(20)])
        status = await p.get("/api/status")
        assert (status["lanes"]["subagent"]["running"], status["lanes"]["subagent"]["waiting"]) == (2, 18)
        started = time.monotonic()
        await p.say("are you there?", "agent:main:api:other")
        await p.wait_said("ok", "agent:main:api:other")
        assert time.monotonic() - started < 2
        p.model.release("all")
        await p.wait_idle()


async def test_14_timeout_of_a_model_call_in_flight(tmp_path: Path) -> None:
    """spec/subagents.md 14: the model call in flight is cancelled, outcome `timeout`, announced; the session stays."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("never", hold="ever"), role="child")
        accepted = await p.spawn(task="t", runTimeoutSeconds=1)
        run = await p.wait_run(accepted["runId"])
        await p.model.wait_gone()
        assert run["outcome"] == "timeout"
        await p.wait_idle()
        assert "timed out" in p.model.requests[-1].last_user
        assert (await p.session(accepted["childSessionKey"]))["kind"] == "subagent"
        assert run["archiveAt"], "archive time is another matter"


async def test_14_timeout_kills_the_whole_process_group(tmp_path: Path) -> None:
    """spec/subagents.md 14: processes that the tool in flight started are killed with their whole group."""
    async with pilot(tmp_path) as p:
        p.on(reply=call("exec", command="sleep 600 & echo $! $$ > pids; wait"), role="child", step=1)
        accepted = await p.spawn(task="t", runTimeoutSeconds=1)
        run = await p.wait_run(accepted["runId"])
        assert run["outcome"] == "timeout"
        pids = [int(pid) for pid in (p.workspace / "pids").read_text().split()]
        alive = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        _, left = await asyncio.to_thread(psutil.wait_procs, alive, timeout=5)
        assert not left
        await p.wait_idle()
        [result] = [m for m in await p.transcript(run["sessionKey"]) if m["role"] == "tool"]
        assert result["text"].startswith("(not finished")


async def test_14_time_in_the_queue_does_not_count(tmp_path: Path) -> None:
    """Architecture protocol 6: queued time doesn't count against a run's timeout."""
    async with pilot(tmp_path, config=subagents(maxConcurrent=1)) as p:
        p.on(reply=say("never", hold="ever"), task="^first$")
        answers = await p.spawn_many(
            [{"task": "first", "runTimeoutSeconds": 2}, {"task": "second", "runTimeoutSeconds": 2}]
        )
        second = await p.wait_run(answers[1]["runId"])
        assert second["outcome"] == "ok"
        assert (await p.run(answers[0]["runId"]))["outcome"] == "timeout"
        await p.wait_idle()


async def test_14_waiting_for_children_counts(tmp_path: Path) -> None:
    """Architecture protocol 6: waiting for children counts; protocol 5: open descendants are stopped with it."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2)) as p:
        p.on(reply=call("sessions_spawn", task="inner"), task="^outer$", step=1)
        p.on(reply=say("never", hold="ever"), task="^inner$")
        accepted = await p.spawn(task="outer", runTimeoutSeconds=1)
        outer = await p.wait_run(accepted["runId"])
        assert outer["outcome"] == "timeout"
        inner = (await p.runs())[1]
        assert inner["outcome"] == "stopped"
        assert "waiting" in p.changes(outer["runId"])
        await p.model.wait_gone()
        await p.wait_idle()


async def test_14_a_paused_run_s_clock_stands_still(tmp_path: Path) -> None:
    """Architecture protocol 6: paused time doesn't count against a run's timeout."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(reply=call("gate", name="g"), role="child", step=1)
        accepted = await p.spawn(task="t", runTimeoutSeconds=2)
        await probes.wait_entered("g")
        await p.command("/subagents pause last")
        probes.open("g")
        await p.wait_until(lambda: "paused" in p.changes(accepted["runId"]))
        await asyncio.sleep(2.1)  # the very time that must not count
        await p.command("/subagents resume last")
        assert (await p.wait_run(accepted["runId"]))["outcome"] == "ok"
        await p.wait_idle()


async def test_protocol_9_bootstrap_and_memory_files_are_read_only_to_children(tmp_path: Path) -> None:
    """Architecture protocol 9: bootstrap and memory files are read-only to sub-agents."""
    async with pilot(tmp_path) as p:
        (p.workspace / "AGENTS.md").write_text("as it was")
        made = calls(
            Call("write", {"path": "AGENTS.md", "content": "as I like it"}),
            Call("edit", {"path": "AGENTS.md", "old": "as it was", "new": "mine"}),
            Call("write", {"path": "memory/today.md", "content": "x"}),
            Call("read", {"path": "AGENTS.md"}),
            Call("write", {"path": "notes.md", "content": "fine"}),
        )
        p.on(reply=made, role="child", step=1)
        await p.spawn(task="t")
        await p.wait_idle()
        tools = [m for m in p.child_requests()[-1].messages if m["role"] == "tool"]
        assert "as it was" in text_of(tools[3])
        assert (p.workspace / "AGENTS.md").read_text() == "as it was"
        assert not list((p.workspace / "memory").glob("*"))
        assert (p.workspace / "notes.md").read_text() == "fine"


async def test_14_waiting_for_a_person_s_yes_does_not_count(tmp_path: Path) -> None:
    """Architecture protocol 6, issue part 8: a child's question goes to the requester's route; no clock runs."""
    async with pilot(tmp_path, config={"tools": {"exec": {"ask": "on-miss", "sandbox": "off"}}}) as p:
        p.on(reply=call("exec", command="echo done > mark.txt"), role="child", step=1)
        [accepted] = await p.spawn_many([{"task": "t", "runTimeoutSeconds": 2}], thread="asked-here")
        await p.wait_until(lambda: any(e.type == "approval" for e in p.events))
        [question] = (await p.get("/api/approvals"))["approvals"]
        assert question["runId"] == accepted["runId"]
        [post] = p.posts(session=None, role="notice")
        assert post["route"]["thread"] == "asked-here"
        assert "mark.txt" in post["text"]
        await asyncio.sleep(2.1)  # the very time that must not count
        assert "Allowed" in await p.command(f"/approve {question['id']}")
        assert (await p.wait_run(accepted["runId"]))["outcome"] == "ok"
        assert (p.workspace / "mark.txt").exists()
        await p.wait_idle()


async def test_14_a_stopped_child_s_question_is_withdrawn(tmp_path: Path) -> None:
    """Issue part 8: who asked has been stopped: the question can't be answered any more, and nothing runs."""
    async with pilot(tmp_path, config={"tools": {"exec": {"ask": "on-miss", "sandbox": "off"}}}) as p:
        p.on(reply=call("exec", command="echo done > mark.txt"), role="child", step=1)
        await p.spawn(task="t")
        await p.wait_until(lambda: any(e.type == "approval" for e in p.events))
        [question] = (await p.get("/api/approvals"))["approvals"]
        await p.command("/subagents stop last")
        await p.wait_idle()
        assert (await p.get("/api/approvals"))["approvals"] == []
        assert "Allowed" not in await p.command(f"/approve {question['id']}")
        assert not (p.workspace / "mark.txt").exists()
