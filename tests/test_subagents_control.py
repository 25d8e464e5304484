"""The control of sub-agents as typed in a chat (spec/subagents.md 25–30 and "Control")."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import pytest

from subagents.control import Control
from tests.support.children import OTHER, ended, hanging, several
from tests.support.model_script import call, say
from tests.support.pilot import KEY, pilot

# ---- list, targets, scope ----


async def test_list_shows_active_ones_first_and_the_newest_first(tmp_path: Path) -> None:
    """Control, `list`: numbered, icon, label, runtime, run id prefix, session key, in the reference's form."""
    async with pilot(tmp_path) as p:
        hanging(p)
        done = await ended(p, "check deps")
        a, b = await several(p, "deploy staging", "research logs")
        lines = (await p.command("/subagents")).splitlines()
        assert lines[:2] == ["🧭 Subagents (current session)", "Active: 2 · Done: 1"]
        assert [line.split(" · ")[1] for line in lines[2:]] == ["research logs", "deploy staging", "check deps"]
        assert lines[2].startswith("1) 🔄 · research logs · ")
        assert lines[2].endswith(f" · run {b['runId'][:8]} · {b['childSessionKey']}")
        assert lines[4].startswith("3) ✅ · check deps · ")
        assert await p.command("/subagents list") != ""
        assert {a["runId"], done["runId"]} < {run["runId"] for run in await p.runs()}
        p.model.release("hang")
        await p.wait_idle()


async def test_an_index_means_what_was_last_shown_in_this_session(tmp_path: Path) -> None:
    """25: stored as run ids; without a list shown, as a fresh list would number it."""
    async with pilot(tmp_path) as p:
        hanging(p)
        [first] = await several(p, "first")
        assert f"Run: {first['runId']}" in await p.command("/subagents info 1")
        await p.command("/subagents list")
        [second] = await several(p, "second")
        assert f"Run: {first['runId']}" in await p.command("/subagents info 1"), "still what was shown"
        await p.command("/subagents list")
        assert f"Run: {second['runId']}" in await p.command("/subagents info #1")
        await p.restart()
        assert f"Run: {second['runId']}" in await p.command("/subagents info 1"), "a restart loses no list"
        p.model.release("hang")
        await p.wait_idle()


async def test_25_every_way_to_name_a_run(tmp_path: Path) -> None:
    """25: run id prefix, whole id, session key, exact label, `last`; each in any quotes."""
    async with pilot(tmp_path) as p:
        hanging(p)
        one, two = await several(p, "deploy staging", "research logs")
        for word, spawned in {
            one["runId"][:4]: one,
            one["runId"][:8].upper(): one,
            one["runId"]: one,
            one["childSessionKey"]: one,
            "deploy staging": one,
            '"deploy staging"': one,
            "“research logs”": two,
            "last": two,
        }.items():
            assert f"Run: {spawned['runId']}" in await p.command(f"/subagents info {word}"), word
        p.model.release("hang")
        await p.wait_idle()


async def test_25_ambiguous_and_unknown_targets_are_refused(tmp_path: Path) -> None:
    """25: the candidates are listed, nothing is guessed and nothing is done."""
    async with pilot(tmp_path) as p:
        hanging(p)
        twins = await several(p, "twin", "twin", "1")
        text = await p.command("/subagents stop twin")
        assert "fits 2 sub-agents" in text
        assert all(f"run {twin['runId'][:8]}" in text for twin in twins[:2])
        assert "fits 2 sub-agents" not in await p.command("/subagents info 1"), "a label that is its own index"
        await p.command("/subagents list")
        [newest] = await several(p, "2")
        assert "fits 2 sub-agents" in await p.command("/subagents stop 2"), "index and label lead to different runs"
        for word in ("nobody", "99", "zzz", twins[0]["runId"][:3] + "x"):
            assert "No sub-agent fits" in await p.command(f"/subagents stop {word}")
        assert {run["status"] for run in await p.runs()} == {"running"}
        assert newest
        p.model.release("hang")
        await p.wait_idle()


