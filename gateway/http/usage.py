"""What was used, and what may be: the ledger grouped as asked, and the budgets.

A token that may only talk sees what was used for itself.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web
from pydantic import Field

from gateway.agent.budgets import Budget, budgets
from gateway.agent.messages import Usage
from gateway.http.auth import Caller, caller, scope
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_query
from gateway.http.keys import GATEWAY
from gateway.http.runs import run_of
from gateway.store import ledger
from gateway.store.database import Transaction
from gateway.views import tokens_json, usd

if TYPE_CHECKING:
    from gateway.app import Gateway

USUAL_DAYS = 30


class UsageQuery(Body):
    """Which days, and how they are grouped."""

    since: date | None = Field(None, alias="from")
    until: date | None = Field(None, alias="to")
    by: str = "day"
    limit: int = Field(1000, ge=1, le=10_000)


class BudgetsQuery(Body):
    """Which budgets."""

    run: str | None = None


@scope("read", "chat")
async def show_usage(request: web.Request) -> web.Response:
    """`GET /api/usage`: sums by any of day, agent, model, channel, person and kind."""
    gateway, query = request.app[GATEWAY], read_query(request, UsageQuery)
    by = _dimensions(query.by)
    until = query.until or datetime.now(UTC).date()
    since = query.since or until - timedelta(days=USUAL_DAYS - 1)
    if since > until:
        raise ApiError(400, "`from` is later than `to`", field="from")
    persons = persons_of(gateway, caller(request))

    def load(tx: Transaction) -> tuple[list[ledger.Sum], ledger.Sum]:
        days = (since.isoformat(), until.isoformat())
        [total] = ledger.sums(tx, *days, (), persons=persons)
        return ledger.sums(tx, *days, by, persons=persons, limit=query.limit + 1), total

    found, total = await gateway.database.read(load)
    return answer(
        {
            "from": since.isoformat(),
            "to": until.isoformat(),
            "by": list(by),
            "rows": [_sum(by, each) for each in found[: query.limit]],
            "truncated": len(found) > query.limit,
            "total": _sum((), total),
        }
    )


async def show_budgets(request: web.Request) -> web.Response:
    """`GET /api/usage/budgets`: every limit with what is used of it; those that watch one run with `run`."""
    gateway, query = request.app[GATEWAY], read_query(request, BudgetsQuery)

    def load(tx: Transaction) -> list[Budget]:
        return budgets(tx, gateway.config, run_of(tx, query.run) if query.run is not None else None)

    return answer({"budgets": [_budget(each) for each in await gateway.database.read(load)]})


def _dimensions(text: str) -> tuple[ledger.Dimension, ...]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    wrong = next((name for name in names if name not in ledger.DIMENSIONS), None)
    if wrong is not None:
        known = ", ".join(ledger.DIMENSIONS)
        raise ApiError(400, f"`by` names `{wrong[:40]}`, and there are: {known}", field="by")
    return tuple(dict.fromkeys(cast("list[ledger.Dimension]", names)))


def persons_of(gateway: Gateway, who: Caller) -> Collection[str] | None:
    """As whom a caller has spoken; None: he may see everybody."""
    if who.operator or "read" in who.scopes:
        return None
    channels = gateway.registry.channels.values()
    own = [each.name for each in channels if each.capabilities.pull or each.capabilities.held]
    return [f"{name}:{who.name}" for name in (*own, "http")]


def _sum(by: tuple[ledger.Dimension, ...], found: ledger.Sum) -> dict[str, Any]:
    return {
        **{name: value or None for name, value in zip(by, found.key, strict=True)},
        "calls": found.calls,
        "tokens": tokens_json(Usage(found.tokens_in, found.tokens_out, found.cache_read)),
        "costUsd": usd(found.cost_micro),
        "unpricedCalls": found.unpriced,
    }


def _budget(budget: Budget) -> dict[str, Any]:
    numbers = {"limit": budget.limit, "used": budget.used, "reserved": budget.reserved}
    money = budget.unit == "usd"
    return {
        "of": budget.of,
        "name": budget.name,
        "unit": budget.unit,
        **{name: usd(value) if money else value for name, value in numbers.items()},
        "day": budget.day,
        "runId": budget.run_id,
        "id": budget.number,
    }
