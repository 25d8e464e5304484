"""Chats that a platform knows by another id than before: a Telegram group that has become a supergroup.

Owns the table `moved_chats`. Nothing else changes: what is stored about such a chat names the id that it had first, and
its channel exchanges the two (`Intake.moved`).
"""

from __future__ import annotations

from sqlalchemy import bindparam, select

from gateway.routes import Route
from gateway.store.database import Transaction
from gateway.store.schema import moved_chats

_OF_ACCOUNT = (
    moved_chats.c.channel == bindparam("of_channel"),
    moved_chats.c.account == bindparam("of_account"),
)
_MOVES = select(moved_chats.c.chat, moved_chats.c.now).where(*_OF_ACCOUNT)
_NOW = select(moved_chats.c.now).where(*_OF_ACCOUNT, moved_chats.c.chat == bindparam("of_chat"))


def move(tx: Transaction, route: Route, now: str) -> None:
    """The chat of a route has this id on its platform now."""
    it = {"channel": route.channel, "account": route.account, "chat": route.chat}
    new = tx.insert(moved_chats).values(**it, now=now, moved_at=tx.now)
    tx.execute(new.on_conflict_do_update(index_elements=list(it), set_={"now": now, "moved_at": tx.now}))


def moves(tx: Transaction, channel: str, account: str) -> dict[str, str]:
    """All chats of an account that have moved: the id that is stored → the id now."""
    found = tx.execute(_MOVES, {"of_channel": channel, "of_account": account})
    return {str(row.chat): str(row.now) for row in found}


def names(tx: Transaction, route: Route) -> tuple[str, ...]:
    """The ids by which settings may mean a route's chat, the one that it has now first."""
    of = {"of_channel": route.channel, "of_account": route.account, "of_chat": route.chat}
    now = tx.execute(_NOW, of).scalar()
    return (route.chat,) if now is None else (str(now), route.chat)
