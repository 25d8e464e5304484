"""The facade over models (issue part 6): tries, waits, fallbacks, lazy clients and the offline switch."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from gateway.agent.messages import (
    ContextWindowExceededError,
    ModelRef,
    ModelRequest,
    ModelSettingError,
    PromptMessage,
    TransientModelError,
)
from gateway.agent.models import OFFLINE_VARIABLE, Models
from gateway.agent.resolve import DEMO_MODEL
from gateway.agent.retry import LONGEST_WAIT, MAX_TRIES, parse_retry_after, wait_before
from tests.support.model_script import fail, say
from tests.support.model_server import ScriptedModelServer


@dataclass
class Watcher:
    """Keeps what a call told while it was made."""

    waits: list[float] = field(default_factory=list[float])
    retries: list[str] = field(default_factory=list[str])
    shown: str = ""

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)

    async def on_retry(self, text: str) -> None:
        self.retries.append(text)
        self.shown = ""

    async def on_delta(self, text: str) -> None:
        self.shown += text


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OFFLINE_VARIABLE, "1")


@pytest.fixture
async def server() -> AsyncIterator[ScriptedModelServer]:
    async with ScriptedModelServer() as running:
        yield running


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture
async def models(watcher: Watcher) -> AsyncIterator[Models]:
    made = Models(sleep=watcher.sleep, jitter=lambda: 0.5)
    yield made
    await made.close()


def ref(server: ScriptedModelServer, name: str = "one") -> ModelRef:
    return ModelRef("test", name, "openai-completions", server.base_url, "k")


def ask(model: ModelRef) -> ModelRequest:
    messages = (
        PromptMessage("user", "hi"),
        PromptMessage("assistant", "yes?", provider_state={"reasoning_content": "private"}),
        PromptMessage("user", "go on"),
    )
    return ModelRequest(model, messages)


async def test_a_transient_error_is_tried_again_with_growing_waits(
    server: ScriptedModelServer, models: Models, watcher: Watcher
) -> None:
    for _ in range(MAX_TRIES - 1):
        server.on(reply=fail(503, "busy"), once=True)
    server.on(reply=say("at last"), once=True)
    reply, model = await models.complete(ask(ref(server)), on_retry=watcher.on_retry)
    assert (reply.text, model.name) == ("at last", "test/one")
    assert watcher.waits == [1, 2, 4, 8]
    assert len(watcher.retries) == 4
    assert "try 2 of 5 in 1 s" in watcher.retries[0]
    server.assert_done()


async def test_after_five_tries_the_error_is_raised(
    server: ScriptedModelServer, models: Models, watcher: Watcher
) -> None:
    server.on(reply=fail(500, "broken"))
    with pytest.raises(TransientModelError, match="broken"):
        await models.complete(ask(ref(server)))
    assert len(server.requests) == MAX_TRIES
    assert len(watcher.waits) == MAX_TRIES - 1


async def test_retry_after_is_honoured_and_capped(
    server: ScriptedModelServer, models: Models, watcher: Watcher
) -> None:
    server.on(reply=fail(429, "slow", retry_after="10"), once=True)
    server.on(reply=fail(429, "slow", retry_after="9000"), once=True)
    server.on(reply=say("ok"))
    await models.complete(ask(ref(server)), on_retry=watcher.on_retry)
    assert watcher.waits == [pytest.approx(10.5), pytest.approx(LONGEST_WAIT * 1.05)]  # pyright: ignore[reportUnknownMemberType]


async def test_what_was_streamed_before_a_retry_is_void(
    server: ScriptedModelServer, models: Models, watcher: Watcher
) -> None:
    server.on(reply=say("half an answ", drop=True, drop_after=3), once=True)
    server.on(reply=say("a whole answer"), once=True)
    reply, _ = await models.complete(ask(ref(server)), watcher.on_delta, watcher.on_retry)
    assert watcher.shown == reply.text == "a whole answer"
    assert len(watcher.retries) == 1


async def test_a_setting_error_is_not_tried_again(server: ScriptedModelServer, models: Models) -> None:
    server.on(reply=fail(401, "bad key"))
    with pytest.raises(ModelSettingError):
        await models.complete(ask(ref(server)))
    assert len(server.requests) == 1


async def test_fallbacks_answer_in_order_and_get_no_foreign_state(
    server: ScriptedModelServer, models: Models, watcher: Watcher
) -> None:
    server.on(model="one", reply=fail(503, "busy"))
    server.on(model="two", reply=fail(401, "bad key"))
    server.on(model="three", reply=say("me"))
    reply, model = await models.complete(
        ask(ref(server)), on_retry=watcher.on_retry, fallbacks=[ref(server, "two"), ref(server, "three")]
    )
    assert (reply.text, model.id) == ("me", "three")
    assert [seen.model for seen in server.requests] == ["one"] * 5 + ["two", "three"]
    assert "asking test/three instead" in watcher.retries[-1]
    assert server.requests[0].messages[1]["reasoning_content"] == "private"
    assert "reasoning_content" not in server.requests[-1].messages[1]


async def test_a_long_wait_is_not_sat_out_when_there_is_a_fallback(
    server: ScriptedModelServer, models: Models, watcher: Watcher
) -> None:
    server.on(model="one", reply=fail(429, "tomorrow", retry_after="9000"))
    server.on(model="two", reply=say("me"))
    _, model = await models.complete(ask(ref(server)), fallbacks=[ref(server, "two")])
    assert model.id == "two"
    assert watcher.waits == []


async def test_a_prompt_that_is_too_long_goes_to_no_fallback(server: ScriptedModelServer, models: Models) -> None:
    server.on(model="one", reply=fail(400, "too long", "context_length_exceeded"))
    with pytest.raises(ContextWindowExceededError):
        await models.complete(ask(ref(server)), fallbacks=[ref(server, "two")])
    assert len(server.requests) == 1


async def test_a_call_that_would_leave_the_machine_is_refused(models: Models) -> None:
    for url in ("https://api.example.com/v1", "http://127.0.0.1.example.com/v1", None):
        model = ModelRef("far", "m", "openai-completions", url, "k")
        with pytest.raises(ModelSettingError, match="LANEWAY_OFFLINE"):
            await models.complete(ask(model))
    with pytest.raises(ModelSettingError, match="LANEWAY_OFFLINE"):
        await models.complete(ask(ModelRef("anthropic", "claude", "litellm", None, "k")))


async def test_the_offline_model_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LANEWAY_DEMO_DELAY", "0")
    reply, model = await Models().complete(ask(DEMO_MODEL))
    assert model.name == "demo/offline"
    assert reply.text


async def test_many_calls_at_once_share_one_client(server: ScriptedModelServer, models: Models) -> None:
    server.on(reply=say("x"))
    await asyncio.gather(models.prepare([ref(server)]), models.prepare([ref(server), DEMO_MODEL]))
    await asyncio.gather(*(models.complete(ask(ref(server))) for _ in range(20)))
    await models.complete(ask(ref(server)))
    assert len({seen.peer for seen in server.requests}) <= 20


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, gateway.agent.models, gateway.agent.resolve\n"
        "print([name for name in ('openai', 'litellm', 'httpx', 'gateway.agent.demo') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)  # noqa: S603  # our own interpreter
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sat, 21 Nov 2026 10:00:30 GMT"}, 30.0),
        ({"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_as_a_date(headers: dict[str, str], seconds: float | None) -> None:
    assert parse_retry_after(headers, datetime(2026, 11, 21, 10, 0, 0, tzinfo=UTC)) == seconds


def test_a_wish_to_wait_is_never_undercut() -> None:
    assert wait_before(1, 20.0, 0.0) == 20.0
    assert wait_before(3, None, 0.0) == 3.0
    assert wait_before(3, None, 1.0) == 5.0
