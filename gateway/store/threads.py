"""Threads that belong to a sub-agent: what people write there goes to it (spec/channels.md, thread-bound sub-agents).

Owns the tables `threads` and `openings`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from gateway.store.database import Transaction
from gateway.store.schema import openings, threads


@dataclass(frozen=True, slots=True)
class Thread:
    """One row of `threads`."""

    route: str
    session_id: str
    session_key: str
    bound_by: str
    created_at: int
    used_at: int


@dataclass(frozen=True, slots=True)
class Opening:
    """One row of `openings`: an effect on a platform that has been begun."""

    key: str
    route: str
    opened: str | None
    """The new thread's route; None: nobody knows whether it was opened."""
    created_at: int


_ALL = select(threads)
_OF_SESSION = _ALL.where(threads.c.session_id == bindparam("of_session")).order_by(threads.c.created_at)


def bind(tx: Transaction, route: str, session_id: str, session_key: str, by: str) -> Thread:
    """Gives a thread to a session; it takes the place of whom it belonged to."""
    tx.execute(delete(threads).where(threads.c.route == route))
    row = Thread(route, session_id, session_key, by, tx.now, tx.now)
    tx.execute(insert(threads).values(**{name: getattr(row, name) for name in Thread.__slots__}))
    return row


def on_route(tx: Transaction, route: str) -> Thread | None:
    """To whom a thread belongs."""
    return _one(tx, _ALL.where(threads.c.route == route))


def of_session(tx: Transaction, session_id: str) -> list[Thread]:
    """The threads that belong to a session, oldest first."""
    return [Thread(*row) for row in tx.execute(_OF_SESSION, {"of_session": session_id})]


def touch(tx: Transaction, route: str) -> None:
    """Somebody has written in a thread."""
    tx.execute(update(threads).where(threads.c.route == route).values(used_at=tx.now))


def unbind(tx: Transaction, route: str) -> Thread | None:
    """Gives a thread back; returns what it was."""
    thread = on_route(tx, route)
    tx.execute(delete(threads).where(threads.c.route == route))
    return thread


def overdue(tx: Transaction, idle_ms: int, age_ms: int) -> list[Thread]:
    """Threads that nobody has used for too long, or that are too old; 0 is no limit."""
    found = [Thread(*row) for row in tx.execute(_ALL)]
    return [each for each in found if (due := _due(each, idle_ms, age_ms)) is not None and due <= tx.now]


def next_due(tx: Transaction, idle_ms: int, age_ms: int) -> int | None:
    """When the next thread is to be given back (milliseconds)."""
    used = tx.execute(select(func.min(threads.c.used_at))).scalar()
    made = tx.execute(select(func.min(threads.c.created_at))).scalar()
    times = [used + idle_ms] if used is not None and idle_ms else []
    times += [made + age_ms] if made is not None and age_ms else []
    return min(times, default=None)


def begin_opening(tx: Transaction, key: str, route: str) -> Opening:
    """Notes that a thread is about to be opened, or finds that this has been begun before."""
    known = find_opening(tx, key)
    if known is None:
        tx.execute(insert(openings).values(key=key, route=route, created_at=tx.now))
        return Opening(key, route, None, tx.now)
    return known


def find_opening(tx: Transaction, key: str) -> Opening | None:
    """What is known of an opening."""
    row = tx.execute(select(openings).where(openings.c.key == key)).first()
    return Opening(*row) if row else None


def opened(tx: Transaction, key: str, route: str) -> None:
    """The thread is there."""
    tx.execute(update(openings).where(openings.c.key == key).values(opened=route))


def forget_opening(tx: Transaction, key: str) -> None:
    """The thread belongs to somebody, or was taken back."""
    tx.execute(delete(openings).where(openings.c.key == key))


def _due(thread: Thread, idle_ms: int, age_ms: int) -> int | None:
    times = [thread.used_at + idle_ms] if idle_ms else []
    times += [thread.created_at + age_ms] if age_ms else []
    return min(times, default=None)


def _one(tx: Transaction, statement: Any) -> Thread | None:
    row = tx.execute(statement).first()
    return Thread(*row) if row else None
