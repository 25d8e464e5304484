"""The `exec` tool with real processes: what it reports, what it ends, whom it asks and what it hides."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path

import psutil
import pytest

from gateway.tools import command, sandbox
from gateway.tools.paths import Folders
from tests.support.tools import ListLedger, ScriptedApprover, World

OFF: dict[str, object] = {"tools": {"exec": {"ask": "off", "sandbox": "off"}}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "state", OFF)


def with_exec(world: World, **settings: object) -> World:
    return World(world.state, {"tools": {"exec": {"ask": "off", "sandbox": "off", **settings}}})


def written(file: Path) -> list[int] | None:
    text = file.read_text() if file.exists() else ""
    return [int(word) for word in text.split()] if text.endswith("\n") else None


async def until_written(file: Path) -> list[int]:
    """The process ids that a command has written, once they are there."""
    async with asyncio.timeout(30):
        while (pids := written(file)) is None:  # noqa: ASYNC110 - another process writes it, and tells nobody
            await asyncio.sleep(0.01)
    return pids


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until_dead(pids: list[int], seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while any(alive(pid) for pid in pids):  # noqa: ASYNC110 - only their parent is told
            await asyncio.sleep(0.01)


async def test_a_command_reports_everything(world: World) -> None:
    result = await world.call("exec", command="echo out; echo err >&2; exit 3")
    assert result.error and result.text.startswith("exit code 3 after ")
    assert result.text.endswith("--- stdout ---\nout\n--- stderr ---\nerr")
    fine = await world.call("exec", command="pwd")
    assert not fine.error and fine.text.splitlines()[-1] == str(world.workspace)
    assert "exit code 143" in (await world.call("exec", command="kill -TERM $$")).text
    assert "exit code 127" in (await world.call("exec", command="no-such-program")).text
    assert "exit code 0" in (await world.call("exec", command="yes | head -1 > /dev/null; cat")).text


async def test_cwd_must_lie_inside(world: World) -> None:
    (world.workspace / "sub").mkdir()
    assert (await world.call("exec", command="pwd", cwd="sub")).text.endswith("/sub")
    for cwd in ("..", "/etc", "missing"):
        assert (await world.call("exec", command="pwd", cwd=cwd)).error


async def test_only_the_tails_are_kept(world: World) -> None:
    result = await world.call("exec", command="head -c 1000000 /dev/zero | tr '\\0' a; seq 100000 >&2; echo; echo last")
    assert "… 934,470 bytes cut …" in result.text and "last\n--- stderr" in result.text
    assert len(result.text) < 65_536 + 16_384 + 300 and result.text.endswith("100000")
    assert "\0" not in (await world.call("exec", command="printf 'a\\0b\\xff'")).text


async def test_the_group_is_recorded_before_and_forgotten_after(world: World) -> None:
    ledger = ListLedger()
    result = await world.call("exec", world.context(processes=ledger), command="ps -o pgid= -p $$")
    assert ledger.seen == [int(result.text.split()[-1])] and ledger.groups == {}


async def test_a_command_waits_until_it_is_recorded(world: World) -> None:
    class Reluctant(ListLedger):
        async def record(self, pgid: int) -> int:
            await super().record(pgid)
            await asyncio.sleep(0.2)
            raise OSError("no room")

    ledger = Reluctant()
    result = await world.call("exec", world.context(processes=ledger), command="touch ran")
    assert result.error and not (world.workspace / "ran").exists()
    await until_dead(ledger.seen, 5)


async def test_a_timeout_ends_the_whole_family(world: World) -> None:
    begun = time.monotonic()
    result = await world.call("exec", command="(sleep 600 & echo $$ $! > pids; wait)", timeoutSeconds=0.5)
    assert result.error and "timed out after 0.5 s" in result.text and time.monotonic() - begun < 4
    await until_dead(await until_written(world.workspace / "pids"), 1)


async def test_who_ignores_the_polite_signal_is_killed(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "TERM_SECONDS", 0.3)
    line = "trap '' TERM; echo before; (trap '' TERM; echo $BASHPID > pids; sleep 600) & wait; sleep 600"
    result = await world.call("exec", command=line, timeoutSeconds=0.5)
    assert "timed out" in result.text and "before" in result.text
    await until_dead(await until_written(world.workspace / "pids"), 1)


async def test_the_configuration_limits_the_time(world: World) -> None:
    quick = with_exec(world, timeoutSeconds=0.3)
    assert "timed out after 0.3 s" in (await quick.call("exec", command="sleep 9", timeoutSeconds=100)).text


async def test_cancelling_kills_at_once_also_what_has_left_the_group(world: World) -> None:
    ledger = ListLedger()
    line = (
        "setsid sh -c 'trap \"\" TERM; echo $$ > away.tmp; mv away.tmp away; sleep 600' & echo $$ $! > pids; sleep 600"
    )
    task = asyncio.create_task(world.call("exec", world.context(processes=ledger), command=line))
    pids = await until_written(world.workspace / "pids") + await until_written(world.workspace / "away")
    assert all(alive(pid) for pid in pids)
    begun = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - begun < 2 and ledger.groups == {}
    assert not any(alive(pid) for pid in pids)


async def test_background_processes_end_with_the_command(world: World) -> None:
    result = await world.call(
        "exec", command="nohup sleep 600 & setsid sleep 600 & echo $! > pids; sleep 0.2; echo done"
    )
    assert not result.error and "done" in result.text
    await until_dead(await until_written(world.workspace / "pids"), 1)


async def test_a_stopped_group_is_still_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_BURY_SECONDS", 0.3)
    monkeypatch.setattr(command, "TERM_SECONDS", 0.1)
    result = await world.call("exec", command="echo $$ > pids; kill -STOP 0", timeoutSeconds=0.3)
    assert result.error
    await until_dead(await until_written(world.workspace / "pids"), 2)


async def test_the_environment_is_an_allow_list(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-gateway")
    monkeypatch.setenv("LANG", "C.UTF-8")
    injected = with_exec(world, env={"DEPLOY_TOKEN": "given"})
    text = (await injected.call("exec", command="env", env={"MINE": "1 2"})).text
    assert "sk-secret" not in text and "LANG=C.UTF-8" in text
    assert "DEPLOY_TOKEN=given" in text and "MINE=1 2" in text and "PATH=" in text


@pytest.mark.parametrize("name", ["LD_PRELOAD", "ld_library_path", "BASH_ENV", "DYLD_X", "PATH", "A B", "", "A=B"])
async def test_dangerous_variables_are_refused(world: World, name: str) -> None:
    result = await world.call("exec", command="touch ran", env={name: "x"})
    assert result.error and not (world.workspace / "ran").exists()


async def test_a_miss_is_asked_and_a_hit_is_not(world: World) -> None:
    asking = with_exec(world, ask="on-miss", allow=["echo *", "printf *"])
    yes, no = ScriptedApprover(), ScriptedApprover(allowed=False)
    hit = await asking.call("exec", asking.context(approver=yes), command="echo hello")
    assert "hello" in hit.text and yes.questions == []
    miss = await asking.call("exec", asking.context(approver=yes), command="seq 2")
    assert not miss.error and yes.questions[0].summary == "seq 2" and yes.questions[0].pattern == "seq 2"
    denied = await asking.call("exec", asking.context(approver=no), command="echo a > file")
    assert denied.error and "not today" in denied.text and no.questions[0].pattern is None
    assert not (asking.workspace / "file").exists()
    learned = ScriptedApprover(allowed=False, patterns=("seq *",))
    assert not (await asking.call("exec", asking.context(approver=learned), command="seq 3")).error
    alone = await asking.call("exec", command="seq 2")
    assert alone.error and "tools.exec.allow" in alone.text


async def test_a_hit_runs_without_a_shell(world: World) -> None:
    """The shell's own `printf` would run what stands in the subscript."""
    asking = with_exec(world, ask="on-miss", allow=["printf *"])
    await asking.call("exec", command="printf -v 'a[$(touch ran)]' x")
    assert not (asking.workspace / "ran").exists()


