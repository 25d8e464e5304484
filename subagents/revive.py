"""Reviving: a finished session goes on with a new message, as a new run with its own announcement.

The session keeps its key and transcript; the new run says by `revivedFrom` which one it continues. It reports to
whoever asked for the first one, or, if that was a sub-agent that has finished itself, to the nearest session above it
that is still open: a finished session reads no announcement.
"""

from __future__ import annotations

import uuid

from gateway.commands.base import CommandError
from gateway.lifecycle import agent_of
from gateway.plugins import Registry
from gateway.store import runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.sessions import Session
from subagents import texts
from subagents.spawn import Spawner

KEPT = (
    "kind",
    "lane",
    "session_id",
    "session_key",
    "agent_id",
    "label",
    "depth",
    "priority",
    "model",
    "fallbacks",
    "thinking",
    "cleanup",
    "context",
    "mode",
    "timeout_ms",
    "budget_micro",
    "budget_tokens",
    "output_schema",
    "denied_tools",
)
"""What a continued run has of the one before it."""


class CannotRevive(CommandError):
    """The session can't go on; the text says why and what can be done instead."""


class Reviver:
    """Continues finished sessions. Its methods are units of work."""

    def __init__(self, registry: Registry, spawner: Spawner) -> None:
        self._registry = registry
        self._spawner = spawner

    def newest(self, tx: Transaction, run: Run) -> Run:
        """The run that lives in the same session now, which is another one if it was revived since."""
        session = sessions.find(tx, run.session_id)
        newest = runs.find(tx, session.run_id) if session and session.run_id else None
        return newest or run

    def can(self, tx: Transaction, run: Run) -> bool:
        """Whether its session is there, kept and at rest."""
        session = sessions.find(tx, run.session_id)
        return session is not None and not run.open and run.cleanup != "delete"

    def requester(self, tx: Transaction, run: Run) -> Session:
        """The session that a new run in the place of `run` reports to.

        Raises:
            CannotRevive: there is none.
        """
        lifecycle = self._registry.gateway.lifecycle
        found = lifecycle.requester(tx, run)
        while found is not None and found[0].closed:
            above = runs.of_session(tx, found[0].id)
            found = lifecycle.requester(tx, above[0]) if above else None
        if found is None:
            raise CannotRevive(texts.no_requester(run))
        return found[0]

    def revive(self, tx: Transaction, old: Run, message: str, route: str | None, *, retry_of: str | None = None) -> Run:
        """Starts a new run on the session of one that has ended.

        Args:
            tx: the unit of work.
            old: the run that has ended.
            message: what the new one begins with.
            route: where it is to be announced; None: where the old one was.
            retry_of: the run whose message it is, if it is tried again.

        Raises:
            CannotRevive: archived, not kept, nobody to report to, or too many active.
        """
        session = sessions.hold(tx, old.session_id)
        if session is None:
            raise CannotRevive(texts.archived(old))
        if old.cleanup == "delete":
            raise CannotRevive(texts.not_kept(old))
        requester = self.requester(tx, old)
        self._check_slots(tx, requester)
        run = runs.create(
            tx,
            **{name: getattr(old, name) for name in KEPT},
            id=str(uuid.uuid4()),
            requester_id=requester.id,
            requester_key=requester.key,
            parent_run_id=requester.run_id,
            route=route or old.route,
            task=message,
            status=Status.QUEUED,
            revived_from=old.id,
            retry_of=retry_of,
        )
        runs.change(tx, old.id, archive_at=None)
        person = requester.person or session.person
        begun = {"closed": False, "run_id": run.id, "parent_id": requester.id, "deaths": 0, "deaths_seq": None}
        sessions.change(tx, session.id, **begun, person=person)
        self._spawner.begin(tx, run, message)
        return run

    def _check_slots(self, tx: Transaction, requester: Session) -> None:
        agent = agent_of(self._registry.gateway.config, requester.agent_id)
        sessions.hold(tx, requester.id)
        active, limit = runs.count_open(tx, requester.id), agent.subagents.max_children
        if active >= limit:
            raise CannotRevive(texts.too_many(active, limit))
