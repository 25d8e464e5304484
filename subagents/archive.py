"""Archiving: what happens when a run's archive time comes (spec/subagents.md 30).

The transcript file is renamed in its folder, the session's rows are removed, the run's row is kept; later both go for
good, by `retention`. The due times are columns, so that a restart loses nothing.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import delete, select

from gateway.plugins import Registry
from gateway.store import runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as sessions_table

DAY_MS = 86_400_000


class Archive:
    """Archives ended runs and purges what was archived long ago."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def next_due(self) -> int | None:
        """When the next run is to be archived."""
        return await self._registry.gateway.database.read(runs.next_due, "archive_at")

    async def work(self) -> None:
        """Archives all that is due."""
        database = self._registry.gateway.database
        for run in await database.read(runs.due, "archive_at"):
            await database.run(self.archive, run.id)

    async def next_purge(self) -> int | None:
        """Retention is a matter of days: the net is often enough."""
        return None

    async def purge_old(self) -> None:
        """Purges what `retention` no longer keeps."""
        database = self._registry.gateway.database
        if await database.read(self.has_old):
            await database.run(self.purge)

    def has_old(self, tx: Transaction) -> bool:
        """Whether anything is old enough to go."""
        retention = self._registry.gateway.config.retention
        days = [each for each in (retention.deleted_days, retention.runs_days) if each]
        return bool(days) and bool(_archived_before(tx, tx.now - int(min(days) * DAY_MS)))

    def archive(self, tx: Transaction, run_id: str) -> None:
        """Archives one run; one whose session has been revived since waits for that run's end."""
        run = runs.find(tx, run_id)
        if run is None or run.open or run.archived_at is not None:
            runs.change(tx, run_id, archive_at=None)
            return
        session = sessions.hold(tx, run.session_id)
        if session is None or session.run_id != run.id:
            runs.change(tx, run.id, archive_at=None, archived_at=None if session else tx.now)
            return
        files = self._registry.gateway.files
        retired = files.retired_path(session, run.ended_at or tx.now)
        current = files.path(session)
        if current.exists():
            current.replace(retired)
        elif not retired.exists():
            files.write(tx, session).replace(retired)
        for each in runs.of_session(tx, session.id):
            runs.change(tx, each.id, archive_at=None, archived_at=tx.now, transcript_path=str(retired))
        tx.execute(delete(sessions_table).where(sessions_table.c.id == session.id))
        self._registry.gateway.lifecycle.tell(tx, run.id, "archived")

    def restore_files(self, tx: Transaction) -> int:
        """At start-up: writes the files again that a crash may have lost; returns how many."""
        files = self._registry.gateway.files
        ended = tx.execute(
            select(runs_table.c.session_id).where(
                runs_table.c.status == runs.Status.DONE, runs_table.c.archived_at.is_(None)
            )
        )
        found = (sessions.find(tx, str(row[0])) for row in ended.all())
        return sum(files.restore(tx, session) for session in found if session is not None and session.closed)

    def purge(self, tx: Transaction) -> None:
        """Deletes transcripts and records of archived runs that are older than `retention` says (0: never)."""
        retention = self._registry.gateway.config.retention
        if retention.deleted_days:
            for run in _archived_before(tx, tx.now - int(retention.deleted_days * DAY_MS)):
                if run.transcript_path:
                    Path(run.transcript_path).unlink(missing_ok=True)
                    runs.change(tx, run.id, transcript_path=None)
        if retention.runs_days:
            old = _archived_before(tx, tx.now - int(retention.runs_days * DAY_MS))
            gone = [run.id for run in old if not runs.children(tx, run.session_id, open_only=True)]
            if gone:
                tx.execute(delete(runs_table).where(runs_table.c.id.in_(gone)))


def _archived_before(tx: Transaction, moment: int) -> list[Run]:
    ids = tx.execute(
        select(runs_table.c.id)
        .where(runs_table.c.archived_at.is_not(None), runs_table.c.archived_at < moment)
        .limit(500)
    )
    return [run for row in ids.all() if (run := runs.find(tx, str(row[0])))]
