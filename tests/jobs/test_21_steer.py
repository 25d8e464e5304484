"""Steering jobs (spec/jobs.md 21–23), over HTTP and from a chat."""

from __future__ import annotations

from pathlib import Path

from tests.jobs.scene import BEN, CHAT, READ, TOKENS, change, ended, letters, look, reached, submit, until
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import Call as ToolCall
from tests.support.model_script import call, calls, say
from tests.support.pilot import Json, Pilot, pilot

HELD: Json = {"hold": "x"}


async def send(p: Pilot, job: Json, payload: object, *, token: str | None = None, **more: object) -> tuple[int, Json]:
    """Status and answer of a message to a job."""
    response = await p.post(f"/api/jobs/{job['id']}/send", {"payload": payload, **more}, token=token)
    return response.status, response.json


async def test_21_who_may_write_to_a_job(tmp_path: Path) -> None:
    """spec/jobs.md 21 !: accepted from the parent, who has asked for it, or an operator; a foreign job and a missing
    one look the same."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config=TOKENS, plugins={"work": plugin}) as p:
        job = await submit(p, data=HELD, token=CHAT)
        assert (await send(p, job, "from ida", token=CHAT))[0] == 202
        assert (await send(p, job, "from the operator"))[0] == 202
        foreign = await send(p, job, "from ben", token=BEN)
        missing = await send(p, {"id": 77}, "from ben", token=BEN)
        assert (foreign[0], missing[0]) == (404, 404)
        assert foreign[1]["error"]["message"].replace(str(job["id"]), "77") == missing[1]["error"]["message"]
        assert (await send(p, job, "from a reader", token=READ))[0] == 403
        assert [each["text"] for each in await letters(p, job)] == ["from ida", "from the operator"]


async def test_21_the_identity_is_the_caller_s_never_a_parameter(tmp_path: Path) -> None:
    """spec/jobs.md 21 !: identity comes from the authenticated caller."""
    async with pilot(tmp_path, config=TOKENS, plugins={"work": WorkPlugin()}) as p:
        job = await submit(p, data=HELD, token=CHAT)
        for name in ("sender", "senderId", "from", "parent"):
            status, answer = await send(p, job, "x", token=BEN, **{name: "operator"})
            assert (status, name in answer["error"]["message"]) == (400, True)
        await send(p, job, {"directive": "I am the operator", "sender": "operator"}, token=CHAT)
        [letter] = await letters(p, job)
        assert letter["sender"] == "http:ida"
        assert job["submittedBy"] == "http:ida"


async def test_21_a_conversation_writes_to_what_it_has_asked_for(tmp_path: Path) -> None:
    """spec/jobs.md 21: the requester's session, and the parent: a sub-agent steers its own children only."""
    config: Json = {**TOKENS, "agents": {"defaults": {"subagents": {"maxSpawnDepth": 2}}}}
    async with pilot(tmp_path, config=config) as p:
        p.on(reply=call("sessions_spawn", task="inner", label="inner"), task="^outer$", step=1)
        told = {"action": "steer", "target": "inner", "message": "from the parent"}
        p.on(reply=calls(ToolCall("subagents", told)), task="^outer$", step=2)
        p.on(reply=say("late", hold="inner"), task="^inner$")
        await p.spawn(task="outer", label="outer")
        await p.wait_asked(lambda seen: seen.first_user == "outer" and seen.step == 3)
        inner = next(job for job in (await p.get("/api/jobs"))["jobs"] if job["label"] == "inner")
        assert "Sent" in await p.command(f"/job {inner['id']} send from the conversation")
        stranger = "agent:main:api:stranger"
        said = await p.post(f"/api/sessions/{stranger}/messages", {"text": f"/job {inner['id']} send no"}, token=CHAT)
        assert "there is no job" in said.text
        found = [(each["text"], each["sender"]) for each in await letters(p, inner) if each["kind"] == "steer"]
        assert [text for text, _ in found] == ["from the parent", "from the conversation"]
        assert found[0][1] != found[1][1]
        p.model.release("inner")
        await p.wait_idle()


async def test_21_an_ended_job_takes_no_message(tmp_path: Path) -> None:
    """spec/jobs.md 21: nothing is accepted that nobody will read."""
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}) as p:
        job = await submit(p)
        await ended(p, job)
        status, answer = await send(p, job, "too late")
        assert (status, "has ended" in answer["error"]["message"]) == (400, True)
        other = await submit(p, data=HELD)
        assert (await send(p, other, "  "))[0] == 400


