"""What must be true when the chaos has settled: nothing lost, nothing finished twice, nothing announced twice, every
effect accounted for (issue, "How it is shown"; spec/jobs.md 9–18, 20, 28).

`faults` reads the database and the log of the shell jobs, and returns a sentence for everything that is wrong.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.crash.jobs_mix import TALK, Order, Wanted
from tests.support.process import Site

Row = dict[str, Any]
NEAR_MS = 1_500
"""A death may be noted so much earlier or later than what it has interrupted."""
MOST = 40
"""Faults that are told."""


@dataclass(frozen=True)
class Aftermath:
    """All that is looked at."""

    site: Site
    orders: Sequence[Order]
    log: Path
    disturbed: Sequence[tuple[float, float]]
    """From when to when somebody was dead or suspended (`time.time()`)."""
    runs: list[Row] = field(default_factory=list[Row])
    inbox: list[Row] = field(default_factory=list[Row])
    messages: list[Row] = field(default_factory=list[Row])
    ends: Counter[str] = field(default_factory=Counter[str])
    """How often each run was told to have ended."""
    started: Counter[str] = field(default_factory=Counter[str])
    """How often each run's command was begun, as the audit trail says."""
    left: list[str] = field(default_factory=list[str])
    """What should have gone."""

    @cached_property
    def wanted(self) -> Mapping[str, Wanted]:
        """By label."""
        return {label: wanted for order in self.orders for label, wanted in order.wanted.items()}

    @cached_property
    def named(self) -> Mapping[str, list[Row]]:
        """The runs by their labels."""
        found: defaultdict[str, list[Row]] = defaultdict(list)
        for run in self.runs:
            found[run["label"]].append(run)
        return found

    @cached_property
    def by_id(self) -> Mapping[str, Row]:
        """The runs by their ids."""
        return {run["id"]: run for run in self.runs}

    @cached_property
    def words(self) -> Mapping[tuple[str, str], list[int]]:
        """The process groups that have written a word (`begin`, `effect`) for a label."""
        found: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        for line in self.log.read_text().splitlines() if self.log.exists() else ():
            word, label, group = line.split()
            found[word, label].append(int(group))
        return found

    def interruptions(self, run: Row) -> int:
        """How often somebody has died or slept while a job was at work."""
        since, until = (run["started_at"] or 0) - NEAR_MS, (run["ended_at"] or 0) + NEAR_MS
        return sum(begun * 1000 <= until and over * 1000 >= since for begun, over in self.disturbed)


def look(site: Site, orders: Sequence[Order], log: Path, disturbed: Sequence[tuple[float, float]]) -> Aftermath:
    """Reads everything."""
    with site.rows() as rows:

        def table(statement: str) -> list[Row]:
            return [dict(row) for row in rows.execute(statement)]

        left = [f"session {row['key']} is claimed" for row in table(_CLAIMED)]
        left += [f"process group {row['pgid']} is on record" for row in table("select pgid from processes")]
        left += [f"a call to {row['provider']} is leased" for row in table("select provider from rate_leases")]
        if site.postgres is not None:
            left += [f"{row['n']} rows are {row['status']} in the lanes" for row in table(_QUEUED)]
            left += [f"{row['role']} {row['id']} is on the list" for row in table("select role, id from workers")]
        return Aftermath(
            site,
            orders,
            log,
            disturbed,
            table("select * from runs order by number"),
            table("select * from inbox"),
            table("select session_id, seq, kind, inbox_id, text from messages order by session_id, seq"),
            Counter(row["run_id"] for row in table(_EVENTS) if json.loads(row["data"])["change"] == "done"),
            Counter(row["run_id"] for row in table("select run_id from audit where what = 'shell.started'")),
            left,
        )


_CLAIMED = "select key from sessions where claimed_by is not null"
_QUEUED = "select status, count(*) as n from laneway_queue group by status"
_EVENTS = "select run_id, data from events where type = 'run'"


def faults(found: Aftermath) -> list[str]:
    """Everything that is wrong, as far as it can be told in a page."""
    wrong = [
        *found.left,
        *_there(found),
        *_ends(found),
        *_order(found),
        *_reports(found),
        *_effects(found),
        *_inbox(found),
    ]
    return [*wrong[:MOST], f"… and {len(wrong) - MOST} more"] if len(wrong) > MOST else wrong


def _there(found: Aftermath) -> Iterator[str]:
    """0 lost, and each as it must be."""
    for label, wanted in found.wanted.items():
        runs = found.named.get(label, [])
        if not runs or (len(runs) > 1 and not wanted.again):
            yield f"{label} is there {len(runs)} times"
        for run in runs:
            yield from _as_wanted(found, run, wanted)
    if extra := found.named.keys() - found.wanted.keys():
        yield f"nobody has asked for {sorted(extra)}"


