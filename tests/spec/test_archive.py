"""Archiving: when a run's session goes, what stays, and what still answers afterwards (spec/subagents.md 30)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from sqlalchemy import func, select

from gateway.store.database import Transaction
from gateway.store.schema import messages, sessions
from tests.support.model_script import call, say
from tests.support.pilot import Json, Pilot, pilot, subagents

SOON = 0.0001
"""minutes"""


def rows_of(path: Path) -> list[Json]:
    """A transcript file."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def files(p: Pilot) -> list[str]:
    """Names of all transcript files."""
    return sorted(path.name for path in p.paths.session_dir("main").iterdir())


def counts(tx: Transaction) -> tuple[int, int]:
    """How many rows of children's sessions, and of their messages, there are."""
    children = select(sessions.c.id).where(sessions.c.kind == "subagent")
    return (
        int(tx.execute(select(func.count()).select_from(children.subquery())).scalar_one()),
        int(tx.execute(select(func.count()).where(messages.c.session_id.not_in(select(sessions.c.id)))).scalar_one()),
    )


async def test_30_the_file_is_renamed_and_the_rows_go(tmp_path: Path) -> None:
    """spec/subagents.md 30: file renamed to `*.deleted.<timestamp>` in its folder, session rows removed, run kept."""
    async with pilot(tmp_path, config=subagents(archiveAfterMinutes=SOON)) as p:
        p.on(reply=call("ls", path="."), role="child", step=1)
        accepted = await p.spawn(task="t")
        run = await p.wait_run(accepted["runId"], "archived")
        await p.wait_idle()
        [name] = files(p)
        assert re.fullmatch(r"[0-9a-f-]{36}\.jsonl\.deleted\.\d{8}T\d{6}Z", name)
        path = Path(run["transcriptPath"])
        assert path == p.paths.session_dir("main") / name
        assert [row["kind"] for row in rows_of(path)] == ["task", "reply", "result", "reply"]
        assert (await p.ask("GET", f"/api/sessions/{accepted['childSessionKey']}")).status == 404
        assert await p.gateway.database.read(counts) == (0, 0)
        assert (run["status"], run["outcome"]) == ("done", "ok")


async def test_30_log_and_info_read_the_file_from_then_on(tmp_path: Path) -> None:
    """spec/subagents.md 30: `log` and `info` read the file from then on."""
    async with pilot(tmp_path, config=subagents(archiveAfterMinutes=SOON)) as p:
        p.on(reply=call("ls", path="."), role="child", step=1)
        p.on(reply=say("the end"), role="child")
        accepted = await p.spawn(task="t")
        await p.wait_run(accepted["runId"], "archived")
        await p.wait_idle()
        log = await p.command("/subagents log last 10 tools")
        assert "[1] user: t" in log
        assert "→ ls" in log
        assert "the end" in log
        info = await p.command("/subagents info last")
        assert "Archive: archived" in info
        assert ".deleted." in info
        over_http = await p.get(f"/api/runs/{accepted['runId']}/log?tools=true")
        assert [m["kind"] for m in over_http["messages"]] == ["task", "reply", "result", "reply"]
        assert over_http["messages"][2]["tool"] == "ls"


async def test_30_zero_is_never_and_timeouts_never_archive(tmp_path: Path) -> None:
    """spec/subagents.md 30: 0 = never; `runTimeoutSeconds` never archives."""
    async with pilot(tmp_path, config=subagents(archiveAfterMinutes=0)) as p:
        p.on(reply=say("never", hold="ever"), role="child")
        accepted = await p.spawn(task="t", runTimeoutSeconds=1)
        run = await p.wait_run(accepted["runId"])
        await p.wait_idle()
        assert (run["outcome"], run["archiveAt"]) == ("timeout", None)
        assert (await p.session(accepted["childSessionKey"]))["kind"] == "subagent"


async def test_30_the_due_time_is_the_end_plus_the_minutes(tmp_path: Path) -> None:
    """spec/subagents.md 30: `archiveAfterMinutes` (default 60, fractions allowed) after the end."""
    async with pilot(tmp_path, config=subagents(archiveAfterMinutes=1.5)) as p:
        accepted = await p.spawn(task="t")
        await p.wait_idle()
        run = await p.run(accepted["runId"])
        assert _seconds(run["endedAt"], run["archiveAt"]) == 90
        p.configure(subagents(archiveAfterMinutes=60))


def _seconds(start: str, end: str) -> float:
    from datetime import datetime

    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


