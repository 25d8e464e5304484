"""The real command line for tests: `laneway` as a process, on a state folder and a home of its own, offline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.forks import forks

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "gateway.cli")
PATIENCE_SECONDS = 25.0


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output as JSON."""
        return json.loads(self.out)


@dataclass
class Home:
    """A person's home with a state folder in it."""

    folder: Path
    env: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def state(self) -> Path:
        """`LANEWAY_HOME`."""
        return self.folder / "state"

    def environ(self) -> dict[str, str]:
        """The whole environment: nothing of the tester's own but the path."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "LANEWAY_HOME": str(self.state),
            "LANEWAY_DEMO_DELAY": "0",
            "LANEWAY_OFFLINE": "1",
            "LANEWAY__GATEWAY__PORT": "0",
            **self.env,
        }

    def run(self, *arguments: str, stdin: str = "") -> Done:
        """Runs one command to its end. Whatever it prints, it is no traceback."""
        if stdin:
            done = self._execute(arguments, stdin)
        else:
            done = Done(*forks().run(arguments, self.environ(), self.folder, PATIENCE_SECONDS))
        assert "Traceback" not in done.out + done.err, done.err
        return done

    def _execute(self, arguments: Sequence[str], stdin: str) -> Done:
        done = subprocess.run(  # noqa: S603 - our own program
            [*COMMAND, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            env=self.environ(),
            cwd=self.folder,
            timeout=PATIENCE_SECONDS,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def spawn(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts a command and lets it run."""
        return subprocess.Popen(  # noqa: S603 - our own program
            [*COMMAND, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environ(),
            cwd=self.folder,
        )

    @contextmanager
    def gateway(self, *arguments: str) -> Generator[Gateway]:
        """A running `laneway start`; stopped by SIGTERM at the end unless it is gone by then."""
        process = self.spawn("start", *arguments)
        assert process.stdout is not None
        try:
            line = process.stdout.readline()
            assert line, process.stderr.read() if process.stderr else "no output"
            yield Gateway(process, line.strip())
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_SECONDS)


@dataclass(frozen=True)
class Gateway:
    """A gateway as a process."""

    process: subprocess.Popen[str]
    line: str
    """What it printed when it was ready."""

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid
