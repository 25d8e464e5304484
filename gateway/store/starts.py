"""Starts of the gateway: when each process began, and how the one before it had ended.

Owns the table `process_starts`. A process that stops says so; one that dies can't, and is known by that. How long it
had lived is known from its last sign of life and from the last event that it has stored.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from sqlalchemy import delete, insert, select, update

from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import events, process_starts

MOST = 10_000
"""Older ones are forgotten."""


class Before(StrEnum):
    """What came before a start."""

    FIRST = "first"
    """Nothing: there was no state."""
    CLEAN = "clean"
    """The process before had stopped."""
    CRASH = "crash"
    """The process before had died."""


@dataclass(frozen=True, slots=True)
class Start:
    """One row of `process_starts`."""

    id: int
    instance: str
    role: str
    version: str
    kind: Before
    down_since: int | None
    """When the process before had ended (milliseconds); after a crash the last moment at which it surely lived."""
    started_at: int
    seen_at: int
    stopped_at: int | None
    """None: it runs, or has died."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Before(self.kind))


_COLUMNS = rows.columns(process_starts, Start)
_ALL = select(*_COLUMNS)


def begin(tx: Transaction, instance: str, role: str, version: str) -> Start:
    """Unit of work: a process starts."""
    before = tx.execute(_ALL.where(process_starts.c.role == role).order_by(process_starts.c.id.desc()).limit(1)).first()
    last = Start(*before) if before else None
    kind, down_since = Before.FIRST, None
    if last is not None and last.stopped_at is not None:
        kind, down_since = Before.CLEAN, last.stopped_at
    elif last is not None:
        kind, down_since = Before.CRASH, max(last.seen_at, _last_event(tx))
    row = {
        "instance": instance,
        "role": role,
        "version": version,
        "kind": kind.value,
        "down_since": down_since,
        "started_at": tx.now,
        "seen_at": tx.now,
    }
    made = tx.execute(insert(process_starts).values(row).returning(*_COLUMNS)).one()
    start = Start(*made)
    tx.execute(delete(process_starts).where(process_starts.c.id <= start.id - MOST))
    return start


def seen(tx: Transaction, instance: str) -> None:
    """Unit of work: a process lives."""
    tx.execute(update(process_starts).where(process_starts.c.instance == instance).values(seen_at=tx.now))


def stopped(tx: Transaction, instance: str) -> None:
    """Unit of work: a process stops."""
    mine = update(process_starts).where(process_starts.c.instance == instance)
    tx.execute(mine.values(seen_at=tx.now, stopped_at=tx.now))


def between(tx: Transaction, since: int, until: int) -> list[Start]:
    """Unit of work: the gateway's starts within a time (milliseconds), oldest first."""
    own = (process_starts.c.role == "gateway") & process_starts.c.started_at.between(since, until)
    return [Start(*row) for row in tx.execute(_ALL.where(own).order_by(process_starts.c.started_at))]


def newest(tx: Transaction, limit: int) -> list[Start]:
    """Unit of work: the last starts, the newest first."""
    return [Start(*row) for row in tx.execute(_ALL.order_by(process_starts.c.id.desc()).limit(limit))]


def _last_event(tx: Transaction) -> int:
    return int(tx.execute(select(events.c.created_at).order_by(events.c.id.desc()).limit(1)).scalar() or 0)