async def test_22_a_handler_reads_its_inbox_with_receipts(tmp_path: Path) -> None:
    """spec/jobs.md 22 !: the receipt (`readAt`, `consumedBySeq`) is written with the message's append to the log."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data=HELD)
        await reached(p, job, "running")
        await send(p, job, {"directive": "focus on revenue"})
        await send(p, job, {"depth": 3})
        assert [(each["readAt"], each["consumedBySeq"]) for each in await letters(p, job)] == [(None, None)] * 2
        plugin.release("x")
        await ended(p, job)
        log = {row["seq"]: row["text"] for row in (await p.get(f"/api/jobs/{job['id']}/log"))["messages"]}
        first, second = await letters(p, job)
        assert first["readAt"] is not None
        assert log[first["consumedBySeq"]] == first["text"] == "focus on revenue"
        assert log[second["consumedBySeq"]] == second["text"] == '{"depth": 3}'
        assert plugin.letters[job["id"]] == ["focus on revenue", '{"depth": 3}']


async def test_22_an_agent_reads_its_inbox_before_every_model_call(tmp_path: Path) -> None:
    """spec/jobs.md 22 !: what comes while a call is in flight is read before the next one, once, with its receipt."""
    async with pilot(tmp_path) as p:
        p.on(reply=call("ls"), task="^t$", step=1)
        p.on(reply=say("first answer", hold="held"), task="^t$", step=2)
        job = await submit(p, "subagent", data={"task": "t"})
        await p.wait_asked(lambda seen: seen.first_user == "t" and seen.step == 2)
        await send(p, job, {"directive": "be brief"})
        [waiting] = [each for each in await letters(p, job) if each["kind"] == "steer"]
        assert waiting["state"] == "pending"
        p.model.release("held")
        await ended(p, job)
        *_, last = p.child_requests()
        assert last.users[-1] == "be brief"
        assert sum("be brief" in text for text in last.users) == 1
        [read] = [each for each in await letters(p, job) if each["kind"] == "steer"]
        log = {row["seq"]: row["text"] for row in (await p.get(f"/api/jobs/{job['id']}/log"))["messages"]}
        assert log[read["consumedBySeq"]] == "be brief"


async def test_22_what_was_sent_before_it_began_or_while_it_rests_is_read(tmp_path: Path) -> None:
    """spec/jobs.md 22: a message outlives a delay, a pause and a restart."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, delayMs=60_000)
        await send(p, job, "early")
        await change(p, job, "pause")
        await send(p, job, "while it was paused")
        await p.restart()
        await change(p, job, "resume")
        await change(p, job, "stop")
        assert [each["text"] for each in await letters(p, job)] == ["early", "while it was paused"]
        await change(p, job, "retry")
        await ended(p, job)
        assert plugin.letters[job["id"]] == ["early", "while it was paused"]


async def test_23_progress_is_written_with_every_turn(tmp_path: Path) -> None:
    """spec/jobs.md 23 !: progress is written at least once a turn by every agent job: step, message, tokens, tool."""
    async with pilot(tmp_path) as p:
        p.on(reply=calls(ToolCall("ls", {}), text="looking around"), task="^t$", step=1)
        p.on(reply=calls(ToolCall("glob", {"pattern": "*"})), task="^t$", step=2)
        p.on(reply=say("the end", hold="end"), task="^t$", step=3)
        job = await submit(p, "subagent", data={"task": "t", "maxTurns": 7})
        await p.wait_asked(lambda seen: seen.first_user == "t" and seen.step == 3)
        now = (await look(p, job))["progress"]
        expected = {"step": 2, "total": 7, "message": "glob", "lastTool": "glob", "tokensIn": 200, "tokensOut": 40}
        assert now == expected
        p.model.release("end")
        done = (await ended(p, job))["progress"]
        assert (done["step"], done["message"], done["tokensIn"]) == (3, "the end", 300)


async def test_23_progress_of_a_handler(tmp_path: Path) -> None:
    """spec/jobs.md 23, the record: progress `{step, total, message, …}`, told to whoever watches."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, plugins={"work": plugin}) as p:
        job = await submit(p, data=HELD)
        now = await until(p, job, lambda now: now["progress"]["step"])
        assert (now["progress"]["step"], now["progress"]["total"], now["progress"]["message"]) == (1, 2, "at work")
        await p.wait_until(lambda: "progress" in p.changes(job["runId"]), "it is told")
        assert "Progress: 1/2 — at work" in now["text"]
        plugin.release("x")
        await ended(p, job)
