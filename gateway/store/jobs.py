"""Jobs in the tables: what the runs' store doesn't need for sub-agents alone.

Dependencies, idempotency keys, due times and the statistics of kinds; its functions are parts of units of work.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select

from gateway.store import rows, standing
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run, Status
from gateway.store.schema import run_after, runs

_ALL = select(*rows.columns(runs, Run))
_AFTER = select(run_after.c.after_id).where(run_after.c.run_id == bindparam("of_run"))
_BEFORE = select(run_after.c.run_id).where(run_after.c.after_id == bindparam("of_run"))
_DEPENDENCIES = _ALL.where(runs.c.id.in_(_AFTER)).order_by(runs.c.number)
_DEPENDENTS = _ALL.where(runs.c.id.in_(_BEFORE), runs.c.status != Status.DONE).order_by(runs.c.number)


def by_number(tx: Transaction, number: int) -> Run | None:
    """The job with this short id."""
    return _one(tx, _ALL.where(runs.c.number == number))


def by_key(tx: Transaction, key: str) -> Run | None:
    """The job that was submitted under an idempotency key which it still holds."""
    return _one(tx, _ALL.where(runs.c.idempotency_key == key))


def submitted_with(tx: Transaction, run: Run) -> list[Run]:
    """The children that came with a job, in one submission: what a unit of work creates has one time."""
    statement = _ALL.where(runs.c.requester_id == run.session_id, runs.c.created_at == run.created_at)
    return _all(tx, statement.order_by(runs.c.number))


def add_dependencies(tx: Transaction, run_id: str, after: Iterable[str]) -> None:
    """Lets a job wait for others."""
    for other in after:
        tx.execute(insert(run_after).values(run_id=run_id, after_id=other))


def dependencies(tx: Transaction, run_id: str) -> list[Run]:
    """The jobs that one waits for."""
    return _all(tx, _DEPENDENCIES, of_run=run_id)


def dependents(tx: Transaction, run_id: str) -> list[Run]:
    """The open jobs that wait for one."""
    return _all(tx, _DEPENDENTS, of_run=run_id)


def forget_dependencies(tx: Transaction, run_id: str) -> None:
    """A job that is deleted waits for nobody, and nobody for it."""
    tx.execute(delete(run_after).where((run_after.c.run_id == run_id) | (run_after.c.after_id == run_id)))


def due(tx: Transaction, limit: int = 200) -> list[Run]:
    """Delayed jobs whose time has come."""
    statement = _ALL.where(runs.c.status == Status.DELAYED, runs.c.not_before <= tx.now)
    return _all(tx, statement.order_by(runs.c.not_before).limit(limit))


def next_due(tx: Transaction) -> int | None:
    """When the next delayed job is due (milliseconds)."""
    return tx.execute(select(func.min(runs.c.not_before)).where(runs.c.status == Status.DELAYED)).scalar()


def ahead(tx: Transaction, run: Run) -> int:
    """How many waiting jobs of its lane go before one: priority, then age, then id (spec/jobs.md 9)."""
    before = (
        (runs.c.priority < run.priority)
        | ((runs.c.priority == run.priority) & (runs.c.created_at < run.created_at))
        | ((runs.c.priority == run.priority) & (runs.c.created_at == run.created_at) & (runs.c.number < run.number))
    )
    statement = select(func.count()).where(runs.c.lane == run.lane, runs.c.status == Status.QUEUED, before)
    return int(tx.execute(statement).scalar_one())


@dataclass(frozen=True, slots=True)
class Counts:
    """How the jobs of a kind stand."""

    kind: str
    waiting: int
    running: int
    done: int
    failed: int
    average_ms: int
    p95_ms: int
    """Runtimes of those that have ended well."""


def counts(tx: Transaction, since: int) -> list[Counts]:
    """Every kind; ended ones are counted from `since` (milliseconds) on."""
    grouped = tx.execute(
        select(runs.c.kind, standing.STATUS.label("stands"), runs.c.outcome, func.count().label("number"))
        .where((runs.c.status != Status.DONE) | (runs.c.ended_at >= since))
        .group_by(runs.c.kind, "stands", runs.c.outcome)
    ).all()
    found: list[Counts] = []
    for kind in sorted({str(row.kind) for row in grouped}):
        mine = [(row.stands, row.outcome, int(row.number)) for row in grouped if row.kind == kind]
        running = sum(number for status, _, number in mine if status == Status.RUNNING)
        done = sum(number for status, outcome, number in mine if status == Status.DONE and outcome == Outcome.OK)
        failed = sum(number for status, outcome, number in mine if status == Status.DONE and outcome != Outcome.OK)
        waiting = sum(number for _, _, number in mine) - running - done - failed
        average, p95 = _runtimes(tx, kind, since)
        found.append(Counts(kind, waiting, running, done, failed, average, p95))
    return found


def flow(tx: Transaction, kind: str, since: int) -> tuple[int, int]:
    """How many jobs of a kind have come and gone since a time."""
    came = tx.execute(select(func.count()).where(runs.c.kind == kind, runs.c.created_at >= since)).scalar_one()
    went = tx.execute(select(func.count()).where(runs.c.kind == kind, runs.c.ended_at >= since)).scalar_one()
    return int(came), int(went)


def _runtimes(tx: Transaction, kind: str, since: int) -> tuple[int, int]:
    """Average and 95th percentile in milliseconds, of at most the last thousand."""
    found = tx.execute(
        select(runs.c.ended_at - runs.c.started_at)
        .where(
            runs.c.kind == kind,
            runs.c.outcome == Outcome.OK,
            runs.c.ended_at >= since,
            runs.c.started_at.is_not(None),
        )
        .order_by(runs.c.ended_at.desc())
        .limit(1000)
    ).all()
    times = sorted(int(row[0]) for row in found)
    if not times:
        return 0, 0
    return sum(times) // len(times), times[min(len(times) - 1, len(times) * 95 // 100)]


def _one(tx: Transaction, statement: Any) -> Run | None:
    row = tx.execute(statement).first()
    return Run(*row) if row else None


def _all(tx: Transaction, statement: Any, **values: Any) -> list[Run]:
    return [Run(*row) for row in tx.execute(statement, values)]
