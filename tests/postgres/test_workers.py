"""Workers: they join, work, die, are suspended and stopped, and no sub-agent is lost or finished twice."""

from __future__ import annotations

import os
import time
from collections import Counter
from pathlib import Path

import pytest

from gateway.store.postgres import PostgresDatabase
from gateway.store.sessions import FenceLost
from gateway.tools import command
from gateway.tools.processes import StoreLedger
from tests.postgres.fleet import fleet, subagents
from tests.support import databases
from tests.support.model_script import Reply, Seen, call, say
from tests.support.process import Ended, start, start_worker

RESCUE_SECONDS = 2.0


async def test_a_worker_runs_what_the_gateway_was_asked_for(tmp_path: Path) -> None:
    """The thinnest path: the gateway takes the message, a worker runs the sub-agent, the gateway announces."""
    async with fleet(tmp_path) as f:
        f.spawns(1)
        f.children(say("from the child", hold="child"))
        f.rest()
        await f.gateway()
        worker = await f.worker()
        await f.say("go")
        await f.model.wait_for(lambda seen: seen.role == "child", seconds=30)
        owner = f.value("select claimed_by from sessions where kind = 'subagent'")
        assert owner == f.worker_id(worker)
        status = await f.get("/api/status")
        assert sorted((each["role"], each["running"]) for each in status["workers"]) == [("gateway", 0), ("worker", 1)]
        f.model.release("child")
        await f.runs_done(1)
        await f.until("select 1 from messages where kind = 'announce' and text like '%%from the child%%'")
        assert await worker.stop() == 0
        assert f.rows("select role from workers") == [{"role": "gateway"}]


async def test_a_killed_worker_s_work_goes_on_elsewhere_at_once(tmp_path: Path) -> None:
    """spec/jobs.md 10: at once for a process of this machine, from its checkpoint, attempts unchanged."""
    async with fleet(tmp_path) as f:
        f.spawns(3)
        f.children(say("late", hold="late"))
        f.rest()
        await f.gateway()
        first = await f.worker()
        await f.say("go")
        await f.model.wait_for(lambda seen: seen.role == "child", count=3, seconds=30)
        second = await f.worker()
        killed = time.monotonic()
        await f.kill(first)
        await f.model.wait_for(lambda seen: seen.role == "child", count=6, seconds=30)
        took = time.monotonic() - killed
        assert took < RESCUE_SECONDS * 5, f"{took:.1f} s"  # the measure itself is `make bench`'s: here others work too
        claims = {row["claimed_by"] for row in f.rows("select claimed_by from sessions where kind = 'subagent'")}
        assert claims == {f.worker_id(second)}
        assert {row["attempt"] for row in f.rows("select attempt from runs")} == {1}
        assert {row["deaths"] for row in f.rows("select deaths from sessions where kind = 'subagent'")} == {1}
        assert f.value("select deaths from sessions where kind = 'main'") == 0
        f.model.release("late")
        await f.runs_done(3)
        await f.until("select 1 where (select count(*) from inbox where kind = 'announce') = 3")


async def test_a_suspended_worker_is_dead_after_its_lease_and_writes_nothing_when_it_wakes(tmp_path: Path) -> None:
    """spec/jobs.md 11: the fence holds its writes back, and its tools have no further effect."""
    async with fleet(tmp_path, lease=2) as f:
        f.spawns(1)
        f.model.on(reply=call("exec", command="echo started >> log; sleep 600"), role="child", step=1, once=True)
        f.model.on(reply=call("exec", command="echo again >> log"), role="child", step=1, once=True)
        f.model.on(reply=say("second"), role="child", last_role="tool")
        f.rest()
        await f.gateway()
        first = await f.worker()
        await f.say("go")
        await f.until("select 1 from processes")
        log = f.site.workspace / "log"
        first.suspend()
        await f.worker()
        await f.runs_done(1)
        assert f.value("select count(*) from processes") == 0, "what it had started is killed"
        before = f.rows("select * from messages order by session_id, seq")
        first.wake()
        await f.until("select 1 where (select count(*) from workers where role = 'worker') = 2")
        await f.until("select 1 from runs where outcome is not null")
        assert f.rows("select * from messages where kind <> 'announce' order by session_id, seq")[: len(before)]
        child = "select count(*) from messages m join sessions s on s.id = m.session_id where s.kind = 'subagent'"
        assert f.value(child) == f.value(child + " and m.seq <= s.next_seq")
        assert log.read_text().splitlines().count("started") == 1
        assert first.exited.done() is False


