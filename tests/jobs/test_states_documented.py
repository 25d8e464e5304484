"""The states of jobs as docs/jobs.md has them: its tables hold every status, outcome and way between them, and no
other: a scene plays all of it.
"""

from __future__ import annotations

import asyncio
import re
from collections import defaultdict
from pathlib import Path

from gateway.events import Event
from gateway.store.runs import Outcome, Status
from tests.jobs.scene import change, ended, reached, submit, until, waits_because
from tests.support.job_kinds import WorkPlugin
from tests.support.pilot import Json, Pilot, pilot

PAGE = Path(__file__).parents[2] / "docs" / "jobs.md"
NOTHING = "–"
LATER = 3_600_000
Way = tuple[str, str]


def rows(head: str) -> list[list[str]]:
    """The cells of the table that begins so, without their marks."""
    text = PAGE.read_text("utf-8")
    found = re.search(rf"^\| {re.escape(head)} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert found is not None, head
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in found[1].splitlines()]


def ways(events: list[Event]) -> set[Way]:
    """From which status to which other jobs have gone."""
    before: defaultdict[str, str] = defaultdict(lambda: NOTHING)
    found: set[Way] = set()
    for event in events:
        if event.type == "run":
            run = event.data["run"]
            if before[run["runId"]] != run["status"]:
                found.add((before[run["runId"]], run["status"]))
            before[run["runId"]] = run["status"]
    return found


def test_every_status_and_outcome_has_its_line() -> None:
    """The words are those of the code."""
    assert [row[0] for row in rows("status")] == [each.value for each in Status]
    assert {row[0] for row in rows("outcome")} == {each.value for each in Outcome}


async def test_the_table_is_what_happens(tmp_path: Path) -> None:
    """docs/jobs.md, the life of a job."""
    plugin = WorkPlugin()
    async with pilot(tmp_path, config={"jobs": {"maxConcurrent": 3}}, plugins={"work": plugin}) as p:
        for scene in (_alone, _family, _ended_and_again):
            await scene(p, plugin)
        documented = {(row[0], row[1]) for row in rows("from")}
        seen = ways(p.events)
        assert seen - documented == set(), "it happens, and isn't in the table"
        assert documented - seen == set(), "it is in the table, and doesn't happen"


async def _alone(p: Pilot, plugin: WorkPlugin) -> None:
    """Delays, attempts, pauses."""
    await ended(p, await submit(p, data={"fail": 1}, backoff={"delayMs": 1}))
    at_work = await submit(p, data={"hold": "a"})
    await reached(p, at_work, "running")
    await change(p, at_work, "pause")
    await change(p, at_work, "resume")
    await reached(p, at_work, "running")
    for delay in (0, LATER):
        job = await submit(p, data={"hold": "never"}, delayMs=delay)
        await change(p, job, "pause")
        await change(p, job, "resume")
        await change(p, job, "pause")
        await change(p, job, "stop")
    full = [await submit(p, data={"hold": "a"}) for _ in range(2)]
    queued = await submit(p)
    await change(p, queued, "pause")
    await change(p, queued, "resume")
    await change(p, queued, "stop")
    await change(p, await submit(p, delayMs=LATER), "stop")
    plugin.release("a")
    await asyncio.gather(*(ended(p, job) for job in (at_work, *full)))


async def _family(p: Pilot, plugin: WorkPlugin) -> None:
    """Parents and children, and jobs that come after others."""
    await reached(p, empty := await submit(p, "aggregate"), "waiting")
    await change(p, empty, "pause")
    await change(p, empty, "stop")
    held: Json = {"name": "work", "data": {"hold": "b"}}
    fan = await submit(p, "aggregate", children=[held])
    await change(p, fan, "pause")
    await change(p, fan, "resume")
    await change(p, fan, "stop")
    await ended(p, await submit(p, data={"children": 1}))
    first = await submit(p, data={"hold": "c"})
    after = await submit(p, "aggregate", children=[{"name": "work"}], after=[str(first["id"])])
    await waits_because(p, after, "dependencies: 0 of 1")
    plugin.release("c")
    await ended(p, after)
    # A child that it wants to hear of ends before it comes to wait for the other one.
    data = {"children": 1, "child": {"hold": "d"}, "then": "e"}
    parent = await submit(p, data=data)
    await until(p, parent, lambda now: now["children"])
    await ended(p, await submit(p, data={"unrecoverable": True}, parent=str(parent["id"]), onChildFail="continue"))
    plugin.release("e")
    await reached(p, parent, "waiting")
    plugin.release("d")
    await ended(p, parent)


async def _ended_and_again(p: Pilot, plugin: WorkPlugin) -> None:
    """Retries."""
    bad = await submit(p, data={"unrecoverable": True})
    await ended(p, bad)
    await change(p, bad, "retry")
    await ended(p, bad)
    waits = await submit(p, after=[str(bad["id"])])
    await change(p, waits, "stop")
    await change(p, waits, "retry")
    await change(p, waits, "stop")
    fan = await submit(p, "aggregate", children=[{"name": "work", "data": {"hold": "never"}}])
    await change(p, fan, "stop")
    await change(p, fan, "retry")
    await change(p, fan, "stop")
