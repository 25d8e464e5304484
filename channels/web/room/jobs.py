"""Jobs: what hasn't ended and why it isn't running, how each kind stands, what is stuck and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select

from channels.web import agents
from channels.web.order import in_order
from channels.web.room import trees
from channels.web.site import Fragment, Page, View
from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.schema import runs as table

MOST_OPEN = 200
ENDED = 15
_ALL = select(*rows.columns(table, Run))


async def load(_view: View) -> Mapping[str, Any]:
    """All of it is live."""
    return {}


async def load_stats(view: View) -> Mapping[str, Any]:
    """How each kind stands, and what is stuck."""
    return {"stats": await view.read(view.gateway.jobs.stats)}


async def load_open(view: View) -> Mapping[str, Any]:
    """What hasn't ended: each job below the one that it belongs to."""

    def unit(tx: Transaction) -> dict[str, Any]:
        statement = _ALL.where(table.c.status != Status.DONE, view.eyes.runs())
        found = [Run(*row) for row in tx.execute(statement.order_by(table.c.number).limit(MOST_OPEN + 1))]
        lines = trees.nodes(view, tx, in_order(found[:MOST_OPEN]))
        return {"lines": lines, "more": len(found) > MOST_OPEN}

    return await view.read(unit)


async def load_ended(view: View) -> Mapping[str, Any]:
    """What has ended last."""

    def unit(tx: Transaction) -> dict[str, Any]:
        statement = _ALL.where(table.c.status == Status.DONE, view.eyes.runs())
        found = [Run(*row) for row in tx.execute(statement.order_by(table.c.ended_at.desc()).limit(ENDED))]
        return {"cards": agents.cards(view, tx, found)}

    return await view.read(unit)


PAGE = Page(
    "/web/jobs",
    "Jobs",
    "jobs.html",
    load,
    icon="jobs",
    fragments=("jobs-stuck", "jobs-open", "now-lanes", "jobs-ended", "jobs-stats"),
)
FRAGMENTS = (
    Fragment("jobs-open", "jobs_open.html", load_open, on=("run", "progress", "idle"), label="Not ended"),
    Fragment("jobs-stuck", "jobs_stuck.html", load_stats, on=("run",), every=15, operator=True, label="What is stuck"),
    Fragment("jobs-stats", "jobs_stats.html", load_stats, on=("run",), every=30, operator=True, label="Kinds"),
    Fragment("jobs-ended", "jobs_ended.html", load_ended, on=("run",), label="Ended lately"),
)