async def test_who_was_taken_for_dead_begins_no_command(tmp_path: Path) -> None:
    """spec/jobs.md 11 !: also if he was suspended after the last check of the fence: what isn't recorded doesn't begin,
    and who isn't on the list records nothing."""
    with databases.owned(tmp_path):
        database = PostgresDatabase(databases.url_of(tmp_path))
        ledger = StoreLedger(database, "session", "a-worker-that-is-gone")
        mark, folder = tmp_path / "mark", os.open(tmp_path, os.O_RDONLY)
        try:
            with pytest.raises(FenceLost, match="taken for dead"):
                await command.run(("touch", str(mark)), folder=folder, env={}, seconds=10, ledger=ledger)
        finally:
            os.close(folder)
            await database.close()
        assert not mark.exists()


async def test_a_suspect_isn_t_kept_waiting_by_one_that_has_proven_itself(tmp_path: Path) -> None:
    """spec/subagents.md 23: each is resumed alone; one that has come on while it was may then take its time."""
    async with fleet(tmp_path, config={"tools": {"exec": {"ask": "off", "sandbox": "off"}}}) as f:
        f.spawns(2)
        asked: Counter[str] = Counter()

        def answer(seen: Seen) -> Reply | None:
            if seen.role != "child":
                return None
            asked[seen.first_user] += 1
            if asked[seen.first_user] <= 2:
                return say("never", hold="two lives")
            if "task 1" in seen.first_user:
                return say("well")
            return call("exec", command="sleep 607")

        f.model.on(answer)
        f.rest()
        await f.gateway()
        worker = await f.worker()
        await f.say("go")
        for asks in (2, 4):
            await f.model.wait_for(lambda seen: seen.role == "child", count=asks, seconds=30)
            await f.kill(worker)
            worker = await f.worker()
        await f.runs_done(1)
        assert f.value("select label from runs where status = 'done'") == "t1"
        assert f.value("select status from runs where label = 't0'") == "running"
        await f.say("/subagents stop t0")
        await f.runs_done(2)


async def test_a_blocked_loop_is_no_death(tmp_path: Path) -> None:
    """spec/jobs.md 12: the lease is renewed beside a loop that is busy for longer than it."""
    async with fleet(tmp_path, lease=2) as f:
        f.spawns(1)
        f.model.on(reply=call("block", seconds=5), role="child", step=1)
        f.rest()
        plugin = _blocking_plugin(tmp_path / "plugins")
        await f.gateway()
        worker = await f.worker(env={"PYTHONPATH": f"{plugin}{os.pathsep}{f.site.environ()['PYTHONPATH']}"})
        before = f.worker_id(worker)
        await f.say("go")
        await f.runs_done(1)
        assert f.worker_id(worker) == before
        assert f.rows("select outcome, attempt from runs") == [{"outcome": "ok", "attempt": 1}]
        assert f.value("select deaths from sessions where kind = 'subagent'") == 0
        assert len([seen for seen in f.model.requests if seen.role == "child"]) == 2


def _blocking_plugin(folder: Path) -> Path:
    """A plugin with a tool that blocks its process's event loop."""
    info = folder / "laneway_block-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: laneway-block\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[laneway.plugins]\nblock = laneway_block:plugin\n")
    (folder / "laneway_block.py").write_text(
        "import time\n"
        "from gateway.tools.base import Tool, ToolArguments, ToolResult\n"
        "class Arguments(ToolArguments):\n"
        "    seconds: float\n"
        "async def block(context, args):\n"
        "    time.sleep(args.seconds)\n"
        "    return ToolResult('blocked')\n"
        "class Plugin:\n"
        "    name = 'block'\n"
        "    def register(self, registry):\n"
        "        registry.tool(Tool('block', 'Blocks.', Arguments, block))\n"
        "plugin = Plugin()\n"
    )
    return folder


