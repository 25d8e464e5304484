"""Jobs that were at work when their process ended: every view says that they wait for their lane again, and why
(spec/jobs.md, the record and views; docs/jobs.md, the life of a job).
"""

from __future__ import annotations

import json
import re
import signal
from pathlib import Path
from typing import Any

import aiohttp

from tests.jobs.scene import ended, jobs, reached, submit
from tests.support.job_kinds import WorkPlugin
from tests.support.laneway import Home
from tests.support.model_script import say
from tests.support.pilot import Json, Pilot, pilot
from tests.support.web_person import Person, person

WAITS = "lane_full: 0 ahead"


def configure(home: Home, cap: int) -> None:
    """Shell jobs, so many at once."""
    shell = {"enabled": True, "maxConcurrent": cap}
    config = {"gateway": {"drainSeconds": 0}, "jobs": {"shell": shell}}
    (home.state / "config.json5").write_text(json.dumps(config), "utf-8")


def test_after_a_crash_a_command_waits_for_its_lane_in_every_view(tmp_path: Path) -> None:
    """SIGKILL with two commands at work, and a start with room for one."""
    home = Home(tmp_path)
    home.state.mkdir()
    configure(home, 2)
    data = json.dumps({"cmd": "sleep 600", "cwd": str(tmp_path)})
    with home.gateway() as gateway:
        for label in ("first", "second"):
            assert home.run("jobs", "submit", "shell", "--params", data, "--label", label).code == 0
        while _listed(home, "running") != [2, 1]:
            assert _listed(home, "done") == []
        gateway.process.send_signal(signal.SIGKILL)
        gateway.process.wait()
    configure(home, 1)
    with home.gateway():
        while _listed(home, "running") != [1]:  # each look takes its time
            assert _listed(home, "running") in ([], [1])
        assert _listed(home, "queued") == [2]
        job = home.run("jobs", "get", "2", "--json").json
        assert (job["status"], job["waitingReason"], job["attempt"]) == ("queued", WAITS, 1)
        lines = home.run("jobs", "list").out.splitlines()
        assert ["running" in line for line in lines[1:]] == [False, True] and WAITS in lines[1]
        report = home.run("jobs", "get", "2").out
        assert "Job #2 (second) — queued" in report and f"Waits: {WAITS}" in report
        (kind,) = home.run("jobs", "stats", "--json").json["kinds"]
        assert (kind["waiting"], kind["running"]) == (1, 1)
        said = home.run("chat", "-m", "/jobs").out
        assert f"#2 shell(second) — queued · {WAITS}" in said and "#1 shell(first) — running" in said


def _listed(home: Home, status: str) -> list[int]:
    return [each["id"] for each in home.run("jobs", "list", "--status", status, "--json").json["jobs"]]


async def test_after_a_restart_the_page_and_the_runs_say_the_same(tmp_path: Path) -> None:
    """Two jobs and two sub-agents were at work; after the restart there is room for one each."""
    plugin = WorkPlugin()
    many = {"jobs": {"maxConcurrent": 2}, "agents": {"defaults": {"subagents": {"maxConcurrent": 2}}}}
    one = {"jobs": {"maxConcurrent": 1}, "agents": {"defaults": {"subagents": {"maxConcurrent": 1}}}}
    async with pilot(tmp_path, config=many, plugins={"work": plugin}) as p:
        p.on(reply=say("late", hold="end"), role="child")
        found = [await submit(p, label=f"held {number}", data={"hold": "end"}) for number in (1, 2)]
        for number in (1, 2):
            accepted = await p.spawn(task=f"task {number}", label=f"asked {number}")
            await p.wait_run(accepted["runId"], "started")
        for job in found:
            await reached(p, job, "running")
        await p.wait_asked(lambda seen: seen.role == "child", count=2)
        await p.restart(**one)
        await p.wait_asked(lambda seen: seen.role == "child", count=3)
        assert (await reached(p, found[0], "running"))["attempt"] == 1
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            await _say_the_same(p, await person(p, http))
        plugin.release("end")
        p.model.release("end")
        for job in await jobs(p):
            await ended(p, job)


async def _say_the_same(p: Pilot, who: Person) -> None:
    """Of each pair the older one is at work, and the younger one waits for its lane."""
    waiting = ("held 2", "asked 2")
    for page in ((await p.runs()), await jobs(p)):
        assert {each["label"]: each["status"] for each in page} == _by_label("running", "queued")
    assert {each["label"]: each["position"] for each in await p.runs()} == _by_label(None, 1)
    assert {each["label"]: each["waitingReason"] for each in await jobs(p)} == _by_label(None, WAITS)
    for status, number in (("queued", "2"), ("running", "1")):
        labels = [f"asked {number}", f"held {number}"]
        assert sorted(each["label"] for each in await p.runs(status=status)) == labels
        assert sorted(each["label"] for each in await jobs(p, status=status)) == labels
    tree = await p.command("/subagents tree")
    assert "asked 1 · running" in tree and "asked 2 · queued" in tree
    active = flat(await who.get("/web/fragments/now-active"))
    waits = flat(await who.get("/web/fragments/now-waiting"))
    for label in waiting:
        assert label not in active and re.search(rf"queued {label} its lane is full: 0 ahead", waits), waits
        [run] = [each for each in await p.runs() if each["label"] == label]
        head = flat(await who.get(f"/web/fragments/run-head?id={run['runId']}"))
        assert "queued" in head and "Not running: its lane is full: 0 ahead" in head
        bars = (await p.get(f"/api/runs/{run['runId']}/timeline"))["bars"]
        assert [bar["kind"] for bar in bars if bar["end"] is None] == ["queue"]
    rows = flat(await who.get("/web/fragments/runs-list?state=queued"))
    assert all(label in rows for label in waiting) and "held 1" not in rows
    [kind] = [each for each in (await p.get("/api/jobs/stats"))["kinds"] if each["name"] == "work"]
    assert (kind["waiting"], kind["running"]) == (1, 1)


def _by_label(first: Any, second: Any) -> Json:
    return {f"{name} {number}": value for name in ("held", "asked") for number, value in ((1, first), (2, second))}


def flat(answer: Any) -> str:
    """A fragment without its tags."""
    assert answer.status == 200, answer.text
    return " ".join(re.sub(r"<[^>]+>", " ", answer.text).split())
