"""Runs as trees: each before what it has asked for, with its level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from channels.web import agents
from channels.web.agents import CardView
from channels.web.site import View
from gateway.store.database import Transaction
from gateway.store.runs import Run


@dataclass(frozen=True, slots=True)
class Node:
    """A run in its place."""

    card: CardView
    level: int


def in_order(found: Sequence[Run]) -> list[tuple[Run, int]]:
    """Each run before what is below it, with its level. What was asked for by none of them stands at the top."""
    known = {run.session_id for run in found}
    below: dict[str, list[Run]] = {}
    for run in found:
        if run.requester_id in known:
            below.setdefault(run.requester_id, []).append(run)
    waiting = [(run, 0) for run in reversed(found) if run.requester_id not in known]
    ordered: list[tuple[Run, int]] = []
    while waiting:
        run, level = waiting.pop()
        ordered.append((run, level))
        waiting += [(child, level + 1) for child in reversed(below.get(run.session_id, []))]
    return ordered


def nodes(view: View, tx: Transaction, ordered: Sequence[tuple[Run, int]]) -> list[Node]:
    """The same as cards."""
    cards = agents.cards(view, tx, [run for run, _ in ordered])
    return [Node(card, level) for card, (_, level) in zip(cards, ordered, strict=True)]
