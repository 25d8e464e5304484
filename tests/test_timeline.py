"""The timeline of a run: bars for what it did and what it waited for, from stored data alone."""

from __future__ import annotations

import asyncio
from datetime import datetime
from pathlib import Path

from sqlalchemy import update

from gateway.store import phases, runs
from gateway.store.database import Transaction
from gateway.store.phases import Begun, Phase
from gateway.store.runs import Run
from gateway.store.schema import messages, process_starts
from gateway.store.schema import runs as runs_table
from gateway.timeline import Kind, phase_bars
from tests.support.databases import opened
from tests.support.job_kinds import WorkPlugin
from tests.support.model_script import Call, Tokens, call, calls, fail, say
from tests.support.pilot import Json, Pilot, pilot, subagents
from tests.support.probes import Probes


async def bars(p: Pilot, run_id: str, what: str = "runs") -> list[Json]:
    """A run's bars."""
    return (await p.get(f"/api/{what}/{run_id}/timeline"))["bars"]


def of(found: list[Json], kind: str) -> list[Json]:
    """The bars of one kind."""
    return [bar for bar in found if bar["kind"] == kind]


def ms(stamp: str) -> float:
    """A time in milliseconds."""
    return datetime.fromisoformat(stamp).timestamp() * 1000


def inside(inner: Json, outer: Json) -> bool:
    """Whether a bar lies within another."""
    return ms(outer["start"]) <= ms(inner["start"]) and ms(inner["end"]) <= ms(outer["end"])


def test_phases_are_read_back_as_they_were_entered() -> None:
    """Phases: one text in the run's row; what was cut by shortening is left out."""
    text = "".join(
        phases.entered(fields, 1_000 + place)
        for place, fields in enumerate(
            ({"status": "queued"}, {"status": "delayed", "not_before": 5}, {"status": "delayed"}, {"status": "done"})
        )
    )
    assert [begun.phase for begun in phases.parse(text)] == [Phase.QUEUED, Phase.DELAYED, Phase.HELD, Phase.DONE]
    assert phases.parse("99 " + text) == phases.parse(text)


def test_equal_phases_are_one_bar() -> None:
    found = [Begun(Phase.QUEUED, 1), Begun(Phase.RUNNING, 2), Begun(Phase.RUNNING, 5), Begun(Phase.DONE, 9)]
    assert [(bar.kind, bar.start, bar.end) for bar in phase_bars(found)] == [(Kind.QUEUE, 1, 2), (Kind.WORK, 2, 9)]
    assert [(bar.start, bar.end) for bar in phase_bars(found[:3])] == [(1, 2), (2, None)]


