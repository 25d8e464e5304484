"""Restarts: graceful ones, and what a process that was killed leaves, taken as a copy of its state (rules 22–24).

Kills of a real process at every point are in `tests/crash`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.plugins import Registry
from tests.support import databases
from tests.support.model_script import Call, Reply, call, calls, say
from tests.support.pilot import KEY, Json, Pilot, pilot, subagents
from tests.support.probes import Probes


@asynccontextmanager
async def survivor(p: Pilot, folder: Path, probes: Probes | None = None) -> AsyncGenerator[Pilot]:
    """A second gateway on the state as a SIGKILL at this moment would leave it."""
    await asyncio.to_thread(shutil.copytree, p.paths.state, folder / "state")
    await asyncio.to_thread(databases.follow, p.paths.state, folder / "state")
    async with pilot(folder, model=p.model, start=False) as after:
        # The configuration came with the copy of the state; `pilot` has written its own over it.
        shutil.copyfile(p.paths.config_file, after.paths.config_file)
        after.configure({"database": databases.section(after.paths.state)})
        after.plugins = {"probes": probes} if probes else {}
        await after.start()
        yield after


async def test_22_a_run_goes_on_from_its_last_stored_message(tmp_path: Path) -> None:
    """spec/subagents.md 22: no model call whose answer was stored is made again; it ends and announces as usual."""
    async with pilot(tmp_path / "one") as p:
        p.on(reply=call("ls", path="."), role="child", step=1)
        p.on(reply=say("the end", hold="child"), role="child", step=2)
        accepted = await p.spawn(task="t")
        await p.wait_asked(lambda seen: seen.role == "child" and seen.step == 2)
        async with survivor(p, tmp_path / "two") as after:
            await p.wait_asked(lambda seen: seen.role == "child" and seen.step == 2, count=2)
            p.model.release("child")
            await after.wait_idle()
            assert [seen.step for seen in p.child_requests()] == [1, 2, 2]
            [run] = await after.runs()
            assert (run["runId"], run["outcome"], run["result"]) == (accepted["runId"], "ok", "the end")
            kinds = [m["kind"] for m in await after.transcript()]
            assert kinds.count("announce") == 1


async def test_22_no_stored_result_is_computed_again_and_an_open_call_is_marked(tmp_path: Path) -> None:
    """spec/subagents.md 22, protocol 3: an open call that isn't idempotent says that a restart interrupted it."""
    probes, later = Probes(), Probes()
    async with pilot(tmp_path / "one", plugins={"probes": probes}) as p:
        made = calls(Call("echo", {"text": "done once"}), Call("gate", {"name": "g"}), Call("ls", {"path": "."}))
        p.on(reply=made, user="^go$", turn_step=1)
        await p.say("go")
        await probes.wait_entered("g")
        stored: list[Json] = []
        while len(stored) < 2:
            stored = [m for m in await p.transcript() if m["role"] == "tool"]
        async with survivor(p, tmp_path / "two", later) as after:
            await after.wait_idle()
            assert later.echoed == later.entered == []
            results = {m["callIndex"]: m["text"] for m in await after.transcript() if m["role"] == "tool"}
            assert results[0] == "done once"
            assert "A restart interrupted this call" in results[1]
            assert after.said() == ["ok"]


async def test_22_an_idempotent_call_that_was_open_is_run_again(tmp_path: Path) -> None:
    """Architecture protocol 3: a call that was open is run again only if its tool is `idempotent`."""
    async with pilot(tmp_path / "one") as p:
        (p.workspace / "pipe.txt").write_text("words")
        p.on(reply=Reply(calls=(Call("read", {"path": "pipe.txt"}),), hold="h"), user="^go$", turn_step=1)
        await p.say("go")
        await p.wait_asked(lambda seen: seen.last_user == "go")
        async with survivor(p, tmp_path / "two") as after:
            p.model.release("h")
            await after.wait_idle()
            [result] = [m for m in await after.transcript() if m["role"] == "tool"]
            assert "words" in result["text"]


async def test_22_accepted_rows_are_neither_lost_nor_consumed_twice(tmp_path: Path) -> None:
    """spec/subagents.md 22: what was accepted before the kill is answered after it, once, on its route."""
    probes, later = Probes(), Probes()
    async with pilot(tmp_path / "one", plugins={"probes": probes}) as p:
        p.on(reply=call("gate", name="g"), user="^go$", turn_step=1)
        p.on(lambda seen: say(f"re: {seen.last_user}"), role="main")
        await p.say("go", thread="a")
        await probes.wait_entered("g")
        await p.say("second", thread="b")
        async with survivor(p, tmp_path / "two", later) as after:
            await after.wait_idle()
            assert [(post["text"], post["route"]["thread"]) for post in after.posts()] == [
                ("re: go", "a"),
                ("re: second", "b"),
            ]


