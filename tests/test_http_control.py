"""The control API: sessions, messages, runs, posts, questions, and what an operator does."""

from __future__ import annotations

import asyncio
import base64
import json
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.approvals import Call
from gateway.routes import Route
from gateway.store import outbox, runs, sessions
from gateway.store.database import Transaction
from gateway.store.outbox import State
from gateway.store.runs import Run, Status
from gateway.tools.base import Decision, Question
from tests.support.http_gateway import KEY, House, http_gateway
from tests.support.model_script import call, say

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
PATH = f"/api/sessions/{KEY}/messages"


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with http_gateway(tmp_path) as running:
        yield running


async def idle(house: House, key: str = KEY) -> dict[str, Any]:
    """Waits until a session has nothing to do, and returns it."""
    async with asyncio.timeout(30), house.gateway.events.subscribe(last_id=0) as watch:
        while True:
            session = (await house.get(f"/api/sessions/{key}")).json
            if session["idle"]:
                return session
            await anext(watch)


async def make_run(house: House, **fields: Any) -> Run:
    """A run in the table, asked for by the main session."""

    def unit(tx: Transaction) -> Run:
        parent = sessions.by_key(tx, KEY) or sessions.create(tx, key=KEY, agent_id="main")
        run_id, key = str(uuid.uuid4()), f"agent:main:subagent:{uuid.uuid4()}"
        child = sessions.create(tx, key=key, agent_id="main", kind="subagent", parent_id=parent.id, run_id=run_id)
        given = {
            "id": run_id,
            "kind": "subagent",
            "session_id": child.id,
            "session_key": key,
            "requester_id": parent.id,
            "requester_key": KEY,
            "agent_id": "main",
            "label": "count",
            "task": "count the files",
            "depth": 1,
            "model": "test/scripted",
            "cleanup": "keep",
            "context": "isolated",
            "timeout_ms": 0,
            "status": Status.QUEUED,
            **fields,
        }
        return runs.create(tx, **given)

    return await house.gateway.database.run(unit)


# --- messages and sessions ------------------------------------------------------------------------------------------


async def test_a_message_is_accepted_and_answered(house: House) -> None:
    house.models.on(reply=say("Hello you."))
    accepted = await house.post(PATH, {"text": "hello"})
    assert (accepted.status, accepted.json["accepted"], accepted.json["duplicate"]) == (202, True, False)
    session = await idle(house)
    assert session["tokens"] == {"input": 100, "output": 20, "cacheRead": 0, "total": 120}
    assert (session["model"], session["costUsd"], session["busy"]) == ("test/scripted", None, False)
    assert session["lastRoute"] == {"channel": "api", "account": "default", "chat": KEY, "thread": None}
    found = (await house.get(f"/api/sessions/{KEY}/transcript")).json["messages"]
    assert [(message["role"], message["text"]) for message in found] == [("user", "hello"), ("assistant", "Hello you.")]
    assert found[1]["createdAt"].endswith("Z")


async def test_session_keys_may_be_encoded(house: House) -> None:
    house.models.on(reply=say("ok"))
    assert (await house.post("/api/sessions/agent%3Amain%3Amain/messages", {"text": "hello"})).status == 202
    await idle(house)
    assert (await house.get("/api/sessions/agent%3Amain%3Amain")).json["key"] == KEY


async def test_a_retry_is_the_same_message(house: House) -> None:
    house.models.on(reply=say("ok"))
    headers = {"Idempotency-Key": "abc"}
    first = await house.post(PATH, {"text": "hello"}, headers=headers)
    again = await house.post(PATH, {"text": "hello"}, headers=headers)
    assert again.json == {**first.json, "duplicate": True}
    await idle(house)
    assert len(house.models.requests) == 1
    other = await house.post(PATH, {"text": "something else"}, headers=headers)
    assert (other.status, other.error["field"]) == (409, "Idempotency-Key")
    for bad in ("", "x" * 256):
        assert (await house.post(PATH, {"text": "a"}, headers={"Idempotency-Key": bad})).status == 400


async def test_a_slash_command_is_answered_at_once(house: House) -> None:
    answered = await house.post(PATH, {"text": "/help"})
    assert (answered.status, answered.json["inboxId"]) == (200, None)
    assert "/stop" in answered.json["reply"]
    assert not house.models.requests


