"""The timeline of a run: what it was doing when, as bars, from what is stored.

Owns nothing. A bar is a stretch of time: a phase of the run, a call of a model or a tool, a wait inside one, a question
to a person, a child, a time in which the gateway was down. All of it survives a restart and, but for the calls of a
transcript that was purged, archiving. What is older than the record of times is drawn by what stands before and after
it, and marked as estimated.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, cast

from sqlalchemy import select

from gateway.store import phases, runs, sessions, standing, starts
from gateway.store.database import Transaction
from gateway.store.phases import Begun, Phase
from gateway.store.runs import Run, Status
from gateway.store.schema import approvals, messages
from gateway.views import from_iso

MOST_MESSAGES = 5_000
"""Of a longer transcript the last ones are drawn."""


class Kind(StrEnum):
    """What a bar stands for."""

    QUEUE = "queue"
    """The run waits for a slot of its lane."""
    DELAY = "delay"
    """It waits for its time, or for its next attempt."""
    DEPENDENCY = "dependency"
    """It waits for jobs that come before it."""
    WORK = "work"
    """Its session is worked on."""
    CHILDREN = "children"
    """It waits for its children."""
    PAUSED = "paused"
    """A person has frozen it."""
    MODEL = "model"
    """A call of a model, with all its tries."""
    TOOL = "tool"
    """A call of a tool."""
    RATE = "rate"
    """Within a model call: the provider may not be asked now."""
    RETRY = "retry"
    """Within a model call: an error, and the wait before the next try."""
    APPROVAL = "approval"
    """Within a tool call: a person is asked."""
    CHILD = "child"
    """A run that it has asked for."""
    DOWN = "down"
    """The gateway was down."""


_OF_PHASE = {
    Phase.QUEUED: Kind.QUEUE,
    Phase.DELAYED: Kind.DELAY,
    Phase.HELD: Kind.DEPENDENCY,
    Phase.RUNNING: Kind.WORK,
    Phase.WAITING: Kind.CHILDREN,
    Phase.PAUSED: Kind.PAUSED,
}
_WAITS = {"rate": Kind.RATE, "retry": Kind.RETRY}


@dataclass(frozen=True, slots=True)
class Bar:
    """One stretch of time."""

    kind: Kind
    start: int
    """milliseconds, like `end`"""
    end: int | None
    """None: it goes on."""
    label: str = ""
    """The model, the tool, the child's label, or how the process before had ended (`clean`, `crash`)."""
    seq: int | None = None
    """The message in the transcript that it belongs to."""
    index: int | None = None
    """Of a tool's call: which of the message `seq`."""
    error: bool = False
    estimated: bool = False
    """When it began isn't stored: it is taken to have begun when what stands before it was stored."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost_micro: int | None = None
    run_id: str | None = None
    """Of a child."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What of a message matters here, from the table or from a transcript's file."""

    seq: int
    kind: str
    created_at: int
    started_at: int | None
    waits: tuple[tuple[str, int, int], ...]
    model: str | None
    tools: tuple[str, ...]
    """Names of the calls that it asks for."""
    parent_seq: int | None
    call_index: int | None
    error: bool
    tokens_in: int | None
    tokens_out: int | None
    cost_micro: int | None


def timeline(tx: Transaction, run: Run) -> list[Bar]:
    """Unit of work that only reads: all bars of a run, in the order of their beginnings."""
    run = standing.of(tx, run)
    found = phases.of(tx, run.id) or _known_phases(run)
    entries = [each for each in _entries(tx, run) if within(run, each.created_at)]
    if run.status is Status.QUEUED and found[-1].phase is Phase.RUNNING:
        found = [*found, Begun(Phase.QUEUED, _left_at(tx, found[-1].at, entries))]
    bars = [
        *phase_bars(found),
        *call_bars(entries, run, found),
        *_approval_bars(tx, run),
        *(Bar(Kind.CHILD, c.created_at, c.ended_at, c.label, run_id=c.id) for c in runs.children(tx, run.session_id)),
        *_down_bars(tx, run, found, entries),
    ]
    return sorted(bars, key=lambda bar: (bar.start, bar.seq or 0, bar.index or 0))


