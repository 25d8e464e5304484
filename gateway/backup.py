"""Backup: the whole state in one archive, taken while the gateway runs or not.

The database is copied with SQLite's online backup, so that the copy is one moment's consistent state; transcripts,
attachments, memory files and the configuration go beside it. A manifest with a checksum for every file comes last: an
archive that was cut short has none and is refused. The bearer token is left out; a new one is made at the next start.
A PostgreSQL database isn't in it: that is `pg_dump`'s to copy, before the files, and the manifest names the server.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway import __version__
from gateway.config import Config, Paths
from gateway.store.open import database_file, postgres_url, without_password

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "laneway.db"
CONFIG = "config.json5"
ELSEWHERE = "databaseFile"
"""In the manifest: where the database stood, if that wasn't its usual place."""
SERVER = "databaseServer"
"""In the manifest: the PostgreSQL database that belongs to the files and isn't in the archive."""
FOLDERS = ("agents", "attachments", "media", "terminal")
"""Folders of the state that are kept whole."""


class BackupError(Exception):
    """A backup can't be made or restored. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Backup:
    """An archive that was written."""

    path: Path
    bytes: int
    files: int
    server: str | None = None
    """The PostgreSQL database that belongs to it and isn't in it."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What goes into an archive."""

    state: Path
    """The state folder."""
    database: Path
    config: Path
    elsewhere: bool
    """The database isn't where it stands without `database.url`."""
    server: str | None = None
    """The database is on this PostgreSQL server; its password is left out."""

    @classmethod
    def of(cls, paths: Paths, config: Config | None, database: Path | None = None) -> Sources:
        """Those of a state folder.

        Args:
            paths: the state folder.
            config: the configuration in use; None: it can't be read, and everything is taken to be in its usual place.
            database: the file that a running gateway has open; None: the one that the configuration names.

        Raises:
            StoreError: the database isn't a file.
        """
        url = postgres_url(config) if config and database is None else None
        config_file = (config.source if config else None) or paths.config_file
        if url is not None:
            return cls(paths.state, paths.database, config_file, elsewhere=False, server=without_password(url))
        file = database or (paths.database if config is None else database_file(config))
        return cls(paths.state, file, config_file, file != paths.database)


def create_backup(sources: Sources, target: Path) -> Backup:
    """Writes an archive of the state. May be called in any process and thread while the gateway runs.

    Args:
        sources: what goes into it.
        target: the file to write (0600), or a folder to put one into that is named by the time.

    Raises:
        BackupError: there is nothing to back up, or the archive can't be written.
    """
    if sources.server is None and not sources.database.exists():
        raise BackupError(f"there is nothing to back up: {sources.database} doesn't exist")
    target = target.expanduser().absolute()
    if target.is_dir():
        target /= f"laneway-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz"
    if target.exists():
        raise BackupError(f"{target} exists already; name another file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files = _write(sources, target)
        return Backup(target, target.stat().st_size, files, sources.server)
    except sqlite3.Error as error:
        raise BackupError(f"{sources.database} can't be copied: {error}; see `laneway doctor`") from error
    except OSError as error:
        raise BackupError(f"{target} can't be written: {error.strerror or error}") from error


def _write(sources: Sources, target: Path) -> int:
    part = target.with_name(f".{target.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            sums = _write_archive(raw, sources)
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return len(sums)


def _write_archive(raw: io.BufferedWriter, sources: Sources) -> dict[str, str]:
    sums: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="laneway-backup-") as folder,
        tarfile.open(fileobj=raw, mode="w:gz") as tar,
    ):
        if sources.server is None:
            sums[DATABASE] = _add_database(tar, sources.database, Path(folder) / DATABASE)
        for name, file in [*_kept_files(sources.state), (CONFIG, sources.config)]:
            try:
                content = file.read_bytes()
            except FileNotFoundError:
                continue  # a transcript that was archived or purged meanwhile
            _add(tar, name, content)
            sums[name] = hashlib.sha256(content).hexdigest()
        manifest = {
            "format": FORMAT,
            "version": __version__,
            "createdAt": datetime.now(UTC).isoformat(timespec="seconds"),
            ELSEWHERE: str(sources.database) if sources.elsewhere else None,
            SERVER: sources.server,
            "sha256": sums,
        }
        _add(tar, MANIFEST, json.dumps(manifest, indent=1).encode())
    return sums


def _add_database(tar: tarfile.TarFile, file: Path, copy: Path) -> str:
    """Copies the database as it is at one moment; returns the copy's checksum."""
    live = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    with closing(live) as source, closing(sqlite3.connect(copy)) as destination:
        source.backup(destination)
    tar.add(copy, DATABASE, filter=_private)
    with copy.open("rb") as database:
        return hashlib.file_digest(database, "sha256").hexdigest()


def _kept_files(state: Path) -> Iterator[tuple[str, Path]]:
    """Names inside the archive and files, links left out."""
    found = [file for folder in FOLDERS for file in sorted((state / folder).rglob("*"))]
    # Of workspaces only what the assistant itself lives by: the rest may be of any size and is the user's own.
    for workspace in sorted(state.glob("workspace*")):
        found += [*sorted(workspace.glob("*.md")), *sorted(workspace.glob("memory/**/*.md"))]
    for file in found:
        if file.is_file() and not file.is_symlink():
            yield file.relative_to(state).as_posix(), file


def _private(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode = 0o600
    return member


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mtime = int(datetime.now(UTC).timestamp())
    tar.addfile(_private(member), io.BytesIO(content))
