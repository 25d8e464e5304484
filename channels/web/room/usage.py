"""Usage: what was spent on which day, by which agent and model, where and for whom, and how far the budgets are used.

An operator sees everything; anybody else what was used for himself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from channels.web.room import charts
from channels.web.room.charts import Day, Part
from channels.web.site import Fragment, Page, View
from gateway.agent.budgets import budgets
from gateway.http.errors import ApiError
from gateway.http.usage import persons_of
from gateway.store import ledger
from gateway.store.database import Transaction
from gateway.store.ledger import Dimension, Sum
from gateway.views import count, money

DAYS = (7, 30, 90)
SHOWN = 12
TABLES: Mapping[Dimension, str] = {
    "agent": "Agents",
    "model": "Models",
    "kind": "Kinds of work",
    "channel": "Channels",
    "person": "People",
}
NOBODY: Mapping[str, str] = {"channel": "no channel", "person": "nobody in particular"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a table."""

    name: str
    sum: Sum
    share: float
    """Of the largest, in percent."""


@dataclass(frozen=True, slots=True)
class Table:
    """What was used by one dimension."""

    title: str
    lines: tuple[Line, ...]
    left_out: int


async def load(view: View) -> Mapping[str, Any]:
    """The frame."""
    days, metric = _wanted(view)
    return {"days": days, "metric": metric, "choices": DAYS, "params": dict(view.params)}


async def load_all(view: View) -> Mapping[str, Any]:
    """Numbers, chart and tables."""
    days, metric = _wanted(view)
    persons = persons_of(view.gateway, view.eyes.who)

    def unit(tx: Transaction) -> dict[str, Any]:
        today = datetime.fromtimestamp(tx.now / 1000, UTC).date()
        since, week = (today - timedelta(days=number - 1) for number in (days, 7))

        def of(start: Any, by: Sequence[Dimension]) -> list[Sum]:
            return ledger.sums(tx, start.isoformat(), today.isoformat(), by, persons=persons)

        by_day = {found.key[0]: found for found in of(since, ("day",))}
        names = [(since + timedelta(days=number)).isoformat() for number in range(days)]
        return {
            "tiles": [("Today", *of(today, ())), ("Last 7 days", *of(week, ())), (f"Last {days} days", *of(since, ()))],
            "by_day": [(name, by_day.get(name)) for name in names],
            "tables": [_table(title, by, of(since, (by,)), metric) for by, title in TABLES.items()],
            "budgets": budgets(tx, view.gateway.config) if view.eyes.operator else [],
        }

    values = await view.read(unit)
    days_found: list[tuple[str, Sum | None]] = values["by_day"]
    drawn = charts.chart([_day(*each, metric) for each in days_found], _money if metric == "cost" else count)
    return {**values, "chart": drawn, "metric": metric, "days": days}


def _wanted(view: View) -> tuple[int, str]:
    days, metric = view.params.get("days", "30"), view.params.get("by", "cost")
    if days not in map(str, DAYS):
        raise ApiError(400, f"`days` is one of {', '.join(map(str, DAYS))}", field="days")
    if metric not in ("cost", "tokens"):
        raise ApiError(400, "`by` is cost or tokens", field="by")
    return int(days), metric


def _day(name: str, found: Sum | None, metric: str) -> Day:
    moment = datetime.fromisoformat(name)
    short = f"{moment:%b} {moment.day}"
    if found is None:
        return Day(short, f"{short}: nothing", ())
    title = (
        f"{short}: {_money(found.cost_micro)}, {count(found.tokens_in + found.tokens_out)} tokens, {found.calls} calls"
    )
    if metric == "cost":
        return Day(short, title, (Part("cost", found.cost_micro),))
    fresh = max(0, found.tokens_in - found.cache_read)
    return Day(short, title, (Part("in", fresh), Part("cached", found.cache_read), Part("out", found.tokens_out)))


def _money(micro: int) -> str:
    return money(micro) or ""


def _table(title: str, by: Dimension, found: Sequence[Sum], metric: str) -> Table:
    def size(each: Sum) -> int:
        return each.cost_micro if metric == "cost" else each.tokens_in + each.tokens_out

    ordered = sorted(found, key=size, reverse=True)
    most = max(map(size, ordered), default=0)
    lines = [
        Line(each.key[0] or NOBODY.get(by, "none"), each, 100 * size(each) / most if most else 0) for each in ordered
    ]
    return Table(title, tuple(lines[:SHOWN]), max(0, len(lines) - SHOWN))


PAGE = Page("/web/usage", "Usage", "usage.html", load, icon="usage", fragments=("usage-all",))
ALL = Fragment("usage-all", "usage_all.html", load_all, every=15, label="Usage")
