"""The outbox: what is to be posted to a channel, written in the transaction of the message that it carries.

A streamed answer's row is there, in state `streaming`, before its first delta leaves; the final commit turns that row
into the delivery. Rows of one route are sent in the order of their ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update

from gateway.channel import PostKind
from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import outbox


class State(StrEnum):
    """Where a post is on its way."""

    STREAMING = "streaming"
    """A placeholder: the answer is still being written."""
    PENDING = "pending"
    """To be sent, now or at `next_at`."""
    SENDING = "sending"
    """Handed to the platform; if the process dies now it may or may not have arrived."""
    HELD = "held"
    """Waits until its reader asks for it (the OpenAI-compatible API)."""
    DELIVERED = "delivered"
    """The platform has it."""
    FAILED = "failed"
    """Can't be delivered; `error` says why. Stays listed until it is retried or dropped."""
    DROPPED = "dropped"
    """Given up by a person."""


@dataclass(frozen=True, slots=True)
class Post:
    """One row of `outbox`."""

    id: int
    session_id: str
    session_key: str
    seq: int | None
    route: str
    kind: PostKind
    text: str
    card: dict[str, Any] | None
    buttons: list[dict[str, Any]] | None
    state: State
    attempts: int
    next_at: int | None
    error: str | None
    platform_id: str | None
    streamed: bool
    """It has been shown on its platform while it was being written."""
    recovered: bool
    """A try may have arrived without our knowing."""
    copied: bool
    """Such a try was followed by another one, which was delivered: the platform may show both."""
    trace: str | None
    """The span that has written it."""
    created_at: int
    delivered_at: int | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", State(self.state))


_WAITING = (State.PENDING, State.SENDING)
_COLUMNS = rows.columns(outbox, Post)
_ALL = select(*_COLUMNS)
_IS_IT = outbox.c.id == bindparam("of_post")
_ADD = insert(outbox).returning(*_COLUMNS)
_FIND = _ALL.where(_IS_IT)
_CHANGE = update(outbox).where(_IS_IT)
_STREAMING = _ALL.where(outbox.c.session_id == bindparam("of_session"), outbox.c.state == State.STREAMING)
_SENDABLE = (
    _ALL.where(
        outbox.c.id.in_(select(func.min(outbox.c.id)).where(outbox.c.state.in_(_WAITING)).group_by(outbox.c.route)),
        outbox.c.state == State.PENDING,
        (outbox.c.next_at.is_(None)) | (outbox.c.next_at <= bindparam("now")),
    )
    .order_by(outbox.c.id)
    .limit(bindparam("most"))
)
_NEXT_DUE = select(func.min(outbox.c.next_at)).where(
    outbox.c.state == State.PENDING, outbox.c.next_at > bindparam("after")
)


def add(
    tx: Transaction,
    *,
    session_id: str,
    session_key: str,
    route: str,
    text: str,
    state: State,
    seq: int | None = None,
    kind: PostKind = "text",
    card: dict[str, Any] | None = None,
) -> Post:
    """Writes a post."""
    row = {
        "kind": kind,
        "card": card,
        "session_id": session_id,
        "session_key": session_key,
        "route": route,
        "text": text,
        "state": state,
        "seq": seq,
        "created_at": tx.now,
        "trace": tx.trace,
        "delivered_at": tx.now if state is State.DELIVERED else None,
    }
    return Post(*tx.execute(_ADD, row).one())


def find(tx: Transaction, post_id: int) -> Post | None:
    """The post with this id."""
    row = tx.execute(_FIND, {"of_post": post_id}).first()
    return Post(*row) if row else None


def get(tx: Transaction, post_id: int) -> Post:
    """The post with this id, which must exist."""
    tx.lock(outbox, post_id)
    post = find(tx, post_id)
    if post is None:
        raise LookupError(f"no post {post_id} in the outbox; see `laneway outbox list`")
    return post


def change(tx: Transaction, post_id: int, **fields: Any) -> None:
    """Sets columns of a post."""
    tx.execute(_CHANGE, {"of_post": post_id, **fields})


def remove(tx: Transaction, post_id: int) -> None:
    """Takes back a placeholder whose answer was not to be posted."""
    tx.execute(delete(outbox).where(outbox.c.id == post_id, outbox.c.state == State.STREAMING))


def streaming(tx: Transaction, session_id: str) -> Post | None:
    """The placeholder of a session's answer, if one is open."""
    row = tx.execute(_STREAMING, {"of_session": session_id}).first()
    return Post(*row) if row else None


def sendable(tx: Transaction, limit: int = 200) -> list[Post]:
    """The first unsent post of every route, if it is due, oldest first."""
    return _all(tx, _SENDABLE, now=tx.now, most=limit)


def waits_for(tx: Transaction, post: Post) -> bool:
    """Whether another post is to be sent on its route before it."""
    earlier = select(outbox.c.id).where(outbox.c.route == post.route, outbox.c.id < post.id)
    return tx.execute(earlier.where(outbox.c.state.in_(_WAITING)).limit(1)).first() is not None


def next_due(tx: Transaction, after: int) -> int | None:
    """When the next retry is due, of those that weren't at a time (milliseconds)."""
    return tx.execute(_NEXT_DUE, {"after": after}).scalar()


def held(tx: Transaction, session_key: str) -> list[Post]:
    """Posts of a session that wait for their reader, oldest first."""
    statement = _ALL.where(outbox.c.session_key == session_key, outbox.c.state == State.HELD)
    return _all(tx, statement.order_by(outbox.c.id))


def listed(tx: Transaction, state: str | None, limit: int = 200) -> list[Post]:
    """Posts in a state, or all that are neither delivered nor dropped; oldest first."""
    statement = _ALL
    if state:
        statement = statement.where(outbox.c.state == state)
    else:
        statement = statement.where(outbox.c.state.not_in((State.DELIVERED, State.DROPPED, State.STREAMING)))
    return _all(tx, statement.order_by(outbox.c.id).limit(limit))


def counts(tx: Transaction) -> dict[str, int]:
    """How many posts there are in each state."""
    rows = tx.execute(select(outbox.c.state, func.count().label("number")).group_by(outbox.c.state))
    return {str(row.state): int(row.number) for row in rows}


def interrupted(tx: Transaction) -> int:
    """At start-up: what was being sent when the process died is taken up again, marked; returns how many.

    So is a stream that may have begun on its platform without our knowing as which message.
    """
    tx.execute(
        update(outbox)
        .where(outbox.c.state.in_((State.STREAMING, State.PENDING)), outbox.c.streamed, outbox.c.platform_id.is_(None))
        .values(recovered=True)
    )
    return tx.execute(
        update(outbox).where(outbox.c.state == State.SENDING).values(state=State.PENDING, recovered=True, next_at=None)
    ).rowcount


def _all(tx: Transaction, statement: Any, **parameters: Any) -> list[Post]:
    return [Post(*row) for row in tx.execute(statement, parameters)]