async def test_26_each_session_sees_its_own_tree_and_an_operator_all(tmp_path: Path) -> None:
    """26: only runs spawned from the current session's tree; `/new` keeps those that will report there."""
    async with pilot(tmp_path) as p:
        hanging(p)
        [mine] = await several(p, "mine")
        other = await p.spawn(OTHER, task="hang elsewhere", label="theirs")
        assert "theirs" not in await p.command("/subagents list")
        assert "No sub-agent fits" in await p.command(f"/subagents stop {other['runId']}")
        assert "mine" not in await p.command("/subagents list", OTHER)
        await p.command("/new")
        assert "mine" in await p.command("/subagents list")
        assert len(await p.runs()) == 2
        assert (await p.post(f"/api/runs/{other['runId'][:8]}/stop")).json["stopped"] == 1
        assert "Stop requested for mine." in await p.command("/subagents stop last")
        assert (await p.run(mine["runId"]))["outcome"] == "stopped"
        p.model.release("hang")
        await p.wait_idle()


# ---- info, log, tree ----


async def test_info_tells_everything(tmp_path: Path) -> None:
    """Control, `info`, in the reference's form, with tokens and cost and what became of the announcement."""
    async with pilot(tmp_path) as p:
        spawned = await ended(p, "research logs")
        text = await p.command("/subagents info 1")
        lines = text.splitlines()
        assert lines[0] == "ℹ️ Subagent info"
        fields = dict(line.split(": ", 1) for line in lines[1:])
        assert fields["Status"].startswith("✅")
        assert fields["Label"] == "research logs"
        assert fields["Task"] == "quick research logs"
        assert fields["Run"] == spawned["runId"]
        assert fields["Session"] == spawned["childSessionKey"]
        assert fields["Model"] == spawned["resolvedModel"]
        assert fields["Cleanup"] == "keep"
        assert fields["Outcome"] == "ok"
        assert fields["Tokens"] == "100 in / 20 out / 120 total"
        assert fields["Cost"] == "$0.0001"
        assert "delivered" in fields["Delivery"]
        assert {"Runtime", "Created", "Started", "Ended", "Archive", "Depth", "Thinking"} <= set(fields)


async def test_log_shows_the_last_messages_with_and_without_tools(tmp_path: Path) -> None:
    """Control, `log`: 1 to 200 messages, 20 by default; `tools` adds calls and results; archived from the file (30)."""
    async with pilot(tmp_path, config={"agents": {"defaults": {"subagents": {"archiveAfterMinutes": 0}}}}) as p:
        (p.workspace / "notes.txt").write_text("forty-two")
        p.on(reply=say("It says forty-two."), role="child", task="^read", step=2)
        p.on(reply=call("read", path="notes.txt"), role="child", task="^read", step=1)
        spawned = await p.spawn(task="read the notes", label="reader")
        await p.wait_run(spawned["runId"])
        await p.wait_idle()
        plain = await p.command("/subagents log reader")
        assert "read the notes" in plain
        assert "It says forty-two." in plain
        assert "notes.txt" not in plain
        full = await p.command("/subagents log 1 10 tools")
        assert "→ read" in full
        assert "notes.txt" in full
        assert len((await p.command("/subagents log last 1")).splitlines()) == 2
        for limit in ("0", "201", "999999999"):
            assert "1 to 200" in await p.command(f"/subagents log 1 {limit}")


