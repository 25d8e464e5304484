"""What a restart means for runs that were at work (spec/subagents.md 22, 23)."""

from __future__ import annotations

from gateway.lifecycle import agent_of
from gateway.plugins import Registry
from gateway.store import runs, sessions, standing
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run, Status
from subagents.archive import Archive


class Restart:
    """Is applied once, before the first session is activated."""

    def __init__(self, registry: Registry, archive: Archive) -> None:
        self._registry = registry
        self._archive = archive

    async def apply(self) -> None:
        """Ends what is configured to end at a restart, and writes lost transcript files again."""
        database = self._registry.gateway.database
        await database.run(self.end_unwanted)
        await database.run(self._archive.restore_files)

    def end_unwanted(self, tx: Transaction) -> int:
        """Ends the runs at work whose agent says `subagents.onRestart: "fail"`; returns how many."""
        config, lifecycle = self._registry.gateway.config, self._registry.gateway.lifecycle
        ended = 0
        for run in runs.page(tx, status=standing.has("open"), limit=100_000):
            at_work = run.status in (Status.RUNNING, Status.WAITING) and not self._in_hand(tx, run)
            if at_work and agent_of(config, run.agent_id).subagents.on_restart == "fail":
                text = 'the gateway was restarted (subagents.onRestart: "fail")'
                lifecycle.finish(tx, run.id, Outcome.ERROR, error=text, cause="restart")
                ended += 1
        return ended

    def _in_hand(self, tx: Transaction, run: Run) -> bool:
        """Whether another process is at work on it, or on what it waits for: then nothing was interrupted."""
        if tx.alone:
            return False
        held = (sessions.find(tx, each) for each in sessions.subtree(tx, run.session_id))
        return any(session is not None and session.claimed_by is not None for session in held)
