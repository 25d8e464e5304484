"""What stood in the database when a gateway died: the measure of what must not be done again."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from tests.support.process import Site


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The state between two lives."""

    answers: dict[str, int]
    """Stored answers of the model by session key."""
    reserved: dict[str, int]
    """Reserved tokens by run id."""
    sending: frozenset[int]
    """Outbox rows that were on their way."""
    archived: frozenset[str]
    """Keys of sessions that are gone from the tables."""
    requests: int
    """Requests that the model server had seen."""


def snapshot(site: Site) -> Snapshot:
    """Reads the database of a gateway that isn't running."""
    seen = len(requests(site))
    if not site.has_tables:
        return Snapshot({}, {}, frozenset(), frozenset(), seen)
    with site.rows() as rows:
        return _read(rows, seen)


def requests(site: Site) -> list[str]:
    """The lines that the script has noted for this site."""
    file = site.folder.parent / f"{site.model}.requests"
    return file.read_text("utf-8").splitlines() if file.exists() else []


def _read(rows: sqlite3.Connection, seen: int) -> Snapshot:
    answers = rows.execute(
        "select s.key, count(m.seq) from sessions s left join messages m"
        " on m.session_id = s.id and m.role = 'assistant' and m.kind = 'reply' group by s.key"
    )
    reserved = rows.execute("select id, reserved_tokens from runs")
    sending = rows.execute("select id from outbox where state = 'sending'")
    archived = rows.execute("select session_key from runs where archived_at is not null")
    return Snapshot(
        {str(row[0]): int(row[1]) for row in answers},
        {str(row[0]): int(row[1]) for row in reserved},
        frozenset(int(row[0]) for row in sending),
        frozenset(str(row[0]) for row in archived),
        seen,
    )
