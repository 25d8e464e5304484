"""Restore: puts the state of an archive into a state folder.

Takes the gateway's lock, checks everything in a folder aside, and only then moves it into place. What was there before
is kept beside it. The database goes to where the gateway will look for it: `database.url` of the configuration that is
in effect afterwards, else its usual place.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway.backup import CONFIG, DATABASE, ELSEWHERE, FOLDERS, FORMAT, MANIFEST, SERVER, BackupError
from gateway.config import ConfigError, Paths, load_config
from gateway.config.load import CONFIG_VARIABLE
from gateway.store.database import StoreError
from gateway.store.lock import StateLock
from gateway.store.migrate import migrate
from gateway.store.open import database_file

LARGEST_MANIFEST = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    files: int
    created_at: str
    """When the backup was made."""
    database: Path
    """Where the database is now."""
    kept: Path | None
    """Where the state is that stood there before."""
    server: str | None = None
    """The PostgreSQL database that belongs to the files, and is restored by its own means."""


@dataclass(frozen=True, slots=True)
class _Unpacked:
    created_at: str
    names: list[str]
    elsewhere: str | None
    server: str | None


def restore_backup(
    paths: Paths, archive: Path, *, environ: Mapping[str, str], config_file: Path | None = None, force: bool = False
) -> Restored:
    """Puts the state of an archive into the state folder.

    Args:
        paths: the state folder; made if it doesn't exist.
        archive: what `create_backup` wrote.
        environ: the environment that the gateway will run in.
        config_file: the configuration that it will be given; None: it finds one itself.
        force: replace a state that is there; it is kept in a folder beside.

    Raises:
        BackupError: the archive is damaged or no backup, or a state is there and `force` isn't set.
        LockHeld: a gateway runs on the folder.
        StoreError: the backup was made by a newer Laneway.
    """
    paths.state.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = StateLock(paths.lock)
    lock.acquire()
    try:
        _refuse_to_replace(paths.database, force=force)
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=paths.state) as folder:
            staged = Path(folder)
            found = _unpack(archive, staged)
            if found.server is not None:
                files = {staged / name: paths.state / name for name in found.names}
                kept = _exchange_files(paths, files)
                return Restored(len(found.names), found.created_at, paths.database, kept, found.server)
            _check_database(staged / DATABASE, archive)
            database = _database_place(paths, staged / CONFIG, found.elsewhere, environ, config_file)
            _refuse_to_replace(database, force=force)
            files = {staged / name: paths.state / name for name in found.names if name != DATABASE}
            kept = _exchange(paths, files, staged / DATABASE, database)
        return Restored(len(found.names), found.created_at, database, kept)
    finally:
        lock.release()


def _refuse_to_replace(database: Path, *, force: bool) -> None:
    if database.exists() and not force:
        raise BackupError(
            f"there is a state already: {database}; restore with --force to replace it (it is kept beside), "
            "or set LANEWAY_HOME (and database.url, if the configuration has one) to another place"
        )


def _database_place(
    paths: Paths, staged_config: Path, elsewhere: str | None, environ: Mapping[str, str], config_file: Path | None
) -> Path:
    """Where a gateway will look for the database once the restored configuration is in its place."""
    archived = staged_config if staged_config.exists() and not environ.get(CONFIG_VARIABLE) else None
    try:
        return database_file(load_config(config_file or archived, paths=paths, environ=environ))
    except ConfigError as error:
        if elsewhere is None:
            return paths.database
        raise BackupError(
            f"the database of this backup stood at {elsewhere} (database.url); where it goes now can't be told, "
            f"because the configuration is wrong: {error}; set what is missing, or name another one with --config"
        ) from error


def _exchange(paths: Paths, files: Mapping[Path, Path], staged: Path, database: Path) -> Path | None:
    """Moves everything into its place, and what was there before aside; returns where that is."""
    database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    beside = database.with_name(f".{database.name}.restored")
    try:
        shutil.move(staged, beside)  # may be another disk; what can go wrong there does before anything is replaced
        kept = _set_aside(paths, [place.relative_to(paths.state) for place in files.values()], database)
        for file, place in files.items():
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.rename(place)
        beside.rename(database)
    finally:
        beside.unlink(missing_ok=True)
    return kept


def _exchange_files(paths: Paths, files: Mapping[Path, Path]) -> Path | None:
    """The same for an archive without a database."""
    kept = _set_aside(paths, [place.relative_to(paths.state) for place in files.values()], paths.database)
    for file, place in files.items():
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        file.rename(place)
    return kept


def _unpack(archive: Path, folder: Path) -> _Unpacked:
    """Extracts and checks every file."""
    try:
        with tarfile.open(archive.expanduser(), "r:gz") as tar:
            tar.extractall(folder, filter="data")
        manifest = json.loads((folder / MANIFEST).read_bytes()[:LARGEST_MANIFEST])
        sums: dict[str, str] = dict(manifest["sha256"])
        if manifest["format"] != FORMAT:
            raise BackupError(f"{archive} has format {manifest['format']}, this program reads {FORMAT}; update it")
        for name, expected in sums.items():
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != expected:
                    raise BackupError(f"{archive} is damaged: {name} isn't what was backed up; use another backup")
        elsewhere = manifest.get(ELSEWHERE)
        server = manifest.get(SERVER)
        return _Unpacked(
            str(manifest["createdAt"]),
            list(sums),
            None if elsewhere is None else str(elsewhere),
            None if server is None else str(server),
        )
    except FileNotFoundError as error:
        if error.filename == str(archive.expanduser()):
            raise BackupError(f"{archive} doesn't exist") from error
        raise BackupError(f"{archive} is no complete backup of Laneway: {MANIFEST} or a file is missing") from error
    except (
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        EOFError,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise BackupError(f"{archive} is damaged or no backup of Laneway ({error}); use another backup") from error


def _check_database(file: Path, archive: Path) -> None:
    try:
        with closing(sqlite3.connect(file)) as database:
            answer = database.execute("pragma integrity_check").fetchone()
    except sqlite3.Error as error:
        raise BackupError(f"{archive}: its database is damaged ({error}); use another backup") from error
    if answer != ("ok",):
        raise BackupError(f"{archive}: its database is damaged ({str(answer)[:200]}); use another backup")
    try:
        migrate(file)
    except StoreError as error:
        raise BackupError(f"{archive}: {error}") from error
    # Leaves one plain file: what the check put into the write-ahead log moves into it.
    with closing(sqlite3.connect(file)) as database:
        database.execute("pragma wal_checkpoint(truncate)")
        database.execute("pragma journal_mode=delete")


def _set_aside(paths: Paths, names: Sequence[Path], database: Path) -> Path | None:
    """Moves what the restored files replace into a folder of its own; old write-ahead logs must not stay behind."""
    tops = {name.parts[0] for name in names} | set(FOLDERS)
    tops -= {top for top in tops if top.startswith("workspace")}
    moved = [paths.state / top for top in tops]
    moved += [paths.state / name for name in names if name.parts[0].startswith("workspace")]
    kept = paths.state / f"replaced-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    places = {item: kept / item.relative_to(paths.state) for item in [*moved, *_with_logs(paths.database)]}
    if database != paths.database:
        places |= {item: kept / "elsewhere" / item.name for item in _with_logs(database)}
    present = {item: place for item, place in places.items() if item.exists()}
    for item, place in present.items():
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        shutil.move(item, place)
    return kept if present else None


def _with_logs(database: Path) -> list[Path]:
    return [database, *(database.with_name(database.name + end) for end in ("-wal", "-shm"))]
