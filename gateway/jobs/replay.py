"""Running a job again: the same one with fresh counters, or a new one with all that it was given (spec/jobs.md 25).

A whole fan-out is run again as one: what came with a job in its submission goes with it, and what failed or was stopped
below a job is opened again with it.
"""

from __future__ import annotations

from typing import Any, cast

from pydantic import ValidationError

from gateway.jobs import tree
from gateway.jobs.kinds import JobKind
from gateway.jobs.owner import JobRefused, Owner
from gateway.jobs.submission import Submission
from gateway.jobs.submit import Submitter
from gateway.plugins import Registry
from gateway.store import inbox, jobs, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run, Status
from gateway.store.sessions import Session

FRESH: dict[str, Any] = {
    "outcome": None,
    "cause": None,
    "error": None,
    "result": None,
    "output": None,
    "state": None,
    "attempt": 1,
    "active_ms": 0,
    "waiting_since": None,
    "deadline_at": None,
    "progress": None,
    "step": None,
    "steps": None,
    "schema_failures": 0,
    "started_at": None,
    "ended_at": None,
    "announced_at": None,
    "archive_at": None,
    "reserved_tokens": 0,
    "reserved_micro": 0,
}
"""What is forgotten of a job that begins anew; what it has used stays counted."""


class Replayer:
    """Runs jobs again. Its methods are units of work."""

    def __init__(self, registry: Registry, submitter: Submitter) -> None:
        self._registry = registry
        self._submitter = submitter

    def reopen(self, tx: Transaction, run: Run) -> Run:
        """Opens a job again in its own session; a sub-agent goes on from its transcript. What belongs to it and failed,
        or was stopped with it, is opened again as well.

        Raises:
            JobRefused: its session is gone, its parent has ended, or it lives in a newer run.
        """
        session = sessions.find(tx, run.session_id)
        if session is None or session.run_id != run.id:
            raise JobRefused(f"job #{run.number} is archived; a replay runs it again as a new job", field="id")
        parent = runs.find(tx, run.parent_run_id) if run.parent_run_id else None
        if parent is not None and not parent.open:
            raise JobRefused(f"job #{parent.number} above it has ended; retry that one", field="id")
        again = [child for child in runs.children(tx, run.session_id) if _goes_with(tx, child)]
        run = runs.changed(tx, run.id, **FRESH, status=Status.QUEUED, reopened=run.reopened + 1)
        sessions.change(tx, session.id, closed=False, paused=False, needs_user=False, deaths=0, deaths_seq=None)
        self._registry.gateway.lifecycle.told(tx, run, "reopened")
        for child in again:
            self.reopen(tx, child)
        self._hand_over(tx, session, run)
        return runs.find(tx, run.id) or run

    def _hand_over(self, tx: Transaction, session: Session, run: Run) -> None:
        """Lets a job that was opened again begin, or wait for what it has to wait for."""
        lifecycle = self._registry.gateway.lifecycle
        if session.kind != "job":
            text = f"(This run had ended: {run.cause or 'stopped'}. It was started again: go on with your task.)"
            inbox.put(
                tx, session.id, "event", f"reopened:{run.id}:{run.reopened}", text, route=run.route, run_id=run.id
            )
        kind = self._registry.job_kinds.get(run.kind)
        joins = kind is None or kind.handler is None
        if joins and runs.any_open(tx, session.id):
            lifecycle.wait(tx, run)
        elif tree.blocked(tx, run):
            lifecycle.hold(tx, run)
        else:
            lifecycle.enqueue(tx, run)

    def replay(
        self, tx: Transaction, owner: Owner, run: Run, overrides: dict[str, Any], *, from_turn: int | None = None
    ) -> Run:
        """A new job like this one.

        Args:
            tx: the unit of work.
            owner: who asks: a protected kind is for operators.
            run: the job; it may have ended or not.
            overrides: fields of the submission; `data` is merged, everything else replaced.
            from_turn: of a sub-agent: begins with its transcript up to this turn, 1 for the first.

        Raises:
            JobRefused: as for a submission.
        """
        kind = self._registry.job_kinds.get(run.kind)
        if kind is None:
            raise JobRefused(f"there is no kind `{run.kind}` any more", field="id")
        wanted = {**self._submission(tx, run), **overrides}
        changes = overrides.get("data", {})
        if not isinstance(changes, dict):
            raise JobRefused("`data`: it must be an object", field="data")
        wanted["data"] = {**self._given(tx, kind, run), **cast("dict[str, Any]", changes)}
        if "runTimeoutSeconds" in changes:
            wanted["timeoutMs"] = overrides.get("timeoutMs")
        if from_turn is not None:
            if kind.create is None:
                raise JobRefused("only a sub-agent can be forked from a turn", field="fromTurn")
            wanted["data"]["forkFrom"] = {"runId": run.id, "turn": from_turn}
        try:
            submission = Submission.model_validate(wanted)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise JobRefused(f"`{field}`: {first['msg']}", field=field) from None
        done = self._submitter.submit(tx, submission, owner)
        return done.run if done.coalesced else runs.changed(tx, done.run.id, replay_of=run.id)

    def _given(self, tx: Transaction, kind: JobKind, run: Run) -> dict[str, Any]:
        """What a job was given; of one that no submission has made, what its kind makes of its record."""
        if run.payload is None and kind.given is not None:
            return kind.given(tx, run)
        return dict(run.payload or {})

    def _submission(self, tx: Transaction, run: Run) -> dict[str, Any]:
        """What a job was submitted with; neither its key nor its delay, which were for that once."""
        kind = self._registry.job_kinds.get(run.kind)
        if kind is None:
            raise JobRefused(f"there is no kind `{run.kind}` any more", field="id")
        children = jobs.submitted_with(tx, run)
        return {
            **_options(run),
            "data": self._given(tx, kind, run),
            "children": [self._submission(tx, child) for child in children],
        }


def _goes_with(tx: Transaction, child: Run) -> bool:
    """Whether a child is opened again with its parent: it was submitted as a part of it, and what ended it ended that
    as well, or was the end of that."""
    with_parent = child.on_child_fail == "fail_parent" or child.outcome is Outcome.STOPPED
    session = sessions.find(tx, child.session_id)
    current = session is not None and session.run_id == child.id
    return child.payload is not None and tree.failed(child) and with_parent and current


def _options(run: Run) -> dict[str, Any]:
    """A job's options, as a submission has them."""
    return {
        "name": run.kind,
        "label": run.label,
        "queue": run.lane,
        "priority": run.priority,
        "maxAttempts": run.max_attempts,
        "backoff": {
            "type": run.backoff,
            "delayMs": run.backoff_ms,
            "jitter": run.backoff_jitter / 1000,
            "maxMs": run.backoff_most_ms,
        },
        "timeoutMs": run.timeout_ms or None,
        "onChildFail": run.on_child_fail,
        "maxChildren": run.max_children,
    }
