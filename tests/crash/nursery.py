"""A process that has imported the gateway once and forks real gateway processes: a start without the imports.

The crash matrix starts some hundred gateways; importing would be most of its time. What is forked is the whole
`laneway start`, in a process, folder and environment of its own; only the imports are done before.

Speaks JSON lines. In: `{"id", "words", "env", "cwd", "errors"}`, and `"output"` for a file that gets what it prints.
Out: `{"id", "pid"}`, then, without such a file, `{"id", "line"}` with the line that the gateway prints when it is
ready, then `{"id", "code"}`.
"""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import json
import os
import selectors
import signal
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.process import REPOSITORY, Ended, Life, Site

IMPORTED = (
    "gateway.cli",
    "gateway.cli.start",
    "gateway.agent.openai_client",
    "subagents.plugin",
    "channels.terminal.plugin",
    "channels.slack.account",
    "tests.crash.sink",
)
NICE = 5
"""Other tests, which may measure time, go first."""
_PR_SET_PDEATHSIG = 1


@dataclass(slots=True)
class _Child:
    number: int
    pid: int
    output: int
    said: bool = False


class Nursery:
    """Forks on demand, and tells how its children end. One thread, no loop: forking is safe."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._children: dict[int, _Child] = {}
        self._wake, poke = os.pipe()
        os.set_blocking(poke, False)
        os.set_blocking(self._wake, False)
        signal.signal(signal.SIGCHLD, lambda _signal, _frame: None)
        signal.set_wakeup_fd(poke)
        self._selector.register(0, selectors.EVENT_READ, self._command)
        self._selector.register(self._wake, selectors.EVENT_READ, self._reap)
        self._input = b""
        self._open = True

    def run(self) -> None:
        """Goes on until its input ends; its children die with it."""
        while self._open:
            for key, _ in self._selector.select():
                key.data()

    def _command(self) -> None:
        data = os.read(0, 1 << 20)
        self._open = bool(data)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            self._fork(json.loads(line))

    def _fork(self, order: Mapping[str, Any]) -> None:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            _become(order, writing)
        os.close(writing)
        child = _Child(int(order["id"]), pid, reading)
        self._children[pid] = child
        self._selector.register(reading, selectors.EVENT_READ, lambda: self._output(child))
        _tell({"id": child.number, "pid": pid})

    def _output(self, child: _Child) -> None:
        data = os.read(child.output, 4096)
        if not data:
            self._selector.unregister(child.output)
            os.close(child.output)
        elif not child.said:
            child.said = True
            _tell({"id": child.number, "line": data.decode().strip()})

    def _reap(self) -> None:
        os.read(self._wake, 4096)
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            child = self._children.pop(pid)
            _tell({"id": child.number, "code": os.waitstatus_to_exitcode(status)})


def _tell(record: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(record).encode() + b"\n")


def _become(order: Mapping[str, Any], output: int) -> None:
    """The rest of the child's life: it is `laneway start`, or another command that serves."""
    code = 70
    try:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.chdir(order["cwd"])
        os.environ.clear()
        os.environ.update(order["env"])
        errors = os.open(order["errors"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY)
        if "output" in order:
            output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        for source, target in ((nothing, 0), (output, 1), (errors, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        importlib.reload(importlib.import_module("gateway.failpoints"))  # it reads its variables when it is imported
        sys.argv = ["laneway", *order["words"]]
        importlib.import_module("gateway.cli").main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        sys.stdout.flush()
    finally:
        os._exit(code)


class NurseryClient:
    """Starts gateways through a nursery. An async context manager.

    Args:
        folder: gets what the nursery itself writes to stderr.
        path: folders for `PYTHONPATH` beside the repository.
        imports: modules that it imports beside the usual ones.
    """

    def __init__(self, folder: Path, path: str, *imports: str) -> None:
        self._folder = folder
        self._log = folder / "nursery.log"
        self._path = path
        self._imports = imports
        self._numbers = 0
        self._asked: dict[int, tuple[Site, asyncio.Future[Life]]] = {}
        self._lives: dict[int, Life] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None

    async def __aenter__(self) -> NurseryClient:
        with self._log.open("ab") as errors:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.crash.nursery", *self._imports),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
                cwd=REPOSITORY,
                env={
                    "PATH": os.environ["PATH"],
                    "HOME": str(self._folder),
                    "LANG": "C.UTF-8",
                    "LANEWAY_OFFLINE": "1",
                    "PYTHONPATH": f"{self._path}{os.pathsep}{REPOSITORY}",
                },
            )
        self._reader = asyncio.create_task(self._read(), name="nursery")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._process.kill()
        await self._process.wait()
        await self._reader

    async def start(
        self, site: Site, env: Mapping[str, str] | None = None, *, words: Sequence[str] = ("start",)
    ) -> Life:
        """A gateway process on a site, or what these words of the command line say; as `process.start`."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._numbers += 1
        asked: asyncio.Future[Life] = asyncio.get_running_loop().create_future()
        self._asked[self._numbers] = site, asked
        place = {"env": site.environ(env), "cwd": str(site.folder), "errors": str(site.errors)}
        self._process.stdin.write(json.dumps({"id": self._numbers, "words": words, **place}).encode() + b"\n")
        return await asked

    async def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            self._told(json.loads(line))
        for _, asked in self._asked.values():
            asked.set_exception(Ended(f"the nursery has ended: {self._log.read_text('utf-8')}"))

    def _told(self, record: Mapping[str, Any]) -> None:
        number = record["id"]
        if "pid" in record:
            loop = asyncio.get_running_loop()
            site, asked = self._asked.pop(number)
            self._lives[number] = Life(site, record["pid"], loop.create_future(), loop.create_future())
            asked.set_result(self._lives[number])
        elif "line" in record:
            self._lives[number].greeting.set_result(record["line"])
        else:
            self._lives.pop(number).exited.set_result(record["code"])


def main() -> None:
    """Imports, then forks until the input ends."""
    for name in (*IMPORTED, *sys.argv[1:]):
        importlib.import_module(name)
    os.nice(NICE)
    assert threading.active_count() == 1, "a thread would not survive a fork"
    Nursery().run()


if __name__ == "__main__":
    main()
