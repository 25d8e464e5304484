"""What `jobs stats` calls stuck, really stuck: a divergent kind, and on SQLite a wedged lane, on the command line and
on the page Jobs, each with the next command, which helps (spec/jobs.md, views). A lane that no worker serves is in
`tests/postgres/test_stuck.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import sqlite3
from collections.abc import AsyncGenerator
from pathlib import Path

import aiohttp
import pytest

from gateway.jobs import stats
from tests.jobs.scene import change, ended, jobs, look, reached, submit, waits_because
from tests.support.job_kinds import WorkPlugin
from tests.support.laneway import Done, Home
from tests.support.pilot import Json, Pilot, pilot
from tests.support.web_person import Person, person

CAME = 25


@pytest.fixture
async def http() -> AsyncGenerator[aiohttp.ClientSession]:
    """Requests whose cookies are the test's own."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


async def typed(folder: Path, command: str) -> Done:
    """A command line beside the gateway, which must go well."""
    done = await asyncio.to_thread(Home(folder).run, *command.split()[1:])
    assert done.code == 0, done.err
    return done


async def stuck(folder: Path, who: Person) -> tuple[list[Json], list[Json], str]:
    """What is wedged and what is divergent, as `jobs stats --json` has it, and what the page says of both."""
    found = (await typed(folder, "laneway jobs stats --json")).json
    page = await who.get("/web/jobs")
    assert page.status == 200, page.text
    lines = re.findall(r'<div class="failed stuck".*?</p></div></div>', page.text, re.DOTALL)
    return found["wedged"], found["divergent"], " ".join(re.sub(r"<[^>]+>", " ", " ".join(lines)).split())


async def test_more_come_than_go(tmp_path: Path, http: aiohttp.ClientSession) -> None:
    plugin = WorkPlugin()
    async with pilot(tmp_path, config={"jobs": {"maxConcurrent": 2}}, plugins={"work": plugin}) as p:
        who = await person(p, http)
        for _ in range(CAME):
            await submit(p, data={"hold": "end"})
        wedged, [found], page = await stuck(tmp_path, who)
        assert (wedged, found["name"]) == ([], "work")
        assert found["text"] == f"{CAME} work jobs came in the last hour and 0 ended"
        assert page == f"Divergent: {found['text']}. Next: {found['command']}"
        listed = (await typed(tmp_path, found["command"])).out
        assert listed.count("running") == 2 and listed.count("lane_full") == CAME - 2
        plugin.release("end")
        for job in await jobs(p):
            await ended(p, job)
        assert await stuck(tmp_path, who) == ([], [], "")


@pytest.mark.embedded
async def test_nothing_runs_beside_a_suspect(
    tmp_path: Path, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A job that was at work in two deaths is resumed alone; until it gets on all others wait, and say for what."""
    monkeypatch.setattr(stats, "WEDGED_SECONDS", 0.0)
    plugin = WorkPlugin()
    config = {"jobs": {"shell": {"enabled": True}}}
    async with pilot(tmp_path, config=config, plugins={"work": plugin}, postgres=False) as p:
        suspect = await submit(p, "shell", data={"cmd": "sleep 600", "cwd": str(tmp_path)})
        await reached(p, suspect, "running")
        await p.stop()
        _as_two_deaths_leave_it(p)
        await p.start()
        who = await person(p, http)
        await reached(p, suspect, "running")
        waiting = [await submit(p, data={"give": number}) for number in range(3)]
        reason = f"alone: #{suspect['id']} first"
        for job in waiting:
            await waits_because(p, job, reason)
        await p.say("are you there?")
        assert (await who.get("/web/fragments/now-waiting")).text.count(f"#{suspect['id']} goes on alone first") == 4
        wedged, divergent, page = await stuck(tmp_path, who)
        assert divergent == [] and [each["queue"] for each in wedged] == ["main", "jobs"]
        assert wedged[1]["text"] == "3 wait in the queue jobs and nothing runs"
        assert f"{wedged[1]['text']}. Next: {wedged[1]['command']}" in page and page.count("Wedged:") == 2
        assert f"#{suspect['id']}" in (await typed(tmp_path, wedged[1]["command"])).out
        await change(p, suspect, "stop")
        for job in waiting:
            assert (await ended(p, job))["outcome"] == "ok"
        await p.wait_idle()
        assert await stuck(tmp_path, who) == ([], [], "")
        assert (await look(p, waiting[0]))["waitingReason"] is None


def _as_two_deaths_leave_it(p: Pilot) -> None:
    """The job is claimed by a process that is gone, as the one before was, and its log hasn't grown meanwhile."""
    with contextlib.closing(sqlite3.connect(p.paths.state / "laneway.db")) as raw, raw:
        raw.execute("update sessions set claimed_by = 'gone', deaths = 1, deaths_seq = next_seq where kind = 'job'")
