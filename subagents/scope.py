"""Scope: which runs somebody sees (spec/subagents.md 26).

A conversation sees every run that was asked for under its key, at any depth: also those from before `/new`, because
they report into it. A child sees what is below itself. The command line and operators see all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, bindparam, func, select

from gateway.store import rows, standing
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.schema import runs, sessions
from gateway.store.sessions import Session
from subagents.kind import KIND

SHOWN = 50
"""Most runs in one list."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks."""

    session: Session | None
    """The conversation, or the child, that he looks from; None: the command line or an operator."""
    sender: str
    """Whose list an index refers to."""


OPERATOR = Viewer(None, "operator")


@dataclass(frozen=True, slots=True)
class Listing:
    """What a list shows."""

    shown: list[Run]
    active: int
    done: int


def visible(tx: Transaction, viewer: Viewer, *, open_only: bool = False, limit: int | None = None) -> list[Run]:
    """The runs that a viewer sees, the newest first."""
    return load(tx, visible_query(tx, viewer, open_only=open_only).limit(limit))


def listing(tx: Transaction, viewer: Viewer) -> Listing:
    """A fresh list: active runs first, then those that have ended, each the newest first."""
    active = visible(tx, viewer, open_only=True)
    ended = visible_query(tx, viewer).where(runs.c.status == Status.DONE)
    done = int(tx.execute(select(func.count()).select_from(ended.order_by(None).subquery())).scalar_one())
    shown = active[:SHOWN]
    if len(shown) < SHOWN and done:
        shown = [*shown, *load(tx, ended.limit(SHOWN - len(shown)))]
    return Listing(shown, len(active), done)


def roots(tx: Transaction, session: Session) -> list[str]:
    """Ids of the sessions whose runs count as asked for by this one: of a conversation all that its key has named."""
    if session.kind != "main":
        return [session.id]
    return [str(row[0]) for row in tx.execute(select(sessions.c.id).where(sessions.c.key == session.key))]


def visible_query(tx: Transaction, viewer: Viewer, *, open_only: bool = False) -> Select[Any]:
    """Selects the runs that a viewer sees, the newest first."""
    statement = _OPEN if open_only else _ALL
    if viewer.session is None:
        return statement
    asked = runs.c.requester_id.in_(roots(tx, viewer.session))
    return statement.where(_below(asked, open_only=open_only))


def active(tx: Transaction, session: Session, limit: int) -> tuple[list[Run], int]:
    """The newest open runs of a conversation, and how many there are; asked for the prompt of every model call."""
    found = load(tx, _ACTIVE, of_key=session.key, most=limit)
    if len(found) < limit:
        return found, len(found)
    return found, int(tx.execute(_COUNT_ACTIVE, {"of_key": session.key}).scalar_one())


def active_routes(tx: Transaction) -> list[str]:
    """Where open runs were asked for."""
    found = tx.execute(
        select(runs.c.route)
        .distinct()
        .where(runs.c.kind == KIND, runs.c.status != Status.DONE, runs.c.route.is_not(None))
    )
    return [str(row[0]) for row in found]


def on_route(tx: Transaction, route: str, since: int) -> tuple[list[Run], int]:
    """The runs asked for on a route that were at work at a time or later, and how many older ones were left out."""
    statement = _ALL.where(runs.c.route == route, (runs.c.status != Status.DONE) | (runs.c.ended_at >= since))
    found = load(tx, statement.limit(SHOWN))
    more = 0
    if len(found) == SHOWN:
        more = (
            int(tx.execute(select(func.count()).select_from(statement.order_by(None).subquery())).scalar_one()) - SHOWN
        )
    return found, more


def load(tx: Transaction, statement: Select[Any], **parameters: Any) -> list[Run]:
    """The runs that a query of whole runs selects, as they stand."""
    return standing.now(tx, [Run(*row) for row in tx.execute(statement, parameters)])


def _below(asked: ColumnElement[bool], *, open_only: bool) -> ColumnElement[bool]:
    """Whether a run is one of those asked for or below them. A run ends after those below it, so that open ones hang
    together."""
    top = select(runs.c.id, runs.c.session_id).where(asked)
    if open_only:
        top = top.where(runs.c.status != Status.DONE)
    tree = top.cte("tree", recursive=True)
    deeper = select(runs.c.id, runs.c.session_id).where(runs.c.requester_id == tree.c.session_id)
    if open_only:
        deeper = deeper.where(runs.c.status != Status.DONE)
    return runs.c.id.in_(select(tree.union(deeper).c.id))


_ALL = select(*rows.columns(runs, Run)).where(runs.c.kind == KIND).order_by(runs.c.created_at.desc(), runs.c.id.desc())
_OPEN = _ALL.where(runs.c.status != Status.DONE)
_OF_KEY = runs.c.requester_id.in_(select(sessions.c.id).where(sessions.c.key == bindparam("of_key")))
_ACTIVE_ALL = _OPEN.where(_below(_OF_KEY, open_only=True))
_ACTIVE = _ACTIVE_ALL.limit(bindparam("most"))
_COUNT_ACTIVE = select(func.count()).select_from(_ACTIVE_ALL.with_only_columns(runs.c.id).order_by(None).subquery())