async def test_pictures_are_kept_and_reach_the_session(house: House) -> None:
    house.models.on(reply=say("a picture"))
    attachment = {"name": "a.png", "mediaType": "image/png", "dataBase64": base64.b64encode(PNG).decode()}
    for _ in range(2):
        sent = await house.post(PATH, {"text": "what is this?", "attachments": [attachment]})
        assert sent.status == 202
    await idle(house)
    (kept,) = (house.paths.state / "media").iterdir()
    assert kept.read_bytes() == PNG
    assert kept.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dataBase64": "%%%"}, "base64"),
        ({"mediaType": "text/html"}, "media type"),
        ({"mediaType": "image/jpeg"}, "isn't a file of type"),
    ],
)
async def test_what_is_no_picture_is_refused(house: House, change: dict[str, str], said: str) -> None:
    good = {"mediaType": "image/png", "dataBase64": base64.b64encode(PNG).decode()}
    refused = await house.post(PATH, {"text": "x", "attachments": [good | change]})
    assert (refused.status, refused.error["field"]) == (400, "attachments.0")
    assert said in refused.error["message"]


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("nonsense", "isn't a session key"),
        ("agent:nobody:main", "no agent `nobody`"),
        ("agent:main:a%20b", "isn't a session key"),
        ("agent:main:subagent:x", "is not a session key"),
    ],
)
async def test_messages_to_sessions_that_cannot_be(house: House, key: str, said: str) -> None:
    refused = await house.post(f"/api/sessions/{key}/messages", {"text": "a"})
    assert (refused.status, said in refused.error["message"]) == (400, True)


async def test_unknown_channels_and_empty_messages_are_refused(house: House) -> None:
    assert "`channel` is one of: api" in (await house.post(PATH, {"text": "a", "channel": "slack"})).error["message"]
    assert (await house.post(PATH, {"text": "  "})).status == 400


async def test_a_transcript_is_paged_and_hides_tools_unless_asked(house: House) -> None:
    house.models.on(user="look", turn_step=1, reply=call("ls", path="."))
    house.models.on(user="look", reply=say("an empty folder"))
    house.models.on(reply=say("ok"))
    await house.post(PATH, {"text": "look"})
    await idle(house)
    path = f"/api/sessions/{KEY}/transcript"
    plain = (await house.get(path)).json["messages"]
    assert [(message["role"], message["calls"]) for message in plain] == [("user", []), ("assistant", [])]
    full = (await house.get(path, params={"tools": "1"})).json["messages"]
    assert [message["role"] for message in full] == ["user", "assistant", "tool", "assistant"]
    assert full[1]["calls"] == [{"name": "ls", "arguments": '{"path": "."}'}]
    assert full[2]["tool"] == "ls"
    one = (await house.get(path, params={"tools": "1", "after": "2", "limit": "1"})).json["messages"]
    assert [(message["seq"], message["tool"]) for message in one] == [(3, "ls")]
    last = (await house.get(path, params={"tools": "1", "before": "3", "limit": "1"})).json["messages"]
    assert [message["seq"] for message in last] == [2]


async def test_sessions_are_listed_in_pages(house: House) -> None:
    house.models.on(reply=say("ok"))
    for name in ("a", "b", "c"):
        await house.post(f"/api/sessions/agent:main:{name}/messages", {"text": "hello"})
        await idle(house, f"agent:main:{name}")
    first = (await house.get("/api/sessions", params={"limit": "2", "kind": "main"})).json
    rest = (await house.get("/api/sessions", params={"limit": "2", "cursor": first["next"]})).json
    keys = [session["key"] for session in first["sessions"] + rest["sessions"]]
    assert sorted(keys) == ["agent:main:a", "agent:main:b", "agent:main:c"]
    assert rest["next"] is None
    assert (await house.get("/api/sessions", params={"kind": "subagent"})).json["sessions"] == []


# --- runs -----------------------------------------------------------------------------------------------------------


