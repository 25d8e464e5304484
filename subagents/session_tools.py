"""The tools that look at and write to other sessions: `sessions_list`, `sessions_history`, `sessions_send`,
`session_status`.

A conversation of an owner sees every session of every agent; anybody else's conversation, and every child, sees itself
and what is below it. What comes out of another session is bounded, and fenced as data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import Field
from sqlalchemy import select

from gateway.commands.base import CommandError
from gateway.http.sessions import session_json
from gateway.lanes.base import FRESH, RESUMED
from gateway.plugins import Registry
from gateway.store import inbox, runs, sessions, standing
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import runs as runs_table
from gateway.store.sessions import Session
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from gateway.views import iso
from subagents import render, texts
from subagents.control import Control, Origin, messages_of
from subagents.scope import Viewer, visible

LIST_MOST = 100
HISTORY_MOST = 100

A = TypeVar("A", bound=ToolArguments)


class OutOfReach(CommandError):
    """The session isn't there, or isn't this caller's to see; which of the two is not told."""


class SessionsListArguments(ToolArguments):
    """Arguments of `sessions_list`."""

    kind: str | None = Field(default=None, pattern="^(main|subagent)$", description="main or subagent.")
    limit: int = Field(default=20, ge=1, le=LIST_MOST)


class SessionsHistoryArguments(ToolArguments):
    """Arguments of `sessions_history`."""

    session_key: str = Field(max_length=500)
    limit: int = Field(default=20, ge=1, le=HISTORY_MOST)
    tools: bool = Field(default=False, description="With tool calls and results.")


class SessionsSendArguments(ToolArguments):
    """Arguments of `sessions_send`."""

    session_key: str = Field(max_length=500)
    message: str = Field(pattern=r"\S", max_length=100_000)


class SessionStatusArguments(ToolArguments):
    """Arguments of `session_status`."""

    session_key: str | None = Field(default=None, max_length=500, description="Default: this session.")


def session_tools(registry: Registry, control: Control) -> tuple[Tool[Any], ...]:
    """All four."""
    return (
        _looking(
            registry,
            "sessions_list",
            "The sessions that you can see, the last used first.",
            SessionsListArguments,
            _listed,
        ),
        _looking(registry, "sessions_history", "The last messages of a session.", SessionsHistoryArguments, _history),
        _send_tool(registry, control),
        _status_tool(registry),
    )


def _looking(
    registry: Registry, name: str, description: str, args: type[A], look: Callable[[Transaction, Session, A], str]
) -> Tool[A]:
    """A tool that only reads.

    Args:
        registry: where the database is.
        name: of the tool.
        description: for the model.
        args: its arguments.
        look: reads for the session that asks, and returns the tool's text; raises `OutOfReach`.
    """

    def read(tx: Transaction, session_id: str, given: A) -> str:
        return look(tx, sessions.get(tx, session_id), given)

    async def run(context: ToolContext, given: A) -> ToolResult:
        try:
            return ToolResult(await registry.gateway.database.read(read, context.session_id, given))
        except OutOfReach as error:
            return ToolResult(str(error), error=True)

    return Tool(name=name, description=description, args=args, run=run, idempotent=True)


def _listed(tx: Transaction, own: Session, args: SessionsListArguments) -> str:
    if _sees_all(own):
        found = sessions.page(tx, kind=args.kind, before=None, limit=args.limit)
    else:
        below = {run.session_id for run in visible(tx, Viewer(own, ""))}
        seen = [own, *(each for key in below if (each := sessions.find(tx, key)))]
        wanted = [each for each in seen if args.kind in (None, each.kind)]
        found = sorted(wanted, key=lambda each: -each.updated_at)[: args.limit]
    return json.dumps({"sessions": [_session_line(tx, each) for each in found]}, ensure_ascii=False)


def _session_line(tx: Transaction, session: Session) -> dict[str, Any]:
    found = runs.find(tx, session.run_id) if session.run_id else None
    line: dict[str, Any] = {
        "sessionKey": session.key,
        "kind": session.kind,
        "agentId": session.agent_id,
        "busy": session.turn_seq is not None,
        "updatedAt": iso(session.updated_at),
    }
    if found is None:
        return line
    return line | {"label": texts.name_of(found), "status": texts.state_word(standing.of(tx, found))}


