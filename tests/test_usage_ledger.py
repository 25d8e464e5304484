"""The usage ledger: booked with the answer, for whoever the work is for, kept when runs and sessions are gone."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.laneway import Home
from tests.support.model_script import Reply, Tokens, call, fail, say
from tests.support.pilot import KEY, Json, Pilot, pilot, subagents

ALL = "day,agent,model,channel,person,kind"
IDA = "idaidaida"
CHAT = {"gateway": {"auth": {"tokens": [{"token": IDA, "scopes": ["chat"], "name": "ida"}]}}}


async def used(p: Pilot, by: str, **more: str) -> list[Json]:
    """The sums of the ledger."""
    query = "".join(f"&{name}={value}" for name, value in more.items())
    return (await p.get(f"/api/usage?by={by}{query}"))["rows"]


def brief(rows: list[Json], *names: str) -> dict[tuple[Any, ...], tuple[int, int, int]]:
    """Calls, input and output by some dimensions."""
    return {
        tuple(row[name] for name in names): (row["calls"], row["tokens"]["input"], row["tokens"]["output"])
        for row in rows
    }


async def test_a_call_is_booked_with_its_answer(tmp_path: Path) -> None:
    """Issue part 3, Usage: per day, agent, model, channel and person."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("hello", tokens=Tokens(300, 40)))
        await p.say("hi")
        await p.wait_idle()
        [row] = await used(p, ALL)
        assert row == {
            "day": datetime.now(UTC).date().isoformat(),
            "agent": "main",
            "model": "test/scripted",
            "channel": "api",
            "person": "api:operator",
            "kind": "conversation",
            "calls": 1,
            "tokens": {"input": 300, "output": 40, "cacheRead": 0, "total": 340},
            "costUsd": pytest.approx(380e-6),
            "unpricedCalls": 0,
        }


async def test_children_and_jobs_are_booked_for_who_asked(tmp_path: Path) -> None:
    """Issue part 3, Usage: children and jobs inherit the person; nested ones too."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2) | CHAT) as p:
        p.on(reply=call("sessions_spawn", task="inner"), task="^outer$", step=1)
        p.on(reply=call("sessions_spawn", task="outer"), user="^go$", turn_step=1)
        key = "agent:main:api:ida"
        sent = await p.post(f"/api/sessions/{key}/messages", {"text": "go"}, token=IDA)
        assert sent.status == 202
        await p.wait_idle(key)
        job = await p.post("/api/jobs", {"name": "subagent", "data": {"task": "report"}}, token=IDA)
        await p.wait_run(job.json["runId"])
        rows = brief(await used(p, "person,kind"), "person", "kind")
        assert {person for person, _ in rows} == {"api:ida", "http:ida"}
        assert {kind: calls for (_, kind), (calls, *_) in rows.items()} == {
            "conversation": len(p.main_requests()),
            "subagent": len(p.child_requests()) - 1,
            "job": 1,
        }
        own = await p.ask("GET", f"/api/usage?by={ALL}", token=IDA)
        assert {row["person"] for row in own.json["rows"]} == {"api:ida", "http:ida"}


async def test_a_token_that_may_only_talk_sees_its_own(tmp_path: Path) -> None:
    """Web design: scope `chat` sees his own, forbidden and missing look the same."""
    async with pilot(tmp_path, config=CHAT) as p:
        await p.say("hi")
        await p.wait_idle()
        seen = (await p.ask("GET", "/api/usage?by=person", token=IDA)).json
        assert seen["rows"] == []
        assert seen["total"]["calls"] == 0
        assert (await p.ask("GET", "/api/usage/budgets", token=IDA)).status == 403


async def test_the_last_speaker_is_the_person(tmp_path: Path) -> None:
    """Brief: person = the last user who spoke in the conversation."""
    two = [{"token": name * 9, "scopes": ["chat"], "name": name} for name in ("ida", "bo")]
    async with pilot(tmp_path, config={"gateway": {"auth": {"tokens": two}}}) as p:
        key = "agent:main:api:room"
        for name in ("ida", "bo"):
            await p.post(f"/api/sessions/{key}/messages", {"text": "hi"}, token=name * 9)
            await p.wait_idle(key)
        assert brief(await used(p, "person"), "person") == {("api:ida",): (1, 100, 20), ("api:bo",): (1, 100, 20)}


async def test_calls_without_a_price_are_counted_apart(tmp_path: Path) -> None:
    """Brief: unpriced calls; their cost isn't taken for nothing."""
    async with pilot(tmp_path) as p:
        await p.command("/model test/unpriced")
        await p.say("hi")
        await p.wait_idle()
        [row] = await used(p, "model")
        assert (row["model"], row["calls"], row["unpricedCalls"], row["costUsd"]) == ("test/unpriced", 1, 1, 0)


async def test_what_fails_is_not_booked(tmp_path: Path) -> None:
    """Ledger: booked in the transaction that stores an answer; where there is none nothing is."""
    async with pilot(tmp_path) as p:
        p.on(reply=fail(401, "no"))
        await p.say("hi")
        await p.wait_idle()
        assert await used(p, ALL) == []


