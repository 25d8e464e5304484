"""People who write directly: who has asked to be paired, and whom an owner has approved (spec/channels.md 2).

Owns the table `people`. A request holds a code of eight characters that can't be misread; it is valid for an hour, and
at most three wait per account, so that strangers can't fill the table.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, insert, select, update

from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import people

ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
CODE_CHARS = 8
VALID_MS = 3600 * 1000
PENDING_PER_ACCOUNT = 3
REMIND_MS = 10 * 60 * 1000
"""Who writes on without being approved hears of it again only after this time."""


class Standing(StrEnum):
    """How somebody stands."""

    PENDING = "pending"
    """Has asked and waits."""
    APPROVED = "approved"
    """May write."""


@dataclass(frozen=True, slots=True)
class Person:
    """One row of `people`."""

    channel: str
    account: str
    peer: str
    name: str
    state: Standing
    code: str | None
    created_at: int
    expires_at: int | None
    told_at: int | None
    approved_at: int | None
    approved_by: str | None

    def __post_init__(self) -> None:
        object.__setattr__(self, "state", Standing(self.state))


_ALL = select(*rows.columns(people, Person))


def approved(tx: Transaction, channel: str, account: str, peer: str) -> bool:
    """Whether somebody has been approved."""
    person = _find(tx, channel, account, peer)
    return person is not None and person.state is Standing.APPROVED


def ask(tx: Transaction, channel: str, account: str, peer: str, name: str) -> Person | None:
    """Notes that somebody wants to write; returns him if he is to be told his code now, None if he is told nothing."""
    tx.lock_names(f"people:{channel}:{account}")
    tx.execute(delete(people).where(people.c.state == Standing.PENDING, people.c.expires_at <= tx.now))
    known = _find(tx, channel, account, peer)
    if known is not None:
        if known.state is Standing.APPROVED or tx.now - (known.told_at or 0) < REMIND_MS:
            return None
        tx.execute(_it(update(people), channel, account, peer).values(told_at=tx.now))
        return known
    waiting = select(people.c.peer).where(
        people.c.channel == channel, people.c.account == account, people.c.state == Standing.PENDING
    )
    if len(tx.execute(waiting).all()) >= PENDING_PER_ACCOUNT:
        return None
    tx.execute(
        insert(people).values(
            channel=channel,
            account=account,
            peer=peer,
            name=name,
            state=Standing.PENDING,
            code="".join(secrets.choice(ALPHABET) for _ in range(CODE_CHARS)),
            created_at=tx.now,
            expires_at=tx.now + VALID_MS,
            told_at=tx.now,
        )
    )
    return _find(tx, channel, account, peer)


def approve(tx: Transaction, code: str, by: str) -> Person | None:
    """Approves who has this code; None: nobody has it, or it is no longer valid."""
    row = tx.execute(_ALL.where(people.c.code == code.strip().upper())).first()
    person = Person(*row) if row else None
    if person is None or (person.expires_at or 0) <= tx.now:
        return None
    tx.execute(
        _it(update(people), person.channel, person.account, person.peer).values(
            state=Standing.APPROVED, code=None, expires_at=None, approved_at=tx.now, approved_by=by
        )
    )
    return _find(tx, person.channel, person.account, person.peer)


def revoke(tx: Transaction, channel: str, peer: str, account: str | None = None) -> int:
    """Takes somebody's standing away, on one account or all; returns on how many he had one."""
    statement = delete(people).where(people.c.channel == channel, people.c.peer == peer)
    if account is not None:
        statement = statement.where(people.c.account == account)
    return tx.execute(statement).rowcount


def listed(tx: Transaction) -> list[Person]:
    """Everybody, those who wait first."""
    found = tx.execute(
        _ALL.where((people.c.state == Standing.APPROVED) | (people.c.expires_at > tx.now)).order_by(
            people.c.state.desc(), people.c.created_at
        )
    )
    return [Person(*row) for row in found]


def _find(tx: Transaction, channel: str, account: str, peer: str) -> Person | None:
    row = tx.execute(_it(_ALL, channel, account, peer)).first()
    return Person(*row) if row else None


def _it(statement: Any, channel: str, account: str, peer: str) -> Any:
    return statement.where(people.c.channel == channel, people.c.account == account, people.c.peer == peer)
