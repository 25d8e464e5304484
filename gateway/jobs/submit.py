"""Submitting jobs: check → create, in one transaction (spec/jobs.md 1–8).

A refused submission leaves nothing. A job comes with its children or not at all: no worker ever sees a part of a
fan-out.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from gateway.jobs import find, tree
from gateway.jobs.kinds import JobKind
from gateway.jobs.owner import JobRefused, Owner
from gateway.jobs.submission import Submission
from gateway.plugins import Registry
from gateway.store import jobs, runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.schema import sessions as sessions_table
from gateway.store.sessions import Session
from gateway.views import LABEL_CHARS, capped

MOST_AT_ONCE = 10_000
"""Jobs in one submission, children included."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """What became of a submission."""

    run: Run
    coalesced: bool = False
    """It was there already, under the same idempotency key."""


class DryRun(Exception):
    """Ends a unit of work after all its checks, so that nothing of it stays."""

    def __init__(self, submitted: Submitted) -> None:
        super().__init__("dry run")
        self.submitted = submitted


class Submitter:
    """Creates jobs. Its methods are units of work."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def submit(self, tx: Transaction, submission: Submission, owner: Owner, *, dry_run: bool = False) -> Submitted:
        """Checks and creates a job with its children.

        Raises:
            JobRefused: with the field and what would be allowed.
            DryRun: where only the checks were wanted.
        """
        if _size(submission) > MOST_AT_ONCE:
            raise JobRefused(f"at most {MOST_AT_ONCE} jobs can be submitted at once", field="children")
        parent = _named(tx, owner, submission.parent, "parent") if submission.parent else None
        submitted = self._submit(tx, submission, owner, parent)
        if dry_run:
            raise DryRun(submitted)
        return submitted

    def child(self, tx: Transaction, submission: Submission, parent: Run, owner: Owner) -> Run:
        """Creates a job below one, for its handler; under one idempotency key it creates one."""
        submitted = self._submit(tx, submission, owner, parent)
        if submitted.run.parent_run_id != parent.id:
            raise JobRefused(f"job #{submitted.run.number} under this key has another parent", field="idempotencyKey")
        return submitted.run

    def _submit(self, tx: Transaction, submission: Submission, owner: Owner, parent: Run | None) -> Submitted:
        kind = self._kind(submission, owner)
        payload = self._payload(kind, submission)
        known = _known(tx, submission, owner)
        if known is not None:
            self._check_same(tx, known, submission, owner)
            return Submitted(known, coalesced=True)
        return Submitted(self._create(tx, kind, submission, payload, owner, parent))

    def _payload(self, kind: JobKind, submission: Submission) -> Any:
        payload = _payload(kind, submission)
        if (fault := kind.check(self._registry.gateway.config, payload)) is not None:
            raise JobRefused(fault, field="data")
        return payload

    # ---- checks ----

    def _kind(self, submission: Submission, owner: Owner) -> JobKind:
        kinds = self._registry.job_kinds
        kind = kinds.get(submission.name)
        if kind is None:
            known = ", ".join(sorted(kinds))
            raise JobRefused(
                f"there is no kind of job `{capped(submission.name, 60)}`; there are: {known}", field="name"
            )
        if kind.protected and (owner.guarded or not owner.operator):
            how = "only an operator may submit `{0}` jobs (laneway jobs submit, or an operator's token)"
            if owner.guarded:
                how = "`{0}` jobs can't be submitted over MCP, where a model asks; an operator may: laneway jobs submit"
            raise JobRefused(how.format(kind.name), field="name", status="permission_denied")
        if (why := kind.unavailable(self._registry.gateway.config)) is not None:
            raise JobRefused(why, field="name")
        return kind

    def _check_queue(self, submission: Submission) -> None:
        if submission.queue is not None and submission.queue not in self._registry.lanes:
            known = ", ".join(sorted(self._registry.lanes))
            raise JobRefused(f"there is no queue `{capped(submission.queue, 60)}`; there are: {known}", field="queue")

    def _check_parent(self, tx: Transaction, parent: Run) -> None:
        """A finished parent takes no child, and none takes more than its cap (spec/jobs.md 4, 5)."""
        tx.lock(sessions_table, parent.session_id)
        parent = runs.find(tx, parent.id) or parent
        if not parent.open:
            raise JobRefused(
                f"job #{parent.number} has ended ({parent.outcome}); a finished job takes no children", field="parent"
            )
        deepest = self._registry.gateway.config.jobs.max_depth
        if parent.depth + 1 > deepest:
            raise JobRefused(
                f"jobs can't nest any deeper: depth {parent.depth + 1}, max {deepest} (jobs.maxDepth)", field="parent"
            )
        if parent.max_children is not None:
            there = runs.count_all(tx, parent.session_id)
            if there >= parent.max_children:
                raise JobRefused(
                    f"job #{parent.number} has {there}/{parent.max_children} children (its maxChildren)", field="parent"
                )

    def _after(self, tx: Transaction, submission: Submission, owner: Owner, parent: Run | None) -> list[Run]:
        """The jobs that a new one waits for; unknown ones and cycles are refused (spec/jobs.md 7)."""
        after = [_named(tx, owner, word, "after") for word in submission.after]
        sessions.hold_all(tx, [each.session_id for each in after])  # one that ends now knows of this one, or has ended
        for other in after:
            if parent is not None and tree.waits_for(tx, other, parent):
                raise JobRefused(
                    f"job #{other.number} waits for job #{parent.number}, which would wait for this one: a cycle",
                    field="after",
                )
        return list({each.id: each for each in after}.values())

    def _check_same(self, tx: Transaction, known: Run, submission: Submission, owner: Owner) -> None:
        """The same key with another name, payload or children is an error (spec/jobs.md 3)."""
        given = kept(self._payload(self._kind(submission, owner), submission))
        children = jobs.submitted_with(tx, known)
        same = known.kind == submission.name and without_nulls(known.payload or {}) == without_nulls(given)
        if not same or len(children) != len(submission.children):
            raise JobRefused(
                f"job #{known.number} was submitted under this key with another name or other data",
                field="idempotencyKey",
            )
        for child, wanted in zip(children, submission.children, strict=True):
            self._check_same(tx, child, wanted, owner)

    # ---- creation ----

    def _create(
        self,
        tx: Transaction,
        kind: JobKind,
        submission: Submission,
        payload: Any,
        owner: Owner,
        parent: Run | None,
    ) -> Run:
        if parent is not None:
            self._check_parent(tx, parent)
        if submission.children and submission.delay_ms:
            raise JobRefused(
                "`delayMs`: a job with children begins when they have settled; delay them instead", field="delayMs"
            )
        self._check_queue(submission)
        after = self._after(tx, submission, owner, parent)
        if kind.create is not None:
            run = kind.create(tx, submission, payload, _below(tx, owner, parent))
        else:
            run = self._create_plain(tx, kind, submission, payload, owner, parent)
        jobs.add_dependencies(tx, run.id, (each.id for each in after))
        self._create_children(tx, submission, owner, run)
        return self._release(tx, run, submission, after)

    def _create_plain(
        self,
        tx: Transaction,
        kind: JobKind,
        submission: Submission,
        payload: Any,
        owner: Owner,
        parent: Run | None,
    ) -> Run:
        above = sessions.find(tx, parent.session_id) if parent else owner.session
        run_id = str(uuid.uuid4())
        owned = above.owned if above else owner.operator
        session = self._session(tx, kind, submission, above, run_id, owned=owned, person=owner.person)
        label = submission.label or kind.name
        return runs.create(
            tx,
            id=run_id,
            kind=kind.name,
            lane=session.lane,
            session_id=session.id,
            session_key=session.key,
            requester_id=above.id if above else "",
            requester_key=above.key if above else "",
            parent_run_id=parent.id if parent else owner.run.id if owner.run else None,
            route=parent.route if parent else owner.route,
            agent_id=session.agent_id,
            label=capped(label, LABEL_CHARS),
            task=submission.label or kind.name,
            depth=session.depth,
            model="",
            cleanup="keep",
            context="isolated",
            status=Status.QUEUED,
            payload=kept(payload),
            timeout_ms=submission.timeout_ms or kind.timeout_ms,
            **job_fields(submission, owner, kind.max_attempts),
        )

    def _session(
        self,
        tx: Transaction,
        kind: JobKind,
        submission: Submission,
        above: Session | None,
        run_id: str,
        *,
        owned: bool,
        person: str | None,
    ) -> Session:
        agent_id = above.agent_id if above else self._registry.gateway.config.default_agent_id
        return sessions.create(
            tx,
            key=f"agent:{agent_id}:job:{uuid.uuid4()}",
            agent_id=agent_id,
            kind="job",
            lane=submission.queue or kind.lane,
            parent_id=above.id if above else None,
            run_id=run_id,
            depth=above.depth + 1 if above else 1,
            owned=owned,
            person=person,
        )

    def _create_children(self, tx: Transaction, submission: Submission, owner: Owner, run: Run) -> None:
        if not submission.children:
            return
        if run.max_children is not None and len(submission.children) > run.max_children:
            raise JobRefused(f"it has {len(submission.children)} children, and maxChildren is {run.max_children}")
        for each in submission.children:
            if each.parent is not None:
                raise JobRefused("a job in `children` can't name another parent", field="children")
            if (known := _known(tx, each, owner)) is not None:
                text = f"job #{known.number} was submitted under the key of one of the `children`"
                raise JobRefused(text, field="idempotencyKey")
            kind = self._kind(each, owner)
            self._create(tx, kind, each, self._payload(kind, each), owner, run)

    def _release(self, tx: Transaction, run: Run, submission: Submission, after: list[Run]) -> Run:
        """Says where the new job stands, and asks for its activation if it can begin at once."""
        lifecycle = self._registry.gateway.lifecycle
        if submission.children:
            run = lifecycle.wait(tx, run)
        elif submission.delay_ms:
            run = lifecycle.delay(tx, run, tx.now + submission.delay_ms)
        elif after and tree.blocked(tx, run):
            run = lifecycle.hold(tx, run)
        else:
            lifecycle.enqueue(tx, run)
        if run.kind not in self._registry.run_kinds:
            lifecycle.told(tx, run, "created")
        return run


