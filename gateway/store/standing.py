"""How a run stands at this moment: what its record says, unless that says `running` and nobody is at work on it.

After the death or the stop of a process, and after a rest at a boundary, a run's session is claimed by nobody until a
slot of its lane is free for it. The record isn't touched meanwhile: the claim tells it. Whoever shows runs asks here;
`queued` is what is to be seen (docs/jobs.md, the life of a job).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import ColumnElement, bindparam, case, select

from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.schema import runs, sessions

_CLAIMED = select(sessions.c.id).where(sessions.c.id == runs.c.session_id, sessions.c.claimed_by.is_not(None)).exists()
_IDLE = (runs.c.status == Status.RUNNING) & ~_CLAIMED
STATUS = case((_IDLE, Status.QUEUED.value), else_=runs.c.status)
"""The status of a row of `runs`, as it stands."""
_UNCLAIMED = select(sessions.c.id).where(
    sessions.c.id.in_(bindparam("of_sessions", expanding=True)), sessions.c.claimed_by.is_(None)
)


def has(status: str) -> ColumnElement[bool]:
    """The condition on `runs` that one stands so: a status, or `open` for all but `done`."""
    if status == "open":
        return runs.c.status != Status.DONE
    if status == Status.RUNNING:
        return (runs.c.status == Status.RUNNING) & _CLAIMED
    return (runs.c.status == Status.QUEUED) | _IDLE if status == Status.QUEUED else runs.c.status == status


def now(tx: Transaction, found: Sequence[Run]) -> list[Run]:
    """The runs, each with the status in which it stands."""
    at_work = [run.session_id for run in found if run.status is Status.RUNNING]
    if not at_work:
        return list(found)
    idle = {str(row[0]) for row in tx.execute(_UNCLAIMED, {"of_sessions": at_work})}
    waits = (run.status is Status.RUNNING and run.session_id in idle for run in found)
    return [replace(run, status=Status.QUEUED) if each else run for run, each in zip(found, waits, strict=True)]


def of(tx: Transaction, run: Run) -> Run:
    """One run, with the status in which it stands."""
    return now(tx, [run])[0]
