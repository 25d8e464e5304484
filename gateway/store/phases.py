"""The phases of runs: every status that a run has had, with the time at which it began.

They stand as one short text in the run's own row (`q1795552000000 r1795552000020 …`), written by the statement that
changes the status: they cost no statement of their own, and are kept as long as the run's record. Of a very long life
only the last few hundred stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, func, select

from gateway.store.database import Transaction
from gateway.store.schema import runs

LONGEST = 8_000
"""Characters; beyond it the older ones go."""
KEPT = 6_000


class Phase(StrEnum):
    """What a run was doing for a while. The values are what stands in the row."""

    QUEUED = "q"
    """It waits for a slot of its lane."""
    DELAYED = "d"
    """It waits for its time: it was submitted so, or its next attempt comes later."""
    HELD = "h"
    """It waits for jobs that must end before it begins."""
    RUNNING = "r"
    """Its session is worked on; twice in a row: it was taken up again after a restart."""
    WAITING = "w"
    """It waits for its children."""
    PAUSED = "p"
    """Frozen by a person."""
    DONE = "e"
    """It has ended."""


_OF_STATUS: Mapping[str, Phase] = {
    "queued": Phase.QUEUED,
    "running": Phase.RUNNING,
    "waiting": Phase.WAITING,
    "paused": Phase.PAUSED,
    "done": Phase.DONE,
}


@dataclass(frozen=True, slots=True)
class Begun:
    """A phase and when it began (milliseconds)."""

    phase: Phase
    at: int


def entered(fields: Mapping[str, Any], now: int) -> str:
    """What is added to a run's phases when these columns are set, one of which is its status."""
    phase = _OF_STATUS.get(str(fields["status"]))
    if phase is None:
        phase = Phase.HELD if fields.get("not_before") is None else Phase.DELAYED
    return f"{phase.value}{now} "


def appended(more: str) -> ColumnElement[str]:
    """The column's new value: the old one, shortened if need be, and what the bound parameter `more` holds."""
    column = runs.c.phases
    # From the right, in a way that SQLite and PostgreSQL understand alike.
    shortened = func.substr(column, func.length(column) - KEPT)
    return case((func.length(column) > LONGEST, shortened), else_=column) + bindparam(more)


def of(tx: Transaction, run_id: str) -> list[Begun]:
    """A run's phases in order; empty for one that is older than their record."""
    text = tx.execute(select(runs.c.phases).where(runs.c.id == run_id)).scalar()
    return parse(text or "")


def parse(text: str) -> list[Begun]:
    """Phases from their text; a piece that was cut by shortening is left out."""
    known = {phase.value: phase for phase in Phase}
    pieces = [piece for piece in text.split() if piece[0] in known and piece[1:].isdecimal()]
    return [Begun(known[piece[0]], int(piece[1:])) for piece in pieces]