async def test_log_and_info_of_an_archived_run_come_from_its_file(tmp_path: Path) -> None:
    """30: the session is gone, the run and its transcript aren't."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("kept for later"), role="child", task="^quick gone")
        spawned = await ended(p, "gone", cleanup="delete")
        await p.wait_run(spawned["runId"], "archived")
        assert "kept for later" in await p.command("/subagents log gone")
        info = await p.command("/subagents info gone")
        assert "archived" in info
        assert ".deleted." in info
        assert "archived" in await p.command("/subagents send gone again")


async def test_29_tree_rolls_tokens_up(tmp_path: Path) -> None:
    """29 and Control, `tree`: children stand below their parent, whose tokens hold theirs."""
    nested = {"agents": {"defaults": {"subagents": {"maxSpawnDepth": 2}}}}
    async with pilot(tmp_path, config=nested) as p:
        p.on(reply=call("sessions_spawn", task="leaf", label="leaf"), role="child", task="^branch", step=1)
        spawned = await p.spawn(task="branch out", label="branch")
        await p.wait_run(spawned["runId"])
        await p.wait_idle()
        lines = (await p.command("/subagents tree")).splitlines()
        assert lines[0].startswith("🧭 Subagent")
        assert lines[1].startswith("└─ ✅ branch · ok · ")
        assert lines[2].startswith("   └─ ✅ leaf · ok · ")
        [branch, leaf] = await p.runs()
        assert leaf["tokens"]["total"] == 120
        assert branch["tokens"]["total"] == 120 + 120 * len(
            [s for s in p.child_requests() if s.first_user == "branch out"]
        )


# ---- send, steer, revive ----


async def test_send_is_acknowledged_at_once_and_the_reply_is_posted(tmp_path: Path) -> None:
    """Control, `send`: into the inbox, then the child's next text as a post on the route of the command."""
    async with pilot(tmp_path) as p:
        hanging(p)
        p.on(reply=say("Staging is fine too."), role="child", user="^Also check")
        [spawned] = await several(p, "deploy staging")
        text = await p.command('/subagents send 1 "Also check the staging environment"', thread="t1")
        assert text == "✉️ Sent to deploy staging."
        p.model.release("hang")
        await p.wait_until(lambda: p.posts(role="notice"), "the reply")
        [notice] = p.posts(role="notice")
        assert notice["text"] == "💬 deploy staging: Staging is fine too."
        assert notice["route"]["thread"] == "t1"
        run = await p.wait_run(spawned["runId"])
        assert run["result"] == "Staging is fine too."
        await p.wait_idle()


async def test_no_reply_in_time_is_said_and_a_restart_loses_no_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Control, `send`: "no reply yet"; what is owed to a person is kept over a restart."""
    async with pilot(tmp_path, start=False) as p:
        hanging(p)
        monkeypatch.setattr("subagents.plugin.Control", partial(Control, reply_seconds=0.05))
        await p.start()
        [spawned] = await several(p, "slow")
        await p.command("/subagents send slow hello")
        await p.wait_until(lambda: p.posts(role="notice"), "no reply yet")
        assert "no reply yet" in p.posts(role="notice")[0]["text"]
        monkeypatch.setattr("subagents.plugin.Control", Control)
        await p.restart()
        p.model.on(reply=say("here I am"), role="child", user="^still there", first=True)
        await p.command("/subagents send slow still there?")
        await p.restart()
        p.model.release("hang")
        await p.wait_until(lambda: len(p.posts(role="notice")) == 2, "the reply after the restart")
        assert p.posts(role="notice")[1]["text"] == "💬 slow: here I am"
        await p.wait_run(spawned["runId"])
        await p.wait_idle()
        assert len(p.posts(role="notice")) == 2


async def test_steer_enters_the_run_and_expects_no_reply(tmp_path: Path) -> None:
    """Control, `steer`: it enters the run at the next boundary; apostrophes and unbalanced quotes are no trouble."""
    async with pilot(tmp_path) as p:
        hanging(p)
        [spawned] = await several(p, "worker")
        await p.command("/subagents steer worker don't touch \"prod")
        p.model.release("hang")
        await p.wait_run(spawned["runId"])
        assert p.child_requests()[-1].last_user == "don't touch \"prod"
        await p.wait_idle()
        assert p.posts(role="notice") == []
        assert "steered" in p.changes(spawned["runId"])


async def test_send_to_a_finished_session_continues_it_as_a_new_run(tmp_path: Path) -> None:
    """Control: new runId, `revivedFrom`, the same session, an announcement of its own."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("second answer"), role="child", user="^and the rest")
        old = await ended(p, "notes", model="test/other", thinking="low", runTimeoutSeconds=77)
        text = await p.command("/subagents send notes and the rest?")
        await p.wait_until(lambda: p.posts(role="notice"), "the reply")
        [_, new] = await p.runs()
        await p.wait_run(new["runId"])
        await p.wait_idle()
        new = await p.run(new["runId"])
        assert new["runId"][:8] in text
        assert new["revivedFrom"] == old["runId"]
        assert new["sessionKey"] == old["childSessionKey"]
        assert (new["label"], new["model"], new["thinking"]) == ("notes", "test/other", "low")
        assert new["result"] == "second answer"
        assert (await p.run(old["runId"]))["result"] == "child done"
        announced = [m for m in await p.transcript() if m["kind"] == "announce"]
        assert len(announced) == 2
        assert "second answer" in announced[1]["text"]
        assert p.child_requests()[-1].users == ("quick notes", "and the rest?")
        assert f"Run: {new['runId']}" in await p.command("/subagents info notes"), "its name means the newest run"


