"""Brings a database file to this program's schema, or refuses to touch it.

Alembic is imported only when there is something to migrate: a start with nothing to do reads one row.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection

from gateway.store.database import StoreError
from gateway.store.sqlite import connect, explain

HEAD = "0009"
"""The newest migration that this program knows; a test compares it with the files."""

_SCRIPTS = Path(__file__).parent / "migrations"


def migrate(file: Path) -> None:
    """Migrates the file to `HEAD`, creating it if need be.

    Raises:
        StoreError: it was written by a newer Laneway, is damaged, or can't be written.
    """
    version = current(file)
    if version == HEAD:
        return
    refuse_newer(str(file), version)
    connection = connect(file)
    try:
        upgrade(connection)
    finally:
        connection.close()
    file.chmod(0o600)


def current(file: Path) -> str | None:
    """The file's schema version; None if there is no file or it is empty.

    Raises:
        StoreError: the file isn't a database or can't be read.
    """
    if not file.exists():
        return None
    try:
        with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=ro", uri=True)) as raw:
            tables = {row[0] for row in raw.execute("select name from sqlite_master where type = 'table'")}
            if "alembic_version" not in tables:
                if tables:
                    raise StoreError(
                        f"database {file}: it holds tables that aren't Laneway's; "
                        "move it away or choose another LANEWAY_HOME"
                    )
                return None
            row = raw.execute("select version_num from alembic_version").fetchone()
            return str(row[0]) if row else None
    except sqlite3.Error as error:
        raise explain(error, file) from error


def refuse_newer(database: str, version: str | None) -> None:
    """Checks that this program knows a schema.

    Args:
        database: what to call it.
        version: its schema; None: it is empty.

    Raises:
        StoreError: it doesn't.
    """
    known = {path.name.split("_")[0] for path in (_SCRIPTS / "versions").glob("[0-9]*.py")}
    if version is not None and version not in known:
        raise StoreError(
            f"database {database}: its schema is `{version}`, this program knows up to `{HEAD}`: it was written by a "
            "newer Laneway; update the program, or restore a backup that this version made"
        )


def upgrade(connection: Connection, begin: str = "begin immediate") -> None:
    """Runs every missing migration in one transaction."""
    # lazy: a start with nothing to migrate never loads it
    from alembic import command
    from alembic.config import Config as AlembicConfig  # lazy: as above

    config = AlembicConfig()
    config.set_main_option("script_location", str(_SCRIPTS).replace("%", "%%"))
    config.attributes["connection"] = connection
    connection.exec_driver_sql(begin)
    try:
        command.upgrade(config, "head")
    except BaseException:
        connection.exec_driver_sql("rollback")
        raise
    connection.exec_driver_sql("commit")