async def test_calls_of_models_and_tools_have_their_own_times(tmp_path: Path) -> None:
    """Issue part 3, Run: a timeline picture in which model calls, tools, waits and restarts are bars."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        two = calls(Call("gate", {"name": "g"}), Call("echo", {"text": "x"}))
        p.on(reply=two, task="^t$", step=1)
        p.on(reply=say("done", hold="h", tokens=Tokens(500, 10)), task="^t$")
        accepted = await p.spawn(task="t")
        await probes.wait_entered("g")
        under_way = await bars(p, accepted["runId"])
        assert [(bar["label"], bar["end"]) for bar in of(under_way, "tool") if bar["index"] == 0] == [("gate", None)]
        assert of(under_way, "work")[0]["end"] is None
        probes.open("g")
        await p.wait_asked(lambda seen: seen.first_user == "t" and seen.step == 2)
        assert [bar["end"] for bar in of(await bars(p, accepted["runId"]), "model")][-1] is None
        p.model.release("h")
        await p.wait_idle()
        found = await bars(p, accepted["runId"])
        [queue], [work] = of(found, "queue"), of(found, "work")
        assert queue["end"] == work["start"]
        one, other = of(found, "model")
        assert (one["label"], other["tokensIn"], other["costUsd"]) == ("test/scripted", 500, 520e-6)
        gate, echo = of(found, "tool")
        assert [(bar["label"], bar["seq"], bar["index"]) for bar in (gate, echo)] == [("gate", 2, 0), ("echo", 2, 1)]
        assert ms(one["end"]) <= ms(gate["start"]) and ms(echo["end"]) <= ms(gate["end"]) <= ms(other["start"])
        assert all(inside(bar, work) and not bar["estimated"] for bar in (one, other, gate, echo))


async def test_waiting_for_children_pausing_and_children_are_bars(tmp_path: Path) -> None:
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2)) as p:
        p.on(reply=call("sessions_spawn", task="inner"), task="^outer$", step=1)
        p.on(reply=say("never", hold="h"), task="^inner$")
        accepted = await p.spawn(task="outer")
        await p.wait_run(accepted["runId"], "waiting")
        [inner] = [run for run in await p.runs() if run["label"] == "inner"]
        await p.wait_asked(lambda seen: seen.first_user == "inner")
        await p.post(f"/api/runs/{accepted['runId']}/pause")
        await p.post(f"/api/runs/{accepted['runId']}/resume")
        p.model.release("h")
        await p.wait_idle()
        found = await bars(p, accepted["runId"])
        states = [bar["kind"] for bar in found if bar["kind"] in ("queue", "work", "children", "paused")]
        assert states[:4] == ["queue", "work", "children", "paused"]
        assert states[-1] == "work"
        assert [(bar["label"], bar["runId"]) for bar in of(found, "child")] == [("inner", inner["runId"])]


async def test_waits_of_a_model_call_are_bars_in_it(tmp_path: Path) -> None:
    """Brief: waits (queue, children, approval, rate limit, paused)."""
    async with pilot(tmp_path) as p:
        p.on(reply=fail(429, retry_after="0.05"), task="^t$", step=1, once=True)
        p.on(reply=fail(500), task="^t$", step=1, once=True)
        accepted = await p.spawn(task="t")
        await p.wait_idle()
        found = await bars(p, accepted["runId"])
        [model], [rate], [retry] = of(found, "model"), of(found, "rate"), of(found, "retry")
        assert inside(rate, model) and inside(retry, model)
        assert rate["seconds"] >= 0.05


async def test_a_model_call_that_fails_is_a_bar_too(tmp_path: Path) -> None:
    async with pilot(tmp_path) as p:
        p.on(reply=fail(401, "no"), role="child")
        accepted = await p.spawn(task="t")
        await p.wait_idle()
        [model] = of(await bars(p, accepted["runId"]), "model")
        assert model["error"] and not model["estimated"]


async def test_a_question_to_a_person_is_a_bar(tmp_path: Path) -> None:
    config = {"tools": {"exec": {"ask": "always", "sandbox": "off"}}}
    async with pilot(tmp_path, config=config) as p:
        p.on(reply=call("exec", command="true"), task="^t$", step=1)
        accepted = await p.spawn(task="t")
        await p.wait_until(lambda: any(event.type == "approval" for event in p.events))
        [asked] = of(await bars(p, accepted["runId"]), "approval")
        assert (asked["label"], asked["end"]) == ("exec", None)
        [question] = (await p.get("/api/approvals"))["approvals"]
        await p.post(f"/api/approvals/{question['id']}", {"decision": "allow"})
        await p.wait_idle()
        found = await bars(p, accepted["runId"])
        [asked], [tool] = of(found, "approval"), of(found, "tool")
        assert inside(asked, tool) and not asked["error"]


def _die(tx: Transaction) -> None:
    """As a process that dies would have left it."""
    tx.execute(update(process_starts).values(stopped_at=None))


async def test_a_restart_and_a_crash_are_bars(tmp_path: Path) -> None:
    """Brief: process starts with their kind (clean, crash)."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("never", hold="h"), task="^t$", once=True)
        accepted = await p.spawn(task="t")
        await p.wait_asked(lambda seen: seen.first_user == "t")
        p.on(reply=say("never", hold="i"), task="^t$", once=True)
        await p.restart()
        await p.wait_asked(lambda seen: seen.first_user == "t", count=2)
        [down] = of(await bars(p, accepted["runId"]), "down")
        assert (down["label"], down["error"]) == ("clean", False)
        await p.stop()
        database = opened(p.paths.state)
        await database.run(_die)
        await database.close()
        await p.start()
        await p.wait_idle()
        found = await bars(p, accepted["runId"])
        assert [(bar["label"], bar["error"]) for bar in of(found, "down")] == [("clean", False), ("crash", True)]
        assert len(of(found, "work")) == 1
        [model] = of(found, "model")
        assert ms(model["start"]) >= ms(of(found, "down")[-1]["end"])
        p.model.release("h")
        p.model.release("i")


