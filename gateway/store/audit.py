"""The audit trail: what was done that an operator may have to account for. Owns the table `audit`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import insert, select

from gateway.store import rows
from gateway.store.database import Transaction
from gateway.store.schema import audit


@dataclass(frozen=True, slots=True)
class Line:
    """One row of `audit`."""

    id: int
    at: int
    who: str
    what: str
    run_id: str | None
    data: dict[str, Any]


_ALL = select(*rows.columns(audit, Line))


def add(tx: Transaction, who: str, what: str, run_id: str | None, **data: Any) -> None:
    """Writes a line."""
    tx.execute(insert(audit).values(at=tx.now, who=who, what=what, run_id=run_id, data=data))


def page(tx: Transaction, *, before: int | None, limit: int) -> list[Line]:
    """Lines, the newest first."""
    statement = _ALL if before is None else _ALL.where(audit.c.id < before)
    return [Line(*row) for row in tx.execute(statement.order_by(audit.c.id.desc()).limit(limit))]
