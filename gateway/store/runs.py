"""Runs: the record of one sub-agent's (later: any job's) life.

Usage stands twice: a run's own, and `below_…`, the sum over all runs under it, whatever their outcome. Both are
written in the transaction that stores the model's answer, so that they are right at any moment and survive archiving
(spec/subagents.md 29).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import func, insert, or_, select, update

from gateway.agent.messages import Usage
from gateway.store.database import Transaction
from gateway.store.schema import runs


class Status(StrEnum):
    """Where a run is in its life."""

    QUEUED = "queued"
    """Accepted; its session waits for a slot of its lane."""
    DELAYED = "delayed"
    """Accepted, not due yet."""
    RUNNING = "running"
    """Its session is being worked on."""
    WAITING = "waiting"
    """Has nothing to do until its children have settled; holds no slot."""
    PAUSED = "paused"
    """Frozen by a person; goes on with `resume`."""
    DONE = "done"
    """Ended; `outcome` says how."""


class Outcome(StrEnum):
    """How a run ended."""

    OK = "ok"
    """It finished by itself."""
    ERROR = "error"
    """It failed; `error` says why."""
    TIMEOUT = "timeout"
    """It used up its `runTimeoutSeconds`."""
    STOPPED = "stopped"
    """A person or its requester stopped it."""
    BUDGET = "budget"
    """What was left of its budget was too little for another model call."""
    DEAD = "dead"
    """All its attempts failed."""


@dataclass(frozen=True, slots=True)
class Run:
    """One row of `runs`."""

    id: str
    kind: str
    session_id: str
    session_key: str
    requester_id: str
    requester_key: str
    parent_run_id: str | None
    route: str | None
    """Where the message came from that led to it; its announcement is answered there."""
    agent_id: str
    label: str
    task: str
    depth: int
    priority: int
    model: str
    fallbacks: list[str] | None
    thinking: str | None
    cleanup: str
    context: str
    timeout_ms: int
    """0: none."""
    budget_micro: int | None
    budget_tokens: int | None
    output_schema: dict[str, Any] | None
    denied_tools: list[str] | None
    schema_failures: int
    status: Status
    outcome: Outcome | None
    cause: str | None
    """A machine-readable reason beside the outcome: `unknown`, `poison`, `max_turns`, …"""
    error: str | None
    result: str | None
    paused: bool
    active_ms: int
    waiting_since: int | None
    deadline_at: int | None
    progress: str | None
    last_tool: str | None
    model_calls: int
    tokens_in: int
    tokens_out: int
    cache_read: int
    cost_micro: int
    cost_unknown: bool
    below_tokens_in: int
    below_tokens_out: int
    below_cache_read: int
    below_cost_micro: int
    reserved_tokens: int
    reserved_micro: int
    revived_from: str | None
    retry_of: str | None
    created_at: int
    started_at: int | None
    ended_at: int | None
    announced_at: int | None
    archive_at: int | None
    archived_at: int | None
    transcript_path: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "status", Status(self.status))
        object.__setattr__(self, "outcome", Outcome(self.outcome) if self.outcome else None)

    @property
    def open(self) -> bool:
        """It hasn't ended."""
        return self.status is not Status.DONE

    @property
    def total(self) -> Usage:
        """Tokens and cost with those of all runs below; the cost is None where a price is unknown."""
        return Usage(
            input=self.tokens_in + self.below_tokens_in,
            output=self.tokens_out + self.below_tokens_out,
            cache_read=self.cache_read + self.below_cache_read,
            cost_micro=None if self.cost_unknown else self.cost_micro + self.below_cost_micro,
        )


def find(tx: Transaction, run_id: str) -> Run | None:
    """The run with this id."""
    found = _all(tx, select(runs).where(runs.c.id == run_id))
    return found[0] if found else None


def create(tx: Transaction, **fields: Any) -> Run:
    """Inserts a run and returns it."""
    tx.execute(insert(runs).values(created_at=tx.now, **fields))
    run = find(tx, fields["id"])
    if run is None:
        raise AssertionError("a row that was just inserted")
    return run


def change(tx: Transaction, run_id: str, **fields: Any) -> None:
    """Sets columns of a run."""
    tx.execute(update(runs).where(runs.c.id == run_id).values(**fields))


def of_session(tx: Transaction, session_id: str) -> list[Run]:
    """The runs that lived in a session, the newest first."""
    return _all(tx, select(runs).where(runs.c.session_id == session_id).order_by(runs.c.created_at.desc()))


def children(tx: Transaction, requester_id: str, *, open_only: bool = False) -> list[Run]:
    """Runs that a session asked for, in the order of their creation."""
    statement = select(runs).where(runs.c.requester_id == requester_id)
    if open_only:
        statement = statement.where(runs.c.status != Status.DONE)
    return _all(tx, statement.order_by(runs.c.created_at, runs.c.id))


def count_open(tx: Transaction, requester_id: str) -> int:
    """How many runs of a session haven't ended."""
    return int(
        tx.execute(
            select(func.count()).where(runs.c.requester_id == requester_id, runs.c.status != Status.DONE)
        ).scalar_one()
    )


