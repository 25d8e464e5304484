"""Finding runs by words: in labels, tasks and results, and in transcripts, also in those that stand in files by now.

A rare word makes it look at everything. So it looks at some runs after the other, the newest first, and for so long
only; where it had to stop it says, and goes on from there when it is asked to.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, Text, cast, or_, select

from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import messages
from gateway.store.schema import runs as table
from gateway.views import capped

STEP = 400
"""Runs that are looked at together."""
SECONDS = 1.5
AROUND = 60
"""Characters that are shown before what was found."""
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A page of runs."""

    runs: tuple[Run, ...]
    more: bool
    """There are older ones."""
    stopped_at: int | None = None
    """Number of the last run that was looked at, where time was over before the page was full."""
    quotes: Mapping[str, str] | None = None
    """Run id → what was found in its transcript."""


def page(tx: Transaction, condition: ColumnElement[bool], *, before: int | None, limit: int) -> Found:
    """The newest runs (with numbers below `before`)."""
    found = _next(tx, condition, before, limit + 1)
    return Found(tuple(found[:limit]), len(found) > limit)


def search(tx: Transaction, condition: ColumnElement[bool], words: str, *, before: int | None, limit: int) -> Found:
    """The same of those in which a text occurs, whatever its case."""
    until = time.monotonic() + SECONDS
    hits: list[Run] = []
    quotes: dict[str, str] = {}
    while True:
        step = _next(tx, condition, before, STEP)
        said = _said(tx, step, words)
        for run in step:
            if not _in_record(run, words):
                quote = said.get(run.session_id) or _in_file(run, words)
                if quote is None:
                    continue
                quotes[run.id] = quote
            hits.append(run)
            if len(hits) > limit:
                return Found(tuple(hits[:limit]), more=True, quotes=quotes)
        if len(step) < STEP:
            return Found(tuple(hits), more=False, quotes=quotes)
        before = step[-1].number
        if time.monotonic() > until:
            return Found(tuple(hits), more=True, stopped_at=before, quotes=quotes)


def _next(tx: Transaction, condition: ColumnElement[bool], before: int | None, limit: int) -> list[Run]:
    statement = select(*rows.columns(table, Run)).where(condition)
    if before is not None:
        statement = statement.where(table.c.number < before)
    return [Run(*row) for row in tx.execute(statement.order_by(table.c.number.desc()).limit(limit))]


def _in_record(run: Run, words: str) -> bool:
    wanted = words.lower()
    if run.id.startswith(wanted) or wanted in (str(run.number), f"#{run.number}"):
        return True
    return any(text is not None and wanted in text.lower() for text in (run.label, run.task, run.result, run.error))


def _said(tx: Transaction, found: Sequence[Run], words: str) -> Mapping[str, str]:
    """Session id → a place in its transcript, of those that stand in the tables."""
    ids = [run.session_id for run in found if run.archived_at is None]
    if not ids:
        return {}
    within = or_(
        messages.c.text.icontains(words, autoescape=True),
        cast(messages.c.calls, Text).icontains(_inside_json(words), autoescape=True),
    )
    statement = select(messages.c.session_id, messages.c.text).where(messages.c.session_id.in_(ids), within)
    said = tx.execute(statement.order_by(messages.c.seq.desc()))
    return {str(row.session_id): quote(str(row.text), words) for row in said}


def _in_file(run: Run, words: str) -> str | None:
    """A place in the file of an archived run."""
    if run.archived_at is None or not run.transcript_path:
        return None
    try:
        text = Path(run.transcript_path).read_text("utf-8")
    except FileNotFoundError:
        return None
    if _inside_json(words).lower() not in text.lower():
        return None
    for line in text.splitlines():
        row: dict[str, Any] = json.loads(line)
        if words.lower() in str(row.get("text", "")).lower():
            return quote(str(row["text"]), words)
        if any(words.lower() in str(call.get("arguments", "")).lower() for call in row.get("calls") or ()):
            return quote("", words)
    return None


def _inside_json(words: str) -> str:
    return json.dumps(words, ensure_ascii=False)[1:-1]


def quote(text: str, words: str) -> str:
    """What stands around the first place; without one it was found in a tool's arguments."""
    place = text.lower().find(words.lower())
    if place < 0:
        return "in a tool's arguments"
    start = max(0, place - AROUND)
    return ("… " if start else "") + capped(text[start : start + 2 * SHOWN], SHOWN)