def phase_bars(found: Sequence[Begun]) -> Iterator[Bar]:
    """One bar for each phase but the end; equal ones that follow each other are one."""
    joined = [each for place, each in enumerate(found) if place == 0 or each.phase is not found[place - 1].phase]
    for place, each in enumerate(joined):
        if each.phase in _OF_PHASE:
            end = joined[place + 1].at if place + 1 < len(joined) else None
            yield Bar(_OF_PHASE[each.phase], each.at, end)


def call_bars(entries: Sequence[Entry], run: Run, found: Sequence[Begun]) -> Iterator[Bar]:
    """The calls of models and tools, and what they waited for. Of one at work also those that are under way."""
    asked = {each.seq: each for each in entries if each.tools}
    answered = {(each.parent_seq, each.call_index) for each in entries if each.parent_seq is not None}
    for place, each in enumerate(entries):
        before = entries[place - 1].created_at if place else run.started_at or run.created_at
        if each.kind == "result" and each.parent_seq is not None:
            yield _tool_bar(each, asked.get(each.parent_seq), before)
        elif each.model is not None or (each.kind == "failure" and each.started_at is not None):
            yield _model_bar(each, before)
            yield from (Bar(_WAITS.get(what, Kind.RETRY), a, b, seq=each.seq) for what, a, b in each.waits)
    if run.status is not Status.RUNNING or not entries or not found:
        return
    last = next((each for each in reversed(entries) if each.tools), None)
    under_way = [] if last is None else [i for i in range(len(last.tools)) if (last.seq, i) not in answered]
    if last is not None and under_way:
        yield from (
            Bar(Kind.TOOL, last.created_at, None, last.tools[i], last.seq, i, estimated=True) for i in under_way
        )
    elif run.model:
        since = max(entries[-1].created_at, found[-1].at)
        yield Bar(Kind.MODEL, since, None, run.model, estimated=True)


def _tool_bar(entry: Entry, asking: Entry | None, before: int) -> Bar:
    index = entry.call_index or 0
    name = asking.tools[index] if asking is not None and index < len(asking.tools) else ""
    start = entry.started_at or (asking.created_at if asking is not None else before)
    return Bar(
        Kind.TOOL,
        min(start, entry.created_at),
        entry.created_at,
        name,
        entry.parent_seq,
        index,
        entry.error,
        entry.started_at is None,
    )


def _model_bar(entry: Entry, before: int) -> Bar:
    return Bar(
        Kind.MODEL,
        min(entry.started_at or before, entry.created_at),
        entry.created_at,
        entry.model or "",
        entry.seq,
        error=entry.kind == "failure",
        estimated=entry.started_at is None,
        tokens_in=entry.tokens_in,
        tokens_out=entry.tokens_out,
        cost_micro=entry.cost_micro,
    )


def _approval_bars(tx: Transaction, run: Run) -> Iterator[Bar]:
    columns = (approvals.c.created_at, approvals.c.decided_at, approvals.c.tool, approvals.c.assistant_seq)
    mine = (approvals.c.session_id == run.session_id) & (approvals.c.run_id == run.id)
    # One that was answered before its time was kept can't be drawn.
    drawable = approvals.c.decided_at.is_not(None) | (approvals.c.state == "pending")
    statement = select(*columns, approvals.c.call_index, approvals.c.state).where(mine, drawable)
    for row in tx.execute(statement.order_by(approvals.c.id)):
        denied = row.state not in ("pending", "allowed")
        yield Bar(
            Kind.APPROVAL, row.created_at, row.decided_at, row.tool, row.assistant_seq, row.call_index, error=denied
        )


