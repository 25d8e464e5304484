"""Runs over HTTP, for reading. What is done to a run is registered by the plugin that owns its kind."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import Field

from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, cursor_after, read_cursor, read_query
from gateway.http.keys import GATEWAY
from gateway.http.sessions import ids_of, messages_json, without_tools
from gateway.store import runs, sessions, standing, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run, Status
from gateway.views import run_json as stored_json

if TYPE_CHECKING:
    from gateway.app import Gateway

STATUSES = ("open", *(status.value for status in Status))
OUTCOMES = tuple(outcome.value for outcome in Outcome)


class RunsQuery(Body):
    """Filters of the list; all that are given must hold."""

    status: str | None = None
    outcome: str | None = None
    session: str | None = None
    agent: str | None = None
    cursor: str | None = None
    limit: int = Field(50, ge=1, le=500)


class LogQuery(Body):
    """Which messages of a run."""

    limit: int = Field(20, ge=1, le=500)
    tools: bool = False


async def list_runs(request: web.Request) -> web.Response:
    """`GET /api/runs`: the newest first."""
    gateway = request.app[GATEWAY]
    query = read_query(request, RunsQuery)
    _check("status", query.status, STATUSES)
    _check("outcome", query.outcome, OUTCOMES)
    before = read_cursor(query.cursor)

    def page(tx: Transaction) -> tuple[list[Run], int]:
        found = runs.page(
            tx,
            status=standing.has(query.status) if query.status is not None else None,
            outcome=query.outcome,
            session_ids=ids_of(tx, query.session) if query.session is not None else None,
            agent_id=query.agent,
            before=before,
            limit=query.limit,
        )
        return standing.now(tx, found), tx.now

    found, now = await gateway.database.read(page)
    following = cursor_after(found[-1].created_at, found[-1].id) if len(found) == query.limit else None
    places = await gateway.database.read(gateway.lanes.positions, [run.session_id for run in found])
    return answer({"runs": [run_json(gateway, run, now, places) for run in found], "next": following})


async def show_run(request: web.Request) -> web.Response:
    """`GET /api/runs/{id}`: a run and what it asked for itself."""
    gateway = request.app[GATEWAY]

    def load(tx: Transaction) -> tuple[Run, list[Run], int]:
        found = run_of(tx, request.match_info["id"])
        run, *children = standing.now(tx, [found, *runs.children(tx, found.session_id)])
        return run, children, tx.now

    run, children, now = await gateway.database.read(load)
    places = await gateway.database.read(gateway.lanes.positions, [each.session_id for each in (run, *children)])
    below = [run_json(gateway, child, now, places) for child in children]
    return answer({**run_json(gateway, run, now, places), "children": below})


async def show_log(request: web.Request) -> web.Response:
    """`GET /api/runs/{id}/log`: the last messages; of an archived run from its file (spec/subagents.md 30)."""
    query = read_query(request, LogQuery)

    def load(tx: Transaction) -> tuple[Run, list[dict[str, Any]] | None]:
        run = run_of(tx, request.match_info["id"])
        if sessions.find(tx, run.session_id) is None:
            return run, None
        found = transcript.page(tx, run.session_id, limit=query.limit, tools=query.tools)
        return run, messages_json(tx, found, tools=query.tools)

    def from_file(_tx: Transaction, path: str) -> list[dict[str, Any]]:
        return read_transcript(Path(path), query.limit, tools=query.tools)

    database = request.app[GATEWAY].database
    run, messages = await database.read(load)
    if messages is None:
        # In a reader's thread, like everything else that waits for the disk.
        messages = await database.read(from_file, run.transcript_path) if run.transcript_path else []
    return answer({"runId": run.id, "messages": messages})


def run_of(tx: Transaction, text: str) -> Run:
    """The run with this id, or the only one whose id begins so.

    Raises:
        ApiError: 404 if there is none; 409 if there are several, naming them.
    """
    run = runs.find(tx, text) if text.isprintable() else None
    if run is not None:
        return run
    found = runs.matching(tx, text) if text.isprintable() and text else []
    if not found:
        raise ApiError(404, "there is no such run", field="id", hint="GET /api/runs lists them")
    if len(found) > 1:
        names = ", ".join(f"{run.id[:13]} “{run.label}”" for run in found)
        raise ApiError(409, f"several runs begin with `{text}`", field="id", hint=f"it could be: {names}")
    return found[0]


def run_json(gateway: Gateway, run: Run, now: int, places: Mapping[str, int]) -> dict[str, Any]:
    """A run as JSON, with its session's place in the queue, and what only this process knows: what it is doing now."""
    found = stored_json(run, now, places.get(run.session_id))
    activity = gateway.events.live.activity(run.session_key) if run.open else None
    if activity is not None:
        found["progress"] = activity.text or found["progress"]
        found["lastTool"] = activity.last_tool or found["lastTool"]
    return found


def read_transcript(path: Path, limit: int, *, tools: bool) -> list[dict[str, Any]]:
    """The last messages of a transcript file; empty if it has been purged."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    rows: list[dict[str, Any]] = [json.loads(line) for line in lines]
    calls = {row["seq"]: row.get("calls", []) for row in rows}
    for row in rows:
        above: list[dict[str, str]] = calls.get(row.get("parentSeq"), [])
        index = row.get("callIndex")
        row["tool"] = above[index]["name"] if index is not None and index < len(above) else None
    return (rows if tools else without_tools(rows))[-limit:]


def _check(field: str, value: str | None, known: Sequence[str]) -> None:
    if value is not None and value not in known:
        raise ApiError(400, f"`{field}` is one of: {', '.join(known)}", field=field)
