"""Inboxes: each session's durable mailbox.

Everything that can make a session act is a row here. A row is accepted once (`dedupe` is unique), may be due later,
and is consumed once, in the transaction that appends it to the transcript.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from sqlalchemy import Executable, bindparam, func, select, update

from gateway.routes import Route
from gateway.store import rows
from gateway.store.database import Transaction, insert_into
from gateway.store.schema import inbox, sessions

Kind = Literal["user", "task", "announce", "steer", "send", "event", "child_done"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of `inbox`."""

    id: int
    session_id: str
    kind: Kind
    dedupe: str
    route: str | None
    """None: it may enter any turn."""
    text: str
    sender: str | None
    sender_id: str | None
    """`<channel>:<user id>`"""
    message_id: str | None
    """The platform's id of the message."""
    attachments: list[dict[str, str]] | None
    run_id: str | None
    trace: str | None
    """The span that has written it."""
    state: Literal["pending", "consumed", "dropped"]
    due_at: int
    created_at: int
    consumed_at: int | None
    consumed_seq: int | None


_COLUMNS = rows.columns(inbox, Row)
_ALL = select(*_COLUMNS)
_FIND = _ALL.where(inbox.c.dedupe == bindparam("of_dedupe"))
_PENDING = _ALL.where(inbox.c.session_id == bindparam("of_session"), inbox.c.state == "pending").order_by(inbox.c.id)
_DUE = _PENDING.where(inbox.c.due_at <= bindparam("now"))
_MARK = update(inbox).where(inbox.c.id == bindparam("of_row"))


@cache
def _put(dialect: str) -> Executable:
    return insert_into(inbox, dialect).on_conflict_do_nothing().returning(*_COLUMNS)


def put(
    tx: Transaction,
    session_id: str,
    kind: Kind,
    dedupe: str,
    text: str,
    *,
    due_at: int | None = None,
    **fields: Any,
) -> tuple[Row, bool]:
    """Accepts a row, or finds the one that was accepted under the same key; the flag says whether it is new.

    The session is held from here on: whoever is about to release it sees the row first (architecture, protocol 4).
    """
    tx.lock(sessions, session_id)
    row = {
        "session_id": session_id,
        "kind": kind,
        "dedupe": dedupe,
        "text": text,
        "state": "pending",
        "due_at": tx.now if due_at is None else due_at,
        "created_at": tx.now,
        "trace": tx.trace,
        **fields,
    }
    new = tx.execute(_put(tx.dialect), row).first()
    return Row(*(new or tx.execute(_FIND, {"of_dedupe": dedupe}).one())), new is not None


def find(tx: Transaction, dedupe: str) -> Row | None:
    """The row that was accepted under a key."""
    row = tx.execute(_FIND, {"of_dedupe": dedupe}).first()
    return Row(*row) if row else None


def pending(tx: Transaction, session_id: str, *, due: bool = True) -> list[Row]:
    """Rows that wait, oldest first; with `due` only those whose time has come."""
    if due:
        return _all(tx, _DUE, of_session=session_id, now=tx.now)
    return _all(tx, _PENDING, of_session=session_id)


def consume(tx: Transaction, row: Row, seq: int) -> None:
    """Marks a row as appended at `seq`, in the unit that appends it."""
    _mark(tx, row.id, state="consumed", consumed_at=tx.now, consumed_seq=seq)


def drop(tx: Transaction, row: Row) -> None:
    """Keeps a row as dropped: it will never be read, and it can be seen that it was not."""
    _mark(tx, row.id, state="dropped", consumed_at=tx.now)


def reword(tx: Transaction, row: Row, text: str) -> None:
    """Its writer has edited it before it was read."""
    _mark(tx, row.id, text=text)


def message_ids(tx: Transaction, session_id: str, since: int) -> list[str]:
    """The platform's ids of what was consumed from a seq on, oldest first."""
    found = tx.execute(
        select(inbox.c.message_id)
        .where(inbox.c.session_id == session_id, inbox.c.consumed_seq >= since, inbox.c.message_id.is_not(None))
        .order_by(inbox.c.id)
    )
    return [str(row[0]) for row in found]


def traces(tx: Transaction, session_id: str, since: int) -> list[str]:
    """The spans that have written what was consumed from a seq on, oldest first."""
    found = tx.execute(
        select(inbox.c.trace)
        .where(inbox.c.session_id == session_id, inbox.c.consumed_seq >= since, inbox.c.trace.is_not(None))
        .order_by(inbox.c.consumed_seq)
    )
    return [str(row[0]) for row in found]


def newest_route(tx: Transaction, sender_id: str, place: Route) -> str | None:
    """The route of the last message that somebody wrote in a thread of a place."""
    inside = place.to_json().removesuffix("}") + ', "thread": '
    return tx.execute(
        select(inbox.c.route)
        .where(inbox.c.sender_id == sender_id, inbox.c.route.startswith(inside, autoescape=True))
        .order_by(inbox.c.id.desc())
        .limit(1)
    ).scalar()


def postpone(tx: Transaction, session_id: str, due_at: int) -> None:
    """Moves the user's waiting messages of a session to a later time (`collect`)."""
    tx.execute(
        update(inbox)
        .where(inbox.c.session_id == session_id, inbox.c.state == "pending", inbox.c.kind == "user")
        .values(due_at=due_at)
    )


def page(tx: Transaction, session_id: str, *, after: int, limit: int) -> list[Row]:
    """A session's rows from an id on, whatever has become of them, oldest first."""
    statement = _ALL.where(inbox.c.session_id == session_id, inbox.c.id > after).order_by(inbox.c.id).limit(limit)
    return _all(tx, statement)


def next_due(tx: Transaction, after: int) -> int | None:
    """When the next row becomes due, of those that weren't at a time (milliseconds)."""
    return tx.execute(
        select(func.min(inbox.c.due_at)).where(inbox.c.state == "pending", inbox.c.due_at > after)
    ).scalar()


def ripened(tx: Transaction, after: int) -> set[str]:
    """The sessions with a row that had been put off, and has become due since a time (milliseconds)."""
    ripe = (inbox.c.due_at > after, inbox.c.due_at <= tx.now, inbox.c.due_at > inbox.c.created_at)
    return set(tx.execute(select(inbox.c.session_id).where(inbox.c.state == "pending", *ripe)).scalars())


def _mark(tx: Transaction, row_id: int, **fields: Any) -> None:
    tx.execute(_MARK, {"of_row": row_id, **fields})


def _all(tx: Transaction, statement: Any, **parameters: Any) -> list[Row]:
    return [Row(*row) for row in tx.execute(statement, parameters)]
