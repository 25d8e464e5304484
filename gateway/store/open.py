"""Opens the database that the configuration names, migrated to this program's schema."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import Config
from gateway.store.database import Database, StoreError
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase

IDLE_SECONDS = 10.0
"""The longest that a process which has stopped in the middle of a unit of work may hold locks."""
POSTGRES = ("postgresql", "postgres")


def postgres_url(config: Config) -> str | None:
    """The URL of the PostgreSQL database that the configuration names; None: it is another one."""
    url = config.database.url.get_secret_value() if config.database.url else None
    return url if url is not None and urlsplit(url).scheme in POSTGRES else None


def without_password(url: str) -> str:
    """A database's URL as people may see it."""
    password = urlsplit(url).password
    return url.replace(f":{password}@", ":***@", 1) if password else url


def database_file(config: Config) -> Path:
    """The SQLite file that the configuration names.

    Raises:
        StoreError: the url is of another kind.
    """
    url = config.database.url.get_secret_value() if config.database.url else None
    if url is None:
        return config.paths.database
    parts = urlsplit(url)
    if parts.scheme != "sqlite" or not parts.path.strip("/"):
        raise StoreError(
            f"database.url: `{parts.scheme}://…` can't be used here; it must be sqlite:///path/to/file.db or "
            "postgresql://user:password@host/name, or be left out"
        )
    return Path(parts.path[1:] if parts.path.startswith("//") else parts.path)


def open_database(config: Config) -> Database:
    """Migrates and opens the database. To be called on the event loop's thread.

    Raises:
        StoreError: it can't be used.
    """
    url = postgres_url(config)
    if url is not None:
        return _open_postgres(config, url)
    file = database_file(config)
    migrate(file)
    return SqliteDatabase(file, config.database.durability)


def _open_postgres(config: Config, url: str) -> Database:
    try:
        # Only now: with SQLite neither the driver nor the queue engine need be installed.
        from gateway.store import postgres_migrate
        from gateway.store.postgres import PostgresDatabase  # as above
    except ImportError as error:
        raise StoreError(
            f"database.url names PostgreSQL, and `{error.name}` isn't installed: pip install 'laneway[postgres]'"
        ) from None
    postgres_migrate.migrate(url)
    idle = max(1.0, config.workers.lease_seconds / 3)
    return PostgresDatabase(url, config.database.durability, idle_seconds=min(idle, IDLE_SECONDS))
