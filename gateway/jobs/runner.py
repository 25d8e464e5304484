"""Running jobs: one activation of a job that a handler runs, from its claim to its rest or its end.

The handler is the one part that isn't ours: whatever it raises ends at most its own attempt. It is one of the three
places that catch every exception. A crash costs no attempt: the next activation calls the handler again, with what it
has kept (spec/jobs.md 10, 13).
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from gateway.agent.clock import RunClock
from gateway.jobs import texts, tree
from gateway.jobs.context import Context
from gateway.jobs.kinds import (
    RETURNED,
    AttemptFailed,
    Bounce,
    JobKind,
    Unavailable,
    Unrecoverable,
    WaitForChildren,
)
from gateway.jobs.owner import JobRefused
from gateway.lifecycle import Lifecycle
from gateway.plugins import Registry
from gateway.store import runs, sessions
from gateway.store.database import Database, Transaction
from gateway.store.runs import Outcome, Run, Seen, Status
from gateway.store.sessions import FenceLost, HoldAbove, Session
from gateway.telemetry import names
from gateway.telemetry.tracing import Recording, error_type

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that this process may run now."""

    session: Session
    run: Run
    since: int
    """When it was claimed (milliseconds)."""


class Jobs:
    """Runs jobs whose kinds have handlers."""

    def __init__(
        self, registry: Registry, database: Database, lifecycle: Lifecycle, draining: Callable[[], bool]
    ) -> None:
        self._registry = registry
        self._database = database
        self._lifecycle = lifecycle
        self._draining = draining

    def begin(self, tx: Transaction, session: Session, *, alone: bool) -> Claimed | None:
        """In the unit that claims the session: what there is to do; None: nothing now, and the session is released.

        Raises:
            HoldAbove: it ends here, and only its own session is held (`alone`).
        """
        run = runs.find(tx, session.run_id) if session.run_id else None
        if run is None or not run.open or not self._ready(tx, run):
            sessions.write(tx, session.id, session.fence, claimed_by=None)
            return None
        kind = self._registry.job_kinds.get(run.kind)
        if kind is None:
            self._put_off(tx, session, run, Unavailable(f"no plugin brings the kind `{run.kind}` now"))
        elif kind.handler is None:
            self._settle(tx, run, alone=alone)
        elif RETURNED not in (run.state or {}):
            if run.trace is None and (trace := self._lifecycle.tracing.begin()) is not None:
                runs.change(tx, run.id, trace=trace)
            return Claimed(session, self._lifecycle.start(tx, run), tx.now)
        elif tree.must_wait(tx, run):
            _give_back(tx, session)
            self._lifecycle.wait(tx, run)
        else:
            _hold_above(run, alone)
            self._lifecycle.finish(tx, run.id, Outcome.OK, output=run.output, by_owner=True, seen=Seen(run))
        return None

    async def run(self, claimed: Claimed) -> None:
        """Calls the handler, and stores what comes of it."""
        run = claimed.run
        kind = self._registry.job_kinds[run.kind]
        clock = RunClock(run.timeout_ms, run.active_ms)
        try:
            await self._call(claimed, kind, clock)
        except FenceLost as lost:
            log.info("job #%s: %s", run.number, lost)
        except asyncio.CancelledError:
            await self._database.run(_book, claimed, clock.take())
            if self._draining():
                with suppress(FenceLost):
                    await self._database.run(_release, claimed.session.id, claimed.session.fence)
            raise

    async def _call(self, claimed: Claimed, kind: JobKind, clock: RunClock) -> None:
        with self._lifecycle.tracing.span(names.job(kind.name), below=claimed.run.trace) as span:
            span.set({names.RUN_ID: claimed.run.id, names.JOB_ATTEMPT: claimed.run.attempt})
            await self._attempt(claimed, kind, clock, span)

    async def _attempt(self, claimed: Claimed, kind: JobKind, clock: RunClock, span: Recording) -> None:
        run, session = claimed.run, claimed.session
        context = Context(self._registry, self._database, session, run, clock)
        scope = clock.limit()
        try:
            async with scope, context:
                output = await _handle(kind, context)
        except TimeoutError:
            span.failed("timeout")
            if not scope.expired():
                await self._unit(self._failed, claimed, clock, "it timed out inside", True)
                return
            await self._unit(self._timed_out, claimed, clock)
        except (FenceLost, asyncio.CancelledError):
            raise
        except WaitForChildren:
            await self._unit(self._rest, claimed, clock)
        except Bounce as bounce:
            await self._unit(self._bounced, claimed, clock, bounce)
        except (Unrecoverable, JobRefused) as error:
            span.failed(error_type(type(error)))
            await self._unit(self._failed, claimed, clock, str(error), False)
        except AttemptFailed as error:
            span.failed(error_type(AttemptFailed))
            await self._unit(self._failed, claimed, clock, str(error), True, error.output)
        except Exception as error:  # the border to a job's handler: whatever breaks in it costs one attempt of it alone
            log.exception("job #%s (run %s) failed in attempt %s", run.number, run.id, run.attempt)
            span.failed(error_type(type(error)))
            await self._unit(self._failed, claimed, clock, f"{type(error).__name__}: {error}", True)
        else:
            holds = [each for each in (run.requester_id, session.id) if each]
            await self._database.run_together(holds, self._finished, claimed, clock.take(), output)

    async def _unit(self, unit: Callable[..., None], claimed: Claimed, clock: RunClock, *more: Any) -> None:
        await self._database.run(self._owned, unit, claimed, clock.take(), *more)

    # ---- units of work ----

    def _owned(self, tx: Transaction, unit: Callable[..., None], claimed: Claimed, active_ms: int, *more: Any) -> None:
        """Runs a part only if the job is still ours, with its active time booked."""
        if unit in (self._failed, self._timed_out):  # its end may go up the tree, and goes down
            sessions.hold_tree(tx, claimed.session.id)
        else:
            sessions.hold_all(tx, [claimed.run.requester_id, claimed.session.id])
        sessions.owned(tx, claimed.session.id, claimed.session.fence)
        run = runs.tick(tx, claimed.run.id, active_ms) or claimed.run
        unit(tx, claimed, run, *more)

    def _ready(self, tx: Transaction, run: Run) -> bool:
        """Whether a job may run now. One that is woken too early, or twice, is none the worse for it."""
        if run.paused or run.status is Status.DELAYED:
            return False
        return run.status is not Status.WAITING or not tree.must_wait(tx, run)

    def _settle(self, tx: Transaction, run: Run, *, alone: bool) -> None:
        """A job without work of its own: it ends when its children have, and waits for its first one."""
        if tree.must_wait(tx, run) or not runs.count_all(tx, run.session_id):
            sessions.change(tx, run.session_id, claimed_by=None)
            if run.status is not Status.WAITING:
                self._lifecycle.wait(tx, run)
            return
        _hold_above(run, alone)
        run = self._lifecycle.start(tx, run)
        children = tree.counted(runs.children(tx, run.session_id))
        self._lifecycle.finish(
            tx,
            run.id,
            Outcome.OK,
            result=texts.joined(children),
            output=texts.details(children),
            by_owner=True,
            seen=Seen(run),
        )

    def _finished(self, tx: Transaction, claimed: Claimed, active_ms: int, output: Any) -> None:
        """The handler has returned; a job that has added children ends when they have."""
        session = claimed.session
        sessions.hold_all(tx, [claimed.run.requester_id, session.id])
        run, waits, followed = runs.at_end(tx, claimed.run.id)
        if waits:
            self._owned(tx, self._returned, claimed, active_ms, output)
            return
        seen = Seen(run, session.fence, followed, active_ms)
        self._lifecycle.finish(tx, run.id, Outcome.OK, output=output, by_owner=True, seen=seen)

    def _returned(self, tx: Transaction, claimed: Claimed, run: Run, output: Any) -> None:
        _give_back(tx, claimed.session)
        runs.change(tx, run.id, output=output, state={**(run.state or {}), RETURNED: True})
        self._lifecycle.wait(tx, run)

    def _rest(self, tx: Transaction, claimed: Claimed, run: Run) -> None:
        """The handler waits for its children; what it may not have seen is a reason to call it again at once."""
        _give_back(tx, claimed.session)
        if tree.must_wait(tx, run) and not tree.went_wrong(tx, run, claimed.since):
            self._lifecycle.wait(tx, run)
        else:
            self._lifecycle.release_parent(tx, run)

    def _bounced(self, tx: Transaction, claimed: Claimed, run: Run, bounce: Bounce) -> None:
        self._put_off(tx, claimed.session, run, bounce)

    def _put_off(self, tx: Transaction, session: Session, run: Run, bounce: Bounce) -> None:
        """Tries it again later; that is no failure, and burns no attempt (spec/jobs.md 13)."""
        _give_back(tx, session)
        runs.change(tx, run.id, progress=str(bounce), cause=bounce.word)
        self._lifecycle.delay(tx, run, tx.now + int(bounce.seconds * 1000))

    def _timed_out(self, tx: Transaction, _claimed: Claimed, run: Run) -> None:
        text = f"it used up its {run.timeout_ms / 1000:g} s (timeoutMs)"
        self._lifecycle.finish(tx, run.id, Outcome.TIMEOUT, error=text, cause="timeout", by_owner=True, seen=Seen(run))

    def _failed(self, tx: Transaction, claimed: Claimed, run: Run, text: str, again: bool, output: Any = None) -> None:
        """An attempt has failed: another one follows after a while, if there are any left."""
        if again and run.attempt < run.max_attempts:
            _give_back(tx, claimed.session)
            runs.change(tx, run.id, attempt=run.attempt + 1, active_ms=0, error=texts.attempt_failed(text))
            self._lifecycle.delay(tx, run, tx.now + backoff_ms(run))
            return
        outcome = Outcome.DEAD if again and run.max_attempts > 1 else Outcome.ERROR
        self._lifecycle.finish(
            tx, run.id, outcome, error=text, cause="failed", output=output, by_owner=True, seen=Seen(run)
        )


