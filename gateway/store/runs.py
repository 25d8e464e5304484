"""Runs: the record of one sub-agent's (later: any job's) life.

Usage stands twice: a run's own, and `below_…`, the sum over all runs under it, whatever their outcome. Both are
written in the transaction that stores the model's answer, so that they are right at any moment and survive archiving
(spec/subagents.md 29).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    Boolean,
    ColumnElement,
    bindparam,
    exists,
    func,
    insert,
    literal_column,
    or_,
    select,
    update,
)

from gateway.agent.messages import Usage
from gateway.store import phases, rows
from gateway.store.database import Transaction
from gateway.store.schema import run_after, runs
from gateway.telemetry import context


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
    number: int
    """A short id, for people."""
    kind: str
    lane: str
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
    mode: str
    """`run`, or `session`: its session goes on in its own thread after the run."""
    timeout_ms: int
    """0: none."""
    budget_micro: int | None
    budget_tokens: int | None
    output_schema: dict[str, Any] | None
    denied_tools: list[str] | None
    allowed_tools: list[str] | None
    """Only these tools, of those that it would have; None: all of them."""
    definition: str | None
    """Name of the sub-agent definition that it was made from."""
    max_turns: int | None
    """Model calls in one turn; None: the agent's."""
    schema_failures: int
    payload: dict[str, Any] | None
    """What a job is given; a sub-agent has its task."""
    submitted_by: str | None
    """Who has submitted it, if not a conversation's turn: as the caller was authenticated."""
    idempotency_key: str | None
    attempt: int
    """Which attempt it is in; 1 is the first."""
    max_attempts: int
    backoff: str
    """`fixed` or `exponential`"""
    backoff_ms: int
    backoff_jitter: int
    """Share of the wait that is left to chance, in thousandths."""
    backoff_most_ms: int
    """Ceiling of the wait; 0: none."""
    on_child_fail: str
    """What its own failure means for its parent: `fail_parent`, `continue`, `remove_dep` or `ignore`."""
    max_children: int | None
    not_before: int | None
    """Milliseconds: it isn't started before."""
    remaining_ms: int | None
    """What was left of its delay when it was paused."""
    reopened: int
    """How often it has been opened again after its end."""
    status: Status
    outcome: Outcome | None
    cause: str | None
    """A machine-readable reason beside the outcome: `unknown`, `poison`, `max_turns`, …"""
    error: str | None
    result: str | None
    output: Any
    """What a job has returned, as JSON."""
    state: dict[str, Any] | None
    """What a job's handler has kept for its next activation."""
    paused: bool
    active_ms: int
    waiting_since: int | None
    deadline_at: int | None
    progress: str | None
    step: int | None
    steps: int | None
    """Of how many steps."""
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
    replay_of: str | None
    trace: str | None
    """The span of its creation, below which all that it does is traced (`telemetry/context.py`)."""
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


@dataclass(frozen=True, slots=True)
class Seen:
    """What somebody who ends a run has read of it in the same unit, since he holds its session."""

    run: Run
    fence: int | None = None
    """His own, if he hasn't asked yet whether the session is still his."""
    followed: bool = True
    """There may be jobs that come after it."""
    more_ms: int = 0
    """Active time that isn't booked yet."""


