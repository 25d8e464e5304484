"""The MCP server over streamable HTTP, with the official client (spec/jobs.md, views; rules 1–8, 21)."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from mcp import MCPError

from tests.mcp.clients import REPOSITORY, Json, over_http
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import call, say
from tests.support.pilot import Pilot, pilot

TOOLS = {
    "submit_job",
    "submit_agent",
    "list_jobs",
    "get_job",
    "get_job_progress",
    "get_job_stats",
    "cancel_job",
    "pause_job",
    "resume_job",
    "retry_job",
    "replay_job",
    "send_job_message",
}
ANNA, BERT, READER, NOBODY = "anna-secret-token", "bert-secret-token", "reader-secret-token", "nobodys-token"
TOKENS = {
    "gateway": {
        "auth": {
            "tokens": [
                {"name": "anna", "token": ANNA, "scopes": ["chat"]},
                {"name": "bert", "token": BERT, "scopes": ["chat"]},
                {"name": "reader", "token": READER, "scopes": ["read"]},
            ]
        }
    }
}


async def ended(p: Pilot, run_id: str) -> None:
    await p.wait_until(lambda: "done" in p.changes(run_id), f"the end of {run_id[:8]}")


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_tools_and_their_parameters(tmp_path: Path, mode: str) -> None:
    """Names and parameters are those that clients of the reference know, over both versions of the protocol."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p, over_http(p, mode=mode) as c:
        tools = {tool.name: tool for tool in (await c.client.list_tools()).tools}
        assert set(tools) == TOOLS
        assert all(tool.output_schema and tool.description for tool in tools.values())
        parameters = set(tools["submit_job"].input_schema["properties"])
        assert {
            *("name", "data", "queue", "priority", "max_attempts", "delay", "parent_job_id", "timeout_ms", "backoff"),
            *("idempotency_key", "after", "on_child_fail", "max_children", "dry_run"),
        } <= parameters
        agent = set(tools["submit_agent"].input_schema["properties"])
        assert {"prompt", "tools", "model", "max_turns", "timeout_ms", "subagent_def", "fanout"} <= agent
        assert tools["get_job"].input_schema["required"] == ["id"]
        assert set(tools["replay_job"].input_schema["properties"]) == {"id", "data_overrides", "from_turn"}
        assert set(tools["send_job_message"].input_schema["properties"]) == {"id", "payload"}
        job = await c.done("submit_job", name="work", data={"give": {"a": 1}})
        await ended(p, job["runId"])
        assert (await c.done("get_job", id=job["id"]))["output"] == {"a": 1}
        with pytest.raises(MCPError, match="there is no tool `nope`"):
            await c.ask("nope")


