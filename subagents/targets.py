"""Targets: which run a word means (spec/subagents.md 25).

A word is tried in every way it can be read: index of the list that this sender was last shown here, run id prefix,
session key, label, `last`. If the readings lead to different runs it is refused with the candidates, never guessed.

Owns the table `listings`. Survives a crash: what was shown to whom.
"""

from __future__ import annotations

import re

from sqlalchemy import select

from gateway.commands.base import CommandError
from gateway.store import runs as run_store
from gateway.store import standing
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import listings, runs
from subagents import texts
from subagents.scope import SHOWN, Listing, Viewer, listing, load, visible_query

_INDEX = re.compile(r"#?([0-9]{1,9})", re.ASCII)
_ID_PREFIX = re.compile(r"[0-9a-f-]{4,36}", re.ASCII)


class TargetError(CommandError):
    """The word means no run, or several; the text says how to name one."""


def show(tx: Transaction, viewer: Viewer) -> Listing:
    """A fresh list, remembered as what this sender was last shown in this session."""
    found = listing(tx, viewer)
    if viewer.session is not None:
        ids = [run.id for run in found.shown]
        tx.execute(
            tx.insert(listings)
            .values(session_id=viewer.session.id, sender=viewer.sender, run_ids=ids)
            .on_conflict_do_update(index_elements=["session_id", "sender"], set_={"run_ids": ids})
        )
    return found


def resolve(tx: Transaction, viewer: Viewer, word: str) -> Run:
    """The one run that a word means.

    Raises:
        TargetError: none or several fit.
    """
    word = word.strip()
    if not word:
        raise TargetError(texts.NO_TARGET)
    numbered = _numbered(tx, viewer)
    found = {run.id: run for run in (*_by_index(tx, numbered, word), *_by_name(tx, viewer, word))}
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise TargetError(texts.unknown_target(word, len(numbered)))
    candidates = sorted(found.values(), key=lambda run: (-run.created_at, run.id))
    places = {run_id: number for number, run_id in enumerate(numbered, 1)}
    raise TargetError(texts.ambiguous_target(word, [(places.get(run.id), run) for run in candidates]))


def _numbered(tx: Transaction, viewer: Viewer) -> list[str]:
    """The run ids that indexes stand for: as last shown, else as a fresh list would number them."""
    if viewer.session is not None:
        shown = tx.execute(
            select(listings.c.run_ids).where(
                listings.c.session_id == viewer.session.id, listings.c.sender == viewer.sender
            )
        ).scalar()
        if shown is not None:
            return list(shown)
    return [run.id for run in listing(tx, viewer).shown]


def _by_index(tx: Transaction, numbered: list[str], word: str) -> list[Run]:
    match = _INDEX.fullmatch(word)
    if match is None or not 1 <= int(match[1]) <= len(numbered):
        return []
    run = run_store.find(tx, numbered[int(match[1]) - 1])
    if run is None:
        raise TargetError(texts.purged_target(word))
    return [standing.of(tx, run)]


def _by_name(tx: Transaction, viewer: Viewer, word: str) -> list[Run]:
    """The readings of a word that need no list."""
    query = visible_query(tx, viewer)
    found = load(tx, query.limit(1)) if word == "last" else []
    prefix = word.lower()
    if _ID_PREFIX.fullmatch(prefix):
        found += load(tx, query.where(runs.c.id.startswith(prefix, autoescape=True)).limit(SHOWN))
    named = load(tx, query.where((runs.c.session_key == word) | (runs.c.label == word)).limit(SHOWN))
    newest: dict[str, Run] = {}
    for run in named:
        # A session that was revived has had several runs; its name means the newest.
        newest.setdefault(run.session_id, run)
    return [*found, *newest.values()]
