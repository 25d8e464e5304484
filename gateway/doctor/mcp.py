"""Whether the configured MCP servers can be started, and which of their tools wait for an owner."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing

from gateway.config import Config
from gateway.doctor.findings import Finding, Level
from gateway.store.database import StoreError
from gateway.store.open import database_file, postgres_url

PART = "mcp"
_WAITING = b"select server, name from mcp_tools where present and new_fingerprint is not null order by server, name"


def mcp_servers(config: Config, environ: Mapping[str, str]) -> Iterator[Finding]:
    """A line for each server that is switched on, and one for each tool that isn't used."""
    servers = {name: server for name, server in config.mcp.servers.items() if server.enabled}
    for name, server in servers.items():
        if server.command is None:
            yield Finding(PART, Level.OK, f"{name}: {server.url}")
            continue
        missing = [variable for variable in server.inherit if variable not in environ]
        if shutil.which(server.command, path=environ.get("PATH")) is None:
            fix = f"install it, or correct mcp.servers.{name}.command"
            yield Finding(PART, Level.FAIL, f"{name}: there is no program `{server.command}`", fix)
        elif missing:
            fix = f"set it, or take it out of mcp.servers.{name}.inherit"
            yield Finding(PART, Level.WARN, f"{name}: {', '.join(missing)} isn't set", fix)
        else:
            yield Finding(PART, Level.OK, f"{name}: {server.command}")
    for server_name, tool in _waiting(config) if servers else ():
        if server_name in servers:
            text = f"{server_name}: its tool {tool[:64]!a} is new or has changed, and isn't used"
            fix = f"look at it with `laneway mcp list`, then `laneway mcp approve {server_name} …`"
            yield Finding(PART, Level.WARN, text, fix)


def _waiting(config: Config) -> list[tuple[str, str]]:
    """Server and name of each tool that waits for an owner. The part `database` says what is wrong with it."""
    if (url := postgres_url(config)) is not None:
        return _waiting_on(url)
    try:
        file = database_file(config)
        if not file.exists():
            return []
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as raw:
            return [(str(server), str(name)) for server, name in raw.execute(_WAITING.decode())]
    except (StoreError, sqlite3.Error):
        return []


def _waiting_on(url: str) -> list[tuple[str, str]]:
    try:
        import psycopg  # only with PostgreSQL: its driver may not be installed

        from gateway.store.postgres_connect import connect  # as above
    except ImportError:
        return []
    try:
        with closing(connect(url, "doctor")) as raw:
            return [(str(server), str(name)) for server, name in raw.execute(_WAITING).fetchall()]
    except (StoreError, psycopg.Error):
        return []