async def test_variables_and_always_are_never_covered_by_the_list(world: World) -> None:
    no = ScriptedApprover(allowed=False)
    asking = with_exec(world, ask="on-miss", allow=["* *"])
    result = await asking.call("exec", asking.context(approver=no), command="echo x", env={"GIT_PAGER": "id"})
    assert result.error and "with GIT_PAGER=id" in no.questions[0].summary and no.questions[0].pattern is None
    always = with_exec(world, ask="always", allow=["* *"])
    assert (await always.call("exec", always.context(approver=no), command="echo x")).error
    assert no.questions[1].pattern is None


def test_the_sandbox_is_built_from_the_whole_to_its_parts(tmp_path: Path) -> None:
    state, home = tmp_path / "home" / "state", tmp_path / "home"
    workspace = state / "workspace"
    workspace.mkdir(parents=True)
    (workspace / "AGENTS.md").write_text("")
    folders = Folders(workspace, (workspace, home), state)
    line = sandbox.confined("bwrap", ("true",), folder=workspace, folders=folders, protect=True)
    words = " ".join(line)
    order = [
        "--ro-bind / /",
        "--tmpfs /tmp",
        f"--bind {home} {home}",
        f"--tmpfs {state}",
        f"--bind {workspace} {workspace}",
        f"--remount-ro {state}",
        f"--ro-bind {workspace}/AGENTS.md",
        "-- true",
    ]
    places = [words.index(part) for part in order]
    assert places == sorted(places) and "--die-with-parent" in line and "--unshare-pid" in line


