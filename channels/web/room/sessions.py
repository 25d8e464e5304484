"""Sessions: every conversation, and every session of a run, with what it does, its settings and its transcript."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import ColumnElement, and_, func, select, true

from channels.web import agents, conversations, words
from channels.web.eyes import Eyes
from channels.web.room import turns
from channels.web.site import Fragment, Page, View
from gateway.agent.resolve import default_model
from gateway.config import UnknownAgent, UnknownModel
from gateway.http.errors import ApiError
from gateway.http.sessions import messages_json
from gateway.store import inbox, rows, runs, sessions, standing, transcript
from gateway.store.database import Transaction
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as table
from gateway.store.sessions import Session
from gateway.views import capped

SIZE = 50
MESSAGES = 60
KINDS = ("main", "subagent", "job")
LIVE_ON = ("message", "idle", "session", "run")
_ALL = select(*rows.columns(table, Session))


@dataclass(frozen=True, slots=True)
class Line:
    """One session in the list."""

    session: Session
    title: str
    model: str
    state: str
    icon: str
    tone: str
    waiting: int
    active: int
    """Runs at work below it."""


def seen(eyes: Eyes) -> ColumnElement[bool]:
    """The condition on `sessions` that picks what somebody sees."""
    if eyes.operator:
        return true()
    below = table.c.id.in_(select(runs_table.c.session_id).where(eyes.runs()))
    return (eyes.keys() | below) & table.c.owned.is_(False)


async def load(view: View) -> Mapping[str, Any]:
    """The list's frame."""
    kind = view.params.get("kind", "")
    if kind and kind not in KINDS:
        raise ApiError(400, "there is no such kind", field="kind")
    return {"kind": kind, "kinds": KINDS, "params": dict(view.params)}


async def load_list(view: View) -> Mapping[str, Any]:
    """One page of it, the last used first."""
    kind, before = view.params.get("kind", ""), _cursor(view)

    def unit(tx: Transaction) -> dict[str, Any]:
        condition = and_(seen(view.eyes), table.c.kind == kind if kind else true())
        statement = _ALL.where(condition)
        if before is not None:
            moment, last = before
            earlier = (table.c.updated_at == moment) & (table.c.id < last)
            statement = statement.where((table.c.updated_at < moment) | earlier)
        ordered = statement.order_by(table.c.updated_at.desc(), table.c.id.desc())
        found = [Session(*row) for row in tx.execute(ordered.limit(SIZE + 1))]
        total = int(tx.execute(select(func.count()).select_from(table).where(condition)).scalar_one())
        return {"lines": [_line(tx, view, each) for each in found[:SIZE]], "more": len(found) > SIZE, "total": total}

    values = await view.read(unit)
    lines: list[Line] = values["lines"]
    query = {"kind": kind, "before": f"{lines[-1].session.updated_at}.{lines[-1].session.id}" if lines else ""}
    older = urlencode({name: value for name, value in query.items() if value})
    first = f"?{urlencode({'kind': kind})}" if kind else ""
    return {
        **values,
        "older": f"/web/sessions?{older}" if values["more"] else None,
        "newest": f"/web/sessions{first}" if before else None,
        "on": () if before else LIVE_ON,
    }


async def load_one(view: View) -> Mapping[str, Any]:
    """The page of one session."""

    def unit(tx: Transaction) -> Session:
        return session_of(tx, view)

    session = await view.read(unit)
    params = {"id": session.id}
    if before := view.params.get("before", ""):
        params["before"] = before
    return {"session": session, "params": params, "title": session.key}


async def load_head(view: View) -> Mapping[str, Any]:
    """What it is, does and may use."""

    def unit(tx: Transaction) -> dict[str, Any]:
        session = session_of(tx, view)
        parent = sessions.find(tx, session.parent_id) if session.parent_id else None
        run = runs.find(tx, session.run_id) if session.run_id else None
        children = runs.children(tx, session.id)
        talks = session.kind == "main" and session.current and view.eyes.may_open(session.key)
        return {
            "line": _line(tx, view, session),
            "parent": parent if parent is not None and view.eyes.sees_session(tx, parent) else None,
            "run": run,
            "children": agents.cards(view, tx, children[::-1][:40]),
            "left_out": max(0, len(children) - 40),
            "talks": talks,
            "usual": _usual(view, session),
            "mode": session.queue_mode or view.gateway.config.messages.queue.mode,
            "key": "" if children else session.key,
        }

    return await view.read(unit)


