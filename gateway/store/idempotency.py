"""Answers by key: what was done once under a key is not done again, whoever asks twice.

The key is remembered in the transaction of the effect itself, so that a retry after a crash finds both or neither.
Used for `Idempotency-Key` over HTTP and for slash commands that a channel delivers again; old keys go with the sweep.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import insert, select

from gateway.store.database import Transaction
from gateway.store.schema import idempotency

Answer = Mapping[str, Any]
"""JSON."""


class KeyReused(Exception):
    """The key stands for another request; nothing was done."""


def digest(*parts: str) -> str:
    """A short text by which a request is recognised as the same."""
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()


def recall(tx: Transaction, key: str, request: str) -> Answer | None:
    """What was answered under a key; None if it is new.

    Args:
        tx: the unit of work.
        key: what the caller calls his request.
        request: the digest of all that it says.

    Raises:
        KeyReused: the key was used for another request.
    """
    row = tx.execute(select(idempotency.c.digest, idempotency.c.answer).where(idempotency.c.key == key)).first()
    if row is None:
        return None
    if row.digest != request:
        raise KeyReused(key)
    return row.answer


def remember(tx: Transaction, key: str, request: str, answer: Answer) -> None:
    """Keeps an answer, in the unit of work that it tells of."""
    tx.execute(insert(idempotency).values(key=key, digest=request, answer=dict(answer), created_at=tx.now))


def once(tx: Transaction, key: str | None, request: str, work: Callable[[], Answer]) -> Answer:
    """Does the work unless it was done under this key; returns its answer, now or then.

    Args:
        tx: the unit of work, which `work` writes in as well.
        key: None: do it in any case.
        request: the digest of all that the request says.
        work: does it and returns its answer.

    Raises:
        KeyReused: the key was used for another request.
    """
    if key is None:
        return work()
    known = recall(tx, key, request)
    if known is not None:
        return known
    answer = work()
    remember(tx, key, request, answer)
    return answer