async def test_runs_are_listed_by_filters_and_in_pages(house: House) -> None:
    made = [await make_run(house, label=f"run {number}") for number in range(3)]
    done = await make_run(house, status=Status.DONE, outcome=runs.Outcome.ERROR, error="it broke", agent_id="other")
    first = (await house.get("/api/runs", params={"limit": "2"})).json
    rest = (await house.get("/api/runs", params={"limit": "2", "cursor": first["next"]})).json
    assert {run["runId"] for run in first["runs"] + rest["runs"]} == {run.id for run in [*made, done]}

    async def ids(**filters: str) -> set[str]:
        found = await house.get("/api/runs", params=filters)
        return {run["runId"] for run in found.json["runs"]}

    assert await ids(status="open") == {run.id for run in made}
    assert await ids(outcome="error") == await ids(agent="other") == {done.id}
    assert await ids(session=KEY) == {run.id for run in [*made, done]}
    assert await ids(session=made[0].session_key) == {made[0].id}
    assert await ids(session="agent:main:nobody") == set()
    assert "`status` is one of: open, queued" in (await house.get("/api/runs?status=dead")).error["message"]
    assert (await house.get("/api/runs?cursor=x")).status == 400


async def test_a_run_is_found_by_a_prefix_that_is_its_own(house: House) -> None:
    one = await make_run(house, id="aaaa1111-1")
    await make_run(house, id="aaaa2222-2")
    shown = (await house.get("/api/runs/aaaa1")).json
    assert (shown["runId"], shown["children"], shown["costUsd"]) == (one.id, [], 0.0)
    assert shown["tokens"] == {"input": 0, "output": 0, "cacheRead": 0, "total": 0}
    several = await house.get("/api/runs/aaaa")
    assert (several.status, "aaaa2222" in several.error["hint"]) == (409, True)
    assert (await house.get("/api/runs/zzzz")).status == 404
    assert (await house.get("/api/runs/%25")).status == 404


async def test_a_run_shows_what_it_is_doing_right_now(house: House) -> None:
    run = await make_run(house, status=Status.WAITING)  # or the gateway looks for what it might do, and lets it rest
    progress = {"sessionKey": run.session_key, "runId": run.id, "text": "exec git status", "lastTool": "exec"}
    house.gateway.events.publish("progress", progress, session_key=run.session_key, run_id=run.id)
    shown = (await house.get(f"/api/runs/{run.id}")).json
    assert (shown["progress"], shown["lastTool"]) == ("exec git status", "exec")


async def test_the_log_of_an_archived_run_is_read_from_its_file(house: House, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"seq": 1, "role": "user", "text": "count"},
        {"seq": 2, "role": "assistant", "text": "", "calls": [{"name": "ls", "arguments": "{}"}]},
        {"seq": 3, "role": "tool", "text": "a b", "parentSeq": 2, "callIndex": 0},
        {"seq": 4, "role": "assistant", "text": "two", "calls": []},
    ]
    file = tmp_path / "old.jsonl.deleted.now"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    run = await make_run(house, transcript_path=str(file))

    def archive(tx: Transaction) -> None:
        tx.execute(sessions.sessions.delete().where(sessions.sessions.c.id == run.session_id))

    await house.gateway.database.run(archive)
    plain = (await house.get(f"/api/runs/{run.id}/log")).json["messages"]
    assert [message["seq"] for message in plain] == [1, 4]
    full = (await house.get(f"/api/runs/{run.id}/log?tools=1&limit=2")).json["messages"]
    assert [(message["seq"], message["tool"]) for message in full] == [(3, "ls"), (4, None)]
    file.unlink()
    assert (await house.get(f"/api/runs/{run.id}/log")).json["messages"] == []


# --- posts, questions, operators ------------------------------------------------------------------------------------


async def test_posts_that_did_not_arrive_are_listed_retried_and_dropped(house: House) -> None:
    def fail(tx: Transaction) -> outbox.Post:
        route = Route("gone", "default", "C1").to_json()
        post = outbox.add(tx, session_id="s", session_key=KEY, route=route, text="hello", state=State.PENDING)
        outbox.change(tx, post.id, state=State.FAILED, error="chat not found", attempts=1)
        return post

    post = await house.gateway.database.run(fail)
    (listed,) = (await house.get("/api/outbox")).json["posts"]
    assert (listed["id"], listed["state"], listed["error"]) == (post.id, "failed", "chat not found")
    assert listed["route"]["channel"] == "gone"
    assert (await house.post(f"/api/outbox/{post.id}/retry")).json["state"] == "pending"
    async with asyncio.timeout(30), house.gateway.events.subscribe(last_id=0) as watch:
        while (await anext(watch)).data.get("state") != "failed":
            pass
    assert (await house.post(f"/api/outbox/{post.id}/drop")).json["state"] == "dropped"
    assert (await house.get("/api/outbox")).json["posts"] == []
    assert (await house.get("/api/outbox?state=dropped")).json["posts"] != []
    assert (await house.post("/api/outbox/999/retry")).status == 404
    assert (await house.get("/api/outbox?state=lost")).status == 400
    assert (await house.post("/api/outbox/x/retry")).status == 404