async def test_a_sandbox_that_is_demanded_and_missing_is_an_error() -> None:
    missing = sandbox.Availability(None, "bubblewrap is not installed; install it")
    assert sandbox.chosen("auto", missing) is None and sandbox.chosen("off", sandbox.Availability("/bwrap")) is None
    with pytest.raises(sandbox.SandboxMissing, match=r"tools\.exec\.sandbox.*install"):
        sandbox.chosen("bubblewrap", missing)


needs_bubblewrap = pytest.mark.skipif(
    sandbox.available().program is None and not os.environ.get("LANEWAY_NEEDS_BUBBLEWRAP"),
    reason=sandbox.available().reason,
)


@needs_bubblewrap
async def test_the_sandbox_confines(world: World, tmp_path: Path) -> None:
    boxed = with_exec(world, sandbox="bubblewrap")
    (boxed.workspace / "AGENTS.md").write_text("be kind")
    outside = tmp_path / "outside"
    outside.mkdir()

    async def said(line: str, depth: int = 0) -> str:
        return (await boxed.call("exec", boxed.context(depth=depth), command=line)).text

    assert "fine" in await said("echo fine > a.txt; cat a.txt") and (boxed.workspace / "a.txt").exists()
    assert "exit code 1" in await said(f"cat {boxed.state}/token")
    assert "token" not in await said(f"ls -A {boxed.state}")
    assert "ead-only" in await said(f"touch {boxed.state}/x")
    assert "exit code 1" in await said("touch /etc/laneway-was-here")
    await said(f"mkdir -p {outside}; touch {outside}/x")
    assert list(outside.iterdir()) == []
    assert str(os.getpid()) not in await said("ls /proc")
    assert (await said("ls -A /tmp; echo $TMPDIR")).endswith("/tmp")  # noqa: S108
    assert "ead-only" in await said("echo evil > AGENTS.md", depth=1)
    await said("rm -f AGENTS.md; mv AGENTS.md x", depth=1)
    assert (boxed.workspace / "AGENTS.md").read_text() == "be kind"


@needs_bubblewrap
async def test_the_sandbox_ends_with_its_command(world: World) -> None:
    boxed = with_exec(world, sandbox="bubblewrap")
    before = {process.pid for process in psutil.process_iter()}
    task = asyncio.create_task(boxed.call("exec", command="setsid sleep 600 & echo 1 > ready; sleep 600"))
    await until_written(boxed.workspace / "ready")
    ours = [process.pid for process in psutil.process_iter() if process.pid not in before]
    assert len(ours) >= 3
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_dead([pid for pid in ours if psutil.pid_exists(pid) and "sleep" in _name(pid)], 2)


def _name(pid: int) -> str:
    try:
        return psutil.Process(pid).name()
    except psutil.NoSuchProcess:
        return ""


async def test_killing_the_shim_leaves_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "_BURY_SECONDS", 0.5)
    ledger = ListLedger()
    line = "sleep 600 & echo $$ $! > pids; wait"
    task = asyncio.create_task(world.call("exec", world.context(processes=ledger), command=line, timeoutSeconds=1))
    pids = await until_written(world.workspace / "pids")
    os.kill(ledger.seen[0], signal.SIGKILL)
    assert (await task).error
    await until_dead(pids, 2)
