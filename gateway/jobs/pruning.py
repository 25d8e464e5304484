"""What becomes of jobs that have ended: which may be deleted, and what is deleted with them (spec/jobs.md 26).

A job is kept while an open one needs it: its parent, a child, one that comes after it, or a sub-agent that has begun
with its transcript. Its functions are parts of units of work.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from gateway.jobs import texts
from gateway.store import jobs, rows, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.schema import runs as table
from gateway.store.schema import sessions as sessions_table

if TYPE_CHECKING:
    from gateway.plugins import Registry

_ALL = select(*rows.columns(table, Run))
DAY_MS = 86_400_000
AT_ONCE = 200


class Retention:
    """The chore that deletes what ended more than `retention.runsDays` ago. Runs that live in conversations of their
    own are archived first; their plugin purges them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def work(self) -> None:
        """Deletes all that is old enough."""
        database = self._registry.gateway.database
        while await database.read(self._old):
            await database.run(self._purge)

    def _old(self, tx: Transaction) -> list[Run]:
        days = self._registry.gateway.config.retention.runs_days
        if not days:
            return []
        return ended_before(tx, tx.now - int(days * DAY_MS), None, AT_ONCE, tuple(self._registry.run_kinds))

    def _purge(self, tx: Transaction) -> None:
        for run in self._old(tx):
            if kept_by(tx, run) is None:  # one before it may have been what it belonged to
                remove(tx, run)


def kept_by(tx: Transaction, run: Run) -> str | None:
    """Why a job can't be deleted now, in words that follow its number; None: it can."""
    if run.open:
        return f"hasn't ended ({texts.state_word(run)}); stop it first"
    if runs.any_open(tx, run.session_id):
        return "has children that haven't ended"
    parent = runs.find(tx, run.parent_run_id) if run.parent_run_id else None
    if parent is not None and parent.open:
        return f"belongs to job #{parent.number}, which hasn't ended"
    waiting = jobs.dependents(tx, run.id)
    if waiting:
        return f"is waited for by job #{waiting[0].number}"
    if sessions.forked_by(tx, run.session_id):
        return "is where a sub-agent that hasn't ended began (its transcript is needed)"
    return None


def ended_before(tx: Transaction, moment: int, kind: str | None, limit: int, without: Iterable[str] = ()) -> list[Run]:
    """Jobs that ended before a time (milliseconds) and that no open one needs, the oldest first.

    Args:
        tx: the unit of work.
        moment: their end lies before it.
        kind: only of this kind.
        limit: how many at most.
        without: kinds that are left out.
    """
    statement = _ALL.where(table.c.status == Status.DONE, table.c.ended_at < moment, table.c.kind.not_in(without))
    if kind is not None:
        statement = statement.where(table.c.kind == kind)
    found = [Run(*row) for row in tx.execute(statement.order_by(table.c.ended_at).limit(limit))]
    return [run for run in found if kept_by(tx, run) is None]


def remove(tx: Transaction, run: Run) -> None:
    """Deletes a job with its session, inbox, log and transcript file. A session that has had several runs goes with
    the last of them."""
    jobs.forget_dependencies(tx, run.id)
    tx.execute(delete(table).where(table.c.id == run.id))
    if runs.of_session(tx, run.session_id):
        return
    tx.execute(delete(sessions_table).where(sessions_table.c.id == run.session_id))
    if run.transcript_path:
        file = Path(run.transcript_path)
        tx.after_commit(lambda: file.unlink(missing_ok=True))