async def test_30_a_restart_loses_no_due_time(tmp_path: Path) -> None:
    """spec/subagents.md 30: the due time is a column: a restart loses nothing."""
    async with pilot(tmp_path, config=subagents(archiveAfterMinutes=0.02)) as p:
        accepted = await p.spawn(task="t")
        await p.wait_idle()
        await p.restart()
        await p.wait_run(accepted["runId"], "archived")
        assert ".deleted." in files(p)[0]


async def test_30_cleanup_delete_archives_when_the_announcement_is_consumed(tmp_path: Path) -> None:
    """spec/subagents.md 30: `delete`: archiving follows the requester's consumption; the path is announced."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("busy", hold="busy"), user="^busy$")
        p.on(reply=say("late", hold="child"), role="child")
        accepted = await p.spawn(task="t", cleanup="delete")
        await p.wait_said("ok")
        await p.say("busy", thread="elsewhere")
        await p.wait_asked(lambda seen: seen.last_user == "busy")
        p.model.release("child")
        run = await p.wait_run(accepted["runId"])
        assert run["archiveAt"] is None, "not before it is handed over"
        assert (await p.session(accepted["childSessionKey"]))["kind"] == "subagent"
        p.model.release("busy")
        run = await p.wait_run(accepted["runId"], "archived")
        await p.wait_idle()
        [text] = [m["text"] for m in await p.transcript() if m["kind"] == "announce"]
        named = Path(text.split("transcript ")[1].split("\n")[0].strip())
        assert str(named) == run["transcriptPath"]
        assert rows_of(named)


async def test_30_cleanup_delete_of_a_nested_child(tmp_path: Path) -> None:
    """spec/subagents.md 30: also where the requester is a child itself, whose own run goes on after it."""
    async with pilot(tmp_path, config=subagents(maxSpawnDepth=2)) as p:
        p.on(reply=call("sessions_spawn", task="inner", cleanup="delete"), task="^outer$", step=1)
        await p.spawn(task="outer")
        await p.wait_idle()
        inner = (await p.runs())[1]
        await p.wait_run(inner["runId"], "archived")
        assert [name for name in files(p) if ".deleted." in name]


async def test_30_what_was_revived_waits_for_its_new_end(tmp_path: Path) -> None:
    """spec/subagents.md 30: a session that goes on isn't archived under its old run, but after its new one's end."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("late", hold="again"), role="child", step=2)
        accepted = await p.spawn(task="t")
        await p.wait_run(accepted["runId"])
        assert (await p.run(accepted["runId"]))["archiveAt"]
        await p.command("/subagents send last go on")
        await p.wait_asked(lambda seen: seen.role == "child" and seen.step == 2)
        first, second = await p.runs()
        assert (first["archiveAt"], second["status"]) == (None, "running")
        p.configure(subagents(archiveAfterMinutes=SOON))
        assert (await p.post("/api/reload")).json["reloaded"]
        p.model.release("again")
        await p.wait_run(second["runId"], "archived")
        await p.wait_idle()
        assert second["sessionKey"] == accepted["childSessionKey"]
        assert len(files(p)) == 1
        assert {run["transcriptPath"] for run in await p.runs()} == {str(p.paths.session_dir("main") / files(p)[0])}


async def test_30_retention_purges_for_good(tmp_path: Path) -> None:
    """spec/subagents.md 30: `retention.{deletedDays,runsDays}` purge for good."""
    config = subagents(archiveAfterMinutes=SOON) | {"retention": {"deletedDays": 1e-9, "runsDays": 1e-9}}
    async with pilot(tmp_path, config=config) as p:
        first = await p.spawn(task="t")
        await p.wait_until(lambda: "archived" in p.changes(first["runId"]))
        second = await p.spawn(task="second")
        await p.wait_until(lambda: "archived" in p.changes(second["runId"]))
        await p.wait_idle()
        await p.restart(retention={"deletedDays": 0, "runsDays": 0})
        assert (await p.ask("GET", f"/api/runs/{first['runId']}")).status == 404
        assert len(files(p)) <= 1


async def test_30_retention_zero_keeps_for_ever(tmp_path: Path) -> None:
    """spec/subagents.md 30: retention 0 = never."""
    config = subagents(archiveAfterMinutes=SOON) | {"retention": {"deletedDays": 0, "runsDays": 0}}
    async with pilot(tmp_path, config=config) as p:
        for task in ("first", "second"):
            accepted = await p.spawn(task=task)
            await p.wait_until(lambda run=accepted: "archived" in p.changes(run["runId"]))
        await p.wait_idle()
        await p.restart()
        assert len(await p.runs()) == 2
        assert len(files(p)) == 2
