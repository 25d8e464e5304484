"""Whatever a model sends: a tool answers, and what all tools cost in every request stays small."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.tools.base import ToolArgumentError, ToolResult
from gateway.tools.core import core_tools
from gateway.tools.web import Fetcher
from tests.support.tools import World

TOOLS = {tool.name: tool for tool in core_tools(Fetcher())}
PARAMETERS = sorted({name for tool in TOOLS.values() for name in tool.spec.parameters["properties"]})

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
paths = st.sampled_from([".", "a.txt", "sub", "sub/b.md", "..", "../token", "/", "x\0", "a.txt/b", "ä" * 300, "\u202e"])
values = json_values | paths | st.sampled_from([1, 5, "(a|", "**", "[", "https://", "http://[", "true"])


@st.composite
def arguments(draw: st.DrawFn) -> tuple[str, str]:
    """A tool's name, and JSON that often has the right shape."""
    name = draw(st.sampled_from(sorted(TOOLS)))
    schema: dict[str, Any] = dict(TOOLS[name].spec.parameters["properties"])
    known = {key: _fitting(key, part) for key, part in schema.items()}
    chosen = draw(st.fixed_dictionaries({}, optional=known))
    stray = draw(st.dictionaries(st.sampled_from([*PARAMETERS, "timeout", ""]), values, max_size=1))
    return name, json.dumps({**chosen, **(stray if draw(st.integers(0, 4)) == 0 else {})})


def _fitting(key: str, part: dict[str, Any]) -> st.SearchStrategy[Any]:
    if key == "command":
        return st.sampled_from(["true", "echo 'x", "\0", "exit 7", "kill -9 $$", "\udfff", "seq 3 | tail -1"])
    match part.get("type"):
        case "integer" | "number":
            return st.integers(-2, 3000) | values
        case "boolean":
            return st.booleans() | values
        case _:
            return paths | st.text(max_size=20) | values


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    made = World(
        tmp_path_factory.mktemp("fuzz") / "state",
        {"tools": {"exec": {"ask": "off", "sandbox": "off", "timeoutSeconds": 5}}},
        Fetcher(lambda _address: False),
    )
    (made.workspace / "sub").mkdir()
    (made.workspace / "a.txt").write_text("one\ntwo\n")
    return made


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(arguments())
def test_no_arguments_raise(world: World, call: tuple[str, str]) -> None:
    name, raw = call

    async def run() -> ToolResult:
        try:
            return await asyncio.wait_for(world.call_json(name, raw), 30)
        finally:
            await world.fetcher.close()

    result = asyncio.run(run())
    result.text.encode()  # can be stored
    assert (world.state / "token").read_text() == "sesame-sesame"


@given(st.sampled_from(sorted(TOOLS)), st.text() | json_values.map(json.dumps))
def test_no_text_breaks_parsing(name: str, raw: str) -> None:
    if raw and not raw.lstrip().startswith("{"):
        with pytest.raises(ToolArgumentError, match=name):
            TOOLS[name].parse(raw)


def test_schemas_are_small() -> None:
    specs = [{"name": t.name, "description": t.description, "parameters": t.spec.parameters} for t in TOOLS.values()]
    assert len(json.dumps(specs)) < 5_000
    assert all(tool.description.endswith(".") for tool in TOOLS.values())


def test_what_may_be_repeated() -> None:
    repeatable = {name for name, tool in TOOLS.items() if tool.idempotent}
    assert set(TOOLS) - repeatable == {"edit", "exec"}
