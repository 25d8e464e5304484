"""A lane that nobody serves is wedged; the next command that is shown starts who serves it (spec/jobs.md, views)."""

from __future__ import annotations

import signal
from pathlib import Path

import aiohttp
from sqlalchemy import text

from gateway.store.database import Transaction
from tests.jobs.scene import ended, submit
from tests.jobs.test_stuck import stuck
from tests.support.laneway import PATIENCE_SECONDS, Home
from tests.support.pilot import pilot
from tests.support.web_person import person

WAITED = text("update laneway_queue set created = created - interval '2 minutes'")


def _two_minutes_pass(tx: Transaction) -> None:
    tx.execute(WAITED)


async def test_a_lane_without_a_worker(tmp_path: Path) -> None:
    async with (
        pilot(tmp_path, config={"workers": {"gatewayLanes": []}}, postgres=True) as p,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
    ):
        who = await person(p, http)
        waiting = [await submit(p, "noop", data={"give": number}) for number in range(3)]
        assert await stuck(tmp_path, who) == ([], [], ""), "a moment is no wait"
        await p.gateway.database.run(_two_minutes_pass)
        [found], divergent, page = await stuck(tmp_path, who)
        assert divergent == []
        assert found == {
            "queue": "jobs",
            "text": "3 wait in the queue jobs and nothing runs",
            "command": "laneway worker --lane jobs",
        }
        assert page == f"Wedged: {found['text']}. Next: {found['command']}"
        worker = Home(tmp_path).spawn(*found["command"].split()[1:])
        try:
            for job in waiting:
                assert (await ended(p, job))["outcome"] == "ok"
            assert await stuck(tmp_path, who) == ([], [], "")
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.communicate(timeout=PATIENCE_SECONDS)
