"""Resolution chains: which model, thinking level, timeout and credentials a sub-agent gets, the same everywhere."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.model_script import fail, say
from tests.support.pilot import Json, Pilot, pilot

MODELS = ("explicit", "target", "defaults", "own", "primary", "live")
"""One model for each link of the chain."""


def chain(
    p: Pilot,
    *,
    target: str | None = None,
    defaults: str | None = None,
    own: str | None = None,
    fallbacks: tuple[str, ...] = (),
) -> None:
    """Configures agents `main` and `coder`, with the links of the chain that are given."""
    models = [{"id": name, "contextWindow": 100_000, "maxTokens": 100} for name in MODELS]
    provider = {"baseUrl": p.model.base_url, "api": "openai-completions", "apiKey": "k-shared", "models": models}
    coder: Json = {"id": "coder"}
    if target:
        coder["subagents"] = {"model": f"link/{target}"}
    if own:
        coder["model"] = f"link/{own}"
    entry: Json = {"id": "main", "default": True, "subagents": {"allowAgents": ["*"]}}
    default: Json = {"model": {"primary": "link/primary", "fallbacks": [f"link/{name}" for name in fallbacks]}}
    if defaults:
        default["subagents"] = {"model": {"primary": f"link/{defaults}", "fallbacks": [f"link/{n}" for n in fallbacks]}}
    p.configure({"agents": {"list": [entry, coder], "defaults": default}, "models": {"providers": {"link": provider}}})


CHAIN: list[tuple[dict[str, str], str | None, str]] = [
    # what is set, what the call asks for, what comes out
    ({"target": "target", "defaults": "defaults", "own": "own"}, "link/explicit", "explicit"),
    ({"target": "target", "defaults": "defaults", "own": "own"}, None, "target"),
    ({"defaults": "defaults", "own": "own"}, None, "defaults"),
    ({"own": "own"}, None, "own"),
    ({}, None, "primary"),
    ({"own": "own"}, "explicit", "explicit"),
]


@pytest.mark.parametrize(("links", "asked", "wanted"), CHAIN)
async def test_model_chain(tmp_path: Path, links: dict[str, str], asked: str | None, wanted: str) -> None:
    """spec/subagents.md, model: explicit → target's subagents.model → defaults' → target's own → primary."""
    async with pilot(tmp_path, start=False) as p:
        chain(p, target=links.get("target"), defaults=links.get("defaults"), own=links.get("own"))
        await p.start()
        more = {"model": asked} if asked else {}
        accepted = await p.spawn(task="t", agentId="coder", **more)
        assert accepted["resolvedModel"] == f"link/{wanted}"
        await p.wait_idle()
        [first] = p.child_requests()
        run = await p.run(accepted["runId"])
        info = await p.command("/subagents info last")
        assert first.model == wanted
        assert run["model"] == f"link/{wanted}"
        assert f"link/{wanted}" in info, "accepted result, request and info never disagree"


async def test_model_the_live_session_s_choice_stands_for_the_agent_s_own(tmp_path: Path) -> None:
    """spec/subagents.md, model: for the same agent a model set with `/model` stands in place of the agent's own."""
    async with pilot(tmp_path, start=False) as p:
        chain(p, own="own")
        await p.start()
        await p.command("/model link/live")
        same, other = await p.spawn_many([{"task": "t"}, {"task": "t", "agentId": "coder"}])
        assert same["resolvedModel"] == "link/live"
        assert other["resolvedModel"] == "link/own"
        await p.wait_idle()


async def test_model_the_live_choice_gives_way_to_subagents_model(tmp_path: Path) -> None:
    """spec/subagents.md, model: … in place of the agent's *own*, so that `subagents.model` goes before it."""
    async with pilot(tmp_path, start=False) as p:
        chain(p, defaults="defaults")
        await p.start()
        await p.command("/model link/live")
        assert (await p.spawn(task="t"))["resolvedModel"] == "link/defaults"
        await p.wait_idle()


async def test_model_explicit_is_strict_and_others_may_fall_back(tmp_path: Path) -> None:
    """spec/subagents.md: an explicit model is strict (no fallbacks); the others may use `model.fallbacks`."""
    async with pilot(tmp_path, start=False) as p:
        chain(p, defaults="defaults", fallbacks=("live",))
        await p.start()
        p.on(reply=fail(401, "no such key"), role="child", model="^(explicit|defaults)$")
        await p.spawn_many([{"task": "strict", "model": "link/explicit"}, {"task": "chain"}])
        await p.wait_idle()
        runs = {run["label"]: run for run in await p.runs()}
        assert runs["strict"]["outcome"] == "error"
        assert runs["chain"]["outcome"] == "ok"
        asked = [(seen.first_user, seen.model) for seen in p.child_requests()]
        assert sorted(asked) == [("chain", "defaults"), ("chain", "live"), ("strict", "explicit")]


async def test_model_a_run_keeps_its_resolved_model_over_a_reload(tmp_path: Path) -> None:
    """Architecture, configuration: a run keeps its stored `resolvedModel`."""
    async with pilot(tmp_path, start=False) as p:
        chain(p, defaults="defaults")
        await p.start()
        p.on(lambda seen: say("late", hold="h") if seen.step == 1 else None, role="child")
        accepted = await p.spawn(task="t")
        await p.wait_asked(lambda seen: seen.role == "child")
        chain(p, defaults="own")
        assert (await p.post("/api/reload")).json["reloaded"]
        await p.command("/subagents steer last go on")
        p.model.release("h")
        await p.wait_idle()
        assert [seen.model for seen in p.child_requests()] == ["defaults", "defaults"]
        assert (await p.run(accepted["runId"]))["model"] == "link/defaults"