def below(tx: Transaction, session_ids: list[str], *, open_only: bool = False) -> list[Run]:
    """Every run under these sessions, at any depth, parents before their children."""
    tree = select(runs.c.id, runs.c.session_id).where(runs.c.requester_id.in_(session_ids))
    cte = tree.cte("tree", recursive=True)
    cte = cte.union(select(runs.c.id, runs.c.session_id).where(runs.c.requester_id == cte.c.session_id))
    statement = select(runs).where(runs.c.id.in_(select(cte.c.id)))
    if open_only:
        statement = statement.where(runs.c.status != Status.DONE)
    return _all(tx, statement.order_by(runs.c.depth, runs.c.created_at, runs.c.id))


def ancestors(tx: Transaction, run: Run) -> list[Run]:
    """The runs above a run, the nearest first."""
    found: list[Run] = []
    parent = run.parent_run_id
    while parent and (above := find(tx, parent)):
        found.append(above)
        parent = above.parent_run_id
    return found


def add_usage(tx: Transaction, run: Run, usage: Usage) -> None:
    """Adds one model call's usage to a run and, as `below`, to every run above it."""
    cost = usage.cost_micro or 0
    tx.execute(
        update(runs)
        .where(runs.c.id == run.id)
        .values(
            tokens_in=runs.c.tokens_in + usage.input,
            tokens_out=runs.c.tokens_out + usage.output,
            cache_read=runs.c.cache_read + usage.cache_read,
            cost_micro=runs.c.cost_micro + cost,
            cost_unknown=runs.c.cost_unknown | (usage.cost_micro is None),
            model_calls=runs.c.model_calls + 1,
        )
    )
    for above in ancestors(tx, run):
        tx.execute(
            update(runs)
            .where(runs.c.id == above.id)
            .values(
                below_tokens_in=runs.c.below_tokens_in + usage.input,
                below_tokens_out=runs.c.below_tokens_out + usage.output,
                below_cache_read=runs.c.below_cache_read + usage.cache_read,
                below_cost_micro=runs.c.below_cost_micro + cost,
                cost_unknown=runs.c.cost_unknown | (usage.cost_micro is None),
            )
        )


def matching(tx: Transaction, prefix: str, limit: int = 10) -> list[Run]:
    """Runs whose id starts with `prefix`, the newest first."""
    return _all(
        tx,
        select(runs)
        .where(runs.c.id.startswith(prefix, autoescape=True))
        .order_by(runs.c.created_at.desc())
        .limit(limit),
    )


def page(
    tx: Transaction,
    *,
    status: str | None = None,
    outcome: str | None = None,
    session_ids: list[str] | None = None,
    agent_id: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> list[Run]:
    """Runs, the newest first.

    Args:
        tx: the unit of work.
        status: only with this status; `open` for all that haven't ended.
        outcome: only with this outcome.
        session_ids: only those asked for by, or living in, one of these sessions.
        agent_id: only of this agent.
        before: (created_at, id) of the last run of the page before.
        limit: how many at most.
    """
    statement = select(runs)
    if status == "open":
        statement = statement.where(runs.c.status != Status.DONE)
    elif status:
        statement = statement.where(runs.c.status == status)
    if outcome:
        statement = statement.where(runs.c.outcome == outcome)
    if session_ids is not None:
        statement = statement.where(or_(runs.c.requester_id.in_(session_ids), runs.c.session_id.in_(session_ids)))
    if agent_id:
        statement = statement.where(runs.c.agent_id == agent_id)
    if before:
        created, run_id = before
        statement = statement.where(
            or_(runs.c.created_at < created, (runs.c.created_at == created) & (runs.c.id < run_id))
        )
    return _all(tx, statement.order_by(runs.c.created_at.desc(), runs.c.id.desc()).limit(limit))


def open_count(tx: Transaction) -> int:
    """How many runs haven't ended."""
    return int(tx.execute(select(func.count()).where(runs.c.status != Status.DONE)).scalar_one())


def lane_load(tx: Transaction, run: Run) -> tuple[int, int]:
    """How many runs of a kind are running, and how many that have never started are ahead of this one."""
    running = tx.execute(
        select(func.count()).where(runs.c.kind == run.kind, runs.c.status == Status.RUNNING)
    ).scalar_one()
    ahead = tx.execute(
        select(func.count()).where(
            runs.c.kind == run.kind,
            runs.c.status == Status.QUEUED,
            runs.c.id != run.id,
            runs.c.created_at <= run.created_at,
        )
    ).scalar_one()
    return int(running), int(ahead)


def due(tx: Transaction, column: str) -> list[Run]:
    """Runs whose `archive_at` or `deadline_at` has come."""
    moment = runs.c[column]
    statement = select(runs).where(moment.is_not(None), moment <= tx.now)
    if column == "deadline_at":
        statement = statement.where(runs.c.status == Status.WAITING)
    return _all(tx, statement.order_by(moment).limit(100))


def next_due(tx: Transaction, column: str) -> int | None:
    """The earliest `archive_at` or `deadline_at` there is."""
    return tx.execute(select(func.min(runs.c[column]))).scalar()


def _all(tx: Transaction, statement: Any) -> list[Run]:
    return [Run(**row._mapping) for row in tx.execute(statement)]  # pyright: ignore[reportPrivateUsage]
