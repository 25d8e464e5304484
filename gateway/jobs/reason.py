"""Why a job isn't running: one machine-readable reason at any time (spec/jobs.md, the record)."""

from __future__ import annotations

from gateway.lanes.base import Lanes
from gateway.store import jobs, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run, Status
from gateway.views import iso


def waiting_reason(tx: Transaction, run: Run, lanes: Lanes) -> str | None:
    """`paused`, `delayed_until …`, `children: 3 of 5`, `dependencies: 1 of 2`, `dependency_failed: #7`,
    `rate_limited_until …`, `unavailable_until …`, `lane_full: 2 ahead`, `alone: #7 first`; None: it runs, has ended,
    or is about to begin.
    """
    if run.status is Status.PAUSED:
        return "paused"
    if run.status is Status.DELAYED:
        return _delayed(tx, run)
    if run.status is Status.WAITING:
        children = runs.children(tx, run.session_id)
        return f"children: {sum(not each.open for each in children)} of {len(children)}"
    return _lane(tx, run, lanes) if run.status is Status.QUEUED else None


def _delayed(tx: Transaction, run: Run) -> str | None:
    if run.not_before is None:
        return _dependency(tx, run)
    return f"{run.cause or 'delayed'}_until {iso(run.not_before)}"


def _dependency(tx: Transaction, run: Run) -> str | None:
    after = jobs.dependencies(tx, run.id)
    broken = next((each for each in after if not each.open and each.outcome is not Outcome.OK), None)
    if broken is not None:
        return f"dependency_failed: #{broken.number}"
    if any(each.open for each in after):
        return f"dependencies: {sum(not each.open for each in after)} of {len(after)}"
    return None


def _lane(tx: Transaction, run: Run, lanes: Lanes) -> str | None:
    lane = lanes.stats(tx).get(run.lane)
    if lane is None:
        return f"no_lane: {run.lane}"
    if lane.running < lane.cap:
        return alone(tx, run.session_id, lanes)
    position = lanes.positions(tx, [run.session_id]).get(run.session_id)
    return f"lane_full: {position - 1 if position else jobs.ahead(tx, run)} ahead"


def alone(tx: Transaction, session_id: str, lanes: Lanes) -> str | None:
    """`alone: #7 first` for a session that waits for one which was at work in several deaths of the process, and goes
    on with nothing beside it (spec/subagents.md 23)."""
    if lanes.alone in (None, session_id):
        return None
    first = sessions.find(tx, lanes.alone or "")
    other = runs.find(tx, first.run_id) if first is not None and first.run_id else None
    return f"alone: {f'#{other.number}' if other is not None else 'a conversation'} first"
