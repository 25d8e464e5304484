"""Runs as the lines of a tree."""

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


def nodes(view: View, tx: Transaction, ordered: Sequence[tuple[Run, int]]) -> list[Node]:
    """The same as cards."""
    cards = agents.cards(view, tx, [run for run, _ in ordered])
    return [Node(card, level) for card, (_, level) in zip(cards, ordered, strict=True)]
