"""Fuzz: whatever is typed or called, there is an answer, never a traceback and never a half-created run."""

from __future__ import annotations

import asyncio
import json
import logging
import tempfile
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.store.database import Transaction
from gateway.store.schema import inbox, runs, sessions
from tests.support.model_script import Call, Reply, Seen, say
from tests.support.pilot import Json, Pilot, pilot, subagents

T = TypeVar("T")
OFTEN = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


class Bench:
    """One gateway for many examples."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.stack = AsyncExitStack()
        folder = self.stack.enter_context(tempfile.TemporaryDirectory(prefix="laneway-fuzz-"))
        config = subagents(maxChildrenPerAgent=500, maxConcurrent=50)
        self.p: Pilot = self.run(self.stack.enter_async_context(pilot(Path(folder), config=config)))
        self.p.on(lambda _: say("child done"), role="child")
        self.count = 0

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end."""
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        """Stops it."""
        self.run(self.stack.aclose())
        self.run(self.loop.shutdown_default_executor())
        self.loop.close()


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """The gateway of this module's examples."""
    bench = Bench()
    yield bench
    bench.close()


def counts(tx: Transaction) -> tuple[int, int, int]:
    """Runs, child sessions and first messages: always as many of each."""
    children = tx.execute(sessions.select().where(sessions.c.kind == "subagent")).all()
    tasks = tx.execute(inbox.select().where(inbox.c.kind == "task")).all()
    return len(tx.execute(runs.select()).all()), len({row.id for row in children}), len(tasks)


text = st.text(max_size=40) | st.sampled_from(
    ["", " ", "\0", "\ud800", "last", "1", "all", "<<<", '"', "'x", "--model", "main"]
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=6,
)
PARAMETERS = {
    "sessions_spawn": (
        "task",
        "label",
        "agentId",
        "model",
        "thinking",
        "runTimeoutSeconds",
        "cleanup",
        "context",
        "cwd",
        "budgetUsd",
        "budgetTokens",
        "outputSchema",
        "channel",
    ),
    "subagents": ("action", "target", "message", "limit", "tools"),
    "agents_list": ("x",),
    "sessions_list": ("kind", "limit"),
    "sessions_history": ("sessionKey", "limit", "tools"),
    "sessions_send": ("sessionKey", "message"),
    "session_status": ("sessionKey",),
}
GOOD: dict[str, Any] = {
    "task": "do it",
    "action": "list",
    "target": "last",
    "message": "hello",
    "sessionKey": "agent:main:main",
    "agentId": "main",
    "thinking": "low",
    "cleanup": "keep",
    "context": "fork",
    "cwd": ".",
    "runTimeoutSeconds": 60,
    "budgetTokens": 10**6,
    "outputSchema": {"type": "string"},
}


@st.composite
def tool_calls(draw: st.DrawFn) -> tuple[str, str]:
    """A tool of sessions, with arguments of which some are right."""
    name = draw(st.sampled_from(sorted(PARAMETERS)))
    chosen = draw(st.lists(st.sampled_from(PARAMETERS[name]), unique=True))
    arguments = {key: draw(st.just(GOOD[key]) | anything if key in GOOD else anything) for key in chosen}
    raw = json.dumps(arguments)
    return name, draw(st.just(raw) | st.just(raw[: len(raw) // 2]) | st.just("null"))


def check(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Nothing broke, and nothing is half there."""
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR], caplog.text
    made, children, tasks = bench.run(bench.p.gateway.database.read(counts))
    assert made == children == tasks


@OFTEN
@given(several=st.lists(tool_calls(), min_size=1, max_size=6))
def test_arguments_of_session_tools(
    bench: Bench, caplog: pytest.LogCaptureFixture, several: list[tuple[str, str]]
) -> None:
    """Issue, fuzz: tool arguments: never a traceback, never a half-created run."""
    bench.count += 1
    key, wish = f"agent:main:api:fuzz{bench.count}", f"wish {bench.count}"
    made = Reply(calls=tuple(Call(name, arguments) for name, arguments in several))

    def grant(seen: Seen) -> Reply | None:
        return made if seen.last_user == wish and seen.turn_step == 1 else None

    async def scene() -> list[Json]:
        p = bench.p
        script = p.on(grant, role="main")
        await p.say(wish, key)
        await p.wait_idle(key)
        p.model.rules.remove(script)
        return [m for m in await p.transcript(key) if m["role"] == "tool"]

    results = bench.run(scene())
    assert len(results) == len(several), "each call has one result"
    assert all("Traceback" not in result["text"] for result in results)
    for result in results:
        if result["tool"] == "sessions_spawn":
            answer = json.loads(result["text"])
            assert answer["status"] in ("accepted", "error", "forbidden")
            assert (answer["status"] == "accepted") != result["error"]
    check(bench, caplog)


WORDS = ("list", "info", "log", "send", "steer", "stop", "spawn", "pause", "resume", "retry", "tree", "help")
commands = st.one_of(
    st.tuples(st.just("/subagents"), st.sampled_from(WORDS), st.lists(text, max_size=4).map(" ".join)),
    st.tuples(
        st.sampled_from(["/help", "/status", "/new", "/model", "/think", "/usage", "/queue", "/approve", "/deny"]),
        text,
        text,
    ),
    st.tuples(st.just("/subagents spawn main"), text, st.sampled_from(["--model test/other", "--thinking", "--model"])),
    st.tuples(st.text(max_size=20).map(lambda rest: f"/{rest}"), text, text),
).map(lambda parts: " ".join(parts).strip())


@OFTEN
@given(typed=commands)
def test_slash_commands(bench: Bench, caplog: pytest.LogCaptureFixture, typed: str) -> None:
    """Issue, fuzz: slash commands: always an answer, never a traceback, never a half-created run."""

    async def scene() -> tuple[int, Json]:
        body = {"text": typed}
        response = await bench.p.post("/api/sessions/agent:main:api:typed/messages", body)
        await bench.p.wait_idle("agent:main:api:typed")
        return response.status, response.json

    status, answer = bench.run(scene())
    assert status in (200, 202, 400), (typed, answer)
    if status == 200:
        assert answer["reply"]
        assert "Traceback" not in answer["reply"]
    check(bench, caplog)


BODIES = st.dictionaries(
    st.sampled_from([*PARAMETERS["sessions_spawn"], "sessionKey", "message", "waitSeconds", "x"]),
    st.sampled_from(list(GOOD.values())) | anything,
    max_size=5,
)


@OFTEN
@given(body=BODIES, action=st.sampled_from(["", "/last/stop", "/0000/send", "/x/steer", "/%00/retry", "/1/pause"]))
def test_bodies_of_run_actions(bench: Bench, caplog: pytest.LogCaptureFixture, body: Json, action: str) -> None:
    """Issue, fuzz: HTTP bodies: never a 500, never a half-created run."""

    async def scene() -> int:
        response = await bench.p.post(f"/api/runs{action}", body)
        await bench.p.wait_idle()
        return response.status

    assert bench.run(scene()) < 500
    check(bench, caplog)
