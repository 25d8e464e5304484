"""Shell jobs (spec/jobs.md 27–29), over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from gateway.store.database import Transaction
from gateway.store.schema import processes
from gateway.tools import command
from tests.jobs.test_first import done, submit
from tests.support.pilot import Pilot, pilot

ON: Mapping[str, Any] = {"jobs": {"shell": {"enabled": True}}}
PATIENT = 0.6
"""Seconds, here, between TERM and KILL."""


async def shell(p: Pilot, cmd: str, **fields: Any) -> dict[str, Any]:
    """Submits a command; `data` goes over the usual payload."""
    data = {"cmd": cmd, "cwd": str(p.paths.state.parent), **fields.pop("data", {})}
    return await submit(p, "shell", data=data, **fields)


async def test_27_off_unless_enabled(tmp_path: Path) -> None:
    """spec/jobs.md 27: off unless `jobs.shell.enabled`; says the key."""
    async with pilot(tmp_path) as p:
        refused = await p.post("/api/jobs", {"name": "shell", "data": {"cmd": "true", "cwd": "/"}})
        assert refused.status == 400
        assert "jobs.shell.enabled" in refused.text


async def test_27_cmd_and_argv(tmp_path: Path) -> None:
    """spec/jobs.md 27: `cmd` or `argv`, absolute `cwd`; exactly one of the two."""
    async with pilot(tmp_path, config=ON) as p:
        job = await shell(p, "echo one; pwd")
        ended = await done(p, job["id"])
        assert ended["output"]["stdout"] == f"one\n{tmp_path}\n"
        argv = await submit(p, "shell", data={"argv": ["printf", "%s", "$HOME"], "cwd": str(tmp_path)})
        assert (await done(p, argv["id"]))["output"]["stdout"] == "$HOME"
        for wrong in ({"cwd": "/"}, {"cmd": "true", "argv": ["true"], "cwd": "/"}, {"cmd": "true", "cwd": "here"}):
            refused = await p.post("/api/jobs", {"name": "shell", "data": wrong})
            assert refused.status == 400, refused.text


async def test_27_environment(tmp_path: Path, monkeypatch: Any) -> None:
    """spec/jobs.md 27: an allow-listed environment plus secrets named in `inherit`, redacted in what is printed."""
    config = {"jobs": {"shell": {"enabled": True, "inheritable": ["DEPLOY_KEY"]}}}
    async with pilot(tmp_path, config=config, environ={"DEPLOY_KEY": "s3cret-deploy-key", "OTHER": "x"}) as p:
        plain = await done(p, (await shell(p, "env"))["id"])
        assert "DEPLOY_KEY" not in plain["output"]["stdout"] and "OTHER" not in plain["output"]["stdout"]
        given = await shell(p, "echo $DEPLOY_KEY; test ${#DEPLOY_KEY} = 17", data={"inherit": ["DEPLOY_KEY"]})
        ended = await done(p, given["id"])
        assert (ended["outcome"], ended["output"]["stdout"]) == ("ok", "[redacted]\n")
        assert "s3cret" not in (await p.ask("GET", f"/api/jobs/{given['id']}")).text
        kept = [file for file in p.paths.state.rglob("*") if file.is_file()]
        assert not [file for file in kept if b"s3cret-deploy-key" in file.read_bytes()], "it is never stored"
        refused = await p.post("/api/jobs", {"name": "shell", "data": {"cmd": "x", "cwd": "/", "inherit": ["OTHER"]}})
        assert "jobs.shell.inheritable" in refused.text


async def test_28_result(tmp_path: Path) -> None:
    """spec/jobs.md 28: output tails of 64 KiB and 16 KiB, exit code, duration, pid; a failure shows the same."""
    async with pilot(tmp_path, config=ON) as p:
        job = await shell(p, "yes x | head -c 100000; yes y | head -c 30000 >&2; exit 3", maxAttempts=1)
        ended = await done(p, job["id"])
        output = ended["output"]
        assert (ended["outcome"], output["exitCode"]) == ("error", 3)
        assert 65_536 <= len(output["stdout"]) < 65_600 and 16_384 <= len(output["stderr"]) < 16_450
        assert output["durationSeconds"] >= 0 and output["pid"] > 1


async def test_28_the_group_gets_term(tmp_path: Path) -> None:
    """spec/jobs.md 28: its process group gets TERM; what it had started is gone with it."""
    async with pilot(tmp_path, config=ON) as p:
        mark, trace = tmp_path / "going", tmp_path / "trace"
        cmd = f"trap 'echo term >> {trace}; exit' TERM; echo $$ > {mark}; sleep 100 & wait"
        job = await shell(p, cmd)
        await appears(mark)
        stopped = await p.post(f"/api/jobs/{job['id']}/stop")
        assert stopped.status == 200
        assert (await done(p, job["id"]))["outcome"] == "stopped"
        await appears(trace)
        assert trace.read_text() == "term\n"


async def test_28_what_doesn_t_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """spec/jobs.md 28 !: after 5 s KILL, for the whole group: a stop and a timeout end what hears no TERM."""
    assert command.TERM_SECONDS == 5
    monkeypatch.setattr(command, "TERM_SECONDS", PATIENT)
    async with pilot(tmp_path, config=ON) as p:
        for name, fields in (("stopped", {}), ("timeout", {"timeoutMs": 400})):
            mark, trace = tmp_path / name, tmp_path / f"{name} trace"
            deaf = f"trap 'date +%s.%N >> \"{trace}\"' TERM; sleep 300 & echo $$ $! > {mark}"
            job = await shell(p, f"{deaf}; while :; do wait; done", **fields)
            await appears(mark)
            if name == "stopped":
                assert (await p.post(f"/api/jobs/{job['id']}/stop")).status == 200
            assert (await done(p, job["id"]))["outcome"] == name
            leader, child = map(int, mark.read_text().split())
            await until(lambda leader=leader: state_of(leader) == "gone")
            waited = time.time() - float(trace.read_text().split()[0])
            assert PATIENT * 0.8 <= waited < PATIENT + 3, "it was asked first, and had its time"
            await until(lambda child=child: state_of(child) in ("gone", "Z"))
        while await p.gateway.database.read(count_groups):  # noqa: ASYNC110 - no event tells that a group is gone
            await asyncio.sleep(0.01)


async def test_24_a_paused_command_is_frozen(tmp_path: Path) -> None:
    """spec/jobs.md 24: pause keeps what a running command has done; its clock stands still."""
    async with pilot(tmp_path, config=ON) as p:
        mark, gate = tmp_path / "going", tmp_path / "gate"
        cmd = f"echo $$ > {mark}; while ! test -e {gate}; do sleep 0.02; done; echo done"
        job = await shell(p, cmd, timeoutMs=60_000)
        await appears(mark)
        assert (await p.post(f"/api/jobs/{job['id']}/pause")).status == 200
        pid = int(mark.read_text())
        await until(lambda: state_of(pid) == "T")
        assert (await p.get(f"/api/jobs/{job['id']}"))["waitingReason"] == "paused"
        gate.touch()
        assert (await p.post(f"/api/jobs/{job['id']}/resume")).status == 200
        assert (await done(p, job["id"]))["output"]["stdout"] == "done\n"


async def test_29_every_job_leaves_an_audit_line(tmp_path: Path) -> None:
    """spec/jobs.md 29: every shell job leaves an audit line: who, what, in which attempt, and how it went."""
    async with pilot(tmp_path, config=ON) as p:
        well = await shell(p, "exit 0")
        await done(p, well["id"])
        ended, started = await audit(p, well)
        assert (started["what"], started["cmd"], started["who"]) == ("shell.started", "exit 0", "http:operator")
        assert (ended["what"], ended["exitCode"], ended["attempt"]) == ("shell.ended", 0, 1)
        twice = await shell(p, "exit 4", maxAttempts=2, backoff={"delayMs": 1})
        assert (await done(p, twice["id"]))["outcome"] == "dead"
        lines = [(line["what"], line["attempt"], line.get("exitCode")) for line in await audit(p, twice)]
        assert lines[::-1] == [
            ("shell.started", 1, None),
            ("shell.ended", 1, 4),
            ("shell.started", 2, None),
            ("shell.ended", 2, 4),
        ]
        nowhere = await shell(p, "true", data={"cwd": "/there/is/none"})
        assert (await done(p, nowhere["id"]))["outcome"] == "error"
        [line] = await audit(p, nowhere)
        assert (line["what"], line["cwd"], line["cmd"]) == ("shell.failed", "/there/is/none", "true")
        mark = tmp_path / "going"
        stopped = await shell(p, f"echo > {mark}; sleep 300")
        await appears(mark)
        assert (await p.post(f"/api/jobs/{stopped['id']}/stop")).status == 200
        assert [line["what"] for line in await audit(p, stopped)] == ["shell.started"]


async def audit(p: Pilot, job: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the audit trail has about a job, the newest first."""
    return [line for line in (await p.get("/api/audit"))["lines"] if line.get("number") == job["id"]]


def count_groups(tx: Transaction) -> int:
    """How many process groups are on record."""
    return int(tx.execute(select(func.count()).select_from(processes)).scalar_one())


async def appears(path: Path) -> None:
    """Waits for a file that a command writes."""
    await until(lambda: path.exists() and path.stat().st_size > 0)


async def until(holds: Any) -> None:
    """Waits for something that no event tells: another process's doing."""
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - see above
            await asyncio.sleep(0.01)


def state_of(pid: int) -> str:
    """A process's state as the kernel shows it."""
    stat = Path(f"/proc/{pid}/stat")
    return stat.read_text().rpartition(")")[2].split()[0] if stat.exists() else "gone"
