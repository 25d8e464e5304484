"""Tokens, cost and budgets: what a run has used up and what it may (spec/subagents.md 29, `budgetUsd`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.store import runs
from gateway.store.database import Transaction
from tests.support.model_script import Call, Reply, Tokens, call, calls, fail, say
from tests.support.pilot import Json, Pilot, merged, pilot, subagents
from tests.support.probes import Probes

REPLY = 1_000
"""`maxTokens` of the model"""
LS = (Call("ls", {"path": "."}),)


def spent(run: Mapping[str, Json]) -> tuple[int, int]:
    """A run's tokens, in and out."""
    return run["tokens"]["input"], run["tokens"]["output"]


async def held(p: Pilot, run_id: str) -> tuple[int, int]:
    """What is reserved for calls of a run: tokens and micro-USD."""
    return await p.gateway.database.read(_reserved, run_id)


def _reserved(tx: Transaction, run_id: str) -> tuple[int, int]:
    run = runs.find(tx, run_id)
    assert run is not None
    return run.reserved_tokens, run.reserved_micro


async def test_29_tokens_and_cost_of_one_run(tmp_path: Path) -> None:
    """spec/subagents.md 29, issue part 6: usage with cache reads, cost from the configured price."""
    async with pilot(tmp_path) as p:
        p.on(reply=Reply(calls=LS, tokens=Tokens(1_000, 100, cached=600)), role="child", step=1)
        p.on(reply=say("done", tokens=Tokens(2_000, 50)), role="child", step=2)
        await p.spawn(task="t")
        await p.wait_idle()
        [run] = await p.runs()
        assert run["tokens"] == {"input": 3_000, "output": 150, "cacheRead": 600, "total": 3_150}
        assert run["costUsd"] == pytest.approx((3_000 + 2 * 150) / 1e6)


async def test_29_a_run_includes_its_children_once_whatever_their_outcome(tmp_path: Path) -> None:
    """spec/subagents.md 29: tokens and cost include its children's, whatever their outcome, once."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=3)) as p:
        three = calls(*(Call("sessions_spawn", {"task": name}) for name in ("good", "failing", "stopped")))
        p.on(reply=Reply(calls=three.calls, tokens=Tokens(1, 1)), task="^outer$", step=1)
        p.on(reply=say("ok", tokens=Tokens(10, 1)), task="^outer$")
        deeper = call("sessions_spawn", task="deep")
        p.on(reply=Reply(calls=deeper.calls, tokens=Tokens(100, 1)), task="^good$", step=1)
        p.on(reply=say("ok", tokens=Tokens(0, 0)), task="^good$")
        p.on(reply=say("ok", tokens=Tokens(1_000, 1)), task="^deep$")
        p.on(reply=Reply(calls=LS, tokens=Tokens(10_000, 1)), task="^failing$", step=1)
        p.on(reply=fail(401, "no"), task="^failing$")
        p.on(reply=Reply(calls=LS, tokens=Tokens(100_000, 1)), task="^stopped$", step=1)
        p.on(reply=say("never", hold="ever"), task="^stopped$")
        await p.spawn(task="outer")
        await p.wait_asked(lambda seen: seen.first_user == "stopped" and seen.step == 2)
        await p.command("/subagents stop stopped")
        await p.wait_idle()
        runs = {run["label"]: run for run in await p.runs()}
        own = [seen for seen in p.child_requests() if seen.first_user == "outer"]
        above = 1 + 10 * (len(own) - 1)
        assert spent(runs["good"])[0] == 1_100
        assert spent(runs["outer"])[0] == above + 111_100
        assert {name: run["outcome"] for name, run in runs.items()} == {
            "outer": "ok",
            "good": "ok",
            "deep": "ok",
            "failing": "error",
            "stopped": "stopped",
        }
        session = await p.session()
        mine = sum(100 for _ in p.main_requests())
        assert session["tokens"]["input"] == mine + above + 111_100, "and the conversation has them once"
        assert "/subagents" not in (tree := await p.command("/subagents tree"))
        assert f"{(above + 111_100) / 1000:.1f}k in" in tree


async def test_29_usage_survives_archiving(tmp_path: Path) -> None:
    """spec/subagents.md 29: they survive archiving."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2)) as p:
        p.on(reply=call("sessions_spawn", task="inner", cleanup="delete"), task="^outer$", step=1)
        accepted = await p.spawn(task="outer", cleanup="delete")
        await p.wait_run(accepted["runId"], "archived")
        await p.wait_idle()
        outer, inner = await p.runs()
        assert spent(inner) == (100, 20)
        assert spent(outer)[0] == 100 * len(p.child_requests())


