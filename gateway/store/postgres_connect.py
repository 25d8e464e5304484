"""Connections to PostgreSQL, and what its errors mean to a person.

Every connection is in autocommit mode: transactions are begun and ended by hand. The server ends a transaction whose
process has stopped in the middle of it, so that a suspended one holds no lock for long. Passwords are in no text.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit

import psycopg
from psycopg import conninfo
from psycopg.types.string import StrDumper

from gateway.store.database import StoreError

IDLE_SECONDS = 10.0
"""A transaction that does nothing for so long is ended by the server."""
CONNECT_SECONDS = 10
BROKEN = "08"
"""Class of the errors that are about the connection itself."""
SHUT = ("57P01", "57P02", "57P03", "57P05", "25P03", "53300")
"""The server ends a connection, or takes none now."""

_ADVICE = (
    ("28", "check the user and the password in database.url"),
    ("3D000", "the database doesn't exist: create it, or correct database.url"),
    ("42501", "the user may not do that: it must own the database's tables"),
    ("53100", "the server's disk is full; free some space, what was accepted before is intact"),
    ("53300", "the server takes no more connections: raise its max_connections, or start fewer workers"),
    ("25006", "the server is read-only: it may be a standby; database.url must name the primary"),
    ("42P01", "its tables are missing; was it migrated by this program?"),
    (BROKEN, "check that the server runs and can be reached from here"),
    ("57", "check that the server runs; what was accepted before is intact"),
)
_LIVELY = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
"""A machine that vanishes is noticed within half a minute, from both ends of the connection."""


class _Text(StrDumper):
    """Texts as PostgreSQL can hold them: it has no NUL character."""

    def dump(self, obj: str) -> Any:
        return super().dump(obj.replace("\0", "\ufffd") if "\0" in obj else obj)


def connect(
    url: str, role: str, *, durability: str = "full", idle_seconds: float = IDLE_SECONDS
) -> psycopg.Connection[Any]:
    """Opens one connection.

    Args:
        url: `postgresql://…`, as libpq reads it.
        role: what the connection is for; seen in `pg_stat_activity`.
        durability: `process`: a commit doesn't wait for the disk.
        idle_seconds: after which a transaction in which nothing happens is ended; 0: never.

    Raises:
        StoreError: it can't be opened.
    """
    try:
        connection = psycopg.connect(**_parameters(url, role, durability, idle_seconds), autocommit=True)
    except psycopg.Error as error:
        raise explain(error, url) from error
    connection.prepared_max = 500
    connection.adapters.register_dumper(str, _Text)
    return connection


async def connect_async(url: str, role: str) -> psycopg.AsyncConnection[Any]:
    """Opens one connection for the event loop.

    Raises:
        StoreError: it can't be opened.
    """
    try:
        return await psycopg.AsyncConnection.connect(**_parameters(url, role, "process", IDLE_SECONDS), autocommit=True)
    except psycopg.Error as error:
        raise explain(error, url) from error


def _parameters(url: str, role: str, durability: str, idle_seconds: float) -> dict[str, Any]:
    settings = {
        "idle_in_transaction_session_timeout": str(int(idle_seconds * 1000)),
        "synchronous_commit": "off" if durability == "process" else "on",
        "tcp_keepalives_idle": "10",
        "tcp_keepalives_interval": "5",
        "tcp_keepalives_count": "3",
    }
    given = conninfo.conninfo_to_dict(url)
    options = " ".join(f"-c {name}={value}" for name, value in settings.items())
    return {
        "connect_timeout": CONNECT_SECONDS,
        **_LIVELY,
        **given,
        "options": f"{options} {given.get('options') or ''}".strip(),
        "application_name": f"laneway {role}",
    }


def server_of(url: str) -> str:
    """Server and database of a URL, for people: without the password."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@", 1) if password else url


def redacted(text: str, url: str) -> str:
    """A text of the driver without the password."""
    password = urlsplit(url).password
    for secret in filter(None, (password, unquote(password or ""))):
        text = text.replace(secret, "***")
    return text


def state_of(error: BaseException) -> str:
    """The SQLSTATE of an error; empty if it has none."""
    original = getattr(error, "orig", None) or error
    return str(getattr(original, "sqlstate", None) or "")


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone or can't be made, so that another one may do better."""
    original = getattr(error, "orig", None) or error
    state = state_of(error)
    if state:
        return state.startswith(BROKEN) or state in SHUT
    return isinstance(original, psycopg.OperationalError | psycopg.InterfaceError)


def explain(error: BaseException, url: str) -> StoreError:
    """What an error of PostgreSQL means to a person, naming the server."""
    state = state_of(error)
    text = " ".join(redacted(str(getattr(error, "orig", None) or error), url).split())
    known = (meaning for sign, meaning in _ADVICE if state.startswith(sign))
    default = "check that the server runs and can be reached from here" if is_lost(error) else "see `laneway doctor`"
    return StoreError(f"database {server_of(url)}: {text}: {next(known, default)}")