def job_fields(submission: Submission, owner: Owner, max_attempts: int) -> dict[str, Any]:
    """The columns that every kind of job takes from its submission."""
    return {
        "submitted_by": owner.name,
        "priority": submission.priority,
        "idempotency_key": _key(submission, owner),
        "max_attempts": submission.max_attempts or max_attempts,
        "backoff": submission.backoff.type,
        "backoff_ms": submission.backoff.delay_ms,
        "backoff_jitter": round(submission.backoff.jitter * 1000),
        "backoff_most_ms": submission.backoff.max_ms,
        "on_child_fail": submission.on_child_fail,
        "max_children": submission.max_children,
    }


def _below(tx: Transaction, owner: Owner, parent: Run | None) -> Owner:
    """The caller as he asks for something that belongs to a parent."""
    if parent is None:
        return owner
    session = sessions.get(tx, parent.session_id)
    return replace(owner, under=(session, parent), route=parent.route)


def _payload(kind: JobKind, submission: Submission) -> Any:
    try:
        return kind.payload.model_validate(submission.data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        field = ".".join(("data", *map(str, first["loc"])))
        if first["type"] == "extra_forbidden":
            known = ", ".join(sorted(each.alias or name for name, each in kind.payload.model_fields.items()))
            raise JobRefused(f"`{field}` is unknown; `{kind.name}` takes: {known}", field=field) from None
        raise JobRefused(f"`{field}`: {first['msg'][:1].lower()}{first['msg'][1:]}", field=field) from None


def kept(payload: Any) -> dict[str, Any]:
    """A payload as it is stored."""
    return payload.model_dump(mode="json", by_alias=True)


def without_nulls(data: dict[str, Any]) -> dict[str, Any]:
    """What is given, without what isn't."""
    return {name: value for name, value in data.items() if value is not None}


def _key(submission: Submission, owner: Owner) -> str | None:
    """The key under which the job is unique."""
    return None if submission.idempotency_key is None else owner.scoped(submission.idempotency_key)


def _known(tx: Transaction, submission: Submission, owner: Owner) -> Run | None:
    key = _key(submission, owner)
    return None if key is None else jobs.by_key(tx, key)


def _named(tx: Transaction, owner: Owner, word: str, field: str) -> Run:
    """A job that a submission names."""
    try:
        return find.job(tx, owner, word)
    except JobRefused as refused:
        raise JobRefused(f"`{field}`: {refused}", field=field, status=refused.status) from None


def _size(submission: Submission) -> int:
    return 1 + sum(_size(each) for each in submission.children)