def _down_bars(tx: Transaction, run: Run, found: Sequence[Begun], entries: Sequence[Entry]) -> Iterator[Bar]:
    """Times in which the gateway was down. It was up at least until the last thing that is known of the run."""
    moments = sorted([*(each.at for each in found), *(each.created_at for each in entries)])
    for start in starts.between(tx, run.created_at, run.ended_at or tx.now):
        if start.down_since is not None:
            alive = max((moment for moment in moments if moment < start.started_at), default=run.created_at)
            since = max(start.down_since, alive)
            if since < start.started_at:
                yield Bar(Kind.DOWN, since, start.started_at, start.kind.value, error=start.kind == "crash")


def _left_at(tx: Transaction, since: int, entries: Sequence[Entry]) -> int:
    """Since when a run that was at work waits for a slot again: the gateway's start that took it back, or the last that
    is known of it."""
    later = [start.started_at for start in starts.between(tx, since, tx.now)]
    return max([since, *(each.created_at for each in entries), *later])


def _known_phases(run: Run) -> list[Begun]:
    """The phases of a run that is older than their record, as far as its row tells them."""
    known = [Begun(Phase.QUEUED, run.created_at)]
    if run.started_at is not None:
        known.append(Begun(Phase.RUNNING, run.started_at))
    if run.ended_at is not None:
        known.append(Begun(Phase.DONE, run.ended_at))
    return known


def within(run: Run, moment: int) -> bool:
    """Whether something in a run's session is this run's: one that was revived holds what belongs to several."""
    return run.created_at <= moment and (run.ended_at is None or moment <= run.ended_at)


def _entries(tx: Transaction, run: Run) -> list[Entry]:
    if sessions.find(tx, run.session_id) is not None:
        return _stored(tx, run.session_id)
    return _in_file(Path(run.transcript_path)) if run.transcript_path else []


def _stored(tx: Transaction, session_id: str) -> list[Entry]:
    c = messages.c
    statement = select(
        c.seq, c.kind, c.created_at, c.started_at, c.waits, c.provider, c.model, c.calls, c.parent_seq, c.call_index
    ).add_columns(c.error, c.tokens_in, c.tokens_out, c.cost_micro)
    found = tx.execute(statement.where(c.session_id == session_id).order_by(c.seq.desc()).limit(MOST_MESSAGES))
    return [
        Entry(
            row.seq,
            row.kind,
            row.created_at,
            row.started_at,
            tuple((str(what), int(since), int(until)) for what, since, until in row.waits or ()),
            f"{row.provider}/{row.model}" if row.model else None,
            tuple(call["name"] for call in row.calls or ()),
            row.parent_seq,
            row.call_index,
            bool(row.error),
            row.tokens_in,
            row.tokens_out,
            row.cost_micro,
        )
        for row in found.all()[::-1]
    ]


def _in_file(path: Path) -> list[Entry]:
    """The same from the file of an archived run; nothing if that has been purged."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [_entry(json.loads(line)) for line in lines[-MOST_MESSAGES:]]


def _entry(row: dict[str, Any]) -> Entry:
    tokens, cost = cast("dict[str, int]", row.get("tokens") or {}), row.get("costUsd")
    waits = cast("list[dict[str, str]]", row.get("waits") or [])
    return Entry(
        row["seq"],
        row["kind"],
        _ms(row["createdAt"]) or 0,
        _ms(row.get("startedAt")),
        tuple((wait["for"], _ms(wait["from"]) or 0, _ms(wait["to"]) or 0) for wait in waits),
        row.get("model"),
        tuple(call["name"] for call in row.get("calls") or ()),
        row.get("parentSeq"),
        row.get("callIndex"),
        bool(row.get("error")),
        tokens.get("input"),
        tokens.get("output"),
        None if cost is None else round(cost * 1_000_000),
    )


def _ms(stamp: str | None) -> int | None:
    return None if stamp is None else from_iso(stamp)
