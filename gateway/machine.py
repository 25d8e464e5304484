"""Processes of this machine: how one is told from another that had its number before, and when it ends.

A process is known by its number together with its start time, and the number means something only in one boot of one
machine, inside one process namespace: a container has its own numbers.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from pathlib import Path


def machine_id() -> str:
    """Where process numbers mean what they mean here."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return f"{boot_id()} {namespace}".strip()


def boot_id() -> str:
    """This boot of this machine."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil  # costs start-up time and memory that only systems without /proc should pay

        return str(int(psutil.boot_time()))


def host_name() -> str:
    """The machine's name, for people."""
    return socket.gethostname()


def start_time(pid: int) -> str | None:
    """When a process began, in the system's own measure; None if it has ended."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/stat").exists():
        try:
            # The name in brackets may hold anything, so that the fields are counted from its end.
            fields = stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return None
        return None if fields[0] in "ZX" else fields[19]
    import psutil  # as above

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else repr(process.create_time())
    except psutil.Error:
        return None


def watch_end(pid: int, started: str, ended: Callable[[], None]) -> Callable[[], None] | None:
    """Calls back on the event loop when a process ends; returns how to stop watching.

    None: it has ended already, or this system can't tell.

    Args:
        pid: its number.
        started: its start time: another process with the same number isn't meant.
        ended: is called once.
    """
    opener = getattr(os, "pidfd_open", None)
    if opener is None:
        return None
    try:
        descriptor: int = opener(pid)
    except OSError:
        return None
    if start_time(pid) != started:  # read again: before, the number may have changed hands
        os.close(descriptor)
        return None
    loop = asyncio.get_running_loop()

    def close() -> None:
        loop.remove_reader(descriptor)
        os.close(descriptor)

    def readable() -> None:
        close()
        ended()

    loop.add_reader(descriptor, readable)
    return close
