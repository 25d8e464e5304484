"""Sub-agents beside a conversation: a card for each, and what can be done with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aiohttp import web
from pydantic import Field
from sqlalchemy import select

from channels.web import words
from channels.web.eyes import Eyes
from channels.web.order import in_order
from channels.web.site import Action, Fragment, View
from gateway.http.errors import ApiError
from gateway.http.jobs import STATUSES
from gateway.http.json import Body, answer, read_body
from gateway.http.runs import read_transcript
from gateway.http.sessions import messages_json
from gateway.jobs.owner import JobRefused
from gateway.store import inbox, rows, runs, sessions, standing, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import runs as runs_table
from gateway.views import capped, runtime_ms

ENDED = 8
"""Cards of runs that have ended, beside those at work."""
ACTIVE = 40
LOG = 40
ACTION_CHARS = 120
CHANGES = ("stop", "pause", "resume", "retry")


@dataclass(frozen=True, slots=True)
class CardView:
    """One card."""

    run: Run
    depth: int
    """How far below the uppermost one that is shown."""
    icon: str
    word: str
    tone: str
    doing: str
    """What it does, or why it doesn't."""
    began: int | None
    """Since when the clock runs, in milliseconds; None: it stands."""
    took: int
    """milliseconds"""
    tokens: int
    cost: int | None
    """micro-USD"""


class SteerBody(Body):
    """A message to a run."""

    id: str = Field(pattern=r"^[A-Za-z0-9-]{8,64}$")
    message: str = Field(pattern=r"\S", max_length=100_000)


class Nothing(Body):
    """A body without fields."""


def cards(view: View, tx: Transaction, found: Sequence[Run]) -> list[CardView]:
    """Runs as cards, as they stand."""
    return [_card(view, tx, run, 0) for run in standing.now(tx, found)]


def _card(view: View, tx: Transaction, run: Run, depth: int) -> CardView:
    activity = view.gateway.events.live.activity(run.session_key) if run.open else None
    doing = (activity.text if activity else "") or run.progress or (f"used {run.last_tool}" if run.last_tool else "")
    if run.open and run.status not in ("running",):
        doing = words.reason(view.gateway.jobs.reason(tx, run))
    if not run.open:
        doing = run.error or run.result or ""
    usage = run.total
    return CardView(
        run,
        depth,
        words.icon(run),
        words.word(run),
        words.tone(run),
        capped(words.plain(doing), ACTION_CHARS),
        run.started_at if run.open and run.started_at else None,
        runtime_ms(run, tx.now),
        usage.input + usage.output,
        usage.cost_micro,
    )


def of_conversation(tx: Transaction, eyes: Eyes, key: str) -> tuple[list[Run], int]:
    """Runs of a conversation, those that haven't ended first, and how many more have ended."""
    session = eyes.session(tx, key)
    if session is None:
        return [], 0
    found = runs.below(tx, sessions.same_conversation(tx, session))
    active = sorted((run for run in found if run.open), key=lambda run: run.number)[:ACTIVE]
    ended = sorted((run for run in found if not run.open), key=lambda run: -(run.ended_at or 0))
    return [*active, *ended[:ENDED]], max(0, len(ended) - ENDED)


async def load(view: View) -> Mapping[str, Any]:
    """The cards beside a conversation."""
    key = view.eyes.check(view.need("key"))

    def unit(tx: Transaction) -> dict[str, Any]:
        found, more = of_conversation(tx, view.eyes, key)
        ordered = in_order(standing.now(tx, found))
        shown = [_card(view, tx, run, level) for run, level in ordered]
        return {"cards": shown, "more": more, "active": sum(run.open for run in found)}

    return await view.read(unit)


async def load_log(view: View) -> Mapping[str, Any]:
    """The last messages of a run."""

    def unit(tx: Transaction) -> dict[str, Any]:
        run = standing.of(tx, view.eyes.run(tx, view.need("id")))
        if sessions.find(tx, run.session_id) is None:
            found = read_log(run)
        else:
            found = messages_json(tx, transcript.page(tx, run.session_id, limit=LOG), tools=True)
        waiting = [row for row in inbox.pending(tx, run.session_id, due=False) if row.kind in ("steer", "send")]
        return {"card": _card(view, tx, run, 0), "messages": found, "waiting": waiting}

    return await view.read(unit)


def read_log(run: Run) -> list[dict[str, Any]]:
    """The same of one that is archived, from its file."""
    return read_transcript(Path(run.transcript_path), LOG, tools=True) if run.transcript_path else []


async def change(view: View, name: str) -> web.StreamResponse:
    """`POST /web/runs/{id}/{stop,pause,resume,retry}`."""
    await read_body(view.request, Nothing)

    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        text, changed = view.gateway.jobs.change(tx, run, name, by=view.eyes.who.name)
        return {"text": text, "changed": changed}

    return answer(await refusing(view, unit))


async def steer(view: View) -> web.StreamResponse:
    """`POST /web/runs/{id}/steer`."""
    body = await read_body(view.request, SteerBody)

    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        owner = view.eyes.asker(tx, run)
        row = view.gateway.jobs.send(tx, owner, run, body.message.strip(), f"web:{view.eyes.who.name}:{body.id}")
        return {"text": f"✉️ “{capped(run.label, 80)}” reads it at its next step.", "inboxId": row.id}

    return answer(await refusing(view, unit), 202)


async def refusing(view: View, unit: Any) -> dict[str, Any]:
    try:
        return await view.write(unit)
    except JobRefused as refused:
        raise ApiError(STATUSES[refused.status], str(refused), field=refused.field) from None


def newest_runs(tx: Transaction, eyes: Eyes, limit: int) -> list[Run]:
    """What somebody sees, the newest first."""
    statement = select(*rows.columns(runs_table, Run)).where(eyes.runs())
    return [Run(*row) for row in tx.execute(statement.order_by(runs_table.c.created_at.desc()).limit(limit))]


PANEL = Fragment("agents", "agents.html", load, on=("run", "progress", "idle"), label="Sub-agents")
LOG_VIEW = Fragment("run-log", "run_log.html", load_log, on=("run", "progress", "idle"), label="Log")
ACTIONS = (
    *(Action(f"/web/runs/{{id}}/{name}", partial(change, name=name)) for name in CHANGES),
    Action("/web/runs/{id}/steer", steer),
)
