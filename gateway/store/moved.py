"""A state folder that has moved: restored elsewhere, renamed, or copied to another machine.

Some rows name files inside the state folder by their whole path: transcripts, attachments, the folder that a session
works in. The folder in which they are right stands in `meta`; a start that finds itself in another one puts that in
its place, so that a copy never reads or deletes what belongs to the original.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Column, Table, bindparam, func, literal, select, update

from gateway.store.database import Transaction
from gateway.store.schema import inbox, messages, meta, runs, sessions

KEY = "state"
"""Key in `meta` of the folder in which the stored paths are right."""
_PATHS: tuple[Column[Any], ...] = (runs.c.transcript_path, sessions.c.cwd)
_ATTACHMENTS: tuple[Table, ...] = (messages, inbox)


def follow(tx: Transaction, state: Path) -> bool:
    """Lets every path inside the state folder point into the folder where it is now; returns whether it had moved.

    Args:
        tx: the unit of work.
        state: the folder, absolute.
    """
    noted = tx.execute(select(meta.c.value).where(meta.c.key == KEY)).scalar()
    if noted == str(state):
        return False
    before = noted or _guessed(tx)
    new = tx.insert(meta).values(key=KEY, value=str(state))
    tx.execute(new.on_conflict_do_update(index_elements=["key"], set_={"value": str(state)}))
    if before is None or before == str(state):
        return False
    for column in _PATHS:
        _move_paths(tx, column, f"{before}/", f"{state}/")
    for table in _ATTACHMENTS:
        _move_attachments(tx, table, f"{before}/", f"{state}/")
    return True


def _guessed(tx: Transaction) -> str | None:
    """Where the state was before that was noted: any transcript is `<state>/agents/<id>/sessions/<file>`."""
    path = tx.execute(select(runs.c.transcript_path).where(runs.c.transcript_path.is_not(None)).limit(1)).scalar()
    return str(Path(path).parents[3]) if path and len(Path(path).parents) > 3 else None


def _move_paths(tx: Transaction, column: Column[Any], before: str, after: str) -> None:
    tx.execute(
        update(column.table)
        .where(func.substr(column, 1, len(before)) == before)
        .values({column: literal(after) + func.substr(column, len(before) + 1)})
    )


def _move_attachments(tx: Transaction, table: Table, before: str, after: str) -> None:
    own = tuple(table.primary_key.columns)
    change = update(table).where(*(column == bindparam(f"of_{column.name}") for column in own))
    for row in tx.execute(select(table.c.attachments, *own).where(table.c.attachments.is_not(None))).all():
        items: list[dict[str, str]] = row.attachments or []
        moved = [item | {"path": _moved(item["path"], before, after)} for item in items]
        if moved != items:
            key = {f"of_{column.name}": getattr(row, column.name) for column in own}
            tx.execute(change.values(attachments=moved), key)


def _moved(path: str, before: str, after: str) -> str:
    return after + path.removeprefix(before) if path.startswith(before) else path