async def test_reports(tmp_path: Path) -> None:
    """The texts have the forms of the reference; what others have written stands between markers."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p, over_http(p) as c:
        work = await c.done("submit_job", name="work", data={"hold": "gate", "give": "42"}, label="the answer")
        await p.wait_until(lambda: "progress" in p.changes(work["runId"]), "progress")
        report = (await c.said("get_job_progress", id=f"#{work['id']}")).splitlines()
        assert report[:2] == ["Job #1 (the answer) — running", "Progress: 1/2 — at work"]
        assert [line.partition(":")[0] for line in report[2:]] == ["Tokens", "Runtime", "Attempt"]
        snapshot = await c.done("get_job_progress", id=work["id"])
        assert (snapshot["progress"]["step"], snapshot["progress"]["total"]) == (1, 2)
        p_work = p.plugins["work"]
        assert isinstance(p_work, WorkPlugin)
        p_work.release("gate")
        await ended(p, work["runId"])
        text = await c.said("get_job", id=work["id"])
        assert re.match(r"Job #1 \(the answer\) completed in \d+s\nTokens used: 0 / 0 / 0\n", text)
        assert re.search(r"<<<([0-9a-f]{12})\n42\n\1>>>", text)
        family = await c.done("submit_job", name="aggregate", children=[{"name": "work", "label": w} for w in "ab"])
        await ended(p, family["runId"])
        assert "Parent #2 — ok\n  #3 work(a) — ok\n  #4 work(b) — ok\nTotal tokens so far:" in await c.said(
            "get_job", id=2
        )
        assert (await c.said("list_jobs", name="work", limit=2)).splitlines() == [
            "#4 work(b) — ok",
            "#3 work(a) — ok",
            "There are more: before=3",
        ]
        assert "work: 0 waiting, 0 running, 3 done, 0 failed" in await c.said("get_job_stats")


async def test_life_of_a_job(tmp_path: Path) -> None:
    """Pause, resume, cancel, retry, replay with overrides, a delay, a dry run."""
    work = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": work}) as p, over_http(p) as c:
        job = await c.done("submit_job", name="work", data={"give": 1, "log": "x"}, delay=3_600_000)
        assert job["waitingReason"].startswith("delayed_until ")
        assert "paused" in await c.said("pause_job", id=job["id"])
        assert (await c.done("get_job", id=job["id"]))["status"] == "paused"
        assert (await c.done("resume_job", id=job["id"]))["status"] == "delayed"
        assert (await c.done("cancel_job", id=job["id"]))["outcome"] == "stopped"
        again = await c.done("retry_job", id=job["id"])
        assert again["id"] == job["id"]
        await ended(p, job["runId"])
        other = await c.done("replay_job", id=job["id"], data_overrides={"give": 2})
        assert (other["id"], other["replayOf"]) == (2, job["runId"])
        await ended(p, other["runId"])
        assert (await c.done("get_job", id=2))["output"] == 2
        assert work.effects == ["x", "x"]
        would = await c.done("submit_job", name="work", dry_run=True, queue="default")
        assert (would["dryRun"], would["queue"]) == (True, "jobs")
        assert [each["id"] for each in (await c.done("list_jobs"))["jobs"]] == [2, 1]


async def test_a_caller_sees_his_own(tmp_path: Path) -> None:
    """A foreign job and a missing one look the same, to every tool; an operator and a reader see all."""
    async with (
        pilot(tmp_path, config=TOKENS, plugins={"work": WorkPlugin()}) as p,
        over_http(p, ANNA) as anna,
        over_http(p, BERT) as bert,
        over_http(p, READER) as reader,
        over_http(p) as operator,
    ):
        job = await anna.done("submit_job", name="work", delay=3_600_000)
        assert job["submittedBy"] == "http:anna"
        for tool in sorted(TOOLS - {"submit_job", "submit_agent", "list_jobs", "get_job_stats"}):
            more = {"payload": "hi"} if tool == "send_job_message" else {}
            foreign = await bert.refused(tool, id=1, **more)
            missing = await bert.refused(tool, id=77, **more)
            assert (foreign["code"], missing["code"]) == ("not_found", "not_found")
            assert foreign["message"].replace("`1`", "`77`") == missing["message"]
        for parameter in ("parent_job_id", "after"):
            foreign, missing = [
                await bert.refused(
                    "submit_job", name="work", **{parameter: [str(word)] if parameter == "after" else word}
                )
                for word in (1, 77)
            ]
            assert (foreign["code"], foreign["parameter"]) == ("not_found", parameter)
            assert foreign["message"].replace("`1`", "`77`") == missing["message"]
        assert (await bert.refused("list_jobs", parent_job_id=1))["code"] == "not_found"
        assert (await bert.refused("submit_job", name="subagent", data=fork(job["runId"]))) == (
            await bert.refused("submit_job", name="subagent", data=fork("no-such-run"))
        )
        assert (await bert.done("list_jobs"))["jobs"] == []
        assert [each["id"] for each in (await anna.done("list_jobs"))["jobs"]] == [1]
        assert [each["id"] for each in (await reader.done("list_jobs"))["jobs"]] == [1]
        assert (await bert.refused("get_job_stats"))["code"] == "permission_denied"
        assert (await reader.refused("cancel_job", id=1))["code"] == "permission_denied"
        assert (await operator.done("cancel_job", id=1))["outcome"] == "stopped"


def fork(run_id: str) -> dict[str, object]:
    return {"task": "tell me", "forkFrom": {"runId": run_id, "turn": 1}}


async def test_protected_kinds(tmp_path: Path) -> None:
    """Rule 8: refused over MCP whatever the token, on the trimmed name; run again only as an operator submitted it."""
    work = WorkPlugin()
    async with pilot(tmp_path, config=TOKENS, plugins={"work": work}) as p, over_http(p) as c, over_http(p, ANNA) as a:
        for client in (c, a):
            for name in ("guarded", "  guarded ", "shell"):
                fault = await client.refused("submit_job", name=name, data={"cmd": "id", "cwd": "/"})
                assert fault["code"] == "permission_denied"
                assert "over MCP" in fault["message"]
            hidden = [{"name": "work"}, {"name": "guarded"}]
            assert (await client.refused("submit_job", name="aggregate", children=hidden))[
                "code"
            ] == "permission_denied"
        assert (await c.done("list_jobs"))["jobs"] == []
        job = (await p.post("/api/jobs", {"name": "guarded", "data": {"log": "by the operator"}})).json
        await ended(p, job["runId"])
        fault = await c.refused("replay_job", id=job["id"], data_overrides={"log": "by a model"})
        assert fault["code"] == "permission_denied"
        again = await c.done("replay_job", id=job["id"])
        await ended(p, again["runId"])
        assert work.effects == ["by the operator"] * 2


@pytest.mark.parametrize("how", ["alone", "fanned out", "below a job"])
async def test_agents_of_strangers_have_no_hands(tmp_path: Path, how: str) -> None:
    """`submit_agent` without an operator's token: neither exec nor write, wherever in a tree it is put."""
    async with (
        pilot(tmp_path, config=TOKENS, plugins={"work": WorkPlugin()}) as p,
        over_http(p, ANNA) as anna,
        over_http(p) as operator,
    ):
        p.on(reply=call("write", path="x", content="y"), role="child", user="try it", turn_step=1)
        wanted: dict[str, object] = {"prompt": "try it"}
        if how == "fanned out":
            wanted = {"fanout": ["try it"]}
        if how == "below a job":
            parent = await anna.done("submit_job", name="work", data={"hold": "gate"})
            wanted["parent_job_id"] = parent["id"]
        job = await anna.done("submit_agent", **wanted)
        await ended(p, job["runId"])
        [seen, *_] = p.child_requests()
        assert not {"exec", "write", "edit"} & set(seen.tools)
        assert "read" in seen.tools
        assert not (p.workspace / "x").exists()
        mine = await operator.done("submit_agent", prompt="with hands")
        await ended(p, mine["runId"])
        assert {"exec", "write"} <= set(p.child_requests()[-1].tools)
        work = p.plugins["work"]
        assert isinstance(work, WorkPlugin)
        work.release("gate")


