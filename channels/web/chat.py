"""The chat: the page with one conversation, and the parts of it that its script asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aiohttp import web
from pydantic import Field

from channels.web import entries, render
from channels.web.conversations import title
from channels.web.site import Fragment, Page, Source, View
from gateway.agent.resolve import default_model
from gateway.config import UnknownAgent, UnknownModel
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_query
from gateway.store import inbox
from gateway.store.database import Transaction
from gateway.store.sessions import Session
from gateway.views import capped

FIRST = 40
"""Messages of the first page; older ones come when they are scrolled to."""
WAITS: Mapping[str, str] = {
    "steer": "joins the running turn at its next step",
    "followup": "is answered after the running turn",
    "collect": "is answered together with what follows it",
    "interrupt": "is answered at once",
}


class LogQuery(Body):
    """Which part of a conversation."""

    before: int | None = Field(None, ge=1, le=2**31)
    after: int | None = Field(None, ge=0, le=2**62)


async def load(view: View) -> Mapping[str, Any]:
    """The page."""
    key = view.eyes.check(view.params.get("key") or view.eyes.home())

    def unit(tx: Transaction) -> dict[str, Any]:
        session = view.eyes.session(tx, key)
        part = entries.last(tx, session, before=None, limit=FIRST) if session else entries.Part(())
        return {
            **_log(view, session, part),
            "key": key,
            "name": title(tx, view.eyes, key, session),
            "session": session.id if session else "",
            "earlier": part.earlier,
            "at": tx.now,
            "params": {"key": key},
        }

    return await view.read(unit)


async def load_state(view: View) -> Mapping[str, Any]:
    """What the conversation is doing, on which model, and what it has cost."""
    key = view.eyes.check(view.need("key"))

    def unit(tx: Transaction) -> dict[str, Any]:
        session = view.eyes.session(tx, key)
        waiting = inbox.pending(tx, session.id, due=False) if session else []
        return {
            "busy": session is not None
            and (session.turn_seq is not None or any(row.kind == "user" for row in waiting)),
            "began": _turn_began(tx, session),
            "doing": _doing(view, key),
            "waiting": sum(row.kind == "user" for row in waiting),
            "model": _model(view, key, session),
            "mode": _mode(view, session),
            "tokens": session.tokens_in + session.tokens_out if session else 0,
            "cost": None if session is None or session.cost_unknown else session.cost_micro,
            "paused": session is not None and session.paused,
        }

    return await view.read(unit)


async def log(view: View) -> web.StreamResponse:
    """`GET /web/chat/{key}/log`: what came after a time, or what is older than a message."""
    key = view.eyes.check(view.need("key"))
    query = read_query(view.request, LogQuery)

    def unit(tx: Transaction) -> tuple[dict[str, Any], dict[str, Any]]:
        session = view.eyes.session(tx, key)
        if session is None:
            part = entries.Part(())
        elif query.before is not None:
            part = entries.last(tx, session, before=query.before, limit=FIRST)
        elif query.after is not None:
            part = entries.since(tx, session, query.after)
        else:
            part = entries.last(tx, session, before=None, limit=FIRST)
        facts = {
            "session": session.id if session else "",
            "earlier": part.earlier,
            "open": [each.id for each in part.entries if each.waiting],
            "busy": session is not None and session.turn_seq is not None,
        }
        return facts, {**_log(view, session, part), "eyes": view.eyes}

    facts, values = await view.read(unit)
    if query.before is not None and query.after is not None:
        raise ApiError(400, "either before or after", field="before")
    html = await render.render("log.html", values)
    return answer({**facts, "html": html}, headers={**render.SAFE, "Cache-Control": "no-store"})


async def begin(view: View) -> web.StreamResponse:
    """`GET /web/new`: leads to a conversation that nobody has begun; it is there with its first message."""
    raise web.HTTPSeeOther(f"/web/chat/{view.eyes.fresh()}")


def _log(view: View, session: Session | None, part: entries.Part) -> dict[str, Any]:
    return {"entries": part.entries, "wait": WAITS.get(_mode(view, session), ""), "running": _running(session)}


def _running(session: Session | None) -> bool:
    return session is not None and session.turn_seq is not None


def _mode(view: View, session: Session | None) -> str:
    return (session.queue_mode if session else None) or view.gateway.config.messages.queue.mode


def _doing(view: View, key: str) -> str:
    activity = view.gateway.events.live.activity(key)
    return capped(activity.text, 120) if activity else ""


def _turn_began(tx: Transaction, session: Session | None) -> int | None:
    if session is None or session.turn_seq is None:
        return None
    found = entries.message_time(tx, session.id, session.turn_seq)
    return found or session.updated_at


def _model(view: View, key: str, session: Session | None) -> str:
    if session is not None and session.model:
        return session.model
    agent = session.agent_id if session else agent_of_key(key)
    try:
        return default_model(view.gateway.config, agent).name
    except (UnknownAgent, UnknownModel):
        return "no model"


def agent_of_key(key: str) -> str:
    """The agent in a session key."""
    return key.split(":")[1]


_FRAGMENTS = ("conversations", "agents", "chat-state")
HOME = Page("/web", "Chat", "chat.html", load, icon="chat", fragments=_FRAGMENTS)
CHAT = Page("/web/chat/{key}", "Chat", "chat.html", load, fragments=_FRAGMENTS)
STATE = Fragment(
    "chat-state", "chat_state.html", load_state, on=("message", "progress", "idle", "session", "run"), label="State"
)
LOG = Source("/web/chat/{key}/log", log)
NEW = Source("/web/new", begin)