async def test_it_outlives_archiving_deleting_and_a_restart(tmp_path: Path) -> None:
    """Brief: it survives archiving and purging."""
    async with pilot(tmp_path) as p:
        accepted = await p.spawn(task="t", cleanup="delete")
        await p.wait_run(accepted["runId"], "archived")
        job = (await p.post("/api/jobs", {"name": "subagent", "data": {"task": "report"}})).json
        await p.wait_run(job["runId"])
        await p.wait_idle()
        before = await used(p, ALL)
        deleted = await p.ask("DELETE", f"/api/jobs/{job['id']}")
        assert deleted.json["deleted"] == 1
        await p.restart()
        assert await used(p, ALL) == before
        assert sum(row["calls"] for row in before) == len(p.model.requests)


async def test_a_summary_is_booked_like_any_call(tmp_path: Path) -> None:
    """Ledger: every call of a model counts, also the one that compacts."""
    async with pilot(tmp_path) as p:
        await p.command("/model test/small")
        for part in range(5):
            await p.say(f"part {part} " + "x" * 6_500)
            await p.wait_idle()
        [row] = await used(p, "")
        assert row["calls"] == len(p.model.requests) > 5


async def test_sums_are_grouped_limited_and_totalled(tmp_path: Path) -> None:
    """API: `by` in any order, the dearest first; `limit` leaves off and says so; `total` is of all."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("dear", tokens=Tokens(9_000, 40)), model="other")
        await p.say("hi")
        await p.wait_idle()
        await p.command("/model test/other")
        await p.say("hi again")
        await p.wait_idle()
        rows = await used(p, "model,agent")
        assert [(row["model"], row["agent"]) for row in rows] == [("test/other", "main"), ("test/scripted", "main")]
        page = await p.get("/api/usage?by=model&limit=1")
        assert (len(page["rows"]), page["truncated"], page["total"]["calls"]) == (1, True, 2)
        empty = await p.get("/api/usage?from=2020-01-01&to=2020-01-31")
        assert (empty["rows"], empty["total"]["calls"]) == ([], 0)


@pytest.mark.parametrize(
    ("query", "words"),
    [("by=colour", "day, agent"), ("from=2026-02-01&to=2026-01-01", "later"), ("from=yesterday", "from")],
)
async def test_wrong_queries_are_explained(tmp_path: Path, query: str, words: str) -> None:
    async with pilot(tmp_path) as p:
        response = await p.ask("GET", f"/api/usage?{query}")
        assert response.status == 400
        assert words in response.text


async def test_budgets_with_what_is_used_and_reserved(tmp_path: Path) -> None:
    """Brief: per agent and day, per run and tree: one function that returns limits and what is used."""
    entry = {"id": "main", "default": True, "budgetUsd": 0.5}
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2) | {"agents": {"list": [entry]}}) as p:
        p.configure(subagents(maxSpawnDepth=2))
        assert (await p.post("/api/reload")).json["reloaded"]
        p.on(
            reply=Reply(calls=call("sessions_spawn", task="inner").calls, tokens=Tokens(100, 20)),
            task="^outer$",
            step=1,
        )
        p.on(reply=say("done", hold="h", tokens=Tokens(500, 10)), task="^inner$")
        outer = await p.spawn(task="outer", budgetUsd=0.25, budgetTokens=80_000)
        await p.wait_asked(lambda seen: seen.first_user == "inner")
        await p.wait_until(lambda: "waiting" in p.changes(outer["runId"]))
        [agent, *run] = (await p.get("/api/usage/budgets"))["budgets"]
        assert (agent["of"], agent["name"], agent["limit"]) == ("agent", "main", 0.5)
        assert agent["reserved"] > 0
        assert {each["unit"]: each["limit"] for each in run} == {"usd": 0.25, "tokens": 80_000}
        assert all(each["reserved"] > 0 and each["runId"] == outer["runId"] for each in run)
        inner = next(each for each in await p.runs() if each["label"] == "inner")
        watching = (await p.get(f"/api/usage/budgets?run={inner['runId']}"))["budgets"]
        assert [each["of"] for each in watching] == ["run", "run", "agent"]
        p.model.release("h")
        await p.wait_idle()
        [agent] = (await p.get("/api/usage/budgets"))["budgets"]
        assert agent["used"] == pytest.approx((await p.get("/api/usage"))["total"]["costUsd"])
        assert agent["reserved"] == 0
        assert (await p.session(KEY))["tokens"]["input"] == (await p.get("/api/usage"))["total"]["tokens"]["input"]


def test_the_command_line_shows_the_ledger(tmp_path: Path) -> None:
    """Brief: `laneway usage [--days 30 --by model --json]`."""
    home = Home(tmp_path)
    home.run("init")
    with home.gateway():
        empty = home.run("usage")
        assert (empty.code, empty.out.strip()) == (0, "Nothing was used in these days.")
        assert home.run("chat", "-m", "hello", "--wait").code == 0
        shown = home.run("usage", "--days", "7", "--by", "model,person")
        assert shown.out.split()[:2] == ["MODEL", "PERSON"], shown.err
        assert "terminal:" in shown.out
        assert "1 call" in shown.out.splitlines()[-1]
        page = home.run("usage", "--by", "day", "--json").json
        assert [row["calls"] for row in page["rows"]] == [1]
        assert home.run("usage", "--by", "colour").code == 1
