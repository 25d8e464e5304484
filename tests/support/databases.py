"""Which database the tests run on: SQLite, or with `LANEWAY_TEST_DATABASE=postgres` PostgreSQL.

Each state folder has a database of its own, which lives as long as whoever asked for it first. A test that is about one
of the two asks for it by name; all others take what they are given.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from gateway.store.database import Database
from gateway.store.migrate import migrate
from gateway.store.postgres import PostgresDatabase
from gateway.store.sqlite import SqliteDatabase
from tests.support.postgres import PostgresServer

VARIABLE = "LANEWAY_TEST_DATABASE"
ON_POSTGRES = os.environ.get(VARIABLE, "sqlite") == "postgres"
_made: dict[Path, str] = {}


@cache
def server() -> PostgresServer:
    """The PostgreSQL of this test session, started when it is first asked for."""
    stack = ExitStack()
    atexit.register(stack.close)
    return stack.enter_context(PostgresServer.start())


def url_of(state: Path, *, migrated: bool = True) -> str:
    """The database that belongs to a state folder; made when it is first asked for."""
    if state not in _made:
        _made[state] = server().migrated() if migrated else server().create()
    return _made[state]


def section(state: Path, *, postgres: bool = ON_POSTGRES) -> dict[str, Any]:
    """The section `database` of a test's configuration."""
    return {"durability": "process", **({"url": url_of(state)} if postgres else {})}


def opened(folder: Path) -> Database:
    """A migrated database for a folder, opened on the running loop; the same one when it is asked for again."""
    if ON_POSTGRES:
        return PostgresDatabase(url_of(folder), "process")
    file = folder / "laneway.db"
    migrate(file)
    return SqliteDatabase(file, "process")


def follow(state: Path, copy: Path) -> None:
    """Gives a copied state folder a copy of the database as it is at this moment, whoever is connected to it."""
    if state in _made:
        _made[copy] = server().copied(_made[state])


@contextmanager
def owned(state: Path) -> Generator[None]:
    """The database of a state folder goes at the end, if it hasn't been there before."""
    ours = state not in _made
    try:
        yield
    finally:
        if ours and (url := _made.pop(state, None)) is not None:
            server().drop(url)
