"""Sessions over HTTP: which there are, what each is doing, what was said in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web
from pydantic import Field
from sqlalchemy import select

from gateway.agent.messages import Usage
from gateway.agent.resolve import default_model
from gateway.config import UnknownAgent, UnknownModel
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, cursor_after, read_cursor, read_query
from gateway.http.keys import GATEWAY
from gateway.store import inbox, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.schema import sessions as table
from gateway.store.sessions import Session
from gateway.store.transcript import Message
from gateway.views import iso, message_json, route_json, tokens_json, usd

if TYPE_CHECKING:
    from gateway.app import Gateway


class SessionsQuery(Body):
    """Filters of the list."""

    kind: Literal["main", "subagent"] | None = None
    cursor: str | None = None
    limit: int = Field(50, ge=1, le=500)


class TranscriptQuery(Body):
    """Which messages."""

    limit: int = Field(50, ge=1, le=500)
    before: int | None = Field(None, ge=0, le=2**31)
    after: int | None = Field(None, ge=0, le=2**31)
    tools: bool = False


async def list_sessions(request: web.Request) -> web.Response:
    """`GET /api/sessions`: the last used first."""
    gateway = request.app[GATEWAY]
    query = read_query(request, SessionsQuery)
    before = read_cursor(query.cursor)

    def page(tx: Transaction) -> dict[str, Any]:
        found = sessions.page(tx, kind=query.kind, before=before, limit=query.limit)
        following = cursor_after(found[-1].updated_at, found[-1].id) if len(found) == query.limit else None
        return {"sessions": [session_json(gateway, tx, session) for session in found], "next": following}

    return answer(await gateway.database.read(page))


async def show_session(request: web.Request) -> web.Response:
    """`GET /api/sessions/{key}`."""
    gateway = request.app[GATEWAY]

    def load(tx: Transaction) -> dict[str, Any]:
        return session_json(gateway, tx, session_of(tx, request.match_info["key"]))

    return answer(await gateway.database.read(load))


async def show_transcript(request: web.Request) -> web.Response:
    """`GET /api/sessions/{key}/transcript`: the last messages, oldest first."""
    query = read_query(request, TranscriptQuery)

    def load(tx: Transaction) -> dict[str, Any]:
        session = session_of(tx, request.match_info["key"])
        found = transcript.page(
            tx,
            session.id,
            limit=query.limit,
            before=query.before,
            after=query.after,
            tools=query.tools,
        )
        messages = messages_json(tx, found, tools=query.tools)
        return {"sessionKey": session.key, "sessionId": session.id, "messages": messages}

    return answer(await request.app[GATEWAY].database.read(load))


def session_of(tx: Transaction, key: str) -> Session:
    """The session that a key in a path names.

    Raises:
        ApiError: 404.
    """
    session = sessions.by_key(tx, key) if key.isprintable() else None
    if session is None:
        raise ApiError(404, "there is no such session", field="key", hint="GET /api/sessions lists them")
    return session


def ids_of(tx: Transaction, key: str) -> list[str]:
    """Ids of every session that a key has named, and of all that were spawned below them."""
    found = tx.execute(select(table.c.id).where(table.c.key == key)).scalars().all()
    return sorted({each for session_id in found for each in sessions.subtree(tx, session_id)})


def session_json(gateway: Gateway, tx: Transaction, session: Session) -> dict[str, Any]:
    """A session as JSON; tokens and cost include everything below it."""
    waiting = len(inbox.pending(tx, session.id, due=False))
    active = len(runs.below(tx, sessions.same_conversation(tx, session), open_only=True))
    total = _total(tx, session)
    return {
        "key": session.key,
        "sessionId": session.id,
        "agentId": session.agent_id,
        "kind": session.kind,
        "depth": session.depth,
        "model": _model(gateway, tx, session),
        "thinking": session.thinking,
        "queueMode": session.queue_mode or gateway.config.messages.queue.mode,
        "busy": session.turn_seq is not None,
        "paused": session.paused,
        "waiting": waiting,
        "activeRuns": active,
        "idle": session.turn_seq is None and not waiting and not active,
        "tokens": tokens_json(total),
        "costUsd": usd(total.cost_micro),
        "createdAt": iso(session.created_at),
        "updatedAt": iso(session.updated_at),
        "lastRoute": route_json(session.last_route),
    }


def messages_json(tx: Transaction, found: Sequence[Message], *, tools: bool) -> list[dict[str, Any]]:
    """Messages as JSON; a tool's result names its tool. Without `tools` calls, and messages of nothing else, go."""
    calls = {message.seq: message.tool_calls for message in found if message.calls}
    for message in found:
        if message.parent_seq is not None and message.parent_seq not in calls:
            above = transcript.load(tx, message.session_id, after=message.parent_seq - 1, upto=message.parent_seq)
            calls[message.parent_seq] = above[0].tool_calls if above else ()
    rows: list[dict[str, Any]] = []
    for message in found:
        row = message_json(message)
        row["tool"] = None
        if message.parent_seq is not None and message.call_index is not None:
            above_calls = calls[message.parent_seq]
            row["tool"] = above_calls[message.call_index].name if message.call_index < len(above_calls) else None
        rows.append(row)
    return rows if tools else without_tools(rows)


def without_tools(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Messages without calls and results, and without those that were nothing else."""
    return [
        {**row, "calls": []}
        for row in rows
        if row.get("role") != "tool" and not (row.get("calls") and not str(row.get("text", "")).strip())
    ]


def _model(gateway: Gateway, tx: Transaction, session: Session) -> str | None:
    if session.model:
        return session.model
    run = runs.find(tx, session.run_id) if session.run_id else None
    if run is not None:
        return run.model
    try:
        return default_model(gateway.config, session.agent_id).name
    except (UnknownAgent, UnknownModel):
        return None


def _total(tx: Transaction, session: Session) -> Usage:
    """What the session has used, with the totals of every run that it asked for."""
    below = [run.total for run in runs.children(tx, session.id)]
    unknown = session.cost_unknown or any(usage.cost_micro is None for usage in below)
    return Usage(
        input=session.tokens_in + sum(usage.input for usage in below),
        output=session.tokens_out + sum(usage.output for usage in below),
        cache_read=session.cache_read + sum(usage.cache_read for usage in below),
        cost_micro=None if unknown else session.cost_micro + sum(usage.cost_micro or 0 for usage in below),
    )