def _history(tx: Transaction, own: Session, args: SessionsHistoryArguments) -> str:
    session = sessions.by_key(tx, args.session_key)
    if session is not None and _reaches(tx, own, session):
        rows = messages_of(tx, session.id, None, args.limit, tools=args.tools)
    else:
        run = _archived_run(tx, own, args.session_key) if session is None else None
        if run is None:
            raise OutOfReach(texts.no_session(args.session_key))
        rows = messages_of(tx, run.session_id, run.transcript_path, args.limit, tools=args.tools)
    lines = "\n".join(render.log_lines(rows)) or "(nothing has been said)"
    return texts.fenced("The last messages of another session.", lines)


def _archived_run(tx: Transaction, own: Session, key: str) -> Run | None:
    """A run whose session has been archived; its transcript is a file now."""
    if not _sees_all(own):
        return next((run for run in visible(tx, Viewer(own, "")) if run.session_key == key), None)
    row = tx.execute(
        select(runs_table.c.id).where(runs_table.c.session_key == key).order_by(runs_table.c.created_at.desc())
    ).first()
    return runs.find(tx, str(row[0])) if row else None


def _send_tool(registry: Registry, control: Control) -> Tool[SessionsSendArguments]:
    def apply(tx: Transaction, context: ToolContext, args: SessionsSendArguments) -> ToolResult:
        own = sessions.get(tx, context.session_id)
        target = sessions.by_key(tx, args.session_key)
        call = f"call:{context.session_id}:{context.assistant_seq}:{context.call_index}"
        try:
            if target is None or not _reaches(tx, own, target):
                raise OutOfReach(texts.no_session(args.session_key))
            if target.id == own.id:
                raise OutOfReach(texts.OWN_SESSION)
            run = runs.find(tx, target.run_id) if target.run_id else None
            if run is not None:
                sent = control.send(tx, run, args.message, Origin(own.turn_route, f"agent:{own.agent_id}", call))
                return ToolResult(f"{control.sent(tx, sent).text} Its answer comes with its announcement.")
        except CommandError as error:
            return ToolResult(str(error), error=True)
        return ToolResult(_put(tx, registry, own, target, call, args.message))

    return Tool(
        name="sessions_send",
        description="Send a message to another session. Returns at once; nothing comes back here by itself.",
        args=SessionsSendArguments,
        apply=apply,
        renamed={"timeoutSeconds": "it never waits; leave it out", "text": "use message", "label": "use sessionKey"},
    )


def _put(tx: Transaction, registry: Registry, own: Session, target: Session, call: str, message: str) -> str:
    """Accepts a message for another conversation: as data, because only its own people speak for its user."""
    inbox.put(
        tx,
        target.id,
        "event",
        f"{call}:event",
        texts.fenced(texts.from_session(own.key, own.agent_id), message),
        route=target.last_route,
        sender=f"agent:{own.agent_id}",
    )
    priority = RESUMED if target.turn_seq is not None else FRESH
    registry.gateway.lanes.enqueue(tx, target.lane, target.id, priority)
    return f"Sent to {target.key}. What it answers is posted there; sessions_history shows it."


def _status_tool(registry: Registry) -> Tool[SessionStatusArguments]:
    async def run(context: ToolContext, args: SessionStatusArguments) -> ToolResult:
        def load(tx: Transaction) -> dict[str, Any]:
            own = sessions.get(tx, context.session_id)
            session = sessions.by_key(tx, args.session_key) if args.session_key else own
            if session is None or not _reaches(tx, own, session):
                raise OutOfReach(texts.no_session(args.session_key or own.key))
            active = visible(tx, Viewer(session, ""), open_only=True)
            return session_json(registry.gateway, tx, session) | {"runs": _lines(active)}

        try:
            found = await registry.gateway.database.read(load)
        except OutOfReach as error:
            return ToolResult(str(error), error=True)
        lanes = {
            name: {"running": lane.running, "waiting": lane.waiting, "cap": lane.cap}
            for name, lane in (await registry.gateway.database.read(registry.gateway.lanes.stats)).items()
        }
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return ToolResult(json.dumps({**found, "lanes": lanes, "time": now}, ensure_ascii=False))

    return Tool(
        name="session_status",
        description="A session's model, thinking, tokens, cost, active sub-agents, the lanes, and the time.",
        args=SessionStatusArguments,
        run=run,
        idempotent=True,
    )


def _lines(active: Sequence[Run]) -> list[dict[str, str]]:
    return [{"label": texts.name_of(run), "status": run.status.value, "run": texts.short_id(run)} for run in active]


def _sees_all(own: Session) -> bool:
    return own.kind == "main" and own.owned


def _reaches(tx: Transaction, own: Session, session: Session) -> bool:
    """Whether one session may look at and write to another."""
    if _sees_all(own) or session.id == own.id:
        return True
    return any(run.session_id == session.id for run in visible(tx, Viewer(own, "")))