async def test_the_picture_survives_archiving(tmp_path: Path) -> None:
    """Timeline: from the file of an archived run as from the tables; when that is purged the phases stay."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(reply=fail(500), task="^t$", step=1, once=True)
        p.on(reply=call("echo", text="x"), task="^t$", step=1)
        p.on(reply=say("late", hold="h"), task="^other$")
        accepted = await p.spawn(task="t", cleanup="delete")
        await p.wait_run(accepted["runId"])
        before = await bars(p, accepted["runId"])
        await p.wait_run(accepted["runId"], "archived")
        found = await bars(p, accepted["runId"])
        assert found == before
        assert {"model", "retry", "tool", "queue", "work"} <= {bar["kind"] for bar in found}
        await asyncio.to_thread(Path((await p.run(accepted["runId"]))["transcriptPath"]).unlink)
        assert {bar["kind"] for bar in await bars(p, accepted["runId"])} == {"queue", "work"}
        p.model.release("h")


async def test_runs_from_before_the_record_are_drawn_by_estimate(tmp_path: Path) -> None:
    """Brief: old rows stay drawable."""

    def forget(tx: Transaction) -> None:
        tx.execute(messages.update().values(started_at=None))
        tx.execute(runs_table.update().values(phases=""))

    async with pilot(tmp_path, plugins={"probes": Probes()}) as p:
        p.on(reply=call("echo", text="x"), task="^t$", step=1)
        accepted = await p.spawn(task="t")
        await p.wait_idle()
        await p.gateway.database.run(forget)
        found = await bars(p, accepted["runId"])
        assert sorted(bar["kind"] for bar in found) == ["model", "model", "queue", "tool", "work"]
        assert all(bar["estimated"] for bar in found if bar["kind"] in ("model", "tool"))


async def test_jobs_have_timelines(tmp_path: Path) -> None:
    """Brief: `GET /api/runs/{id}/timeline` (also for jobs); a foreign one and a missing one look the same."""
    chat = {"gateway": {"auth": {"tokens": [{"token": "idaidaida", "scopes": ["chat"], "name": "ida"}]}}}
    async with pilot(tmp_path, plugins={"work": WorkPlugin()}, config=chat) as p:
        made = {"name": "work", "data": {"fail": 1}, "delayMs": 20, "backoff": {"type": "fixed", "delayMs": 20}}
        job = (await p.post("/api/jobs", made)).json
        await p.wait_run(job["runId"])
        page = await p.get(f"/api/jobs/{job['id']}/timeline")
        states = [bar["kind"] for bar in page["bars"] if bar["kind"] != "queue"]
        assert (page["status"], page["outcome"], states) == ("done", "ok", ["delay", "work", "delay", "work"])
        foreign = await p.ask("GET", f"/api/jobs/{job['id']}/timeline", token="idaidaida")  # noqa: S106
        missing = await p.ask("GET", "/api/jobs/999/timeline", token="idaidaida")  # noqa: S106
        assert (foreign.status, missing.status) == (404, 404)


async def test_a_very_long_life_keeps_its_newest_phases(tmp_path: Path) -> None:
    """Phases: the text in the row doesn't grow without end."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("never", hold="h"), task="^t$")
        accepted = await p.spawn(task="t")
        await p.wait_asked(lambda seen: seen.first_user == "t")

        def many(tx: Transaction) -> str:
            for _ in range(1_000):
                p.gateway.lifecycle.start(tx, _run(tx, accepted["runId"]))
            return str(tx.execute(runs_table.select().where(runs_table.c.id == accepted["runId"])).one().phases)

        text = await p.gateway.database.run(many)
        assert phases.KEPT <= len(text) <= phases.LONGEST + 20
        assert len(phases.parse(text)) > 300
        p.model.release("h")
        await p.wait_idle()


def _run(tx: Transaction, run_id: str) -> Run:
    run = runs.find(tx, run_id)
    assert run is not None
    return run
