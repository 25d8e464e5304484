"""Conversations: which somebody has, what they are called, and the names that he gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aiohttp import web
from pydantic import Field
from sqlalchemy import delete, not_, select

from channels.web.eyes import Eyes
from channels.web.site import Action, Fragment, View
from gateway.http.json import Body, answer, read_body
from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import conversations, messages
from gateway.store.schema import sessions as sessions_table
from gateway.store.sessions import Session
from gateway.views import capped

TITLE_CHARS = 80
SHOWN = 50
OTHERS = 10
_SESSIONS = select(*rows.columns(sessions_table, Session)).where(
    sessions_table.c.current.is_(True), sessions_table.c.kind == "main"
)


@dataclass(frozen=True, slots=True)
class Conversation:
    """One line of the list."""

    key: str
    title: str
    busy: bool
    used_at: int | None
    """milliseconds; None: nothing has been said in it"""


class TitleBody(Body):
    """A new name; an empty one takes it back."""

    title: str = Field(max_length=TITLE_CHARS)


def own(tx: Transaction, eyes: Eyes) -> list[Conversation]:
    """His own, the last used first; the first one of all stands at the head, even if nothing has been said in it."""
    statement = _SESSIONS.where(eyes.keys()).order_by(sessions_table.c.updated_at.desc()).limit(SHOWN)
    found = [_line(tx, Session(*row), eyes) for row in tx.execute(statement)]
    home = eyes.home()
    first = next((each for each in found if each.key == home), None)
    return [
        first or Conversation(home, title(tx, eyes, home), busy=False, used_at=None),
        *(each for each in found if each.key != home),
    ]


def others(tx: Transaction, eyes: Eyes) -> list[Conversation]:
    """Those of other people and other channels, for an operator."""
    if not eyes.operator:
        return []
    statement = _SESSIONS.where(not_(eyes.keys())).order_by(sessions_table.c.updated_at.desc()).limit(OTHERS)
    return [_line(tx, Session(*row), eyes) for row in tx.execute(statement)]


def title(tx: Transaction, eyes: Eyes, key: str, session: Session | None = None) -> str:
    """What a conversation is called: as somebody has named it, else by its place or its first message."""
    named = tx.execute(select(conversations.c.title).where(conversations.c.key == key)).scalar()
    if named:
        return str(named)
    if key == eyes.home():
        return "Main conversation" if eyes.operator else "My conversation"
    if not eyes.own(key):
        agent, _, rest = key.removeprefix("agent:").partition(":")
        return capped(rest if agent == eyes.config.default_agent_id else f"{agent}: {rest}", TITLE_CHARS)
    begun = None
    if session is not None:
        statement = select(messages.c.text).where(messages.c.session_id == session.id, messages.c.kind == "user")
        begun = tx.execute(statement.order_by(messages.c.seq).limit(1)).scalar()
    return capped(str(begun), 48) if begun else "New conversation"


def _line(tx: Transaction, session: Session, eyes: Eyes) -> Conversation:
    return Conversation(
        session.key, title(tx, eyes, session.key, session), session.turn_seq is not None, session.updated_at
    )


async def load(view: View) -> Mapping[str, Any]:
    """The list, with the one that is open marked."""

    def unit(tx: Transaction) -> dict[str, Any]:
        return {"own": own(tx, view.eyes), "others": others(tx, view.eyes)}

    return {**await view.read(unit), "open": view.params.get("key", "")}


async def rename(view: View) -> web.StreamResponse:
    """`POST /web/chat/{key}/title`."""
    body = await read_body(view.request, TitleBody)
    key = view.eyes.check(view.need("key"))
    await view.read(view.eyes.session, key)

    def unit(tx: Transaction) -> str:
        tx.execute(delete(conversations).where(conversations.c.key == key))
        if body.title.strip():
            name = capped(body.title, TITLE_CHARS)
            tx.execute(conversations.insert().values(key=key, title=name, updated_at=tx.now))
        data = {"sessionKey": key, "change": "renamed"}
        view.gateway.events.append(tx, "session", data, session_id=None, session_key=key)
        return title(tx, view.eyes, key, view.eyes.session(tx, key))

    return answer({"title": await view.write(unit), "text": "Renamed."})


LIST = Fragment("conversations", "conversations.html", load, on=("message", "idle", "session"), label="Conversations")
RENAME = Action("/web/chat/{key}/title", rename)