async def test_a_fan_out(tmp_path: Path) -> None:
    """One job joins what all have said; what one says doesn't matter to the others."""
    async with pilot(tmp_path) as p, over_http(p) as c:
        p.on(reply=say("tall"), role="child", user="Measure\n\nAcme")
        p.on(reply=say("small"), role="child", user="Measure\n\nBeta")
        tasks = ["Acme", {"prompt": "Beta", "label": "the second", "max_turns": 3, "tools": ["read"]}]
        job = await c.done("submit_agent", prompt="Measure", fanout=tasks, label="two")
        await ended(p, job["runId"])
        whole = await c.done("get_job", id=job["id"])
        assert [each["output"] for each in whole["output"]] == ["tall", "small"]
        second = await c.done("get_job", id=job["children"][1])
        assert (second["label"], second["data"]["maxTurns"], second["data"]["tools"]) == ("the second", 3, ["read"])
        assert second["log"][-1]["text"] == "small"
        both = await c.refused("submit_agent", prompt="x", fanout=["y"], delay=5)
        assert both["parameter"] == "delay"
        assert (await c.refused("submit_agent"))["parameter"] == "prompt"


async def test_messages(tmp_path: Path) -> None:
    """Rule 21: who may write is known by his token; the handler gets it once."""
    work = WorkPlugin()
    async with (
        pilot(tmp_path, config=TOKENS, plugins={"work": work}) as p,
        over_http(p, ANNA) as anna,
        over_http(p) as operator,
    ):
        job = await anna.done("submit_job", name="work", data={"hold": "gate"})
        await p.wait_until(lambda: "progress" in p.changes(job["runId"]), "progress")
        await anna.done("send_job_message", id=job["id"], payload={"directive": "focus on revenue"})
        await operator.done("send_job_message", id=job["id"], payload={"directive": "quick", "from": "parent"})
        unknown = await anna.refused("send_job_message", id=job["id"], payload="x", sender="parent")
        assert "no parameter `sender`" in unknown["message"]
        assert (await anna.refused("send_job_message", id=job["id"], payload="  "))["parameter"] == "payload"
        work.release("gate")
        await ended(p, job["runId"])
        assert work.letters[1] == ["focus on revenue", '{"directive": "quick", "from": "parent"}']
        assert "has ended" in (await anna.refused("send_job_message", id=job["id"], payload="late"))["message"]


