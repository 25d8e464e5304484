"""A server that is a command: started only after it is recorded, read line by line, and ended with all it has started.

It runs below the same small parent as the commands of `exec` (`gateway/tools/shim.py`), so that it dies with the
gateway, and its process group stands in the ledger, so that a survivor of a crash is killed at the next start.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncGenerator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.tools import shim
from gateway.tools.base import ProcessLedger
from gateway.tools.command import MARK, Tail

LARGEST_LINE = 16 * 1024 * 1024
"""bytes of one message"""
CLOSE_SECONDS = 2.0
"""Between the end of its input, the request to end, and its death."""
STDERR_BYTES = 4_096


class Broken(Exception):
    """A server can't be used any more, or never could. The text says why."""


class Refused(Exception):
    """A server has answered with an error, or with something that is no answer; the text says what."""


class Unsure(Refused):
    """It looks like an error of the server, or like the end of its connection: their codes are the same."""


@dataclass(frozen=True, slots=True)
class Command:
    """What to start, and how."""

    argv: Sequence[str]
    env: Mapping[str, str]
    """The whole environment."""
    folder: Path


class Process:
    """A running server."""

    def __init__(self, process: asyncio.subprocess.Process, hold: int) -> None:
        self._process = process
        self._hold = hold
        self.fault = ""
        """Why nobody wants to hear it any more; it is ended without ceremony then."""
        self._errors = Tail(STDERR_BYTES)
        self._drain = asyncio.create_task(self._read_errors(), name=f"mcp stderr {process.pid}")

    async def read_line(self) -> bytes:
        """Its next line of output; empty at its end.

        Raises:
            Broken: the line is too long.
        """
        if self._process.stdout is None:
            return b""
        try:
            return await self._process.stdout.readline()
        except ValueError:
            raise Broken(f"it sent a line of more than {LARGEST_LINE // 1024 // 1024} MB") from None

    async def write(self, data: bytes) -> None:
        """Gives it a line.

        Raises:
            ConnectionError: it doesn't read any more.
        """
        if self._process.stdin is not None:
            self._process.stdin.write(data)
            await self._process.stdin.drain()

    async def ended(self) -> str:
        """Why it has ended, once its output has."""
        if self.fault:
            return self.fault
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._process.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS):
                await asyncio.shield(self._drain)
        code = self._process.returncode
        how = "it closed its output" if code is None else f"it ended with exit code {code}"
        words = self._errors.text().strip().splitlines()
        return f"{how}: {words[-1][:300]}" if words else how

    async def close(self) -> None:
        """Ends it: first politely, at last by force, with everything it has started."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        # What it still says is thrown away: a full pipe would keep it from ending, and us from seeing its end.
        rest = asyncio.create_task(self._discard(), name=f"mcp rest {self._process.pid}")
        for step in () if self.fault else (None, signal.SIGTERM):
            if step is not None:
                with suppress(ProcessLookupError):
                    os.killpg(self._process.pid, step)
            if await self._gone():
                break
        with suppress(BrokenPipeError):
            os.write(self._hold, b"k")
        if not await self._gone():
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        for task in (self._drain, rest):
            task.cancel()
        await asyncio.wait({self._drain, rest})

    async def _gone(self) -> bool:
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._process.wait()
        except TimeoutError:
            return False
        return True

    async def _discard(self) -> None:
        stream = self._process.stdout
        while stream is not None and await stream.read(65_536):
            pass

    async def _read_errors(self) -> None:
        stream = self._process.stderr
        while stream is not None and (data := await stream.read(65_536)):
            self._errors.add(data)


@asynccontextmanager
async def running(command: Command, ledger: ProcessLedger) -> AsyncGenerator[Process]:
    """A server that runs as long as the context; its group is recorded before it does anything.

    Raises:
        Broken: it can't be started.
    """
    try:
        command.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder = os.open(command.folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Broken(f"its folder {command.folder} can't be used: {error.strerror}") from None
    control, hold = os.pipe()
    try:
        process = await _spawn(command, control, folder)
    except (OSError, ValueError) as error:
        os.close(hold)
        raise Broken(f"it can't be started: {error}") from None
    finally:
        os.close(control)
        os.close(folder)
    server = Process(process, hold)
    # A task, so that a cancelled caller still knows what has been recorded and must be forgotten.
    entry = asyncio.create_task(ledger.record(process.pid), name=f"record {process.pid}")
    try:
        await asyncio.shield(entry)
        with suppress(BrokenPipeError):
            os.write(hold, b"g")
        yield server
    finally:
        await _to_the_end(_bury(server, ledger, entry, hold))


async def _spawn(command: Command, control: int, folder: int) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(Path(shim.__file__)), str(control), str(folder), *command.argv),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**command.env, MARK: "1"},
        start_new_session=True,
        pass_fds=(control, folder),
        limit=LARGEST_LINE,
    )


async def _bury(process: Process, ledger: ProcessLedger, entry: asyncio.Task[int], hold: int) -> None:
    await process.close()
    os.close(hold)
    await ledger.forget(await entry)


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    """Awaits to the end, also if the caller is cancelled meanwhile; he is cancelled then."""
    task = asyncio.create_task(work, name="ending an mcp server")
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    task.result()
