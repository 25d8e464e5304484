"""Trees of jobs: who waits for whom, and what the end of one means for the others (spec/jobs.md 16–20).

A parent waits until no child is open that it still waits for. What a child's failure means is the child's own policy;
it goes up level by level, each level by its own. Its functions are parts of units of work.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store import jobs, runs
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run


def waits_for(tx: Transaction, run: Run, other: Run) -> bool:
    """Whether a job can't end before another has: it comes after it, is above it, or waits for one that does."""
    seen: set[str] = set()
    waiting = [run]
    above = {other.id, *(each.id for each in runs.ancestors(tx, other))}
    while waiting:
        current = waiting.pop()
        if current.id in above:
            return True
        if current.id in seen:
            continue
        seen.add(current.id)
        waiting += jobs.dependencies(tx, current.id)
        waiting += runs.children(tx, current.session_id)
    return False


def blocked(tx: Transaction, run: Run) -> bool:
    """Whether a job has to wait for others that it comes after."""
    return any(each.outcome is not Outcome.OK for each in jobs.dependencies(tx, run.id))


def must_wait(tx: Transaction, run: Run) -> bool:
    """Whether a job has children that haven't ended (spec/jobs.md 16)."""
    return runs.any_open(tx, run.session_id)


def went_wrong(tx: Transaction, run: Run, since: int) -> bool:
    """Whether a child whose failure its parent wants to know at once (`continue`) has ended since a time."""
    children = runs.children(tx, run.session_id)
    return any(each.on_child_fail == "continue" and failed(each) and (each.ended_at or 0) >= since for each in children)


def failed(run: Run) -> bool:
    """Whether a job has ended without success, whatever ended it."""
    return not run.open and run.outcome is not Outcome.OK


def counted(children: Sequence[Run]) -> list[Run]:
    """The children whose results count: one that failed with the policy `remove_dep` is left out."""
    return [each for each in children if not (each.on_child_fail == "remove_dep" and failed(each))]
