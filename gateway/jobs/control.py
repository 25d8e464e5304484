"""The control of jobs: one core under the command line, the chat, MCP and HTTP (spec/jobs.md, views).

Every method is a unit of work. Who sees which job is `find.py`'s to say; whoever calls has looked it up there. Survives
a crash: whatever was answered, because the answer is given after the commit.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import select

from gateway.jobs import find, pruning, texts
from gateway.jobs.owner import JobRefused, Owner
from gateway.jobs.reason import waiting_reason
from gateway.jobs.replay import Replayer
from gateway.jobs.stats import stats
from gateway.jobs.submit import Submitter
from gateway.plugins import Registry
from gateway.store import inbox, jobs, rows, runs, sessions, standing, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run
from gateway.store.schema import runs as runs_table
from gateway.views import job_json, letter_json, message_json

_ALL = select(*rows.columns(runs_table, Run))
LOG_MOST = 500
BATCH_MOST = 50
"""Children in a report."""


class JobControl:
    """Sees and steers jobs of every kind."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        self.submitter = Submitter(registry)
        self._replayer = Replayer(registry, self.submitter)

    # ---- looking ----

    def list(
        self,
        tx: Transaction,
        owner: Owner,
        *,
        status: str | None = None,
        outcome: str | None = None,
        kind: str | None = None,
        parent: str | None = None,
        before: int | None = None,
        limit: int = 50,
    ) -> list[Run]:
        """Jobs that somebody sees, the newest first.

        Args:
            tx: the unit of work.
            owner: who looks.
            status: only with this status; `open` for all that haven't ended.
            outcome: only with this outcome.
            kind: only of this kind.
            parent: only the children of this job.
            before: only with a lower number: the last one of the page before.
            limit: how many at most.
        """
        statement = _ALL.where(find.visibility(tx, owner))
        if status is not None:
            statement = statement.where(standing.has(status))
        if outcome is not None:
            statement = statement.where(runs_table.c.outcome == outcome)
        if kind is not None:
            statement = statement.where(runs_table.c.kind == kind)
        if parent is not None:
            statement = statement.where(runs_table.c.parent_run_id == find.job(tx, owner, parent).id)
        if before is not None:
            statement = statement.where(runs_table.c.number < before)
        found = tx.execute(statement.order_by(runs_table.c.number.desc()).limit(limit))
        return standing.now(tx, [Run(*row) for row in found])

    def json(self, tx: Transaction, run: Run) -> dict[str, Any]:
        """Everything about one job, as data."""
        children, run = runs.children(tx, run.session_id), standing.of(tx, run)
        return job_json(
            run,
            tx.now,
            reason=self.reason(tx, run),
            children=[each.number for each in children],
            after=[each.number for each in jobs.dependencies(tx, run.id)],
        )

    def report(self, tx: Transaction, run: Run) -> str:
        """One job as a person reads it; a parent with its children."""
        run, *children = standing.now(tx, [run, *runs.children(tx, run.session_id)])
        reason = self.reason(tx, run)
        whole = texts.report(run, children, reason, tx.now)
        return f"{whole}\n\n{texts.batch(run, children[:BATCH_MOST], None, tx.now)}" if children else whole

    def reason(self, tx: Transaction, run: Run) -> str | None:
        """Why it isn't running."""
        return waiting_reason(tx, standing.of(tx, run), self.registry.gateway.lanes)

    def log(self, tx: Transaction, run: Run, *, after: int = 0, limit: int = LOG_MOST) -> list[dict[str, Any]]:
        """A job's log or transcript, from a seq on."""
        if sessions.find(tx, run.session_id) is None:
            return []
        return [message_json(each) for each in transcript.page(tx, run.session_id, limit=limit, after=after)]

    def inbox(self, tx: Transaction, run: Run, *, after: int = 0, limit: int = LOG_MOST) -> list[dict[str, Any]]:
        """A job's inbox from an id on, each message with its receipt: when it was read, and where it stands in the log
        (spec/jobs.md 22)."""
        return [letter_json(each) for each in inbox.page(tx, run.session_id, after=after, limit=limit)]

    # ---- steering ----

    def send(self, tx: Transaction, owner: Owner, run: Run, text: str, dedupe: str) -> inbox.Row:
        """Puts a message into a job's inbox. Its sender is the caller, whoever he says he is (spec/jobs.md 21).

        Raises:
            JobRefused: he may not, the job has ended, or the message is empty.
        """
        if not text.strip():
            raise JobRefused("the message is empty", field="payload")
        sessions.hold(tx, run.session_id)
        run = runs.find(tx, run.id) or run
        if not run.open:
            raise JobRefused(f"job #{run.number} has ended ({run.outcome}); a replay runs it again", field="id")
        if not (owner.operator or self._may_send(tx, owner, run)):
            raise JobRefused(
                "only its parent, the conversation that asked for it or an operator may write to a job",
                status="permission_denied",
            )
        session = sessions.get(tx, run.session_id)
        row, _ = inbox.put(tx, session.id, "steer", f"{dedupe}:steer", text, sender=owner.name, run_id=run.id)
        gateway = self.registry.gateway
        gateway.lanes.poke(tx, session.id)
        if session.kind != "job":
            gateway.lifecycle.enqueue(tx, run)
        gateway.lifecycle.tell(tx, run.id, "steered")
        return row

    def stop(self, tx: Transaction, run: Run, why: str) -> int:
        """Stops a job and all below it; returns how many were open."""
        return self.registry.gateway.lifecycle.stop(tx, run, why)

    def pause(self, tx: Transaction, run: Run) -> int:
        """Freezes a job and all below it; returns how many."""
        return len(self.registry.gateway.lifecycle.pause(tx, run))

    def resume(self, tx: Transaction, run: Run) -> int:
        """Lets a job and all below it go on; returns how many."""
        return len(self.registry.gateway.lifecycle.resume(tx, run))

    def retry(self, tx: Transaction, run: Run) -> Run:
        """Opens a job again that has ended without success, with fresh counters (spec/jobs.md 25).

        Raises:
            JobRefused: it hasn't ended, or ended well.
        """
        run = self._held(tx, run)
        if run.open:
            raise JobRefused(f"job #{run.number} is still {texts.state_word(run)}", field="id")
        if run.outcome is Outcome.OK:
            raise JobRefused(f"job #{run.number} has ended well; a replay runs it again as a new job", field="id")
        return self._replayer.reopen(tx, run)

    def replay(
        self, tx: Transaction, owner: Owner, run: Run, overrides: dict[str, Any], *, from_turn: int | None = None
    ) -> Run:
        """Makes a new job with everything that one was given, changed as asked.

        Raises:
            JobRefused: as for a submission.
        """
        return self._replayer.replay(tx, owner, run, overrides, from_turn=from_turn)

    def change(self, tx: Transaction, run: Run, name: str, *, by: str) -> tuple[str, int]:
        """Stops, pauses, resumes or retries a job; returns a sentence and how many jobs were changed.

        Raises:
            JobRefused: as for `retry`.
        """
        if name == "retry":
            self.retry(tx, run)
            return f"🔁 Job #{run.number} runs again.", 1
        if name == "stop":
            number = self.stop(tx, run, f"stopped by {by}")
        else:
            number = self.pause(tx, run) if name == "pause" else self.resume(tx, run)
        return texts.changed(run, name, number), number

    def message_text(self, payload: str | dict[str, Any]) -> str:
        """A message as its reader gets it: a directive is a sentence, everything else JSON."""
        if isinstance(payload, str):
            return payload
        directive = payload.get("directive")
        if isinstance(directive, str) and len(payload) == 1:
            return directive
        return json.dumps(payload, ensure_ascii=False)

    def stats(self, tx: Transaction) -> dict[str, Any]:
        """How the kinds stand, and what is stuck."""
        return stats(tx, self.registry.gateway.lanes)

    # ---- deleting ----

    def delete(self, tx: Transaction, found: Sequence[Run]) -> int:
        """Deletes jobs that have ended, with all that is kept of them; returns how many.

        Raises:
            JobRefused: one hasn't ended, or is needed by one that hasn't.
        """
        found = [self._held(tx, run) for run in found]
        for run in found:
            if (why := pruning.kept_by(tx, run)) is not None:
                raise JobRefused(f"job #{run.number} {why}", field="id")
        for run in found:
            pruning.remove(tx, run)
        return len(found)

    def prunable(self, tx: Transaction, older_than_ms: int, kind: str | None = None, limit: int = 1000) -> list[Run]:
        """Ended jobs that are older and that no open one needs."""
        return pruning.ended_before(tx, tx.now - older_than_ms, kind, limit)

    def _held(self, tx: Transaction, run: Run) -> Run:
        """A job with its parent, held: neither ends, nor is opened again, until this unit is done."""
        sessions.hold_all(tx, [run.requester_id, run.session_id])
        return runs.find(tx, run.id) or run

    def _may_send(self, tx: Transaction, owner: Owner, run: Run) -> bool:
        if owner.session is None:
            return find.visible(tx, owner, run)  # what he has submitted himself, or is below that
        asked = {run.requester_id, *(each.requester_id for each in runs.ancestors(tx, run))}
        return bool(asked & set(sessions.same_conversation(tx, owner.session)))