_COLUMNS = rows.columns(runs, Run)
_ALL = select(*_COLUMNS)
_OPEN = runs.c.status != Status.DONE
_IS_IT = runs.c.id == bindparam("of_run")
_ASKED_FOR = runs.c.requester_id == bindparam("of_requester")
_FIND = _ALL.where(_IS_IT)
_OTHERS = runs.alias("others")
_NUMBER = select(func.coalesce(func.max(_OTHERS.c.number), 0) + 1).scalar_subquery()
_CREATE = {
    "sqlite": insert(runs).values(number=_NUMBER).returning(*_COLUMNS),
    "postgresql": insert(runs).values(number=func.nextval("run_numbers")).returning(*_COLUMNS),
}
"""Where several units create runs at once, their numbers come from a sequence, which may leave some out."""
_CHANGE = update(runs).where(_IS_IT)
_CHANGED = _CHANGE.returning(*_COLUMNS)
_ENTER = _CHANGE.values(phases=phases.appended("phase"))
_ENTERED = _ENTER.returning(*_COLUMNS)
_TICK = _CHANGE.values(active_ms=runs.c.active_ms + bindparam("more_ms")).returning(*_COLUMNS)
_OF_SESSION = _ALL.where(runs.c.session_id == bindparam("of_session")).order_by(runs.c.created_at.desc())
_CHILDREN = _ALL.where(_ASKED_FOR).order_by(runs.c.number)
_COUNT_OPEN = select(func.count()).where(_ASKED_FOR, _OPEN)
# By name instead of `<> 'done'`, so that the index is asked for these few and not read along all that are done.
_OPEN_NAMES: list[ColumnElement[Any]] = [
    literal_column(f"'{status}'") for status in Status if status is not Status.DONE
]
_ANY_OPEN = select(runs.c.id).where(_ASKED_FOR, runs.c.status.in_(_OPEN_NAMES)).limit(1)
_AT_END = select(
    *_COLUMNS,
    exists().where(_OTHERS.c.requester_id == runs.c.session_id, _OTHERS.c.status.in_(_OPEN_NAMES)),
    exists().where(run_after.c.after_id == runs.c.id),
).where(_IS_IT)
_COUNT_ALL = select(func.count()).where(_ASKED_FOR)
_ADD_OWN = _CHANGE.values(
    tokens_in=runs.c.tokens_in + bindparam("more_in"),
    tokens_out=runs.c.tokens_out + bindparam("more_out"),
    cache_read=runs.c.cache_read + bindparam("more_cached"),
    cost_micro=runs.c.cost_micro + bindparam("more_micro"),
    cost_unknown=runs.c.cost_unknown | bindparam("unpriced", type_=Boolean),
    model_calls=runs.c.model_calls + 1,
)
_ADD_BELOW = _CHANGE.values(
    below_tokens_in=runs.c.below_tokens_in + bindparam("more_in"),
    below_tokens_out=runs.c.below_tokens_out + bindparam("more_out"),
    below_cache_read=runs.c.below_cache_read + bindparam("more_cached"),
    below_cost_micro=runs.c.below_cost_micro + bindparam("more_micro"),
    cost_unknown=runs.c.cost_unknown | bindparam("unpriced", type_=Boolean),
)
_OF_KIND = runs.c.kind == bindparam("of_kind")
_LANE_LOAD = select(
    select(func.count()).where(_OF_KIND, runs.c.status == Status.RUNNING).scalar_subquery().label("running"),
    select(func.count())
    .where(
        _OF_KIND,
        runs.c.status == Status.QUEUED,
        runs.c.id != bindparam("of_run"),
        runs.c.created_at <= bindparam("since"),
    )
    .scalar_subquery()
    .label("ahead"),
)


def find(tx: Transaction, run_id: str) -> Run | None:
    """The run with this id."""
    row = tx.execute(_FIND, {"of_run": run_id}).first()
    return Run(*row) if row else None


def at_end(tx: Transaction, run_id: str) -> tuple[Run, bool, bool]:
    """A run, which must exist; whether one that its session has asked for hasn't ended; whether jobs come after it."""
    *own, waits, followed = tuple(tx.execute(_AT_END, {"of_run": run_id}).one())
    return Run(*own), waits, followed


def create(tx: Transaction, **fields: Any) -> Run:
    """Inserts a run and returns it. What is created in one unit has one time (`jobs.submitted_with`)."""
    begun = {"created_at": tx.began, "phases": phases.entered(fields, tx.now), "trace": context.child_of(tx.trace)}
    return Run(*tx.execute(_CREATE[tx.dialect], {**begun, **fields}).one())


def change(tx: Transaction, run_id: str, **fields: Any) -> None:
    """Sets columns of a run; a status begins a phase."""
    if "status" in fields:
        tx.execute(_ENTER, {"of_run": run_id, "phase": phases.entered(fields, tx.now), **fields})
    else:
        tx.execute(_CHANGE, {"of_run": run_id, **fields})


def changed(tx: Transaction, run_id: str, **fields: Any) -> Run:
    """Sets columns of a run, which must exist, and returns it as it is then."""
    phase = {"phase": phases.entered(fields, tx.now)} if "status" in fields else {}
    row = tx.execute(_ENTERED if phase else _CHANGED, {"of_run": run_id, **phase, **fields}).first()
    if row is None:
        raise LookupError(f"run {run_id} doesn't exist")
    return Run(*row)


def tick(tx: Transaction, run_id: str, more_ms: int) -> Run | None:
    """Adds active time (milliseconds) to a run and returns it."""
    row = tx.execute(_TICK, {"of_run": run_id, "more_ms": more_ms}).first()
    return Run(*row) if row else None


def of_session(tx: Transaction, session_id: str) -> list[Run]:
    """The runs that lived in a session, the newest first."""
    return _all(tx, _OF_SESSION, of_session=session_id)


def children(tx: Transaction, requester_id: str, *, open_only: bool = False) -> list[Run]:
    """Runs that a session asked for, in the order of their creation."""
    return _all(tx, _CHILDREN.where(_OPEN) if open_only else _CHILDREN, of_requester=requester_id)


