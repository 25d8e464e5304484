"""Running a job again: the same one with fresh counters, or a new one with all that it was given (spec/jobs.md 25)."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError

from gateway.jobs.owner import JobRefused, Owner
from gateway.jobs.submission import Submission
from gateway.jobs.submit import Submitter
from gateway.plugins import Registry
from gateway.store import inbox, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status

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
        """Opens a job again in its own session; a sub-agent goes on from its transcript.

        Raises:
            JobRefused: its session is gone, its parent has ended, or it lives in a newer run.
        """
        session = sessions.find(tx, run.session_id)
        if session is None or session.run_id != run.id:
            raise JobRefused(f"job #{run.number} is archived; replay_job runs it again as a new job", field="id")
        parent = runs.find(tx, run.parent_run_id) if run.parent_run_id else None
        if parent is not None and not parent.open:
            raise JobRefused(f"job #{parent.number} above it has ended; retry that one", field="id")
        runs.change(tx, run.id, **FRESH, status=Status.QUEUED, reopened=run.reopened + 1)
        sessions.change(tx, session.id, closed=False, paused=False, needs_user=False, deaths=0, deaths_seq=None)
        run = runs.find(tx, run.id) or run
        if session.kind != "job":
            text = f"(This run had ended: {run.cause or 'stopped'}. It was started again: go on with your task.)"
            inbox.put(
                tx, session.id, "event", f"reopened:{run.id}:{run.reopened}", text, route=run.route, run_id=run.id
            )
        self._registry.gateway.lifecycle.enqueue(tx, run)
        return self._registry.gateway.lifecycle.tell(tx, run.id, "reopened")

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
        data = {**(run.payload or {}), **overrides.pop("data", {})}
        if from_turn is not None:
            if kind.create is None:
                raise JobRefused("only a sub-agent can be forked from a turn", field="fromTurn")
            data["forkFrom"] = {"runId": run.id, "turn": from_turn}
        wanted = {**_submission(run), **overrides, "data": data}
        try:
            submission = Submission.model_validate(wanted)
        except ValidationError as error:
            first = error.errors(include_url=False, include_context=False)[0]
            field = ".".join(map(str, first["loc"]))
            raise JobRefused(f"`{field}`: {first['msg']}", field=field) from None
        again = self._submitter.submit(tx, submission, owner).run
        runs.change(tx, again.id, replay_of=run.id)
        return runs.find(tx, again.id) or again


def _submission(run: Run) -> dict[str, Any]:
    """What a job was submitted with; neither its key nor its delay, which were for that once."""
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
