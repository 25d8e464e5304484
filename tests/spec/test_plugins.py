"""Plugins: a third party's, installed for real; and a gateway without sub-agents (issue part 10)."""

from __future__ import annotations

import asyncio
import importlib
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.plugins import LaneSpec, PluginError, Registry
from tests.support.model_script import call, say
from tests.support.pilot import pilot
from tests.support.probes import Probes

PACKAGE = Path(__file__).parent / "sample_plugin"
NO_CHILDREN = {"plugins": {"disabled": ["subagents"]}}


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The sample package as an installer leaves it: its module and a `.dist-info` on the path."""
    site = tmp_path / "site"
    info = site / "laneway_sample-1.0.dist-info"
    info.mkdir(parents=True)
    shutil.copy(PACKAGE / "laneway_sample.py", site)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: laneway-sample\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text((PACKAGE / "entry_points.txt").read_text())
    (info / "RECORD").write_text("")
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    importlib.invalidate_caches()
    yield site
    sys.modules.pop("laneway_sample", None)


async def test_10_a_third_party_s_plugin_adds_a_tool_a_command_and_a_lane(tmp_path: Path, installed: Path) -> None:
    """Issue part 10: loaded through `gateway/plugins.py`: a tiny package that adds a tool, a command and a lane."""
    async with pilot(tmp_path) as p:
        assert "laneway_sample" in sys.modules
        assert await p.use([("sample_reverse", {"text": "plum"})]) == ["mulp"]
        await p.wait_idle()
        assert await p.command("/sample twice") == "sample: twice"
        assert "/sample" in await p.command("/help")
        assert (await p.get("/api/status"))["lanes"]["sample"]["cap"] == 3
        assert "sample" in [each["name"] for each in (await p.get("/api/commands"))["commands"]]
        await p.spawn(task="t")
        await p.wait_idle()
        assert "sample_reverse" in p.child_requests()[0].tools


async def test_10_without_sub_agents_the_gateway_still_runs(tmp_path: Path, installed: Path) -> None:
    """Issue part 10: … and removes `subagents`, and the gateway still runs."""
    async with pilot(tmp_path, config=NO_CHILDREN) as p:
        assert await p.use([("sample_reverse", {"text": "plum"})]) == ["mulp"]
        await p.wait_idle()
        assert "no command /subagents" in await p.command("/subagents list")
        assert not {"sessions_spawn", "subagents"} & set(p.model.requests[0].tools)
        assert "## Sub-agents" not in p.model.requests[0].system
        assert (await p.post("/api/runs", {"sessionKey": "agent:main:main", "task": "t"})).status in (404, 405)
        assert await p.runs() == []
        assert p.said() == ["ok"]
        assert "subagent" not in (await p.get("/api/status"))["lanes"]


async def test_10_sub_agents_that_were_at_work_wait_for_their_plugin(tmp_path: Path) -> None:
    """Issue part 10: also on a state in which children are at work; with the plugin back they go on."""
    async with pilot(tmp_path) as p:
        p.on(reply=say("late", hold="child"), role="child")
        accepted = await p.spawn(task="t")
        await p.wait_said("ok")
        await p.wait_asked(lambda seen: seen.role == "child")
        await p.restart(**NO_CHILDREN)
        await p.say("hello")
        await p.wait_until(lambda: len(p.said()) == 2)
        p.model.release("child")
        await p.restart(plugins={"disabled": []})
        await p.wait_idle()
        assert (await p.run(accepted["runId"]))["outcome"] == "ok"


async def test_10_a_plugin_that_cannot_be_loaded_is_named(tmp_path: Path, installed: Path) -> None:
    """Plugins: one that fails to load is an error that names it and says how to go on without it."""
    (installed / "laneway_sample.py").write_text("raise ImportError('no such thing')")
    with pytest.raises(PluginError, match=r"plugin `sample`.*no such thing.*plugins.*disabled"):
        async with pilot(tmp_path):
            pass
    config = {"plugins": {"disabled": ["sample"]}}
    async with pilot(tmp_path / "other", config=config) as p:
        await p.say("hello")
        await p.wait_idle()


async def test_10_two_plugins_cannot_claim_one_name(tmp_path: Path) -> None:
    """Plugins: what another one has registered is an error that names both."""

    class Second(Probes):
        name = "second"

    with pytest.raises(PluginError, match="`second` registers tool `gate`, which `probes` has registered"):
        async with pilot(tmp_path, plugins={"probes": Probes(), "second": Second()}):
            pass


async def test_10_a_lane_s_cap_follows_the_configuration(tmp_path: Path) -> None:
    """Issue part 4: caps change at run time by a reload; a lower cap starts nothing new and stops nothing."""

    class Lane:
        name = "lane"

        def register(self, registry: Registry) -> None:
            registry.lane(LaneSpec("extra", lambda config: config.agents.defaults.max_turns))

    async with pilot(tmp_path, plugins={"lane": Lane()}) as p:
        p.on(lambda seen: say("late", hold=seen.first_user), role="child")
        await p.spawn_many([{"task": f"t{n}"} for n in range(4)])
        await p.wait_asked(lambda seen: seen.role == "child", count=4)
        p.configure({"agents": {"defaults": {"maxTurns": 7, "subagents": {"maxConcurrent": 2}}}})
        assert (await p.post("/api/reload")).json == {"reloaded": True, "problems": [], "restartNeeded": []}
        lanes = (await p.get("/api/status"))["lanes"]
        assert lanes["extra"]["cap"] == 7
        assert (lanes["subagent"]["cap"], lanes["subagent"]["running"]) == (2, 4)
        for name in ("t0", "t1", "t2", "t3"):
            p.model.release(name)
        await p.wait_idle()


async def test_10_an_invalid_file_keeps_the_old_configuration(tmp_path: Path) -> None:
    """Architecture, configuration: reload is all or nothing: an invalid file keeps the old one and says so."""
    async with pilot(tmp_path) as p:
        before = p.gateway.config
        p.paths.config_file.write_text('{ agents: { defaults: { maxTurns: "many" } } }')
        answer = (await p.post("/api/reload")).json
        assert not answer["reloaded"]
        assert "agents.defaults.maxTurns" in answer["problems"][0]
        assert p.gateway.config is before
        await p.say("hello")
        await p.wait_idle()
        assert p.said() == ["ok"]


async def test_10_a_tool_that_hangs_at_the_end_of_time_is_cancelled_at_stop(tmp_path: Path) -> None:
    """Style 7: every task is owned and awaited at shutdown, a plugin's tool too."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(reply=call("gate", name="never"), user="^go$", turn_step=1)
        await p.say("go")
        await probes.wait_entered("never")
        await p.stop()
        left = [
            task.get_name() for task in asyncio.all_tasks() if "gate" in task.get_name() or "tools:" in task.get_name()
        ]
        assert left == []
