"""Running one command: started only after it is recorded, watched, and ended with everything it has started.

Owns the processes while `run` is awaited. They die with the gateway (see `shim.py`); what should survive even that
is found in the ledger at the next start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway import failpoints
from gateway.tools.base import ProcessLedger

TERM_SECONDS = 5.0
"""Between the polite end of a command that took too long and its death."""
MARK = "LANEWAY_EXEC"
"""A variable in the environment of every command, by which its processes are known after a crash."""
STDOUT_BYTES = 65_536
STDERR_BYTES = 16_384

_SHIM = str(Path(__file__).with_name("shim.py"))
_BURY_SECONDS = 5.0
_CHUNK = 65_536


class Tail:
    """The last bytes of a stream."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._total = 0

    def add(self, data: bytes) -> None:
        """Takes what has come."""
        self._total += len(data)
        self._data += data
        if len(self._data) > 2 * self._limit:
            del self._data[: -self._limit]

    def text(self) -> str:
        """What is kept, with a visible mark where something is missing."""
        kept = bytes(self._data[-self._limit :])
        cut = self._total - len(kept)
        text = kept.decode("utf-8", "replace").replace("\0", "\ufffd")
        return f"… {cut:,} bytes cut …\n{text}" if cut else text


@dataclass(frozen=True, slots=True)
class Ended:
    """What came of a command."""

    code: int
    """Its exit code; 128 + n if a signal ended it."""
    seconds: float
    timed_out: bool
    stdout: str
    stderr: str


async def run(
    argv: Sequence[str],
    *,
    folder: int,
    env: Mapping[str, str],
    seconds: float,
    ledger: ProcessLedger | None,
    started: Callable[[int], None] = lambda _pid: None,
    gentle: bool = False,
) -> Ended:
    """Runs a command to its end. Cancelling ends it, with all that it has started.

    Args:
        argv: the program and its arguments.
        folder: descriptor of the folder to run in; stays open.
        env: the whole environment.
        seconds: then the group is asked to end, and killed after `TERM_SECONDS`.
        ledger: gets the process group before the command does anything.
        started: gets the process group when the command is going.
        gentle: a cancelled command is asked to end as well, and killed after `TERM_SECONDS`; otherwise at once.

    Raises:
        OSError: no process can be started.
    """
    control, hold = os.pipe()
    try:
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", _SHIM, str(control), str(folder), *argv),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env={**env, MARK: "1"},
                start_new_session=True,
                pass_fds=(control, folder),
            )
        finally:
            os.close(control)
        return await _attend(process, hold, seconds, ledger, started, gentle=gentle)
    finally:
        os.close(hold)


async def _attend(
    process: asyncio.subprocess.Process,
    hold: int,
    seconds: float,
    ledger: ProcessLedger | None,
    started: Callable[[int], None],
    *,
    gentle: bool,
) -> Ended:
    out, err = Tail(STDOUT_BYTES), Tail(STDERR_BYTES)
    work = asyncio.create_task(_collect(process, out, err), name=f"command {process.pid}")
    # A task, so that a cancelled caller still knows what has been recorded and must be forgotten.
    entry = None if ledger is None else asyncio.create_task(ledger.record(process.pid), name=f"record {process.pid}")
    timed_out = False
    begun = time.monotonic()
    try:
        if entry is not None:
            await asyncio.shield(entry)
        failpoints.hit("exec:recorded")
        _tell(hold, b"g")
        failpoints.hit("exec:started")
        started(process.pid)
        timed_out = not await _ends(work, seconds)
        if timed_out:
            _kill_group(process.pid, signal.SIGTERM)
            await _ends(work, TERM_SECONDS)
    finally:
        if not work.done() and gentle:
            _kill_group(process.pid, signal.SIGCONT)  # what is frozen hears nothing
            _kill_group(process.pid, signal.SIGTERM)
            await _uncancelled(_settle(work))
        if not work.done():
            _tell(hold, b"k")
        await _uncancelled(_bury(process, work, ledger, entry))
    code = process.returncode
    seconds_taken = time.monotonic() - begun
    return Ended(-1 if code is None else code, seconds_taken, timed_out, out.text(), err.text())


async def _collect(process: asyncio.subprocess.Process, out: Tail, err: Tail) -> None:
    await asyncio.gather(_drain(process.stdout, out), _drain(process.stderr, err))
    await process.wait()


async def _drain(stream: asyncio.StreamReader | None, tail: Tail) -> None:
    while stream is not None and (data := await stream.read(_CHUNK)):
        tail.add(data)


async def _ends(work: asyncio.Task[None], seconds: float) -> bool:
    done, _ = await asyncio.wait({work}, timeout=seconds)
    return bool(done)


async def _settle(work: asyncio.Task[None]) -> None:
    await _ends(work, TERM_SECONDS)


async def _bury(
    process: asyncio.subprocess.Process,
    work: asyncio.Task[None],
    ledger: ProcessLedger | None,
    entry: asyncio.Task[int] | None,
) -> None:
    """Waits until nothing is left of the command, and kills its group if it doesn't go by itself."""
    if not await _ends(work, _BURY_SECONDS):
        # The shim itself is stopped or dead; what holds the pipes open is still in the group.
        _kill_group(process.pid, signal.SIGKILL)
        await _ends(work, _BURY_SECONDS)
    work.cancel()
    await asyncio.wait({work})
    if ledger is not None and entry is not None:
        await ledger.forget(await entry)


def _tell(hold: int, word: bytes) -> None:
    """`g` starts the command; anything else, like the end of the pipe, ends it."""
    with suppress(BrokenPipeError):
        os.write(hold, word)


def _kill_group(pgid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pgid, number)


async def _uncancelled(work: Coroutine[Any, Any, None]) -> None:
    """Awaits to the end, also if the caller is cancelled meanwhile; he is cancelled then."""
    task = asyncio.create_task(work, name="burying a command")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