async def test_a_command_that_is_delivered_twice_is_done_once(tmp_path: Path) -> None:
    """What a command creates is idempotent by the message that holds it."""
    async with pilot(tmp_path) as p:
        await ended(p, "notes")
        again = {"headers": {"Idempotency-Key": "k1"}}
        path = f"/api/sessions/{KEY}/messages"
        first = await p.post(path, {"text": "/subagents send notes more"}, **again)
        second = await p.post(path, {"text": "/subagents send notes more"}, **again)
        assert first.json["reply"] == second.json["reply"]
        await p.wait_until(lambda: p.posts(role="notice"), "the reply")
        await p.wait_idle()
        assert len(await p.runs()) == 2


async def test_a_revived_run_needs_a_free_slot(tmp_path: Path) -> None:
    """Control: `maxChildrenPerAgent` holds for continued sessions as well."""
    async with pilot(tmp_path, config={"agents": {"defaults": {"subagents": {"maxChildrenPerAgent": 1}}}}) as p:
        hanging(p)
        await ended(p, "notes")
        await several(p, "busy")
        assert "1/1" in await p.command("/subagents send notes more")
        assert len(await p.runs()) == 2
        p.model.release("hang")
        await p.wait_idle()


# ---- stop, pause, resume, retry, spawn ----


async def test_stop_says_how_many(tmp_path: Path) -> None:
    """Control, `stop <t|all>`: it and its descendants; a second stop changes nothing."""
    nested = {"agents": {"defaults": {"subagents": {"maxSpawnDepth": 2}}}}
    async with pilot(tmp_path, config=nested) as p:
        hanging(p)
        p.on(reply=call("sessions_spawn", task="hang below", label="leaf"), role="child", task="^branch", step=1)
        spawned = await p.spawn(task="branch out", label="branch")
        await p.wait_asked(lambda seen: seen.first_user == "hang below")
        text = await p.command("/subagents stop branch")
        assert text.startswith("⚙️ Stop requested for branch.")
        assert "2 runs stopped" in text
        assert "already ended" in await p.command(f"/subagents stop {spawned['runId'][:8]}")
        await p.wait_idle()
        await several(p, "a", "b", "all")
        assert "3 runs stopped" in await p.command("/subagents stop all")
        assert await p.command("/subagents stop all") == "⚙️ No sub-agent is active."
        await p.wait_idle()
        assert {run["outcome"] for run in await p.runs()} == {"stopped"}