LEVELS: list[tuple[dict[str, str], str | None, str | None]] = [
    ({"target": "high", "defaults": "low"}, "max", "max"),
    ({"target": "high", "defaults": "low"}, "off", "off"),
    ({"target": "high", "defaults": "low"}, None, "high"),
    ({"defaults": "low"}, None, "low"),
    ({}, None, None),
    ({}, "MEDIUM", "medium"),
]


@pytest.mark.parametrize(("links", "asked", "wanted"), LEVELS)
async def test_thinking_chain(tmp_path: Path, links: dict[str, str], asked: str | None, wanted: str | None) -> None:
    """spec/subagents.md, thinking: explicit → target's → defaults' → none; never the agent's own level."""
    coder: Json = {"id": "coder", "thinking": "minimal", "subagents": {}}
    if "target" in links:
        coder["subagents"]["thinking"] = links["target"]
    defaults: Json = {"thinking": "xhigh", "subagents": {"allowAgents": ["*"]}}
    if "defaults" in links:
        defaults["subagents"]["thinking"] = links["defaults"]
    config = {"agents": {"list": [{"id": "main"}, coder], "defaults": defaults}}
    async with pilot(tmp_path, config=config) as p:
        more = {"thinking": asked} if asked else {}
        accepted = await p.spawn(task="t", agentId="coder", **more)
        await p.wait_idle()
        assert (await p.run(accepted["runId"]))["thinking"] == wanted


TIMEOUTS: list[tuple[dict[str, int], int | None, str | None]] = [
    ({"target": 7, "defaults": 5}, 3, "3s"),
    ({"target": 7, "defaults": 5}, None, "7s"),
    ({"defaults": 5}, None, "5s"),
    ({}, None, None),
    ({"target": 7, "defaults": 5}, 0, None),
    ({"target": 0, "defaults": 5}, None, None),
]


@pytest.mark.parametrize(("links", "asked", "wanted"), TIMEOUTS)
async def test_timeout_chain(tmp_path: Path, links: dict[str, int], asked: int | None, wanted: str | None) -> None:
    """spec/subagents.md, timeout: explicit (0 = none, beats a default) → target agent's → defaults' → 0."""
    coder: Json = {"id": "coder", "subagents": {}}
    if "target" in links:
        coder["subagents"]["runTimeoutSeconds"] = links["target"]
    defaults: Json = {"subagents": {"allowAgents": ["*"], "runTimeoutSeconds": links.get("defaults", 0)}}
    async with pilot(tmp_path, config={"agents": {"list": [{"id": "main"}, coder], "defaults": defaults}}) as p:
        more: dict[str, Any] = {} if asked is None else {"runTimeoutSeconds": asked}
        await p.spawn(task="t", agentId="coder", **more)
        await p.wait_idle()
        shown = re.search(r"Timeout: (\w+)", await p.command("/subagents info last"))
        assert (shown[1] if shown else None) == wanted


async def test_credentials_by_the_child_s_agent_id(tmp_path: Path) -> None:
    """spec/subagents.md: credentials are resolved by the child's agent id; the main agent's are the fallback."""
    async with pilot(tmp_path, start=False) as p:
        link = {"baseUrl": p.model.base_url, "api": "openai-completions", "models": [{"id": "m"}]}

        def with_key(key: str) -> Json:
            return {"providers": {"link": {**link, "apiKey": key}}}

        entries: list[Json] = [
            {
                "id": "main",
                "default": True,
                "subagents": {"allowAgents": ["*"]},
                "models": with_key("key-of-main"),
            },
            {"id": "coder", "models": with_key("key-of-coder")},
            {"id": "writer"},
        ]
        p.configure({"agents": {"list": entries, "defaults": {"model": {"primary": "link/m"}}}})
        await p.start()
        await p.spawn_many([{"task": name, "agentId": name} for name in ("main", "coder", "writer")])
        await p.wait_idle()
        sent = {seen.first_user: seen.headers["Authorization"] for seen in p.child_requests()}
        assert sent == {
            "main": "Bearer key-of-main",
            "coder": "Bearer key-of-coder",
            "writer": "Bearer key-of-main",
        }


async def test_models_that_cannot_be_used_are_named_never_replaced(tmp_path: Path) -> None:
    """spec/subagents.md, table: an unusable model → an error that names it; never a silent default."""
    async with pilot(tmp_path, start=False) as p:
        models = {"aliases": {"quick": "test/other"}}
        keyless = {"agents": {"defaults": {"subagents": {"model": "anthropic/claude-sonnet-4"}}}, "models": models}
        p.configure(keyless)
        await p.start()
        answers = await p.spawn_many(
            [
                {"task": "t"},
                {"task": "t", "model": "test/typo"},
                {"task": "t", "model": ""},
                {"task": "t", "model": "quick"},
            ]
        )
        assert "anthropic/claude-sonnet-4" in answers[0]["error"]
        assert answers[2]["status"] == "error"
        assert answers[3]["resolvedModel"] == "test/other"
        await p.wait_idle()
        asked = {seen.model for seen in p.child_requests()}
        assert asked <= {"other", "typo"}
        assert answers[0]["status"] == "error"
