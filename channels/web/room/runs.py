"""Runs: every run there is or was, filtered, searched and paged by the database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, and_, func, select

from channels.web import agents, words
from channels.web.room.search import Found, page, search
from channels.web.site import Fragment, Page, View
from gateway.http.errors import ApiError
from gateway.store import standing
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Status
from gateway.store.schema import runs as table

SIZE = 50
LONGEST_WORDS = 200
OPEN = tuple(each.value for each in Status if each is not Status.DONE)
ENDED = tuple(each.value for each in Outcome)
FAILED = ("error", "timeout", "budget", "dead")
LIVE_ON = ("run", "progress", "idle")


@dataclass(frozen=True, slots=True)
class Filters:
    """What of the list is wanted; empty: whatever it is."""

    state: str = ""
    """`open`, `ended`, `failed`, a status or an outcome."""
    kind: str = ""
    agent: str = ""
    q: str = ""
    before: int | None = None
    """Only numbers below it: the last one of the page before."""

    def condition(self) -> ColumnElement[bool]:
        """All but the words, for the table `runs`."""
        parts: list[ColumnElement[bool]] = []
        if self.state in OPEN:
            parts.append(standing.has(self.state))
        elif self.state in ENDED:
            parts.append(table.c.outcome == self.state)
        elif self.state == "failed":
            parts.append(table.c.outcome.in_(FAILED))
        elif self.state:
            parts.append(table.c.status != Status.DONE if self.state == "open" else table.c.status == Status.DONE)
        if self.kind:
            parts.append(table.c.kind == self.kind)
        if self.agent:
            parts.append(table.c.agent_id == self.agent)
        return and_(True, *parts)

    def query(self, **changes: Any) -> str:
        """The address's query, with changes."""
        named = {"state": self.state, "kind": self.kind, "agent": self.agent, "q": self.q, "before": self.before}
        given = {name: value for name, value in (named | changes).items() if value}
        return f"?{urlencode(given)}" if given else ""


def filters(view: View) -> Filters:
    """What the address asks for.

    Raises:
        ApiError: 400.
    """
    asked = view.params
    state, before, q = asked.get("state", ""), asked.get("before", ""), asked.get("q", "").strip()
    if state and state not in (*OPEN, *ENDED, "open", "ended", "failed"):
        raise ApiError(400, "there is no such state", field="state")
    if before and not (before.isascii() and before.isdecimal() and len(before) < 16):
        raise ApiError(400, "`before` is the number of a run", field="before")
    if len(q) > LONGEST_WORDS or not q.isprintable():
        raise ApiError(400, f"what is searched for has at most {LONGEST_WORDS} characters", field="q")
    return Filters(state, asked.get("kind", ""), asked.get("agent", ""), q, int(before) if before else None)


async def load(view: View) -> Mapping[str, Any]:
    """The form above the list."""
    wanted = filters(view)

    def unit(tx: Transaction) -> dict[str, Any]:
        mine = view.eyes.runs()
        kinds = tx.execute(select(table.c.kind).where(mine).distinct()).scalars().all()
        agent_ids = tx.execute(select(table.c.agent_id).where(mine).distinct()).scalars().all()
        return {"kinds": sorted(map(str, kinds)), "agents": sorted(map(str, agent_ids))}

    states = [
        ("Not ended", [("open", "any"), *((each, words.WORDS[each]) for each in OPEN)]),
        ("Ended", [("ended", "any"), ("failed", "not well"), *((each, words.WORDS[each]) for each in ENDED)]),
    ]
    return {**await view.read(unit), "filters": wanted, "states": states, "params": dict(view.params)}


async def load_list(view: View) -> Mapping[str, Any]:
    """One page of the list. The first one is live, as long as nothing is searched for."""
    wanted = filters(view)

    def unit(tx: Transaction) -> dict[str, Any]:
        condition = view.eyes.runs() & wanted.condition()
        found = _found(tx, condition, wanted)
        total = (
            None if wanted.q else int(tx.execute(select(func.count()).select_from(table).where(condition)).scalar_one())
        )
        return {"found": found, "rows": agents.cards(view, tx, found.runs), "total": total}

    values = await view.read(unit)
    found: Found = values["found"]
    last = found.stopped_at or (found.runs[-1].number if found.runs else None)
    return {
        **values,
        "filters": wanted,
        "older": f"/web/runs{wanted.query(before=last)}" if found.more else None,
        "newest": f"/web/runs{wanted.query(before=None)}" if wanted.before else None,
        "filtered": wanted != Filters(before=wanted.before),
        "on": () if wanted.before or wanted.q else LIVE_ON,
    }


def _found(tx: Transaction, condition: ColumnElement[bool], wanted: Filters) -> Found:
    if wanted.q:
        return search(tx, condition, wanted.q, before=wanted.before, limit=SIZE)
    return page(tx, condition, before=wanted.before, limit=SIZE)


PAGE = Page("/web/runs", "Runs", "runs.html", load, icon="runs", fragments=("runs-list",))
LIST = Fragment("runs-list", "runs_list.html", load_list, on=LIVE_ON, label="Runs")
