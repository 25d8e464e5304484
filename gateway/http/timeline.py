"""A run's timeline as JSON: what its picture is drawn from."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from gateway.http.json import answer
from gateway.http.keys import GATEWAY
from gateway.http.runs import run_of
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.timeline import Bar, timeline
from gateway.views import iso, usd


async def show_timeline(request: web.Request) -> web.Response:
    """`GET /api/runs/{id}/timeline`."""

    def load(tx: Transaction) -> dict[str, Any]:
        return timeline_json(tx, run_of(tx, request.match_info["id"]))

    return answer(await request.app[GATEWAY].database.read(load))


def timeline_json(tx: Transaction, run: Run) -> dict[str, Any]:
    """Unit of work that only reads: all bars of a run, with the time that the picture spans."""
    return {
        "runId": run.id,
        "id": run.number,
        "label": run.label,
        "status": run.status.value,
        "outcome": run.outcome.value if run.outcome else None,
        "start": iso(run.created_at),
        "end": iso(run.ended_at),
        "now": iso(tx.now),
        "bars": [_bar(bar, tx.now) for bar in timeline(tx, run)],
    }


def _bar(bar: Bar, now: int) -> dict[str, Any]:
    return {
        "kind": bar.kind.value,
        "label": bar.label,
        "start": iso(bar.start),
        "end": iso(bar.end),
        "seconds": max(0, (now if bar.end is None else bar.end) - bar.start) / 1000,
        "seq": bar.seq,
        "index": bar.index,
        "error": bar.error,
        "estimated": bar.estimated,
        "tokensIn": bar.tokens_in,
        "tokensOut": bar.tokens_out,
        "costUsd": usd(bar.cost_micro),
        "runId": bar.run_id,
    }