async def test_pause_and_resume(tmp_path: Path) -> None:
    """Control: frozen and continued without losing state; messages wait meanwhile."""
    async with pilot(tmp_path) as p:
        hanging(p)
        [spawned] = await several(p, "worker")
        assert "Paused worker" in await p.command("/subagents pause worker")
        assert "paused already" in await p.command("/subagents pause worker")
        assert "⏸ · worker" in await p.command("/subagents list")
        assert "paused" in await p.command("/subagents send worker more")
        p.model.release("hang")
        assert "goes on" in await p.command("/subagents resume worker")
        assert "not paused" in await p.command("/subagents resume worker")
        assert (await p.wait_run(spawned["runId"]))["outcome"] == "ok"
        await p.wait_idle()


async def test_retry_runs_the_task_again(tmp_path: Path) -> None:
    """Control, `retry <t>`: as a new run, with what it was asked for; not while it is at work."""
    async with pilot(tmp_path) as p:
        hanging(p)
        [spawned] = await several(p, "worker")
        assert "still running" in await p.command("/subagents retry worker")
        await p.command("/subagents stop worker")
        await p.wait_idle()
        p.model.release("hang")
        assert "Running again worker" in await p.command("/subagents retry worker")
        await p.wait_idle()
        [old, new] = await p.runs()
        assert new["retryOf"] == spawned["runId"] == old["runId"]
        assert (new["task"], new["label"], new["outcome"]) == ("hang on", "worker", "ok")
        assert new["sessionKey"] != old["sessionKey"]


async def test_spawn_as_a_user_with_the_same_checks(tmp_path: Path) -> None:
    """Control, `spawn <agentId> <task> [--model M] [--thinking L]`; its announcement is answered here."""
    async with pilot(tmp_path) as p:
        text = await p.command(
            "/subagents spawn main don't forget the logs --model test/other —thinking low", thread="t"
        )
        assert "test/other" in text
        await p.wait_said("ok")
        [run] = await p.runs()
        assert (run["task"], run["thinking"], run["model"]) == ("don't forget the logs", "low", "test/other")
        assert p.posts()[-1]["route"]["thread"] == "t"
        assert "allowed: main" in await p.command("/subagents spawn nobody do it")
        assert "thinking level" in await p.command("/subagents spawn main do it --thinking hard")
        assert "Usage: /subagents spawn" in await p.command("/subagents spawn main")
        assert len(await p.runs()) == 1
        await p.wait_idle()


async def test_help_and_mistakes(tmp_path: Path) -> None:
    """An unknown subcommand names the nearest; every subcommand stands in the help."""
    async with pilot(tmp_path) as p:
        assert "Did you mean `list`?" in await p.command("/subagents lst")
        text = await p.command("/subagents help")
        names = "list info log send steer stop spawn pause resume retry tree"
        assert all(f"/subagents {name}" in text for name in names.split())
        for name in ["info", "log", "send", "steer", "stop", "pause", "resume", "retry", "spawn"]:
            assert "Usage: /subagents" in await p.command(f"/subagents {name}"), name


async def test_28_commands_answer_while_a_turn_runs(tmp_path: Path) -> None:
    """28: without a model call, in under 50 ms, also with 100 runs there.

    Measured as time of this process, so that a busy machine fails nothing.
    """
    many = {"agents": {"defaults": {"subagents": {"maxChildrenPerAgent": 300, "maxConcurrent": 2}}}}
    async with pilot(tmp_path, config=many) as p:
        hanging(p)
        p.on(reply=say("late", hold="main"), user="^wait$")
        await p.spawn_many([{"task": "hang", "label": f"w{number}"} for number in range(100)])
        await p.say("wait")
        [*_] = await p.wait_asked(lambda seen: seen.last_user == "wait")
        asked = len(p.model.requests)
        for text in ("list", "info w7", "log w7", "tree", "send w7 hi", "steer w7 hi"):
            took: list[float] = []
            for _ in range(3):
                started = time.process_time()
                await p.command(f"/subagents {text}")
                took.append(time.process_time() - started)
            assert min(took) < 0.05, (text, took)
        assert len(p.model.requests) == asked
        assert "100 runs stopped" in await p.command("/subagents stop all")
        p.model.release("main")
        await p.wait_idle()
