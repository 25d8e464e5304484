"""Backup and restore: the whole state in one archive, taken while the gateway runs or not.

The database is copied with SQLite's online backup, so that the copy is one moment's consistent state; transcripts,
attachments, memory files and the configuration go beside it. A manifest with a checksum for every file comes last: an
archive that was cut short has none and is refused. The bearer token is left out; a new one is made at the next start.

Restoring takes the gateway's lock, checks everything in a folder aside, and only then moves it into place. What was
there before is kept beside it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import sqlite3
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from gateway import __version__
from gateway.config.paths import Paths
from gateway.store.database import StoreError
from gateway.store.lock import StateLock
from gateway.store.migrate import migrate

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "laneway.db"
CONFIG = "config.json5"
FOLDERS = ("agents", "attachments", "media", "terminal")
"""Folders of the state that are kept whole."""
LARGEST_MANIFEST = 64 * 1024 * 1024


class BackupError(Exception):
    """A backup can't be made or restored. The text says why and what to do."""


@dataclass(frozen=True, slots=True)
class Backup:
    """An archive that was written."""

    path: Path
    bytes: int
    files: int


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did."""

    files: int
    created_at: str
    """When the backup was made."""
    kept: Path | None
    """Where the state is that stood there before."""


def create_backup(paths: Paths, target: Path, config_file: Path | None = None) -> Backup:
    """Writes an archive of the state. May be called in any process and thread while the gateway runs.

    Args:
        paths: the state folder.
        target: the file to write (0600), or a folder to put one into that is named by the time.
        config_file: the configuration in use; None: the state folder's.

    Raises:
        BackupError: there is nothing to back up, or the archive can't be written.
    """
    if not paths.database.exists():
        raise BackupError(f"there is nothing to back up: {paths.database} doesn't exist")
    target = target.expanduser().absolute()
    if target.is_dir():
        target /= f"laneway-{datetime.now(UTC):%Y%m%d-%H%M%S}.tar.gz"
    if target.exists():
        raise BackupError(f"{target} exists already; name another file")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        files = _write(paths, target, config_file or paths.config_file)
        return Backup(target, target.stat().st_size, files)
    except sqlite3.Error as error:
        raise BackupError(f"{paths.database} can't be copied: {error}; see `laneway doctor`") from error
    except OSError as error:
        raise BackupError(f"{target} can't be written: {error.strerror or error}") from error


def _write(paths: Paths, target: Path, config_file: Path) -> int:
    part = target.with_name(f".{target.name}.part")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as raw:
            sums = _write_archive(raw, paths, config_file)
            raw.flush()
            os.fsync(raw.fileno())
        part.rename(target)
    finally:
        part.unlink(missing_ok=True)
    return len(sums)


def _write_archive(raw: io.BufferedWriter, paths: Paths, config_file: Path) -> dict[str, str]:
    sums: dict[str, str] = {}
    with (
        tempfile.TemporaryDirectory(prefix="laneway-backup-") as folder,
        tarfile.open(fileobj=raw, mode="w:gz") as tar,
    ):
        copy = Path(folder) / DATABASE
        live = sqlite3.connect(f"{paths.database.as_uri()}?mode=ro", uri=True)
        with closing(live) as source, closing(sqlite3.connect(copy)) as destination:
            source.backup(destination)
        with copy.open("rb") as database:
            sums[DATABASE] = hashlib.file_digest(database, "sha256").hexdigest()
        tar.add(copy, DATABASE, filter=_private)
        for name, file in [*_kept_files(paths.state), (CONFIG, config_file)]:
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
            "sha256": sums,
        }
        _add(tar, MANIFEST, json.dumps(manifest, indent=1).encode())
    return sums


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


def restore_backup(paths: Paths, archive: Path, *, force: bool = False) -> Restored:
    """Puts the state of an archive into the state folder.

    Args:
        paths: the state folder; made if it doesn't exist.
        archive: what `create_backup` wrote.
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
        if paths.database.exists() and not force:
            raise BackupError(
                f"{paths.state} holds a state already; restore with --force to replace it (it is kept beside), "
                "or set LANEWAY_HOME to another folder"
            )
        with tempfile.TemporaryDirectory(prefix=".restore-", dir=paths.state) as folder:
            staged = Path(folder)
            created, names = _unpack(archive, staged)
            _check_database(staged / DATABASE, archive)
            kept = _set_aside(paths, names)
            for name in names:
                place = paths.state / name
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                (staged / name).rename(place)
        return Restored(len(names), created, kept)
    finally:
        lock.release()


def _unpack(archive: Path, folder: Path) -> tuple[str, list[str]]:
    """Extracts and checks every file; returns the time of the backup and the names."""
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
        return str(manifest["createdAt"]), list(sums)
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


def _set_aside(paths: Paths, names: list[str]) -> Path | None:
    """Moves what the restored files replace into a folder of its own; old write-ahead logs must not stay behind."""
    tops = {Path(name).parts[0] for name in names} | set(FOLDERS)
    tops -= {top for top in tops if top.startswith("workspace")}
    moved = [paths.state / top for top in tops | {f"{DATABASE}-wal", f"{DATABASE}-shm"}]
    moved += [paths.state / name for name in names if name.startswith("workspace")]
    present = [item for item in moved if item.exists()]
    if not present:
        return None
    kept = paths.state / f"replaced-{datetime.now(UTC):%Y%m%d-%H%M%S}"
    for item in present:
        place = kept / item.relative_to(paths.state)
        place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        item.rename(place)
    return kept