async def test_questions_are_listed_and_answered_once(house: House) -> None:
    where = Call("s", KEY, "main", 1, 0, Route("api", "default", KEY))
    asking = asyncio.create_task(house.gateway.approvals.ask(where, Question("exec", "rm x", "rm *")))
    async with asyncio.timeout(30), house.gateway.events.subscribe(last_id=0) as watch:
        while (await anext(watch)).type != "approval":
            pass
    found = (await house.get("/api/approvals")).json["approvals"]
    assert (found[0]["tool"], found[0]["summary"], found[0]["pattern"]) == ("exec", "rm x", "rm *")
    path = f"/api/approvals/{found[0]['id']}"
    assert (await house.post(path, {"decision": "maybe"})).status == 400
    assert (await house.post(path, {"decision": "always"})).json["state"] == "allowed"
    assert await asking == Decision(True, "allowed by operator")
    assert (await house.post(path, {"decision": "deny"})).status == 409


async def test_commands_are_listed_for_completion(house: House) -> None:
    found = (await house.get("/api/commands")).json["commands"]
    names = [command["name"] for command in found]
    assert {"help", "stop", "new"} <= set(names)
    assert names == sorted(names)
    assert all({"name", "usage", "help", "words"} <= set(command) for command in found)


async def test_reload_is_all_or_nothing(house: House) -> None:
    old = house.gateway.config
    house.paths.config_file.write_text("{gateway: {prot: 1}}")
    refused = (await house.post("/api/reload")).json
    assert refused["reloaded"] is False
    assert "prot" in refused["problems"][0]
    assert house.gateway.config is old
    house.paths.config_file.write_text("{gateway: {port: 1}}")
    done = (await house.post("/api/reload")).json
    assert (done["reloaded"], done["problems"]) == (True, [])
    assert "gateway.port" in done["restartNeeded"]


async def test_a_backup_is_written_where_it_is_asked_for(house: House, tmp_path: Path) -> None:
    target = tmp_path / "backup.tar.gz"
    made = (await house.post("/api/backup", {"path": str(target)})).json
    assert made == {"path": str(target), "bytes": target.stat().st_size}
    assert (await house.post("/api/backup", {"path": str(target)})).status == 409
    assert (await house.post("/api/backup", {"path": "relative"})).status == 400


# --- scopes ---------------------------------------------------------------------------------------------------------


async def test_scopes_open_what_they_name(tmp_path: Path) -> None:
    tokens = [{"token": "reader", "scopes": ["read"]}, {"token": "chatter", "scopes": ["chat"], "name": "guest"}]
    async with http_gateway(tmp_path, config={"gateway": {"port": 0, "auth": {"tokens": tokens}}}) as house:
        await check_scopes(house)


async def check_scopes(house: House) -> None:
    house.models.on(reply=say("ok"))

    async def status(bearer: str, method: str, path: str, body: Any = None) -> int:
        return (await house.ask(method, path, bearer=bearer, json=body)).status

    assert await status("reader", "GET", "/api/sessions") == 200
    assert await status("reader", "POST", PATH, {"text": "a"}) == 403
    assert await status("reader", "POST", "/api/reload") == 403
    assert await status("reader", "GET", "/v1/models") == 200
    assert await status("chatter", "GET", "/api/sessions") == 403
    assert await status("chatter", "GET", "/v1/models") == 200
    assert await status("chatter", "POST", "/api/reload") == 403
    guest = "agent:main:api:guest"
    assert await status("chatter", "POST", f"/api/sessions/{guest}/messages", {"text": "a"}) == 202
    assert await status("chatter", "POST", PATH, {"text": "a"}) == 403
    assert (await idle(house, guest))["idle"]
    owners = "agent:main:api:owner"
    assert await status(house.bearer, "POST", f"/api/sessions/{owners}/messages", {"text": "a"}) == 202
    assert await status("chatter", "POST", f"/api/sessions/{owners}/messages", {"text": "a"}) == 403
    await idle(house, owners)
    commands = await house.ask("POST", f"/api/sessions/{guest}/messages", bearer="chatter", json={"text": "/approve 1"})
    assert "for owners" in commands.json["reply"]