async def load_turns(view: View) -> Mapping[str, Any]:
    """One part of its transcript."""
    before = turns.before(view)

    def unit(tx: Transaction) -> dict[str, Any]:
        session = session_of(tx, view)
        found = transcript.page(tx, session.id, limit=MESSAGES, before=before)
        found = turns.with_calls(tx, session.id, found)
        first = found[0].seq if found else 0
        begins = not found or not transcript.page(tx, session.id, limit=1, before=first)
        return {
            "turns": turns.turns(messages_json(tx, found, tools=True), turns.answers(tx, session.id, first)),
            "session": session,
            "earlier": None if begins else first,
            "later": before is not None,
            "key": session.key,
            "on": () if before else ("message", "idle"),
        }

    return await view.read(unit)


def session_of(tx: Transaction, view: View) -> Session:
    """The session that the address names.

    Raises:
        ApiError: 404.
    """
    name = view.need("id")
    row = tx.execute(_ALL.where(table.c.id == name, seen(view.eyes))).first() if name.isprintable() else None
    if row is None:
        raise ApiError(404, "there is no such session")
    return Session(*row)


def _line(tx: Transaction, view: View, session: Session) -> Line:
    waiting = len(inbox.pending(tx, session.id, due=False))
    active = len(runs.below(tx, [session.id], open_only=True))
    run = runs.find(tx, session.run_id) if session.run_id else None
    title = run.label if run is not None else conversations.title(tx, view.eyes, session.key, session)
    model = session.model or (run.model if run is not None else _usual(view, session))
    state = None
    if run is not None and run.open and not session.needs_user:
        stands = standing.of(tx, run)
        state = (words.word(stands), words.icon(stands), words.tone(stands))
    return Line(session, capped(title, 80), model, *(state or _state(session, waiting)), waiting, active)


def _state(session: Session, waiting: int) -> tuple[str, str, str]:
    if session.needs_user:
        return "set aside", "s-dead", "bad"
    if session.paused:
        return "paused", "s-paused", "warn"
    if session.turn_seq is not None and session.claimed_by is not None:
        return "at work", "s-running", "live"
    if waiting or session.turn_seq is not None:
        return "waits", "s-queued", "calm"
    if session.closed or not session.current:
        return "closed", "s-stopped", "calm"
    return "idle", "s-ok", "calm"


def _usual(view: View, session: Session) -> str:
    try:
        return default_model(view.gateway.config, session.agent_id).name
    except (UnknownAgent, UnknownModel):
        return "no model"


def _cursor(view: View) -> tuple[int, str] | None:
    text = view.params.get("before", "")
    if not text:
        return None
    moment, _, last = text.partition(".")
    if not (moment.isascii() and moment.isdecimal() and len(moment) < 16 and last.isprintable()):
        raise ApiError(400, "`before` is the end of a page", field="before")
    return int(moment), last


LIST_PAGE = Page("/web/sessions", "Sessions", "sessions.html", load, icon="sessions", fragments=("sessions-list",))
PAGE = Page(
    "/web/sessions/{id}",
    "Session",
    "session.html",
    load_one,
    fragments=("session-head", "session-facts", "session-turns"),
)
FRAGMENTS = (
    Fragment("sessions-list", "sessions_list.html", load_list, on=LIVE_ON, label="Sessions"),
    Fragment("session-head", "session_head.html", load_head, on=LIVE_ON, label="State"),
    Fragment("session-facts", "session_facts.html", load_head, on=LIVE_ON, label="Details"),
    Fragment("session-turns", "session_turns.html", load_turns, on=("message", "idle"), label="Transcript"),
)
