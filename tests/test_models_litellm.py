"""The litellm client against the scripted server's Anthropic protocol: thinking, caching, failures, prices."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gateway.agent.messages import (
    ContextWindowExceededError,
    ModelClient,
    ModelError,
    ModelRef,
    ModelRequest,
    ModelSettingError,
    PromptMessage,
    ToolSpec,
    TransientModelError,
)
from gateway.agent.models import Models
from tests.support.model_script import Call, Reply, Tokens, calls, fail, say
from tests.support.model_server import ScriptedModelServer

LS = ToolSpec("ls", "Lists a folder.", {"type": "object", "properties": {"path": {"type": "string"}}})
MODEL = "claude-sonnet-4-5"

# Litellm's own types make pydantic warn, at moments that depend on what it builds lazily.
pytestmark = [
    pytest.mark.filterwarnings("ignore::UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModelServer]:
    async with ScriptedModelServer() as running:
        yield running


@pytest.fixture(scope="module")
def client() -> ModelClient:
    from gateway.agent.litellm_client import LitellmClient  # 4 s: only these tests pay for it

    return LitellmClient()


def ref(server: ScriptedModelServer, model: str = MODEL, **more: Any) -> ModelRef:
    return ModelRef("anthropic", model, "litellm", server.base_url, "a-secret-key", max_tokens=8192, **more)


def ask(model: ModelRef, *messages: PromptMessage, **more: Any) -> ModelRequest:
    return ModelRequest(model, (PromptMessage("system", "be brief"), PromptMessage("user", "hello"), *messages), **more)


async def complete(client: ModelClient, request: ModelRequest, *, stream: bool) -> tuple[Any, str]:
    pieces: list[str] = []

    async def on_delta(text: str) -> None:
        pieces.append(text)

    reply = await client.complete(request, on_delta if stream else None)
    return reply, "".join(pieces) if stream else reply.text


@pytest.mark.parametrize("stream", [False, True])
async def test_a_tool_loop_with_thinking(server: ScriptedModelServer, client: ModelClient, stream: bool) -> None:
    looking = calls(Call("ls", {"path": "."}), Call("ls", {"path": "b"}), text="Looking.")
    server.on(
        step=1, reply=Reply(looking.text, looking.calls, reasoning="Hm, well.", tokens=Tokens(1000, 50, cached=400))
    )
    server.on(step=2, reply=say("Two files."))
    first = ask(ref(server), tools=[LS], thinking="medium")
    reply, shown = await complete(client, first, stream=stream)
    assert shown == reply.text == "Looking."
    assert [one.arguments for one in reply.calls] == ['{"path": "."}', '{"path": "b"}']
    (block,) = reply.provider_state["thinking_blocks"]
    assert (block["thinking"], block["signature"]) == ("Hm, well.", "scripted-signature")
    assert (reply.usage.input, reply.usage.output, reply.usage.cache_read) == (1000, 50, 400)
    assert reply.usage.cost_micro == 600 * 3 + 120 + 50 * 15
    loop = (
        PromptMessage("assistant", reply.text, calls=reply.calls, provider_state=reply.provider_state),
        *(PromptMessage("tool", "a.txt", call_id=one.id) for one in reply.calls),
    )
    final, _ = await complete(client, ask(ref(server), *loop, tools=[LS], thinking="medium"), stream=stream)
    assert final.text == "Two files."
    one, two = server.requests
    assert one.body["thinking"] == {"type": "enabled", "budget_tokens": 6144}
    assert one.body["max_tokens"] == 8192
    assert two.messages[2]["thinking"][0]["signature"] == "scripted-signature"
    assert one.body["system"][0]["cache_control"] == {"type": "ephemeral"}
    server.assert_done()


async def test_a_model_that_sizes_its_own_thinking_gets_an_effort(
    server: ScriptedModelServer, client: ModelClient
) -> None:
    server.on(reply=say("x"))
    await client.complete(ask(ref(server, "claude-sonnet-5"), thinking="max"))
    await client.complete(ask(ref(server, "claude-sonnet-5")))
    first, second = (seen.body for seen in server.requests)
    assert first["thinking"]["type"] == "adaptive"
    assert first["output_config"]["effort"] == "max"
    assert "output_config" not in second


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (fail(401, "invalid x-api-key"), ModelSettingError, "models.providers.anthropic.apiKey` or the environment"),
        (fail(404, "model: claude-x"), ModelSettingError, "has no model"),
        (fail(400, "prompt is too long: 210000 tokens > 200000 maximum"), ContextWindowExceededError, "too long"),
        (fail(429, "slow down", retry_after="12"), TransientModelError, "rate limited: slow down"),
        (fail(529, "Overloaded"), TransientModelError, "Overloaded"),
        (fail(500, "oops"), TransientModelError, "oops"),
        (fail(400, "Your credit balance is too low"), ModelError, "credit"),
        (Reply(drop=True), TransientModelError, ""),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_failures(
    server: ScriptedModelServer, client: ModelClient, reply: Reply, kind: type[ModelError], words: str, stream: bool
) -> None:
    server.on(reply=reply)
    with pytest.raises(ModelError) as raised:
        await complete(client, ask(ref(server)), stream=stream)
    assert type(raised.value) is kind, str(raised.value)
    assert words in str(raised.value)
    assert len(server.requests) == 1
    if isinstance(raised.value, TransientModelError) and reply.status == 429:
        assert raised.value.retry_after == 12


async def test_a_model_without_a_price_has_an_unknown_cost(server: ScriptedModelServer, client: ModelClient) -> None:
    server.on(reply=say("x"))
    reply = await client.complete(ask(ref(server, "claude-unheard-of")))
    assert reply.usage.cost_micro is None
    assert reply.usage_known


async def test_cancelling_closes_the_connection(server: ScriptedModelServer, client: ModelClient) -> None:
    server.on(reply=say("late", hold="gate"))
    task = asyncio.create_task(client.complete(ask(ref(server))))
    await server.wait_for(lambda _: True)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await server.wait_gone()


async def test_other_names_of_a_family_go_through_litellm(server: ScriptedModelServer, client: ModelClient) -> None:
    server.on(reply=say("x"))
    models = Models({"litellm": client})
    own = ModelRef("mine", MODEL, "anthropic", server.base_url.removesuffix("/v1"), "k", headers={"X-Own": "1"})
    reply, _ = await models.complete(ask(own))
    assert reply.text == "x"
    assert server.requests[0].headers["X-Own"] == "1"
    await models.close()
