"""Which process groups tools have started, so that survivors of a crash are killed before anything else starts.

Owns the table `processes`. A row is committed before its command does anything and removed when the group is gone.
A group is known by its number, its leader's start time and the boot: numbers are used again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from gateway.store.database import Database, Transaction
from gateway.store.schema import processes
from gateway.tools.command import MARK

if TYPE_CHECKING:
    import psutil

_DEATH_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Group:
    """One recorded process group."""

    id: int
    pgid: int
    started: str
    boot_id: str


class StoreLedger:
    """The `ProcessLedger` of one session."""

    def __init__(self, database: Database, session_id: str) -> None:
        self._database = database
        self._session_id = session_id

    async def record(self, pgid: int) -> int:
        """See `ProcessLedger.record`."""
        started = _start_time(pgid) or "gone"
        return await self._database.run(record_process, self._session_id, pgid, started, _boot_id())

    async def forget(self, entry: int) -> None:
        """See `ProcessLedger.forget`."""
        await self._database.run(forget_process, entry)


def record_process(tx: Transaction, session_id: str, pgid: int, started: str, boot_id: str) -> int:
    """Unit of work: remembers a group."""
    values = {"session_id": session_id, "pgid": pgid, "started": started, "boot_id": boot_id}
    row = tx.execute(insert(processes).values(values).returning(processes.c.id)).one()
    return int(row.id)


def forget_process(tx: Transaction, entry: int) -> None:
    """Unit of work: the group is gone."""
    tx.execute(delete(processes).where(processes.c.id == entry))


def recorded_groups(tx: Transaction) -> tuple[Group, ...]:
    """Unit of work: every group that may be alive."""
    rows = tx.execute(select(processes.c.id, processes.c.pgid, processes.c.started, processes.c.boot_id))
    return tuple(Group(row.id, row.pgid, row.started, row.boot_id) for row in rows)


async def kill_survivors(database: Database) -> int:
    """Kills what an earlier process of the gateway has left running; returns how many groups that were.

    To be awaited before any session is activated (spec/architecture.md, protocol 3).
    """
    killed = 0
    for group in await database.read(recorded_groups):
        killed += await asyncio.to_thread(_kill, group)
        await database.run(forget_process, group.id)
    return killed


def _kill(group: Group) -> bool:
    found = _survivors(group)
    for pid in found:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _DEATH_SECONDS
    while any(_start_time(pid) == begun for pid, begun in found.items()) and time.monotonic() < deadline:
        time.sleep(0.005)  # only its parent is told when a process ends, and that isn't us
    return bool(found)


def _survivors(group: Group) -> dict[int, str | None]:
    """The processes of a group that are still ours to kill, with their start times."""
    if group.boot_id != _boot_id():
        return {}
    leader = _start_time(group.pgid)
    if leader is not None and leader != group.started:
        return {}  # the number belongs to somebody else by now
    # psutil costs start-up time and memory that only this rare case should pay.
    import psutil

    members = [process for process in psutil.process_iter() if _in_group(process.pid, group.pgid)]
    if leader is None:
        # Without its leader a group has no start time; its processes carry our mark.
        members = [process for process in members if _is_marked(process)]
    return {process.pid: _start_time(process.pid) for process in members}


def _in_group(pid: int, pgid: int) -> bool:
    try:
        return os.getpgid(pid) == pgid
    except (ProcessLookupError, PermissionError):
        return False


def _is_marked(process: psutil.Process) -> bool:
    import psutil  # as above

    try:
        return MARK in process.environ()
    except psutil.Error:
        return False


def _start_time(pid: int) -> str | None:
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


def _boot_id() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        import psutil  # as above

        return str(int(psutil.boot_time()))