async def test_22_a_waiting_parent_goes_on(tmp_path: Path) -> None:
    """spec/subagents.md 22, 20: a parent that waited for its children runs again when they have settled."""
    async with pilot(tmp_path / "one", config=subagents(maxSpawnDepth=2)) as p:
        p.on(reply=call("sessions_spawn", task="inner"), task="^outer$", step=1)
        p.on(reply=say("inner result", hold="inner"), task="^inner$")
        accepted = await p.spawn(task="outer")
        await p.wait_run(accepted["runId"], "waiting")
        await p.wait_asked(lambda seen: seen.first_user == "inner")
        async with survivor(p, tmp_path / "two") as after:
            p.model.release("inner")
            await after.wait_idle()
            assert [run["outcome"] for run in await after.runs()] == ["ok", "ok"]


async def test_22_the_transcript_file_is_rewritten_the_same(tmp_path: Path) -> None:
    """spec/subagents.md 22: the JSONL is written before `finish` commits, and rewritten the same at start-up."""
    async with pilot(tmp_path) as p:
        p.on(reply=call("ls", path="."), role="child", step=1)
        accepted = await p.spawn(task="t")
        run = await p.wait_run(accepted["runId"])
        await p.wait_idle()
        file = Path(run["transcriptPath"])
        before = await asyncio.to_thread(file.read_text)
        rows = await p.transcript(accepted["childSessionKey"])
        assert [json.loads(line)["seq"] for line in before.splitlines()] == [row["seq"] for row in rows]
        for damage in ("", before[: len(before) // 2]):
            await p.stop()
            await asyncio.to_thread(file.write_text, damage)
            await p.start()
            assert await asyncio.to_thread(file.read_text) == before
        await p.stop()
        await asyncio.to_thread(file.unlink)
        await p.start()
        assert await asyncio.to_thread(file.read_text) == before


async def test_22_a_state_folder_that_has_moved_finds_what_lies_inside(tmp_path: Path) -> None:
    """spec/subagents.md 22: it goes on as if nothing had happened, in a copy of the state elsewhere too: the folder in
    which a child works and the pictures of a conversation are those of the copy."""
    seeing = {"id": "scripted", "input": ["text", "image"]}
    picture = {"mediaType": "image/png", "dataBase64": base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()}
    async with pilot(tmp_path / "one") as p:
        provider = json.loads(p.paths.config_file.read_text("utf-8"))["models"]["providers"]["test"]
        await p.restart(models={"providers": {"test": provider | {"models": [seeing]}}})
        (p.workspace / "inside").mkdir()
        (p.workspace / "inside" / "note.txt").write_text("found it")
        p.on(reply=Reply(calls=(Call("read", {"path": "note.txt"}),), hold="child"), role="child", step=1)
        await p.say("look", attachments=[picture])
        await p.wait_said("ok")
        await p.spawn(task="t", cwd="inside")
        await p.wait_asked(lambda seen: seen.role == "child")
        async with survivor(p, tmp_path / "two") as after:
            for folder in (p.workspace, p.paths.state / "media"):
                await asyncio.to_thread(shutil.rmtree, folder)
            p.model.release("child")
            await after.wait_idle()
            # The original asks the same server, and finds its folder gone.
            assert any("found it" in result for seen in after.child_requests() for result in seen.results)
            await after.say("again")
            await after.wait_idle()
            assert "[image]" in after.main_requests()[-1].everything


async def test_23_on_restart_fail(tmp_path: Path) -> None:
    """spec/subagents.md 23: `subagents.onRestart: "fail"`: what was at work ends with `error`, announced."""
    async with pilot(tmp_path / "one", config=subagents(onRestart="fail", maxConcurrent=1)) as p:
        p.on(reply=say("never", hold="ever"), task="^working$")
        await p.spawn_many([{"task": "working"}, {"task": "queued"}])
        await p.wait_asked(lambda seen: seen.first_user == "working")
        async with survivor(p, tmp_path / "two") as after:
            await after.wait_idle()
            runs = {run["label"]: run for run in await after.runs()}
            assert runs["working"]["outcome"] == "error"
            assert "subagents.onRestart" in runs["working"]["error"]
            assert runs["queued"]["outcome"] == "ok", "what had not begun has lost nothing"
            texts = [m["text"] for m in await after.transcript() if m["kind"] == "announce"]
            assert any("“working” failed" in text for text in texts)


async def test_24_a_graceful_stop_repeats_nothing_that_was_stored(tmp_path: Path) -> None:
    """spec/subagents.md 24: lets model calls in flight finish for up to `drainSeconds`, checkpoints; counts nothing."""
    async with pilot(tmp_path, config={"gateway": {"drainSeconds": 5}}) as p:
        p.on(reply=call("ls", path="."), role="child", step=1)
        p.on(
            lambda seen: Reply(calls=(Call("ls", {"path": "./."}),), hold="h") if seen.step == 2 else None, role="child"
        )
        accepted = await p.spawn(task="t")
        await p.wait_said("ok")
        await p.wait_asked(lambda seen: seen.role == "child" and seen.step == 2)
        stopping = asyncio.create_task(p.stop())
        p.model.release("h")
        await stopping
        await p.start()
        await p.wait_idle()
        assert [seen.step for seen in p.child_requests()] == [1, 2, 3]
        assert (await p.run(accepted["runId"]))["outcome"] == "ok"


async def test_24_a_call_that_takes_too_long_is_cancelled_and_made_again(tmp_path: Path) -> None:
    """spec/subagents.md 24: … for up to `drainSeconds`; then it is cancelled, and repeated after the start."""
    async with pilot(tmp_path, config={"gateway": {"drainSeconds": 0.1}}) as p:
        p.on(reply=say("first try", hold="ever"), user="^go$", once=True)
        p.on(reply=say("second try"), user="^go$")
        await p.say("go")
        await p.wait_asked(lambda seen: seen.last_user == "go")
        await p.restart()
        await p.wait_idle()
        assert p.said() == ["second try"]
        assert [m["kind"] for m in await p.transcript()] == ["user", "reply"]


async def test_24_graceful_stops_count_nothing(tmp_path: Path) -> None:
    """spec/subagents.md 23: graceful stops count nothing against anybody."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("late", hold="ever"), user="^go$")
        await p.say("go")
        for number in range(4):
            await p.wait_asked(lambda seen: seen.last_user == "go", count=number + 1)
            await p.restart()
        p.model.release("ever")
        await p.wait_idle()
        assert p.said() == ["late"]
        assert p.posts(role="notice") == []


async def test_24_pauses_and_settings_survive(tmp_path: Path) -> None:
    """Architecture: nothing that a person decided is only in memory."""
    async with pilot(tmp_path) as p:
        p.on(lambda seen: Reply(calls=(Call("ls", {"path": "."}),), hold="h") if seen.step == 1 else None, role="child")
        await p.command("/model test/other")
        await p.command("/think high")
        await p.command("/queue followup")
        accepted = await p.spawn(task="t", model="test/scripted")
        await p.wait_asked(lambda seen: seen.role == "child")
        await p.command("/subagents pause last")
        p.model.release("h")
        await p.restart()
        session = await p.session()
        assert (session["model"], session["thinking"], session["queueMode"]) == ("test/other", "high", "followup")
        assert (await p.run(accepted["runId"]))["status"] == "paused"
        await p.command("/subagents resume last")
        await p.wait_idle()
        assert (await p.run(accepted["runId"]))["outcome"] == "ok"
        assert p.model.requests[-1].model == "other"


class IdleStart:
    """A plugin that lets no conversation begin to work after a start, until the configuration is reloaded."""

    name = "idle"

    def register(self, registry: Registry) -> None:
        """Registers what holds the lane."""

        async def hold() -> None:
            registry.gateway.lanes.set_caps({"main": 0})

        registry.on_startup(hold)


@pytest.mark.parametrize("answered_first", [False, True])
async def test_24_a_question_to_a_person_survives(tmp_path: Path, answered_first: bool) -> None:
    """Issue part 8: a question is a row: asked again for the same call it is the same, and the command runs once.

    Also where the answer comes before the turn that asked is at work again.
    """
    async with pilot(tmp_path, config={"tools": {"exec": {"ask": "on-miss", "sandbox": "off"}}}) as p:
        p.on(reply=call("exec", command="echo hello >> log.txt"), user="^go$", turn_step=1)
        await p.say("go")
        await p.wait_until(lambda: any(e.type == "approval" for e in p.events))
        p.plugins = {"idle": IdleStart()} if answered_first else {}
        await p.restart()
        [question] = (await p.get("/api/approvals"))["approvals"]
        assert "log.txt" in question["summary"]
        await p.command(f"/approve {question['id']}")
        await p.post("/api/reload")
        await p.wait_idle()
        assert (p.workspace / "log.txt").read_text() == "hello\n"
        assert sum(e.type == "approval" and e.data["state"] == "pending" for e in p.events) == 1
        assert (await p.session(KEY))["idle"]