async def prompt_size(p: Pilot) -> int:
    """The estimated tokens of a child's first prompt."""
    p.on(reply=say("measured", hold="measure"), task="^measure$")
    accepted = await p.spawn(task="measure", budgetTokens=10**6)
    await p.wait_asked(lambda seen: seen.first_user == "measure")
    tokens, _ = await held(p, accepted["runId"])
    p.model.release("measure")
    await p.wait_idle()
    return tokens - REPLY


async def test_budget_tokens_lowers_max_tokens_and_then_ends_the_run(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: `maxTokens` is lowered to what fits; where nothing fits the outcome is `budget`."""
    async with pilot(tmp_path) as p:
        prompt = await prompt_size(p)
        used = Tokens(prompt, 20)
        p.on(
            lambda seen: Reply(text="so far so good", calls=(Call("ls", {"path": f"{seen.step}"}),), tokens=used),
            task="^hungry$",
        )
        budget = 2 * prompt + 600
        accepted = await p.spawn(task="hungry", budgetTokens=budget)
        await p.wait_idle()
        run = await p.run(accepted["runId"])
        assert run["outcome"] == "budget"
        assert f"budgetTokens {budget}" in run["error"]
        assert run["result"] == "so far so good", "what it has so far"
        assert run["tokens"]["total"] <= budget
        first, second = [seen.body["max_tokens"] for seen in p.child_requests() if seen.first_user == "hungry"]
        assert first == REPLY
        assert 16 <= second < 600
        assert await held(p, run["runId"]) == (0, 0)


async def test_budget_usd_is_reserved_at_list_price_before_the_call(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: estimated input plus `maxTokens` is reserved at list price, then settled."""
    async with pilot(tmp_path) as p:
        p.on(lambda seen: say("done", hold="h", tokens=Tokens(500, 10)), role="child")
        accepted = await p.spawn(task="t", budgetUsd=1)
        [seen] = await p.wait_asked(lambda seen: seen.role == "child")
        tokens, micro = await held(p, accepted["runId"])
        estimated = len(json.dumps(seen.body).encode()) / 4
        assert tokens == pytest.approx(estimated + 1_000, rel=0.2)
        assert micro == tokens + 1_000, "input at 1, the reply at 2 micro-USD a token"
        p.model.release("h")
        await p.wait_idle()
        assert await held(p, accepted["runId"]) == (0, 0)
        assert (await p.run(accepted["runId"]))["costUsd"] == pytest.approx(520e-6)


async def test_budget_of_an_ancestor_holds_for_all_below(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: … reserved, in one transaction, against the run *and its ancestors*."""
    probes = Probes()
    config = subagents(maxSpawnDepth=2, maxChildrenPerAgent=9)
    async with pilot(tmp_path, config=config, plugins={"probes": probes}) as p:
        prompt = await prompt_size(p)
        several = (Call("sessions_spawn", {"task": f"inner {n}"}) for n in range(8))
        made = (*several, Call("gate", {"name": "g"}))
        p.on(reply=Reply(calls=made, tokens=Tokens(prompt, 10)), task="^outer$", step=1)
        p.on(reply=say("never", hold="ever"), task="^inner")
        budget = prompt + 10 + 5 * (prompt + REPLY) // 2
        await p.spawn(task="outer", budgetTokens=budget)
        await probes.wait_entered("g")
        await p.wait_until(lambda: any(e.type == "run" and e.data["run"]["outcome"] == "budget" for e in p.events))
        outer, *inner = (await p.runs())[1:]
        assert {run["outcome"] for run in inner} == {None, "budget"}
        assert all("“outer”" in run["error"] for run in inner if run["outcome"])
        assert (await held(p, outer["runId"]))[0] + outer["tokens"]["total"] <= budget
        await p.command("/stop")
        await p.wait_idle()


async def test_budget_what_a_cut_off_call_may_have_cost_stays_reserved(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: … settled by the real usage afterwards, *or kept where none came*."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("never", hold="ever"), role="child")
        accepted = await p.spawn(task="t", budgetTokens=50_000)
        await p.wait_asked(lambda seen: seen.role == "child")
        before = await held(p, accepted["runId"])
        await p.command("/subagents stop last")
        await p.wait_idle()
        assert await held(p, accepted["runId"]) == before
        assert before[0] > 0


async def test_budget_a_refused_call_costs_nothing(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: a call that the provider refused gives its reservation back."""
    async with pilot(tmp_path) as p:
        p.on(reply=fail(401, "no"), role="child")
        accepted = await p.spawn(task="t", budgetTokens=50_000)
        await p.wait_idle()
        assert await held(p, accepted["runId"]) == (0, 0)


async def test_budget_configured_default_and_explicit(tmp_path: Path) -> None:
    """spec/subagents.md, table: `budgetUsd` defaults to `subagents.budgetUsd`; without a price it is refused."""
    async with pilot(tmp_path, config=subagents(budgetUsd=0.000_01)) as p:
        answers = await p.spawn_many(
            [{"task": "poor"}, {"task": "rich", "budgetUsd": 1}, {"task": "no price", "model": "test/unpriced"}]
        )
        assert [each["status"] for each in answers] == ["accepted", "accepted", "error"]
        assert "models.providers.test.models[].cost" in answers[2]["error"]
        await p.wait_idle()
        assert {run["label"]: run["outcome"] for run in await p.runs()} == {"poor": "budget", "rich": "ok"}


async def test_budget_a_child_without_a_price_cannot_slip_past_its_ancestor_s(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: `budgetUsd` with a model that has no price is refused, naming the key."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2)) as p:
        p.on(reply=call("sessions_spawn", task="inner", model="test/unpriced"), task="^outer$", step=1)
        await p.spawn(task="outer", budgetUsd=1)
        await p.wait_idle()
        answer = json.loads(next(seen for seen in p.child_requests() if seen.step == 2).results[0])
        assert answer["status"] == "error"
        assert "models.providers.test.models[].cost" in answer["error"]
        assert len(await p.runs()) == 1


async def test_budget_a_summary_is_paid_for_like_any_call(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: before *each* model call; the one that summarises is no exception."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("notes", hold="h"), user="^Summarise the conversation above")
        for part in range(3):
            await p.say(f"part {part} " + "x" * 6_500)
            await p.wait_idle()
        accepted = await p.spawn(task="go on", context="fork", model="test/small", budgetTokens=100_000)
        await p.wait_asked(lambda seen: seen.last_user.startswith("Summarise the conversation above"))
        assert (await held(p, accepted["runId"]))[0] > 3_000
        p.model.release("h")
        await p.wait_idle()
        assert await held(p, accepted["runId"]) == (0, 0)


async def test_agent_budget_per_day(tmp_path: Path) -> None:
    """Issue part 1: `agents.list[].budgetUsd`; what an agent may spend, its sub-agents included, is watched."""
    entry = {"id": "main", "default": True, "budgetUsd": 0.005}
    async with pilot(tmp_path, config={"agents": {"list": [entry]}}) as p:
        p.on(reply=say("costly", tokens=Tokens(3_000, 100)))
        await p.say("one")
        await p.wait_idle()
        await p.say("two")
        await p.wait_idle()
        assert p.said()[0] == "costly"
        assert "budgetUsd" in p.said()[-1]


async def test_agent_budget_per_day_needs_prices(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: `budgetUsd` with a model that has no price is refused, naming the key."""
    entries = [{"id": "main", "default": True}, {"id": "poor", "budgetUsd": 1, "model": "test/unpriced"}]
    config = merged({"agents": {"list": entries}}, subagents(allowAgents=["*"]))
    async with pilot(tmp_path, config=config) as p:
        answers = await p.spawn_many(
            [{"task": "no price", "agentId": "poor"}, {"task": "priced", "agentId": "poor", "model": "test/other"}]
        )
        assert [each["status"] for each in answers] == ["error", "accepted"]
        for named in ("agents.list[].budgetUsd of agent `poor`", "models.providers.test.models[].cost"):
            assert named in answers[0]["error"]
        await p.say("hello", "agent:poor:talk")
        await p.wait_idle("agent:poor:talk")
        [notice] = p.said("agent:poor:talk")
        assert "models.providers.test.models[].cost" in notice
        await p.command("/new", "agent:poor:talk")
        p.configure({"agents": {"list": [entries[0], entries[1] | {"model": FALLEN_BACK}]}})
        assert (await p.post("/api/reload")).json["reloaded"]
        await p.say("hello again", "agent:poor:talk")
        await p.wait_idle("agent:poor:talk")
        assert p.said("agent:poor:talk")[-1] == notice, "no other model answers in its place"
        assert {seen.model for seen in p.model.requests} == {"scripted", "other"}


FALLEN_BACK = {"primary": "test/unpriced", "fallbacks": ["test/scripted"]}
FALLBACKS: Json = {
    "models": {
        "providers": {
            "dear": {
                "apiKey": "scripted-key",
                "api": "openai-completions",
                "models": [{"id": "one", "maxTokens": 400, "cost": {"input": 10, "output": 20}}],
            }
        }
    },
}


async def with_fallbacks(p: Pilot, *names: str, **arguments: Any) -> Json:
    """A child whose own model fails at once and is called by no other name; returns its run."""
    provider = FALLBACKS["models"]["providers"]["dear"] | {"baseUrl": p.model.base_url}
    p.configure({"models": {"providers": {"dear": provider}}})
    p.configure(subagents(model={"primary": "test/other", "fallbacks": list(names)}))
    assert (await p.post("/api/reload")).json["reloaded"]
    p.on(reply=fail(401, "no"), role="child", model="other")
    return await p.run((await p.spawn(task="t", **arguments))["runId"])


async def test_budget_a_fallback_is_reserved_at_its_own_price(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: before *each* model call, at the list price of the model that is called."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("done", hold="h", tokens=Tokens(500, 10)), role="child", model="one")
        run = await with_fallbacks(p, "dear/one", budgetUsd=1)
        [seen] = await p.wait_asked(lambda seen: seen.model == "one")
        tokens, micro = await held(p, run["runId"])
        assert micro == (tokens - 400) * 10 + 400 * 20
        assert seen.body["max_tokens"] == 400
        p.model.release("h")
        await p.wait_idle()
        assert await held(p, run["runId"]) == (0, 0)
        assert (await p.run(run["runId"]))["costUsd"] == pytest.approx((500 * 10 + 10 * 20) / 1e6)


async def test_budget_a_fallback_that_is_too_dear_is_not_asked(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: where nothing fits the run ends with outcome `budget`."""
    async with pilot(tmp_path) as p:
        prompt = await prompt_size(p)
        run = await with_fallbacks(p, "dear/one", budgetUsd=2 * (prompt + REPLY) / 1e6)
        await p.wait_idle()
        run = await p.run(run["runId"])
        assert (run["outcome"], "budgetUsd" in run["error"]) == ("budget", True)
        assert not [seen for seen in p.model.requests if seen.model == "one"]
        assert await held(p, run["runId"]) == (0, 0)


async def test_budget_a_fallback_without_a_price_is_passed_over(tmp_path: Path) -> None:
    """spec/subagents.md, budgets: … with a model that has no price is refused; another fallback may still answer."""
    async with pilot(tmp_path) as p:
        run = await with_fallbacks(p, "test/unpriced", "dear/one", budgetUsd=1)
        await p.wait_idle()
        run = await p.run(run["runId"])
        assert run["outcome"] == "ok"
        assert [seen.model for seen in p.child_requests()] == ["other", "one"]


async def test_usage_command_sums_up(tmp_path: Path) -> None:
    """Issue part 11: `/usage`."""
    async with pilot(tmp_path) as p:
        await p.spawn(task="t")
        await p.wait_idle()
        details = (await p.say("/usage"))["details"]
        assert details["input"] == 100 * len(p.model.requests)
        assert details["output"] == 20 * len(p.model.requests)
        assert details["costUsd"] == pytest.approx(140e-6 * len(p.model.requests))