def count_open(tx: Transaction, requester_id: str) -> int:
    """How many runs of a session haven't ended."""
    return int(tx.execute(_COUNT_OPEN, {"of_requester": requester_id}).scalar_one())


def any_open(tx: Transaction, requester_id: str) -> bool:
    """Whether a run of a session hasn't ended."""
    return tx.execute(_ANY_OPEN, {"of_requester": requester_id}).first() is not None


def count_all(tx: Transaction, requester_id: str) -> int:
    """How many runs a session has ever asked for."""
    return int(tx.execute(_COUNT_ALL, {"of_requester": requester_id}).scalar_one())


def below(tx: Transaction, session_ids: list[str], *, open_only: bool = False) -> list[Run]:
    """Every run under these sessions, at any depth, parents before their children."""
    tree = select(runs.c.id, runs.c.session_id).where(runs.c.requester_id.in_(session_ids))
    cte = tree.cte("tree", recursive=True)
    cte = cte.union(select(runs.c.id, runs.c.session_id).where(runs.c.requester_id == cte.c.session_id))
    statement = _ALL.where(runs.c.id.in_(select(cte.c.id)))
    if open_only:
        statement = statement.where(_OPEN)
    return _all(tx, statement.order_by(runs.c.depth, runs.c.number))


def ancestors(tx: Transaction, run: Run) -> list[Run]:
    """The runs above a run, the nearest first."""
    found: list[Run] = []
    parent = run.parent_run_id
    while parent and (above := find(tx, parent)):
        found.append(above)
        parent = above.parent_run_id
    return found


def hold_chain(tx: Transaction, run_id: str | None) -> None:
    """Holds a run and all above it, the uppermost first, as everybody does who counts on several of them."""
    if tx.alone:
        return
    chain: list[str] = []
    while run_id is not None:
        chain.append(run_id)
        run_id = tx.execute(select(runs.c.parent_run_id).where(runs.c.id == run_id)).scalar()
    tx.lock(runs, *chain)


def more_used(usage: Usage) -> dict[str, int | bool]:
    """What a call's usage adds to the counters of a run or a session, as the parameters of their updates."""
    return {
        "more_in": usage.input,
        "more_out": usage.output,
        "more_cached": usage.cache_read,
        "more_micro": usage.cost_micro or 0,
        "unpriced": usage.cost_micro is None,
    }


def add_usage(tx: Transaction, run: Run, usage: Usage) -> None:
    """Adds one model call's usage to a run and, as `below`, to every run above it."""
    more = more_used(usage)
    tx.execute(_ADD_OWN, {"of_run": run.id, **more})
    for above in ancestors(tx, run):
        tx.execute(_ADD_BELOW, {"of_run": above.id, **more})


def matching(tx: Transaction, prefix: str, limit: int = 10) -> list[Run]:
    """Runs whose id starts with `prefix`, the newest first."""
    return _all(
        tx,
        _ALL.where(runs.c.id.startswith(prefix, autoescape=True)).order_by(runs.c.created_at.desc()).limit(limit),
    )


def page(
    tx: Transaction,
    *,
    status: ColumnElement[bool] | None = None,
    outcome: str | None = None,
    session_ids: list[str] | None = None,
    agent_id: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> list[Run]:
    """Runs, the newest first.

    Args:
        tx: the unit of work.
        status: only those that stand so (`standing.has`).
        outcome: only with this outcome.
        session_ids: only those asked for by, or living in, one of these sessions.
        agent_id: only of this agent.
        before: (created_at, id) of the last run of the page before.
        limit: how many at most.
    """
    statement = _ALL
    if status is not None:
        statement = statement.where(status)
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
    return int(tx.execute(select(func.count()).where(_OPEN)).scalar_one())


def lane_load(tx: Transaction, run: Run) -> tuple[int, int]:
    """How many runs of a kind are running, and how many that have never started are ahead of this one."""
    found = tx.execute(_LANE_LOAD, {"of_kind": run.kind, "of_run": run.id, "since": run.created_at}).one()
    return int(found.running), int(found.ahead)


def due(tx: Transaction, column: str) -> list[Run]:
    """Runs whose `archive_at` or `deadline_at` has come."""
    moment = runs.c[column]
    statement = _ALL.where(moment.is_not(None), moment <= tx.now)
    if column == "deadline_at":
        statement = statement.where(runs.c.status == Status.WAITING)
    return _all(tx, statement.order_by(moment).limit(100))


def next_due(tx: Transaction, column: str) -> int | None:
    """The earliest `archive_at` or `deadline_at` there is."""
    return tx.execute(select(func.min(runs.c[column]))).scalar()


def _all(tx: Transaction, statement: Any, **parameters: Any) -> list[Run]:
    return [Run(*row) for row in tx.execute(statement, parameters)]
