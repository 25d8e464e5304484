"""Which process groups tools have started, so that survivors of a crash are killed before anything else starts.

Owns the table `processes`. A row is committed before its command does anything and removed when the group is gone.
A group is known by its number, its leader's start time and the boot: numbers are used again.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from gateway.machine import machine_id, start_time
from gateway.store.database import Database, Transaction
from gateway.store.schema import processes, workers
from gateway.store.sessions import FenceLost
from gateway.tools.command import MARK

if TYPE_CHECKING:
    import psutil

_TIDY_SECONDS = 1.0
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

    def __init__(self, database: Database, session_id: str, worker_id: str | None = None) -> None:
        """
        Args:
            database: where they are recorded.
            session_id: for whom the processes are started.
            worker_id: this process of Laneway, by which it claims sessions.
        """
        self._database = database
        self._session_id = session_id
        self._worker_id = worker_id

    async def record(self, pgid: int) -> int:
        """See `ProcessLedger.record`."""
        started = start_time(pgid) or "gone"
        return await self._database.run(record_process, self._session_id, pgid, started, machine_id(), self._worker_id)

    async def forget(self, entry: int) -> None:
        """See `ProcessLedger.forget`."""
        await self._database.run(forget_process, entry)


def record_process(
    tx: Transaction, session_id: str, pgid: int, started: str, boot_id: str, worker_id: str | None = None
) -> int:
    """Unit of work: remembers a group that waits for the word to begin.

    Raises:
        FenceLost: this process has been taken for dead. Others go on with its work and have killed what was recorded by
            then, so that nothing may begin that wasn't.
    """
    if worker_id is not None and not tx.alone:
        tx.lock(workers, worker_id)
        if tx.execute(select(workers.c.id).where(workers.c.id == worker_id)).first() is None:
            raise FenceLost(f"session {session_id}: this process has been taken for dead")
    values = {"session_id": session_id, "pgid": pgid, "started": started, "boot_id": boot_id, "worker_id": worker_id}
    row = tx.execute(insert(processes).values(values).returning(processes.c.id)).one()
    return int(row.id)


def forget_process(tx: Transaction, entry: int) -> None:
    """Unit of work: the group is gone."""
    tx.execute(delete(processes).where(processes.c.id == entry))


def recorded_groups(tx: Transaction) -> tuple[Group, ...]:
    """Unit of work: every group of this machine that may be alive, and whose own process isn't known to be."""
    living = select(workers.c.id)
    rows = tx.execute(
        select(processes.c.id, processes.c.pgid, processes.c.started, processes.c.boot_id).where(
            processes.c.worker_id.is_(None) | processes.c.worker_id.not_in(living),
        )
    ).all()
    here = machine_id()
    # On SQLite there is no other machine: what was recorded in another boot is dead.
    found = (row for row in rows if tx.alone or row.boot_id == here)
    return tuple(Group(row.id, row.pgid, row.started, row.boot_id) for row in found)


async def kill_survivors(database: Database) -> int:
    """Kills what dead processes of Laneway have left running on this machine; returns how many groups that were.

    To be awaited before any session is activated (spec/architecture.md, protocol 3).
    """
    groups = await database.read(recorded_groups)
    killed = await asyncio.gather(*(asyncio.to_thread(_kill, group) for group in groups))
    for group in groups:
        await database.run(forget_process, group.id)
    return sum(killed)


def _kill(group: Group) -> bool:
    if group.boot_id != machine_id() or not _is_ours(group):
        return False
    # Who leads the group has lost its gateway too and is killing what came of the command, also what has left the
    # group: killed in the middle of that it would leave something behind. Frozen with its command it can't.
    with suppress(ProcessLookupError):
        os.kill(group.pgid, signal.SIGCONT)
    _wait_while(lambda: start_time(group.pgid) == group.started, _TIDY_SECONDS)
    _wait_while(lambda: _killed(group), _DEATH_SECONDS)
    return True


def _killed(group: Group) -> bool:
    """Whether there was somebody to kill; all at once, so that nobody is survived by what he has just started."""
    if not _is_ours(group):
        return False
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group.pgid, signal.SIGKILL)
    return True


def _wait_while(holds: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while holds() and time.monotonic() < deadline:
        time.sleep(0.005)  # only its parent is told when a process ends, and that isn't us


def _is_ours(group: Group) -> bool:
    """Whether somebody is alive in the group, and it is the one that was recorded: as long as somebody is in it, its
    number goes to nobody else."""
    leader = start_time(group.pgid)
    if leader is not None:
        return leader == group.started
    # Without its leader a group has no start time; its processes carry our mark.
    # psutil costs start-up time and memory that only this rare case should pay.
    import psutil

    return any(_in_group(process.pid, group.pgid) and _is_marked(process) for process in psutil.process_iter())


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
