"""The scripted model server is strict: it says what it did not expect, and what a real provider would refuse."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.model_checks import faults
from tests.support.model_script import call, say
from tests.support.model_server import ScriptedModelServer

USER = {"role": "user", "content": "hi"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def post(http: aiohttp.ClientSession, url: str, *messages: dict[str, Any]) -> tuple[int, Any]:
    async with http.post(f"{url}/chat/completions", json={"model": "m", "messages": list(messages)}) as response:
        return response.status, await response.json()


def assistant(*ids: str) -> dict[str, Any]:
    made = [{"id": i, "type": "function", "function": {"name": "ls", "arguments": "{}"}} for i in ids]
    return {"role": "assistant", "content": None, "tool_calls": made}


def result(call_id: str) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": call_id, "content": "x"}


async def test_an_unexpected_request_fails_the_test(http: aiohttp.ClientSession) -> None:
    async with ScriptedModelServer() as server:
        server.on(user="other", reply=say("x"))
        status, body = await post(http, server.base_url, USER)
        assert status == 500
        assert "no rule for request 1" in body["error"]["message"]
        with pytest.raises(AssertionError, match="unexpected: no rule"):
            server.assert_done()


async def test_a_rule_that_was_to_be_used_and_was_not_fails_the_test(http: aiohttp.ClientSession) -> None:
    async with ScriptedModelServer() as server:
        server.on(reply=say("first"), once=True, name="one")
        server.on(reply=say("second"), once=True, name="two")
        _, body = await post(http, server.base_url, USER)
        assert body["choices"][0]["message"]["content"] == "first"
        with pytest.raises(AssertionError, match="never used: two"):
            server.assert_done()


async def test_what_a_provider_would_refuse_is_refused(http: aiohttp.ClientSession) -> None:
    async with ScriptedModelServer() as server:
        server.on(reply=say("x"))
        status, body = await post(http, server.base_url, USER, assistant("a"), USER)
        assert status == 400
        assert "have no result" in body["error"]["message"]
        with pytest.raises(AssertionError, match="invalid: request 1"):
            server.assert_done()


@pytest.mark.parametrize(
    ("messages", "fault"),
    [
        ([USER, assistant("a", "b"), result("b"), result("a"), USER], ""),
        ([USER, assistant("a"), result("a"), result("a")], "answers no open call"),
        ([USER, result("a")], "answers no open call"),
        ([USER, assistant("a", "a"), result("a"), result("a")], "stands for 2 calls"),
        ([USER, assistant("a")], "have no result"),
        ([{"role": "robot", "content": "x"}], "role 'robot'"),
        ([USER, {"role": "assistant", "content": ""}], "neither content nor calls"),
        ([{"role": "system", "content": "x"}], "nothing but system"),
    ],
)
def test_faults_of_messages(messages: list[dict[str, Any]], fault: str) -> None:
    found = "; ".join(faults({"model": "m", "messages": messages}))
    assert fault in found
    assert bool(found) == bool(fault)


def test_faults_of_tools() -> None:
    tool = {"type": "function", "function": {"name": "ls", "parameters": {"type": "string"}}}
    assert "aren't an object" in faults({"model": "m", "messages": [USER], "tools": [tool]})[0]


async def test_callables_steps_and_roles(http: aiohttp.ClientSession) -> None:
    async with ScriptedModelServer() as server:
        server.on(role="child", reply=say("child"))
        server.on(step=1, reply=call("ls", path="."))
        server.on(lambda seen: say(f"{seen.step} {seen.results[0]}") if seen.results else None)
        child = {"role": "system", "content": "You are a sub-agent: …"}
        assert (await post(http, server.base_url, child, USER))[1]["choices"][0]["message"]["content"] == "child"
        _, first = await post(http, server.base_url, USER)
        made = first["choices"][0]["message"]
        answer = {"role": "tool", "tool_call_id": made["tool_calls"][0]["id"], "content": "a.txt"}
        _, second = await post(http, server.base_url, USER, made, answer)
        assert second["choices"][0]["message"]["content"] == "2 a.txt"
        server.assert_done()


async def test_as_a_process_it_prints_its_address_and_logs_what_it_saw(
    http: aiohttp.ClientSession, tmp_path: Path
) -> None:
    script, log = tmp_path / "rules.json", tmp_path / "log.jsonl"
    rules = [
        {"user": "count", "reply": {"calls": [{"name": "ls", "arguments": {"path": "."}}]}},
        {"reply": {"text": "ok"}},
    ]
    script.write_text(json.dumps({"rules": rules}))
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.model_server", "--script", script, "--log", log,
        stdout=asyncio.subprocess.PIPE, cwd=Path(__file__).parent.parent,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        url = (await process.stdout.readline()).decode().strip()
        _, body = await post(http, url, {"role": "user", "content": "count"})
        assert body["choices"][0]["finish_reason"] == "tool_calls"
        await post(http, url, USER)
    finally:
        process.kill()
        await process.wait()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["event"] for line in lines] == ["request", "answered"] * 2
    assert lines[0]["body"]["messages"][0]["content"] == "count"
