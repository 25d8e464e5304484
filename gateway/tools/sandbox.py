"""Confining a command with bubblewrap: it can write to the session's folders only and can't see the state folder.

The rest of the file system is read-only, `/tmp` is private and empty, no other process is visible. The network is
shared, and so are sockets in the file system. Nothing is kept; whether bubblewrap works here is found out once.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from gateway.tools.paths import BOOTSTRAP_FILES, MEMORY_FOLDER, Folders

_PROBE_SECONDS = 5.0
_BASE = ("--unshare-pid", "--unshare-ipc", "--die-with-parent", "--cap-drop", "ALL")
INSTALL = "install it (Debian, Ubuntu: `apt install bubblewrap`; Fedora: `dnf install bubblewrap`)"


class SandboxMissing(Exception):
    """The configuration demands a sandbox that isn't there. The text says what to install or to set."""


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether commands can be confined on this machine."""

    program: str | None
    """Path of bubblewrap if it works."""
    reason: str = ""
    """Why it doesn't, for `laneway doctor`."""


@cache
def available() -> Availability:
    """Tries bubblewrap once in the life of the process; blocks for a few milliseconds."""
    program = shutil.which("bwrap")
    if program is None:
        return Availability(None, f"bubblewrap is not installed; {INSTALL}")
    command = [program, *_BASE, "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc", "true"]
    try:
        tried = subprocess.run(command, capture_output=True, timeout=_PROBE_SECONDS, check=False)  # noqa: S603 - fixed words
    except (OSError, subprocess.TimeoutExpired) as error:
        return Availability(None, f"bubblewrap can't be started: {error}")
    if tried.returncode != 0:
        said = tried.stderr.decode(errors="replace").strip()[:200]
        return Availability(None, f"bubblewrap doesn't work here ({said}); does the system allow user namespaces?")
    return Availability(program)


def chosen(setting: Literal["auto", "bubblewrap", "off"], found: Availability) -> str | None:
    """The program to confine with; None: commands are not confined.

    Raises:
        SandboxMissing: the setting is `bubblewrap` and it can't be used.
    """
    if setting == "off":
        return None
    if setting == "bubblewrap" and found.program is None:
        raise SandboxMissing(
            f"tools.exec.sandbox is “bubblewrap”, but {found.reason}; or set tools.exec.sandbox to “auto” or “off”"
        )
    return found.program


def confined(program: str, argv: Sequence[str], *, folder: Path, folders: Folders, protect: bool) -> tuple[str, ...]:
    """The command line that runs `argv` confined.

    Args:
        program: bubblewrap.
        argv: the command.
        folder: where it runs, inside one of the roots.
        folders: their roots can be written; their state folder is hidden, but for roots inside it.
        protect: bootstrap and memory files in the roots are read-only.
    """
    roots = sorted(folders.roots, key=lambda root: len(root.parts))
    inner = [root for root in roots if root != folders.state and root.is_relative_to(folders.state)]
    outer = [root for root in roots if root not in inner]
    # Later mounts cover earlier ones, so the order is from the whole to its parts.
    mounts = ["--bind" if Path("/") in outer else "--ro-bind", "/", "/", "--dev", "/dev", "--proc", "/proc"]
    mounts += ["--tmpfs", "/tmp"]  # noqa: S108 - a private one
    for root in outer:
        if root != Path("/"):
            mounts += ["--bind", str(root), str(root)]
    if folders.state.is_dir():
        mounts += ["--tmpfs", str(folders.state)]
        for root in inner:
            mounts += ["--bind", str(root), str(root)]
        mounts += ["--remount-ro", str(folders.state)]
    if protect:
        mounts += _protected(roots)
    return (program, *_BASE, *mounts, "--setenv", "TMPDIR", "/tmp", "--chdir", str(folder), "--", *argv)  # noqa: S108


def _protected(roots: Sequence[Path]) -> list[str]:
    mounts: list[str] = []
    for root in roots:
        for name in (*BOOTSTRAP_FILES, MEMORY_FOLDER):
            path = root / name
            # A link is left alone: its target is either outside and read-only, or protected by itself.
            if path.exists() and not path.is_symlink():
                mounts += ["--ro-bind", str(path), str(path)]
    return mounts


def shell() -> str:
    """The shell that commands are written for."""
    return "/bin/bash" if os.access("/bin/bash", os.X_OK) else "/bin/sh"
