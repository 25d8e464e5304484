"""What model calls cost, and what they may cost.

Before a call its estimated input plus `maxTokens` is reserved at list price against the run, the runs above it and
the agent's day, in one transaction; afterwards the reservation gives way to the real usage. Where no answer came (the
process died, the call was cancelled) it stays, because the provider may have charged it (spec/subagents.md,
`budgetUsd`).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Boolean, bindparam, select, update

from gateway.agent.messages import Price, Usage
from gateway.store import runs
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as sessions_table
from gateway.store.schema import spending
from gateway.store.sessions import Session

MIN_REPLY_TOKENS = 16
"""A reply of fewer tokens than this isn't worth its prompt."""


_ADD = (
    update(sessions_table)
    .where(sessions_table.c.id == bindparam("of_session"))
    .values(
        tokens_in=sessions_table.c.tokens_in + bindparam("more_in"),
        tokens_out=sessions_table.c.tokens_out + bindparam("more_out"),
        cache_read=sessions_table.c.cache_read + bindparam("more_cached"),
        cost_micro=sessions_table.c.cost_micro + bindparam("more_micro"),
        cost_unknown=sessions_table.c.cost_unknown | bindparam("unpriced", type_=Boolean),
    )
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a call is measured against."""

    price: Price | None
    tokens_in: int
    """Estimated size of the prompt."""
    max_tokens: int
    """The longest reply that is wanted."""
    agent_day_micro: int | None
    """The agent's budget per UTC day."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """What one call may use up at most."""

    run_ids: tuple[str, ...]
    agent_id: str
    day: str
    tokens: int
    micro: int
    max_tokens: int
    """Of the reply: what fits."""


@dataclass(frozen=True, slots=True)
class Exhausted:
    """Nothing fits any more."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unpriced:
    """A budget in USD watches the call, and the model has no price."""

    budget: str
    """Which one, with its key."""


def unwatched(run: Run | None, agent_day_micro: int | None) -> bool:
    """Whether it is plain without asking the tables that no budget watches a call."""
    above = run is not None and run.parent_run_id is not None
    return agent_day_micro is None and not above and (run is None or not _budgeted(run))


def watched(tx: Transaction, run_id: str | None, agent_day_micro: int | None) -> bool:
    """Whether any budget watches a call."""
    run = runs.find(tx, run_id) if run_id else None
    return agent_day_micro is not None or any(_budgeted(each) for each in _chain(tx, run))


def reserve(
    tx: Transaction, session: Session, run_id: str | None, limits: Limits, before: Reservation | None
) -> Reservation | Exhausted | Unpriced:
    """Sets aside what a call may cost.

    Args:
        tx: the unit of work.
        session: whose call it is.
        run_id: the run that it is made for.
        limits: what the call is measured against.
        before: a reservation that is given back in any case: its model hasn't answered.
    """
    runs.hold_chain(tx, run_id)
    if limits.agent_day_micro is not None and not tx.alone:
        _spend(tx, session.agent_id, _day(tx.now))  # holds the day
    if before is not None:
        _move(tx, before, -1)
    run = runs.find(tx, run_id) if run_id else None
    chain = _chain(tx, run)
    if limits.price is None and (budget := _in_usd(session, chain, limits)):
        return Unpriced(budget)
    day = _day(tx.now)
    allowed, reason = limits.max_tokens, ""
    for each in chain:
        fits, why = _fits(each, limits)
        if fits < allowed:
            allowed, reason = fits, why
    if limits.agent_day_micro is not None:
        left = limits.agent_day_micro - _spent_today(tx, session.agent_id, day)
        fits = _affordable(left, limits)
        if fits < allowed:
            allowed, reason = fits, f"{_day_budget(session)} for {day} is used up"
    if allowed < min(MIN_REPLY_TOKENS, limits.max_tokens):
        return Exhausted(reason)
    micro = _cost(limits, allowed)
    held = Reservation(
        tuple(each.id for each in chain), session.agent_id, day, limits.tokens_in + allowed, micro, allowed
    )
    _move(tx, held, +1)
    return held


def release(tx: Transaction, reservation: Reservation) -> None:
    """Gives a reservation back: the provider refused the call, it cost nothing."""
    runs.hold_chain(tx, reservation.run_ids[0] if reservation.run_ids else None)
    _move(tx, reservation, -1)


def settle(tx: Transaction, session: Session, run: Run | None, used: Usage, reservation: Reservation | None) -> None:
    """Puts a call's real usage in the place of its reservation."""
    runs.hold_chain(tx, run.id if run else None)
    if reservation is not None:
        _move(tx, reservation, -1)
    tx.execute(_ADD, {"of_session": session.id, **runs.more_used(used)})
    if run is not None:
        runs.add_usage(tx, run, used)
    if used.cost_micro:
        _spend(tx, session.agent_id, _day(tx.now), cost=used.cost_micro)


def _chain(tx: Transaction, run: Run | None) -> list[Run]:
    return [run, *runs.ancestors(tx, run)] if run else []


def _in_usd(session: Session, chain: list[Run], limits: Limits) -> str:
    """A budget in USD that watches a call; empty if none does."""
    run = next((each for each in chain if each.budget_micro is not None), None)
    if run is not None:
        return f"`budgetUsd` of “{run.label}”"
    return _day_budget(session) if limits.agent_day_micro is not None else ""


def _day_budget(session: Session) -> str:
    return f"agents.list[].budgetUsd of agent `{session.agent_id}`"


def _budgeted(run: Run) -> bool:
    return run.budget_micro is not None or run.budget_tokens is not None


def _fits(run: Run, limits: Limits) -> tuple[int, str]:
    """How many tokens of a reply a run's budgets allow, and which budget says so."""
    total = run.total
    fits, reason = limits.max_tokens, ""
    if run.budget_tokens is not None:
        left = run.budget_tokens - total.input - total.output - run.reserved_tokens - limits.tokens_in
        if left < fits:
            fits, reason = left, f"budgetTokens {run.budget_tokens} of “{run.label}” is used up"
    if run.budget_micro is not None and limits.price is not None:
        spent = run.cost_micro + run.below_cost_micro + run.reserved_micro
        left = _affordable(run.budget_micro - spent, limits)
        if left < fits:
            fits, reason = left, f"budgetUsd {run.budget_micro / 1e6:g} of “{run.label}” is used up"
    return fits, reason


def _affordable(micro: int, limits: Limits) -> int:
    """How many tokens of a reply fit into an amount beside the prompt."""
    price = limits.price
    if price is None:
        return limits.max_tokens
    left = micro - limits.tokens_in * price.input
    if left < 0:
        return 0
    return limits.max_tokens if price.output <= 0 else min(limits.max_tokens, int(left / price.output))


def _cost(limits: Limits, max_tokens: int) -> int:
    """micro-USD: a price in USD per million tokens is one in micro-USD per token."""
    if limits.price is None:
        return 0
    return round(limits.tokens_in * limits.price.input + max_tokens * limits.price.output)


def _move(tx: Transaction, held: Reservation, sign: int) -> None:
    tx.execute(
        update(runs_table)
        .where(runs_table.c.id.in_(held.run_ids))
        .values(
            reserved_tokens=runs_table.c.reserved_tokens + sign * held.tokens,
            reserved_micro=runs_table.c.reserved_micro + sign * held.micro,
        )
    )
    _spend(tx, held.agent_id, held.day, reserved=sign * held.micro)


def _spend(tx: Transaction, agent_id: str, day: str, *, cost: int = 0, reserved: int = 0) -> None:
    new = tx.insert(spending).values(agent_id=agent_id, day=day, cost_micro=cost, reserved_micro=reserved)
    tx.execute(
        new.on_conflict_do_update(
            index_elements=["agent_id", "day"],
            set_={
                "cost_micro": spending.c.cost_micro + cost,
                "reserved_micro": spending.c.reserved_micro + reserved,
            },
        )
    )


def _spent_today(tx: Transaction, agent_id: str, day: str) -> int:
    row = tx.execute(
        select(spending.c.cost_micro, spending.c.reserved_micro).where(
            spending.c.agent_id == agent_id, spending.c.day == day
        )
    ).first()
    return int(row.cost_micro + row.reserved_micro) if row else 0


def _day(now: int) -> str:
    return datetime.fromtimestamp(now / 1000, UTC).strftime("%Y-%m-%d")
