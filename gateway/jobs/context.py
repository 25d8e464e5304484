"""What a handler works with: progress, log, inbox, children, state — each write with the job's fence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from gateway.agent.clock import RunClock
from gateway.config import Config
from gateway.jobs.kinds import Child, Letter
from gateway.jobs.owner import Owner
from gateway.jobs.submission import Submission
from gateway.jobs.submit import Submitter
from gateway.plugins import Registry
from gateway.store import audit, inbox, runs, sessions, transcript
from gateway.store.database import Database, Transaction
from gateway.store.runs import Run
from gateway.store.sessions import Session
from gateway.tools.processes import StoreLedger
from gateway.views import capped

if TYPE_CHECKING:
    from gateway.app import Gateway

PROGRESS_CHARS = 200


class Context:
    """The `JobContext` of one activation. Used as an async context manager, so that it is poked while it lasts."""

    def __init__(self, registry: Registry, database: Database, session: Session, run: Run, clock: RunClock) -> None:
        self.run = run
        self.state: Mapping[str, Any] = dict(run.state or {})
        self.poked = asyncio.Event()
        """Set when something about the job has changed: it was paused, resumed, or has a message."""
        self.processes = StoreLedger(database, session.id, registry.gateway.instance)
        self._registry = registry
        self._database = database
        self._session = session
        self._clock = clock
        self._submitter = Submitter(registry)

    async def __aenter__(self) -> Self:
        self.gateway.lanes.watch(self._session.id, self.poked.set)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.gateway.lanes.watch(self._session.id, None)

    @property
    def config(self) -> Config:
        """The configuration now."""
        return self.gateway.config

    @property
    def gateway(self) -> Gateway:
        """The gateway."""
        return self._registry.gateway

    @property
    def clock(self) -> RunClock:
        """The attempt's clock, which stands still while it is held."""
        return self._clock

    async def children(self) -> Sequence[Child]:
        """See `JobContext.children`."""
        return await self._database.read(_children, self.run.session_id)

    async def submit(self, submission: Submission) -> Run:
        """See `JobContext.submit`."""
        return await self._database.run(self._submit, submission)

    async def progress(self, message: str, step: int | None = None, total: int | None = None) -> None:
        """See `JobContext.progress`."""
        await self._database.run(self._progress, capped(message, PROGRESS_CHARS), step, total, self._clock.take())

    async def log(self, text: str) -> None:
        """See `JobContext.log`."""
        await self._database.run(_log, self._session, text)

    async def inbox(self) -> Sequence[Letter]:
        """See `JobContext.inbox`."""
        self.poked.clear()
        return await self._database.run(_take_letters, self._session)

    async def save(self, **state: Any) -> None:
        """See `JobContext.save`."""
        self.state = {**self.state, **state}
        await self._database.run(self._change, state=dict(self.state))

    async def still_mine(self) -> None:
        """See `JobContext.still_mine`."""
        await self._database.run(self._owned)

    async def audit(self, what: str, **data: Any) -> None:
        """See `JobContext.audit`."""
        await self._database.run(self._audit, what, data)

    async def is_paused(self) -> bool:
        """Whether the job is paused now."""
        run = await self._database.read(runs.find, self.run.id)
        return run is not None and run.paused

    # ---- units of work ----

    def _owned(self, tx: Transaction) -> Session:
        return sessions.owned(tx, self._session.id, self._session.fence)

    def _submit(self, tx: Transaction, submission: Submission) -> Run:
        session = self._owned(tx)
        run = runs.find(tx, self.run.id) or self.run
        owner = Owner(run.submitted_by or "", operator=True, session=session, run=run, route=run.route)
        return self._submitter.child(tx, submission, run, owner)

    def _progress(self, tx: Transaction, message: str, step: int | None, total: int | None, active_ms: int) -> None:
        self._owned(tx)
        runs.tick(tx, self.run.id, active_ms)
        given = {"step": step, "steps": total}
        runs.change(tx, self.run.id, progress=message, **{k: v for k, v in given.items() if v is not None})
        self.gateway.lifecycle.tell(tx, self.run.id, "progress")

    def _audit(self, tx: Transaction, what: str, data: dict[str, Any]) -> None:
        self._owned(tx)
        who = self.run.submitted_by or self.run.requester_key or "unknown"
        audit.add(tx, who, what, self.run.id, number=self.run.number, attempt=self.run.attempt, **data)

    def _change(self, tx: Transaction, **fields: Any) -> None:
        self._owned(tx)
        runs.change(tx, self.run.id, **fields)


def _children(tx: Transaction, session_id: str) -> list[Child]:
    return [
        Child(
            each.id,
            each.number,
            each.kind,
            each.label,
            each.status.value,
            each.outcome.value if each.outcome else None,
            each.output if each.output is not None else each.result,
            each.error,
        )
        for each in runs.children(tx, session_id)
    ]


def _log(tx: Transaction, session: Session, text: str) -> None:
    transcript.append(tx, session.id, session.fence, "assistant", "reply", text)


def _take_letters(tx: Transaction, session: Session) -> list[Letter]:
    """Consumes what waits, each with a place in the log, which is its receipt (spec/jobs.md 22)."""
    found: list[Letter] = []
    for row in inbox.pending(tx, session.id):
        message = transcript.append(
            tx, session.id, session.fence, "user", "event", row.text, inbox_id=row.id, sender=row.sender
        )
        inbox.consume(tx, row, message.seq)
        found.append(Letter(row.kind, row.text, row.sender))
    return found
