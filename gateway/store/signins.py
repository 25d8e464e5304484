"""Sign-ins: the browsers that somebody has let in, and the codes that lead to one.

Owns the tables `signins` and `signin_codes`. A code is used once and is valid for ten minutes. Of codes and cookies
only digests are kept: they are long and random, so that a digest leads back to nothing, and whoever reads the database
or a backup can't sign in with it. A sign-in ends when it is revoked or was not used for 30 days.
"""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import bindparam, delete, insert, select, update

from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import signin_codes, signins

SigninScope = Literal["operator", "chat"]
CODE_MS = 10 * 60 * 1000
UNUSED_MS = 30 * 24 * 3600 * 1000
TOUCH_MS = 60 * 1000
"""How exactly the last use is known: not every request is worth a write."""
USER_AGENT_CHARS = 200


class NameTaken(Exception):
    """The name stands for somebody with other rights, who would share what belongs to the name."""


@dataclass(frozen=True, slots=True)
class SignIn:
    """One browser of somebody."""

    id: str
    name: str
    scope: SigninScope
    user_agent: str
    created_at: int
    used_at: int
    revoked_at: int | None


@dataclass(frozen=True, slots=True)
class Opened:
    """A new sign-in, and what its cookie is to hold."""

    signin: SignIn
    secret: str


_COLUMNS = rows.columns(signins, SignIn)
_BY_DIGEST = select(*_COLUMNS).where(
    signins.c.digest == bindparam("of_digest"), signins.c.revoked_at.is_(None), signins.c.used_at > bindparam("since")
)


def digest(secret: str) -> str:
    """What is kept of a code or a cookie."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).hexdigest()


def make_code(tx: Transaction, name: str, scope: SigninScope) -> str:
    """A new code; it is shown once and can't be read again.

    Raises:
        NameTaken: somebody of this name has signed in with another scope.
    """
    other = select(signins.c.id).where(signins.c.name == name, signins.c.scope != scope)
    waiting = select(signin_codes.c.digest).where(signin_codes.c.name == name, signin_codes.c.scope != scope)
    _forget_old(tx)
    if tx.execute(other).first() is not None or tx.execute(waiting).first() is not None:
        raise NameTaken(name)
    code = secrets.token_urlsafe(24)
    tx.execute(
        insert(signin_codes).values(
            digest=digest(code), name=name, scope=scope, created_at=tx.now, expires_at=tx.now + CODE_MS
        )
    )
    return code


def use_code(tx: Transaction, code: str, user_agent: str) -> Opened | None:
    """Swaps a code for a sign-in; None: it was used, is too old, or never was one."""
    _forget_old(tx)
    used = delete(signin_codes).where(signin_codes.c.digest == digest(code), signin_codes.c.expires_at > tx.now)
    row = tx.execute(used.returning(signin_codes.c.name, signin_codes.c.scope)).first()
    if row is None:
        return None
    secret = secrets.token_urlsafe(32)
    made = tx.execute(
        insert(signins)
        .values(
            id=secrets.token_hex(4),
            digest=digest(secret),
            name=row.name,
            scope=row.scope,
            user_agent=user_agent[:USER_AGENT_CHARS],
            created_at=tx.now,
            used_at=tx.now,
        )
        .returning(*_COLUMNS)
    ).one()
    return Opened(SignIn(*made), secret)


def find(tx: Transaction, secret: str) -> SignIn | None:
    """The sign-in that a cookie stands for, if it is valid."""
    row = tx.execute(_BY_DIGEST, {"of_digest": digest(secret), "since": tx.now - UNUSED_MS}).first()
    return SignIn(*row) if row else None


def valid(tx: Transaction, signin_id: str) -> bool:
    """Whether a sign-in still holds."""
    statement = select(signins.c.id).where(
        signins.c.id == signin_id, signins.c.revoked_at.is_(None), signins.c.used_at > tx.now - UNUSED_MS
    )
    return tx.execute(statement).first() is not None


def touch(tx: Transaction, signin_id: str) -> None:
    """It has just been used."""
    tx.execute(update(signins).where(signins.c.id == signin_id).values(used_at=tx.now))


def listed(tx: Transaction, name: str | None = None) -> list[SignIn]:
    """Those that are valid, the last used first; all, or somebody's."""
    statement = select(*_COLUMNS).where(signins.c.revoked_at.is_(None), signins.c.used_at > tx.now - UNUSED_MS)
    if name is not None:
        statement = statement.where(signins.c.name == name)
    return [SignIn(*row) for row in tx.execute(statement.order_by(signins.c.used_at.desc(), signins.c.id))]


def revoke(tx: Transaction, signin_id: str) -> SignIn | None:
    """Ends a sign-in; None: there is none of this id that is valid."""
    row = tx.execute(
        update(signins)
        .where(signins.c.id == signin_id, signins.c.revoked_at.is_(None))
        .values(revoked_at=tx.now)
        .returning(*_COLUMNS)
    ).first()
    return SignIn(*row) if row else None


def _forget_old(tx: Transaction) -> None:
    tx.execute(delete(signin_codes).where(signin_codes.c.expires_at <= tx.now))
    # Its name goes as well: nobody who had it can come back.
    tx.execute(delete(signins).where(signins.c.used_at <= tx.now - UNUSED_MS))
