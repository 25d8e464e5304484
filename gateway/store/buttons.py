"""Buttons: what the opaque tokens on a platform stand for (spec/channels.md 8).

A button is a slash command in the conversation that it was posted in, so that whoever presses it has exactly the
rights that he would have typing it. Its token is random, and valid on its own route alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import delete, insert, select

from gateway.store.database import Transaction
from gateway.store.schema import buttons


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one button does."""

    token: str
    post_id: int
    route: str
    session_key: str
    command: str


def issue(tx: Transaction, *, post_id: int, route: str, session_key: str, command: str) -> str:
    """The token of a button under a post; the same command under the same post keeps its token."""
    known = tx.execute(
        select(buttons.c.token).where(buttons.c.post_id == post_id, buttons.c.command == command)
    ).scalar()
    if known is not None:
        return str(known)
    token = secrets.token_urlsafe(12)
    tx.execute(
        insert(buttons).values(
            token=token, post_id=post_id, route=route, session_key=session_key, command=command, created_at=tx.now
        )
    )
    return token


def meaning(tx: Transaction, token: str) -> Meaning | None:
    """What a token stands for; None: it is forged, or no longer valid."""
    columns = (buttons.c.token, buttons.c.post_id, buttons.c.route, buttons.c.session_key, buttons.c.command)
    row = tx.execute(select(*columns).where(buttons.c.token == token)).first()
    return Meaning(*row) if row else None


def post_with(tx: Transaction, command: str) -> int | None:
    """The post under which a button stands for a command."""
    return tx.execute(select(buttons.c.post_id).where(buttons.c.command == command)).scalar()


def void(tx: Transaction, post_id: int) -> None:
    """The buttons under a post do nothing any more."""
    tx.execute(delete(buttons).where(buttons.c.post_id == post_id))
