"""Shell jobs (spec/jobs.md 27–29), over HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.jobs.test_first import done, submit
from tests.support.pilot import Pilot, pilot

ON: Mapping[str, Any] = {"jobs": {"shell": {"enabled": True}}}


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


async def test_29_audit(tmp_path: Path) -> None:
    """spec/jobs.md 29: every shell job leaves an audit line."""
    async with pilot(tmp_path, config=ON) as p:
        job = await shell(p, "exit 0")
        await done(p, job["id"])
        ended, started = (await p.get("/api/audit"))["lines"]
        assert (started["what"], started["cmd"], started["who"]) == ("shell.started", "exit 0", "http:operator")
        assert (ended["what"], ended["exitCode"], ended["number"]) == ("shell.ended", 0, job["id"])


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
