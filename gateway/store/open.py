"""Opens the database that the configuration names, migrated to this program's schema."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from gateway.config import Config
from gateway.store.database import Database, StoreError
from gateway.store.migrate import migrate
from gateway.store.sqlite import SqliteDatabase


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
            f"database.url: `{parts.scheme}://…` can't be used; it must be sqlite:///path/to/file.db, or be left out"
        )
    return Path(parts.path[1:] if parts.path.startswith("//") else parts.path)


def open_database(config: Config) -> Database:
    """Migrates and opens the database. To be called on the event loop's thread.

    Raises:
        StoreError: it can't be used.
    """
    file = database_file(config)
    migrate(file)
    return SqliteDatabase(file, config.database.durability)
