"""Cards on platforms: which message shows what a conversation's sub-agents do.

Owns the table `cards`. At most one card on a route is open; the message itself is an outbox row.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import cards


@dataclass(frozen=True, slots=True)
class Shown:
    """One row of `cards`."""

    post_id: int
    route: str
    session_id: str
    session_key: str
    since: int
    """Milliseconds: runs that were at work from then on belong to it."""
    done: bool


_ALL = select(*rows.columns(cards, Shown))


def unfinished(tx: Transaction) -> list[Shown]:
    """The cards that are still edited."""
    return [Shown(*row) for row in tx.execute(_ALL.where(cards.c.done.is_(False)).order_by(cards.c.post_id))]


def add(tx: Transaction, post_id: int, route: str, session_id: str, session_key: str, since: int) -> Shown:
    """A new card is shown on a route."""
    shown = Shown(post_id, route, session_id, session_key, since, done=False)
    tx.execute(insert(cards).values(**{name: getattr(shown, name) for name in Shown.__slots__}))
    return shown


def finish(tx: Transaction, post_id: int) -> None:
    """It is edited no more."""
    tx.execute(update(cards).where(cards.c.post_id == post_id).values(done=True))
