"""One run: what it does, when it did what, turn by turn, what was sent to it, where it stands in its tree."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, select

from channels.web import agents, words
from channels.web.order import in_order
from channels.web.room import facts, picture, trees, turns
from channels.web.site import Fragment, Page, View
from gateway.agent.budgets import budgets
from gateway.http.runs import read_transcript
from gateway.http.sessions import messages_json
from gateway.store import inbox, rows, runs, sessions, standing
from gateway.store.database import Transaction
from gateway.store.runs import Outcome, Run
from gateway.store.schema import messages as table
from gateway.store.transcript import Message
from gateway.timeline import timeline, within
from gateway.views import capped

SIZE = 60
"""Messages of one part of a transcript."""
WHOLE_FILE = 100_000
TREE = 300
LETTERS = 300
LIVE_ON = ("run", "progress", "message", "idle")
_MESSAGES = select(*rows.columns(table, Message))


async def load(view: View) -> Mapping[str, Any]:
    """The page; a number or the beginning of an id will do."""

    def unit(tx: Transaction) -> Run:
        return view.eyes.run_named(tx, view.need("id").lower())

    run = await view.read(unit)
    params = {"id": run.id}
    if before := view.params.get("before", ""):
        params["before"] = before
        turns.before(view)
    return {"run": run, "params": params, "title": f"{capped(run.label, 60)} #{run.number}"}


async def load_head(view: View) -> Mapping[str, Any]:
    """State, actions and result."""

    def unit(tx: Transaction) -> dict[str, Any]:
        run = standing.of(tx, view.eyes.run(tx, view.need("id")))
        [card] = agents.cards(view, tx, [run])
        kind = view.gateway.registry.job_kinds.get(run.kind)
        return {
            "card": card,
            "again": run.outcome not in (None, Outcome.OK) and run.archived_at is None,
            "replays": kind is not None and (view.eyes.operator or not kind.protected),
            "reason": words.reason(view.gateway.jobs.reason(tx, run)) if run.open and run.status != "running" else "",
            "output": _pretty(run.output) if run.output is not None and run.output != run.result else "",
            "key": run.session_key,
        }

    return await view.read(unit)


async def load_facts(view: View) -> Mapping[str, Any]:
    """What it was given, what it may spend, and everything else that is known of it."""

    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        limits = [each for each in budgets(tx, view.gateway.config, run) if each.limit is not None]
        return {
            "run": run,
            "facts": facts.facts(tx, view, run),
            "budgets": [each for each in limits if each.of == "run" or view.eyes.operator],
            "payload": _pretty(run.payload) if run.payload and not run.task else "",
            "key": run.session_key,
        }

    return await view.read(unit)


async def load_timeline(view: View) -> Mapping[str, Any]:
    """The picture."""

    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        drawn = picture.picture(run, timeline(tx, run), tx.now)
        return {"picture": drawn, "run": run, "every": 5 if run.open else 0, "key": run.session_key}

    return await view.read(unit)


async def load_tree(view: View) -> Mapping[str, Any]:
    """The whole tree that it belongs to, as far as it is in the viewer's sight."""

    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        top = run
        for above in runs.ancestors(tx, run):
            if not view.eyes.sees_run(tx, above.id):
                break
            top = above
        below = runs.below(tx, [top.session_id])
        ordered = in_order([top, *below])
        nodes = trees.nodes(view, tx, ordered[:TREE])
        live = any(each.open for each, _ in ordered)
        return {"nodes": nodes, "run": run, "left_out": max(0, len(ordered) - TREE), "every": 5 if live else 0}

    return await view.read(unit)


async def load_turns(view: View) -> Mapping[str, Any]:
    """One part of the transcript, the last one unless asked otherwise."""
    before = turns.before(view)

    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        stored = sessions.find(tx, run.session_id) is not None
        found, earlier = _stored(tx, run, before) if stored else _filed(run, before)
        first = found[0]["seq"] if found else 0
        kind = view.gateway.registry.job_kinds.get(run.kind)
        return {
            "turns": turns.turns(found, turns.answers(tx, run.session_id, first) if stored else 0),
            "run": run,
            "earlier": first if earlier else None,
            "later": before is not None,
            "forks": stored and kind is not None and kind.create is not None,
            "stored": stored,
            "on": LIVE_ON if run.archived_at is None and before is None else (),
            "key": run.session_key,
        }

    return await view.read(unit)


async def load_inbox(view: View) -> Mapping[str, Any]:
    """What was sent to it, with receipts."""

    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        found = inbox.page(tx, run.session_id, after=0, limit=LETTERS)
        letters = [row for row in found if within(run, row.created_at)]
        return {"letters": letters, "run": run, "key": run.session_key}

    return await view.read(unit)


def _within(run: Run) -> ColumnElement[bool]:
    """The messages of a run: a session that was revived holds those of several."""
    mine = (table.c.session_id == run.session_id) & (table.c.created_at >= run.created_at)
    return mine if run.ended_at is None else mine & (table.c.created_at <= run.ended_at)


def _stored(tx: Transaction, run: Run, before: int | None) -> tuple[list[dict[str, Any]], bool]:
    statement = _MESSAGES.where(_within(run))
    if before is not None:
        statement = statement.where(table.c.seq < before)
    newest = tx.execute(statement.order_by(table.c.seq.desc()).limit(SIZE + 1))
    found = [Message(*row) for row in newest][::-1]
    earlier = len(found) > SIZE
    return messages_json(tx, turns.with_calls(tx, run.session_id, found[-SIZE:]), tools=True), earlier


def _filed(run: Run, before: int | None) -> tuple[list[dict[str, Any]], bool]:
    """The same of one that is archived."""
    found = read_transcript(Path(run.transcript_path), WHOLE_FILE, tools=True) if run.transcript_path else []
    upto = [row for row in found if before is None or row["seq"] < before]
    place = max(0, len(upto) - SIZE)
    while place and upto[place]["role"] == "tool":
        place -= 1
    return upto[place:], place > 0


def _pretty(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=2)


PAGE = Page(
    "/web/runs/{id}",
    "Run",
    "run.html",
    load,
    fragments=("run-head", "run-timeline", "run-facts", "run-tree", "run-turns", "run-inbox"),
)
FRAGMENTS = (
    Fragment("run-head", "run_head.html", load_head, on=("run", "progress", "idle"), label="State"),
    Fragment("run-facts", "run_facts.html", load_facts, on=("run", "message"), label="Details"),
    Fragment("run-timeline", "run_timeline.html", load_timeline, on=LIVE_ON, label="Timeline"),
    Fragment("run-tree", "run_tree.html", load_tree, on=("run",), label="Tree"),
    Fragment("run-turns", "run_turns.html", load_turns, on=LIVE_ON, label="Transcript"),
    Fragment("run-inbox", "run_inbox.html", load_inbox, on=("run", "message", "progress"), label="Inbox"),
)