def _hold_above(run: Run, alone: bool) -> None:
    if alone and run.requester_id:
        raise HoldAbove


async def _handle(kind: JobKind, context: Context) -> Any:
    if kind.handler is None:
        return None
    if (why := kind.unavailable(context.config)) is not None:
        raise Unavailable(why)
    return await kind.handler(context, kind.payload.model_validate(context.run.payload or {}))


def backoff_ms(run: Run) -> int:
    """How long a job waits after its failed attempt (milliseconds)."""
    wait = run.backoff_ms if run.backoff == "fixed" else run.backoff_ms * 2 ** min(run.attempt - 1, 40)
    if run.backoff_most_ms:
        wait = min(wait, run.backoff_most_ms)
    share = run.backoff_jitter / 1000
    return round(wait * random.uniform(1 - share, 1 + share))  # noqa: S311 - jitter, not a secret


def _give_back(tx: Transaction, session: Session) -> None:
    """Nobody owns the session any more."""
    sessions.write(tx, session.id, session.fence, claimed_by=None)


def _book(tx: Transaction, claimed: Claimed, active_ms: int) -> None:
    """A job was paused in the middle of an attempt: what that has used of its time stays used."""
    run, session = runs.find(tx, claimed.run.id), sessions.find(tx, claimed.session.id)
    if run is not None and run.open and session is not None and session.fence <= claimed.session.fence + 1:
        runs.tick(tx, run.id, active_ms)


def _release(tx: Transaction, session_id: str, fence: int) -> None:
    """The process is about to stop: the job is taken up again after the next start."""
    sessions.write(tx, session_id, fence, claimed_by=None)
