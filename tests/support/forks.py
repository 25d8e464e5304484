"""Commands by fork: a process that has done the imports forks one for each, so that it costs a fifth of the time.

What is forked is the whole `laneway …`, in a process, folder and environment of its own, as the crash tests do it with
gateways. The tests' own process couldn't: it has threads.
"""

from __future__ import annotations

import atexit
import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from functools import cache
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
IMPORTED = ("typer", "rich.console", "rich.table", "rich.live", "rich.markdown", "rich.panel", "channels.web.plugin")


class Forks:
    """Runs commands to their end, from any thread."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="laneway-forks-")
        self._numbers = itertools.count(1)
        self._ends: dict[int, Future[int]] = {}
        self._lock = threading.Lock()
        self._process = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", "tests.crash.nursery", *IMPORTED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
            env={
                "PATH": os.environ["PATH"],
                "HOME": self._folder.name,
                "LANG": "C.UTF-8",
                "LANEWAY_OFFLINE": "1",
                "PYTHONPATH": str(REPOSITORY),
            },
        )
        threading.Thread(target=self._read, name="forks", daemon=True).start()
        atexit.register(self._close)

    def run(self, words: Sequence[str], env: Mapping[str, str], folder: Path, seconds: float) -> tuple[int, str, str]:
        """One command without input; returns its code, and what it has printed and complained of.

        Raises:
            TimeoutError: it takes longer.
        """
        number = next(self._numbers)
        output, errors = (Path(self._folder.name) / f"{number}.{kind}" for kind in ("out", "err"))
        order = {"id": number, "words": words, "env": dict(env), "cwd": str(folder)}
        end = self._ends[number] = Future[int]()
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(json.dumps({**order, "output": str(output), "errors": str(errors)}) + "\n")
            self._process.stdin.flush()
        code = end.result(seconds)
        return code, output.read_text("utf-8"), errors.read_text("utf-8")

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            record = json.loads(line)
            if "code" in record:
                self._ends.pop(record["id"]).set_result(record["code"])
        for end in self._ends.values():
            end.set_exception(RuntimeError("the process that forks commands has ended"))

    def _close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.cleanup()


@cache
def forks() -> Forks:
    """The one of this test process."""
    return Forks()