def _as_wanted(found: Aftermath, run: Row, wanted: Wanted) -> Iterator[str]:
    name = f"{run['label']} (#{run['number']}, {run['kind']})"
    if run["status"] != "done" or run["outcome"] not in wanted.outcomes:
        yield f"{name} is {run['status']} {run['outcome']}, not {wanted.outcomes}: {run['cause']} {run['error']}"
    elif run["attempt"] not in wanted.attempts:
        yield f"{name} ended in attempt {run['attempt']}, not {wanted.attempts}"
    elif wanted.output is not None and json.loads(run["output"] or "null") != wanted.output:
        yield f"{name} has returned {run['output']}, not {wanted.output}"
    parent = found.by_id.get(run["parent_run_id"] or "")
    if wanted.parent is not None and (parent is None or parent["label"] != wanted.parent):
        yield f"{name} is below {parent and parent['label']}, not {wanted.parent}"


def _ends(found: Aftermath) -> Iterator[str]:
    """0 finished twice: each end is told once, and a parent doesn't end well before its children."""
    for run in found.runs:
        if found.ends[run["id"]] != 1:
            yield f"{run['label']} was told to have ended {found.ends[run['id']]} times"
        parent = found.by_id.get(run["parent_run_id"] or "")
        if parent is not None and parent["outcome"] == "ok" and run["ended_at"] > parent["ended_at"]:
            yield f"{parent['label']} has ended before {run['label']}, which is below it"


def _order(found: Aftermath) -> Iterator[str]:
    """What comes after others has begun after their ends."""
    for order in found.orders:
        for label in order.after:
            for run, other in zip(found.named.get(order.label, []), found.named.get(label, []), strict=False):
                if (run["started_at"] or run["ended_at"] or 0) < (other["ended_at"] or 0):
                    yield f"{order.label} has begun before {label} had ended"


def _reports(found: Aftermath) -> Iterator[str]:
    """Each end leaves one row in the inbox of who asked for it; a conversation reads it once, and tells it once."""
    rows: defaultdict[str, list[Row]] = defaultdict(list)
    for row in found.inbox:
        if row["dedupe"].startswith("announce:"):
            rows[row["dedupe"].split(":")[1]].append(row)
    told = Counter(row["inbox_id"] for row in found.messages if row["kind"] == "announce")
    for run in found.runs:
        mine = rows.pop(run["id"], [])
        if [row["session_id"] for row in mine] != ([run["requester_id"]] if run["requester_id"] else []):
            yield f"{run['label']} has {len(mine)} announcements"
        elif run["requester_key"].startswith(TALK) and told[mine[0]["id"]] != 1:
            yield f"{run['label']} was announced {told[mine[0]['id']]} times in {run['requester_key']}"
    if rows:
        yield f"announcements of runs that aren't there: {list(rows)}"


def _effects(found: Aftermath) -> Iterator[str]:
    """A successful attempt of a shell job has logged its effect once, and only what was interrupted was begun again."""
    for label, wanted in found.wanted.items():
        if not wanted.command:
            continue
        for run in found.named.get(label, []):
            begun, done = found.words.get(("begin", label), []), found.words.get(("effect", label), [])
            output: Row = json.loads(run["output"] or "{}")
            pid = int(output.get("pid") or 0)
            if run["outcome"] == "ok" and done.count(pid) != 1:
                yield f"{label} ended well as process {pid}, whose effect is there {done.count(pid)} times: {done}"
            if len(set(begun)) != len(begun) or len(begun) > found.started[run["id"]]:
                yield f"{label} was begun as {begun}, and {found.started[run['id']]} times by the audit trail"
            more, deaths = found.started[run["id"]] - run["attempt"], found.interruptions(run)
            if more > deaths:
                yield f"{label} was begun {more} times more than it has attempts, with {deaths} deaths"


def _inbox(found: Aftermath) -> Iterator[str]:
    """No row of an inbox is read twice, and what was said is there once."""
    readers = Counter(row["inbox_id"] for row in found.messages if row["inbox_id"] is not None)
    if twice := [inbox_id for inbox_id, count in readers.items() if count > 1]:
        yield f"rows of the inbox were read twice: {twice}"
    said = Counter(row["text"] for row in found.inbox if row["kind"] == "user")
    for order in found.orders:
        if order.said and said[order.body["text"]] != 1:
            yield f"{order.body['text']} was said {said[order.body['text']]} times"
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for row in found.messages:
        numbers[row["session_id"]].append(row["seq"])
    for session_id, seqs in numbers.items():
        if seqs != list(range(1, len(seqs) + 1)):
            yield f"the messages of {session_id} are numbered {seqs}"