async def test_idempotency(tmp_path: Path) -> None:
    """Rule 3: one key, many callers at once, one job; another payload is refused; keys belong to their callers."""
    async with (
        pilot(tmp_path, config=TOKENS, plugins={"work": WorkPlugin()}) as p,
        over_http(p) as c,
        over_http(p, ANNA) as anna,
        over_http(p, BERT) as bert,
    ):
        wanted = {"name": "work", "data": {"give": 1}, "idempotency_key": "k"}
        found = await asyncio.gather(*(c.done("submit_job", **wanted) for _ in range(20)))
        assert {each["id"] for each in found} == {1}
        assert sum(not each["coalesced"] for each in found) == 1
        fault = await c.refused("submit_job", **{**wanted, "data": {"give": 2}})
        assert fault["parameter"] == "idempotency_key"
        own = [await client.done("submit_job", **wanted) for client in (anna, bert)]
        assert [each["coalesced"] for each in own] == [False, False]
        assert len({1, *(each["id"] for each in own)}) == 3


async def test_errors_name_the_parameters_of_the_tools(tmp_path: Path) -> None:
    """What is wrong is named as the caller has written it, with what is allowed."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p, over_http(p) as c:
        wrong: tuple[tuple[Json, str, str], ...] = (
            ({"name": "work", "max_attempts": 0}, "max_attempts", "greater than or equal to 1"),
            ({"name": "work", "delay": -1}, "delay", "greater than or equal to 0"),
            ({"name": "work", "timeout_ms": 0}, "timeout_ms", "greater than 0"),
            ({"name": "work", "backoff": {"jitter": 2}}, "backoff.jitter", "less than or equal to 1"),
            ({"name": "  "}, "name", "at least 1 character"),
            ({"data": {}}, "name", "`name` is required"),
            ({"name": "wrk"}, "name", "there are: aggregate, guarded, noop, shell, subagent, work"),
            ({"name": "work", "maxAttempts": 2}, "maxAttempts", "did you mean `max_attempts`?"),
            ({"name": "work", "queue": "nope"}, "queue", "there are: "),
            ({"name": "work", "data": {"giv": 1}}, "data.giv", "takes: bounce, child, children, fail, give"),
        )
        for wanted, parameter, words in wrong:
            fault = await c.refused("submit_job", **wanted)
            assert (fault["code"], fault["parameter"]) == ("invalid", parameter), fault
            assert words in fault["message"]
        parent = await c.done("submit_job", name="work", data={"hold": "g"}, max_children=0)
        full = await c.refused("submit_job", name="work", parent_job_id=parent["id"])
        assert full["parameter"] == "parent_job_id"
        assert "(its max_children)" in full["message"]
        for wanted, words in (
            ({"prompt": "x", "tools": ["nope"]}, "`tools` names what there isn't: nope"),
            ({"prompt": "x", "subagent_def": "ghost"}, "agents.subagentDefs"),
            ({"prompt": "x", "model": "ghost/m"}, "ghost"),
            ({"prompt": "x", "output_schema": {"type": 7}}, "`output_schema`"),
        ):
            assert words in (await c.refused("submit_agent", **wanted))["message"]
        assert [each["id"] for each in (await c.done("list_jobs"))["jobs"]] == [parent["id"]]
        work = p.plugins["work"]
        assert isinstance(work, WorkPlugin)
        work.release("g")


async def test_the_guards_stay(tmp_path: Path) -> None:
    """No token, a foreign host, a foreign page, a wrong method: as everywhere on the gateway."""
    async with pilot(tmp_path) as p:
        ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        wanted = {"Accept": "application/json, text/event-stream"}
        assert (await p.post("/mcp", ping, token=NOBODY, headers=wanted)).status == 401
        assert (await p.post("/mcp", ping, headers={**wanted, "Host": "evil.example"})).status == 403
        assert (await p.post("/mcp", ping, headers={**wanted, "Origin": "https://evil.example"})).status == 403
        assert (await p.ask("GET", "/mcp", headers=wanted)).status == 405
        assert (await p.post("/mcp", ping, headers={"Accept": "text/html"})).status == 406
        answered = await p.post("/mcp", ping, headers=wanted)
        assert (answered.status, answered.json["id"]) == (200, 1)
        assert (await p.post("/mcp", {"no": "rpc"}, headers=wanted)).status == 400


def test_the_gateway_loads_no_mcp_unasked() -> None:
    """The protocol's library is loaded by the first request, not by a start."""
    code = "import sys, gateway.cli.start; print(sorted({'mcp', 'mcp_types', 'starlette'} & set(sys.modules)))"
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, check=True)  # noqa: S603 - our own
    assert done.stdout.strip() == "[]"
