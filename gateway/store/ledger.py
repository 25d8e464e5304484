"""The usage ledger: what was used on each day, of which model, where and for whom.

Owns the table `usage`. A model's answer is added in the transaction that stores it, so that the ledger and the
transcripts agree at any moment. Its rows are sums and hold no text; they outlive the runs and sessions that they came
from (spec/subagents.md 29), and nothing deletes them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import ColumnElement, Executable, func, select

from gateway.agent.messages import Usage
from gateway.store.database import Transaction, insert_into
from gateway.store.schema import usage

Kind = Literal["conversation", "subagent", "job"]
Dimension = Literal["day", "agent", "model", "channel", "person", "kind"]
DIMENSIONS: tuple[Dimension, ...] = ("day", "agent", "model", "channel", "person", "kind")

_COLUMNS = {each: usage.c["agent_id" if each == "agent" else each] for each in DIMENSIONS}
_COUNTED = ("calls", "tokens_in", "tokens_out", "cache_read", "cost_micro", "unpriced")
_SUMS = tuple(func.coalesce(func.sum(usage.c[name]), 0).label(name) for name in _COUNTED)


@dataclass(frozen=True, slots=True)
class Account:
    """Where a call is booked."""

    day: str
    """`2026-11-27`, UTC"""
    agent_id: str
    model: str
    """`provider/model`: the one that has answered."""
    channel: str
    """Of the turn's route; empty if nobody is answered."""
    person: str
    """Who the work is for: `<channel>:<user id>`, or who has submitted the job; empty if nobody is known."""
    kind: Kind


@dataclass(frozen=True, slots=True)
class Sum:
    """What was used under one key."""

    key: tuple[str, ...]
    """The values of the dimensions that were asked for."""
    calls: int
    tokens_in: int
    tokens_out: int
    cache_read: int
    cost_micro: int
    """micro-USD of the calls whose price is known."""
    unpriced: int
    """Calls whose price isn't known."""


@cache
def _add(dialect: str) -> Executable:
    new = insert_into(usage, dialect)
    more = {name: usage.c[name] + new.excluded[name] for name in _COUNTED}
    return new.on_conflict_do_update(index_elements=[*usage.primary_key], set_=more)


def add(tx: Transaction, account: Account, used: Usage) -> None:
    """Books one call."""
    row = {
        "day": account.day,
        "agent_id": account.agent_id,
        "model": account.model,
        "channel": account.channel,
        "person": account.person,
        "kind": account.kind,
        "calls": 1,
        "tokens_in": used.input,
        "tokens_out": used.output,
        "cache_read": used.cache_read,
        "cost_micro": used.cost_micro or 0,
        "unpriced": int(used.cost_micro is None),
    }
    tx.execute(_add(tx.dialect), row)


def sums(
    tx: Transaction,
    since: str,
    until: str,
    by: Sequence[Dimension],
    *,
    persons: Collection[str] | None = None,
    limit: int = 1000,
) -> list[Sum]:
    """What was used, grouped: by day the newest first, then the dearest first.

    Args:
        tx: the unit of work.
        since: the first day, `2026-11-01`.
        until: the last day.
        by: the dimensions to group by; none: one sum of everything.
        persons: only what was used for these.
        limit: how many sums at most.
    """
    keys = [_COLUMNS[each] for each in by]
    cost, tokens = func.sum(usage.c.cost_micro), func.sum(usage.c.tokens_in + usage.c.tokens_out)
    order: list[ColumnElement[Any]] = [usage.c.day.desc()] if "day" in by else []
    statement = select(*keys, *_SUMS).where(*_within(since, until, persons))
    if keys:
        statement = statement.group_by(*keys).order_by(*order, cost.desc(), tokens.desc(), *keys)
    found = tx.execute(statement.limit(limit))
    return [Sum(tuple(row[: len(keys)]), *map(int, row[len(keys) :])) for row in found]


def _within(since: str, until: str, persons: Collection[str] | None) -> list[ColumnElement[bool]]:
    days = [usage.c.day >= since, usage.c.day <= until]
    return days if persons is None else [*days, usage.c.person.in_(persons)]
