"""The OpenAI-compatible client against the scripted model server: what is sent, what is read, what goes wrong."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.agent.messages import (
    ContextWindowExceededError,
    Image,
    ModelError,
    ModelRef,
    ModelReply,
    ModelRequest,
    ModelSettingError,
    Price,
    PromptMessage,
    ToolCall,
    ToolSpec,
    TransientModelError,
)
from gateway.agent.openai_client import OpenAIClient
from tests.support.model_script import Call, Reply, Tokens, call, calls, fail, say
from tests.support.model_server import ScriptedModelServer

LS = ToolSpec("ls", "Lists a folder.", {"type": "object", "properties": {"path": {"type": "string"}}})


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModelServer]:
    async with ScriptedModelServer() as running:
        yield running


@pytest.fixture
async def client() -> AsyncIterator[OpenAIClient]:
    made = OpenAIClient()
    yield made
    await made.close()


def ref(server: ScriptedModelServer, **more: Any) -> ModelRef:
    return ModelRef("test", "scripted", "openai-completions", server.base_url, "a-secret-key", **more)


def request(model: ModelRef, *messages: PromptMessage, **more: Any) -> ModelRequest:
    return ModelRequest(model, messages or (PromptMessage("user", "hello"),), **more)


async def streamed(client: OpenAIClient, asked: ModelRequest) -> tuple[ModelReply, list[str]]:
    pieces: list[str] = []

    async def on_delta(text: str) -> None:
        pieces.append(text)

    return await client.complete(asked, on_delta), pieces


async def test_a_plain_answer(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(reply=say("Hi there.", tokens=Tokens(120, 7, cached=100)))
    model = ref(server, price=Price(1.0, 10.0, 0.1, 1.0), headers={"X-Team": "blue"})
    reply = await client.complete(request(model, tools=[LS]))
    assert (reply.text, reply.calls, reply.finish_reason) == ("Hi there.", (), "stop")
    assert (reply.usage.input, reply.usage.output, reply.usage.cache_read) == (120, 7, 100)
    assert reply.usage.cost_micro == 100  # 20 × 1 + 100 × 0.1 + 7 × 10
    assert reply.usage_known
    (seen,) = server.requests
    assert seen.body["max_tokens"] == 8192
    assert seen.tools == ("ls",)
    assert "stream" not in seen.body
    assert "reasoning_effort" not in seen.body
    assert seen.headers["Authorization"] == "Bearer a-secret-key"
    assert seen.headers["X-Team"] == "blue"


async def test_a_streamed_answer_with_calls(server: ScriptedModelServer, client: OpenAIClient) -> None:
    two = (Call("ls", {"path": "a"}), Call("ls", {"path": "ü"}, id="own"))
    server.on(reply=Reply("Looking at it – now.", two, reasoning="Let me see.", split=True))
    reply, pieces = await streamed(client, request(ref(server), tools=[LS]))
    assert "".join(pieces) == reply.text == "Looking at it – now."
    assert len(pieces) > 2
    assert [json.loads(one.arguments)["path"] for one in reply.calls] == ["a", "ü"]
    assert [one.id for one in reply.calls] == ["call_1_0", "own"]
    assert reply.provider_state == {"reasoning_content": "Let me see."}
    assert (reply.usage.input, reply.usage.output) == (100, 20)
    assert reply.finish_reason == "tool_calls"


async def test_what_a_provider_needs_back_is_sent_back(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(reply=say("done"))
    messages = (
        PromptMessage("system", "s"),
        PromptMessage("user", "u"),
        PromptMessage(
            "assistant",
            "",
            calls=(ToolCall("c1", "ls", '{"path": "."}'), ToolCall("c2", "ls", "{broken")),
            provider_state={"reasoning_content": "hm"},
        ),
        PromptMessage("tool", "a.txt", call_id="c1"),
        PromptMessage("tool", "bad arguments", call_id="c2"),
    )
    await client.complete(request(ref(server), *messages, tools=[LS]))
    (seen,) = server.requests
    assistant = seen.messages[2]
    assert assistant["reasoning_content"] == "hm"
    assert [one["function"]["arguments"] for one in assistant["tool_calls"]] == ['{"path": "."}', "{}"]
    server.assert_done()


async def test_calls_that_share_an_id_are_told_apart(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(reply=calls(Call("ls", {}, id="x"), Call("ls", {}, id="x")))
    reply = await client.complete(request(ref(server)))
    assert len({one.id for one in reply.calls}) == 2


async def test_missing_usage_is_estimated_and_says_so(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(reply=say("four words of text", tokens=None))
    for asked in (request(ref(server)), request(ref(server))):
        reply = await client.complete(asked)
        assert not reply.usage_known
        assert reply.usage.input > 0
        assert reply.usage.output == 5
        assert reply.usage.cost_micro is None


async def test_thinking_and_reply_limit(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(reply=say("x"))
    model = replace(ref(server, max_tokens=500), id="gpt-5")
    await client.complete(request(model, thinking="max", max_tokens=64))
    await client.complete(request(replace(model, provider="openai"), thinking="off", session_key="agent:main:main"))
    first, second = (seen.body for seen in server.requests)
    assert (first["max_tokens"], first["reasoning_effort"]) == (64, "high")
    assert (second["max_completion_tokens"], second["reasoning_effort"]) == (500, "minimal")
    assert len(second["prompt_cache_key"]) == 32
    assert "max_tokens" not in second


async def test_pictures_reach_models_that_see(
    server: ScriptedModelServer, client: OpenAIClient, tmp_path: Path
) -> None:
    server.on(reply=say("x"))
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"\x89PNG")
    message = PromptMessage("user", "what is it?", images=(Image(str(picture), "image/png"),))
    await client.complete(request(ref(server, images=True), message))
    await client.complete(request(ref(server), message))
    seeing, blind = (seen.messages[0]["content"] for seen in server.requests)
    assert seeing[1]["image_url"]["url"] == "data:image/png;base64,iVBORw=="
    assert "cat.png" in blind[1]["text"]
    picture.unlink()
    with pytest.raises(ModelError, match=r"cat\.png can't be read"):
        await client.complete(request(ref(server, images=True), message))


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (fail(401, "Incorrect API key: a-secret-key"), ModelSettingError, ["models.providers.test.apiKey", "key: …"]),
        (fail(404, "no such thing"), ModelSettingError, ["scripted", "agents.defaults.model.primary"]),
        (fail(400, "The model `scripted` does not exist", "model_not_found"), ModelSettingError, ["scripted"]),
        (fail(400, "scripted does not support tools"), ModelSettingError, ["test/scripted", "can't call tools"]),
        (
            fail(400, "This model's maximum context length is 9", "context_length_exceeded"),
            ContextWindowExceededError,
            [],
        ),
        (fail(413, "prompt is too long: 9 tokens"), ContextWindowExceededError, []),
        (fail(429, "slow down", retry_after="7"), TransientModelError, ["rate limited"]),
        (fail(429, "You exceeded your current quota", "insufficient_quota"), ModelError, ["credit or quota"]),
        (fail(402, "pay"), ModelError, ["payment"]),
        (fail(503, "overloaded"), TransientModelError, ["503"]),
        (fail(400, "temperature is odd"), ModelError, ["400", "temperature is odd"]),
        (Reply(drop=True), TransientModelError, ["can't reach"]),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_failures(
    server: ScriptedModelServer,
    client: OpenAIClient,
    reply: Reply,
    kind: type[ModelError],
    words: Sequence[str],
    stream: bool,
) -> None:
    server.on(reply=reply)
    with pytest.raises(ModelError) as raised:
        await (streamed(client, request(ref(server))) if stream else client.complete(request(ref(server))))
    assert type(raised.value) is kind
    for word in words if not reply.drop else ():
        assert word in str(raised.value)
    assert "a-secret-key" not in str(raised.value)
    if isinstance(raised.value, TransientModelError) and reply.status == 429:
        assert (raised.value.retry_after, raised.value.rate_limited) == (7.0, True)


async def test_a_known_provider_s_key_error_names_its_variable(
    server: ScriptedModelServer, client: OpenAIClient
) -> None:
    server.on(reply=fail(401, "no"))
    with pytest.raises(ModelSettingError, match="OPENAI_API_KEY"):
        await client.complete(request(replace(ref(server), provider="openai")))


async def test_a_stream_that_breaks_off_is_worth_another_try(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(reply=say("one two three", drop=True, drop_after=3))
    with pytest.raises(TransientModelError):
        await streamed(client, request(ref(server)))


async def test_an_unreachable_server_is_worth_another_try(client: OpenAIClient) -> None:
    model = ModelRef("test", "m", "openai-completions", "http://127.0.0.1:9/v1", "k")
    with pytest.raises(TransientModelError, match="can't reach http://127"):
        await client.complete(request(model))


async def test_a_page_that_is_no_api_points_at_the_address(server: ScriptedModelServer, client: OpenAIClient) -> None:
    wrong = replace(ref(server), base_url=server.base_url.removesuffix("/v1"))
    with pytest.raises(ModelSettingError, match=r"models\.providers\.test\.baseUrl"):
        await client.complete(request(wrong))


async def test_cancelling_closes_the_connection(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(user="slow", reply=say("late", hold="gate"))
    server.on(reply=say("quick"))
    task = asyncio.create_task(client.complete(request(ref(server), PromptMessage("user", "slow"))))
    await server.wait_for(lambda seen: seen.last_user == "slow")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.wait_gone()
    assert (await client.complete(request(ref(server)))).text == "quick"


async def test_connections_are_used_again(server: ScriptedModelServer, client: OpenAIClient) -> None:
    server.on(reply=call("ls", path="."))
    for _ in range(5):
        await client.complete(request(ref(server)))
        await streamed(client, request(ref(server)))
    assert len({seen.peer for seen in server.requests}) == 1


async def test_a_server_without_a_key_gets_none_of_the_environment(
    server: ScriptedModelServer, client: OpenAIClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-user")
    server.on(reply=say("x"))
    await client.complete(request(replace(ref(server), api_key=None)))
    assert "of-the-user" not in json.dumps(dict(server.requests[0].headers))
