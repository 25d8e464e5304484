"""One gateway per state folder: a lock that dies with its holder.

The kernel drops an flock with the process that holds it, so that no crash leaves a stale one. The file's text says
who holds it, for people.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

LINGER_SECONDS = 2.0
"""How long a lock whose holder is dead may be held by what it was about to start."""
LOOK_SECONDS = 0.01


class LockHeld(Exception):
    """Another gateway runs on this state folder.

    Args:
        pid: its process id, None if it can't be read.
    """

    def __init__(self, file: Path, pid: int | None) -> None:
        who = f"process {pid}" if pid else "another process"
        super().__init__(
            f"a gateway already runs on {file.parent}: {who} holds {file.name}; "
            "talk to it with `laneway chat`, stop it first, or set LANEWAY_HOME to another folder"
        )
        self.pid = pid


class StateLock:
    """Holds a state folder for this process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock at once or not at all.

        A process that was killed while it started another one leaves the lock to that for a moment; then this waits.

        Raises:
            LockHeld: another process has it.
        """
        deadline = time.monotonic() + LINGER_SECONDS
        while not self._taken():
            pid = holder(self._file)
            if (pid is not None and _lives(pid)) or time.monotonic() >= deadline:
                raise LockHeld(self._file, pid)
            time.sleep(LOOK_SECONDS)  # the kernel wakes only those who would wait without end

    def _taken(self) -> bool:
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        os.ftruncate(descriptor, 0)
        os.write(descriptor, json.dumps({"pid": os.getpid()}).encode())
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Gives it up; does nothing if it isn't held."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def holder(file: Path) -> int | None:
    """The process id that the lock file names."""
    try:
        pid = json.loads(file.read_text() or "{}").get("pid")
    except (OSError, ValueError):
        return None
    return pid if isinstance(pid, int) else None


def is_held(file: Path) -> bool:
    """Whether a live process holds the lock."""
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