async def test_the_cap_of_a_lane_is_for_all_workers_together(tmp_path: Path) -> None:
    """spec/subagents.md 7: seen by the model server, over three workers that could each run all."""
    async with fleet(tmp_path, config=subagents(maxConcurrent=2, maxChildrenPerAgent=12)) as f:
        f.spawns(12)
        f.children(say("done", delay=0.15))
        f.rest()
        await f.gateway()
        for _ in range(3):
            await f.worker()
        await f.say("go")
        await f.runs_done(12)
        assert f.most_at_once() == 2
        assert {row["outcome"] for row in f.rows("select outcome from runs")} == {"ok"}


async def test_stop_and_steer_reach_a_worker(tmp_path: Path) -> None:
    """A stop closes the model call in flight in another process; a steer enters at the next boundary."""
    async with fleet(tmp_path) as f:
        f.spawns(2)
        f.children(say("never", hold="ever"), task="^task 0")
        f.model.on(reply=call("ls", path="."), role="child", task="^task 1", step=1)
        f.model.on(reply=call("ls", path="."), role="child", task="^task 1", step=2)
        f.rest()
        await f.gateway()
        await f.worker()
        await f.say("go")
        await f.model.wait_for(lambda seen: seen.first_user.startswith("task 0"), seconds=30)
        answer = await f.post("/api/sessions/agent:main:main/messages", {"text": "/subagents stop t0"})
        assert "1" in answer["reply"]
        await f.model.wait_gone(seconds=10)
        await f.runs_done(2)
        assert f.value("select outcome from runs where label = 't0'") == "stopped"
        await f.say("/subagents steer t1 and greet me")
        await f.until("select 1 from messages where text like '%%and greet me%%'")


async def test_a_graceful_stop_hands_work_on_and_counts_nothing(tmp_path: Path) -> None:
    """SIGTERM: what is in flight is given back, and another worker goes on with it."""
    async with fleet(tmp_path, config={"gateway": {"port": 0, "drainSeconds": 0}}) as f:
        f.spawns(2)
        f.children(say("late", hold="late"))
        f.rest()
        await f.gateway()
        first = await f.worker()
        await f.say("go")
        await f.model.wait_for(lambda seen: seen.role == "child", count=2, seconds=30)
        await f.worker()
        assert await first.stop() == 0
        await f.model.wait_for(lambda seen: seen.role == "child", count=4, seconds=30)
        assert {row["deaths"] for row in f.rows("select deaths from sessions")} == {0}
        f.model.release("late")
        await f.runs_done(2)


async def test_what_can_t_be_a_worker_is_told_why(tmp_path: Path) -> None:
    """SQLite, the main lane, an unknown lane, another state folder: a sentence and exit code 1."""
    async with fleet(tmp_path) as f:
        for lane, words in (("main", "gateway's own"), ("nowhere", "there is no lane")):
            with pytest.raises(Ended):
                await start_worker(f.site, lane)
            assert words in f.site.said()
        await f.gateway()
        elsewhere = {"LANEWAY_HOME": str(tmp_path / "elsewhere"), "LANEWAY_CONFIG": str(f.site.state / "config.json5")}
        with pytest.raises(Ended):
            await start_worker(f.site, "subagent", env=elsewhere)
        assert "same folder under the same path" in f.site.said()
        second = await start(f.site, {**elsewhere})
        assert await second.exited == 1
        assert "a gateway already works on this database: process" in f.site.said()


def test_sqlite_has_no_workers(tmp_path: Path) -> None:
    """The text says what to do."""
    from gateway.cli import dispatch

    assert dispatch(["worker", "--lane", "subagent"]) == 1
