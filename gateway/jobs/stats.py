"""How the kinds of jobs stand, and what is stuck: *wedged* and *divergent* (spec/jobs.md, views)."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from gateway.lanes.base import Lanes
from gateway.store import jobs
from gateway.store.database import Transaction

WINDOW_MS = 24 * 3600 * 1000
FLOW_MS = 3600 * 1000
WEDGED_SECONDS = 60.0
"""Work that has waited so long while nothing runs is stuck."""
DIVERGENT_FROM = 20
"""Fewer jobs than that say nothing about a trend."""


def stats(tx: Transaction, lanes: Lanes) -> dict[str, Any]:
    """Every kind with its numbers of the last day, every lane, and what is stuck, with the next command to type."""
    kinds = jobs.counts(tx, tx.now - WINDOW_MS)
    return {
        "kinds": [{**_camel(asdict(each)), **_flow(tx, each.kind)} for each in kinds],
        "lanes": {
            name: {"cap": lane.cap, "running": lane.running, "waiting": lane.waiting}
            for name, lane in lanes.stats(tx).items()
        },
        "wedged": _wedged(tx, lanes),
        "divergent": _divergent(tx, kinds),
    }


def _flow(tx: Transaction, kind: str) -> dict[str, int]:
    came, went = jobs.flow(tx, kind, tx.now - FLOW_MS)
    return {"cameLastHour": came, "wentLastHour": went}


def _wedged(tx: Transaction, lanes: Lanes) -> list[dict[str, str]]:
    """Lanes with work that waits and nothing that runs."""
    found: list[dict[str, str]] = []
    for name, lane in lanes.stats(tx).items():
        if lane.waiting and not lane.running and lane.oldest_wait_seconds > WEDGED_SECONDS:
            text = f"{lane.waiting} wait in the queue {name} and nothing runs"
            # On SQLite there is nobody but the gateway: what keeps it is at work in another lane.
            command = "laneway jobs list --status running" if tx.alone else f"laneway worker --lane {name}"
            found.append({"queue": name, "text": text, "command": command})
    return found


def _divergent(tx: Transaction, kinds: list[jobs.Counts]) -> list[dict[str, str]]:
    """Kinds of which more come than go."""
    found: list[dict[str, str]] = []
    for each in kinds:
        came, went = jobs.flow(tx, each.kind, tx.now - FLOW_MS)
        if came >= DIVERGENT_FROM and came > 2 * max(1, went) and each.waiting:
            text = f"{came} {each.kind} jobs came in the last hour and {went} ended"
            command = f"laneway jobs list --name {each.kind} --status open"
            found.append({"name": each.kind, "text": text, "command": command})
    return found


def _camel(fields: dict[str, Any]) -> dict[str, Any]:
    names = {"kind": "name", "average_ms": "averageMs", "p95_ms": "p95Ms"}
    return {names.get(name, name): value for name, value in fields.items()}
