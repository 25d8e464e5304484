"""A real gateway process on a state folder of its own, and the scripted model server as a process beside it.

What a test of a crash needs: start, wait until ready, kill with SIGKILL or stop with SIGTERM, and look into the
database, read-only, whether or not anybody runs on it. Nothing here imports the gateway.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sqlite3
import sys
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from tests.support.postgres import looking

REPOSITORY = Path(__file__).parents[2]
COMMAND = (sys.executable, "-m", "gateway.cli", "start")
PATIENCE_SECONDS = 60.0
KILLED = -signal.SIGKILL


class Ended(Exception):
    """The process has ended instead of doing what was waited for. The text holds what it had to say."""


@dataclass(frozen=True, slots=True)
class Site:
    """A folder with everything that one gateway needs: state, configuration, workspace."""

    folder: Path
    model_url: str
    """Base URL of the scripted model server."""
    model: str = "scripted"
    """The only model; a script may tell sites apart by it."""
    window: int = 200_000
    """Of the model, in tokens."""
    env: Mapping[str, str] = field(default_factory=dict[str, str])
    """Variables beside the usual ones."""
    postgres: str | None = None
    """URL of the PostgreSQL database; None: SQLite."""

    @property
    def state(self) -> Path:
        """`LANEWAY_HOME`."""
        return self.folder / "state"

    @property
    def workspace(self) -> Path:
        """The default agent's folder."""
        return self.state / "workspace"

    @property
    def database(self) -> Path:
        """The SQLite file."""
        return self.state / "laneway.db"

    @property
    def errors(self) -> Path:
        """Where all its processes write their logs."""
        return self.folder / "stderr.log"

    def prepare(self, config: Mapping[str, Any] | None = None) -> Site:
        """Makes the folders and writes the configuration; `config` goes over the usual one, section by section."""
        self.workspace.mkdir(parents=True, exist_ok=True)
        whole = self._usual() | dict(config or {})
        (self.state / "config.json5").write_text(json.dumps(whole, indent=1), "utf-8")
        return self

    def environ(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The whole environment of a process: nothing of the tester's own but the path."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(REPOSITORY),
            "LANEWAY_HOME": str(self.state),
            "LANEWAY_OFFLINE": "1",
            **self.env,
            **(more or {}),
        }

    def token(self) -> str:
        """The operator's token; there once a gateway has been ready."""
        return (self.state / "token").read_text("utf-8").strip()

    def url(self) -> str:
        """Where the gateway listens that runs now."""
        return str(json.loads((self.state / "gateway.json").read_text("utf-8"))["url"])

    def said(self) -> str:
        """The end of what its processes wrote to stderr."""
        return self.errors.read_text("utf-8", "replace")[-6000:] if self.errors.exists() else ""

    @property
    def has_tables(self) -> bool:
        """A gateway has been far enough to make them."""
        if self.postgres is None and not self.database.exists():
            return False
        catalogue = "sqlite_master" if self.postgres is None else "pg_tables"
        name = "name" if self.postgres is None else "tablename"
        with self.rows() as rows:
            return bool(rows.execute(f"select 1 from {catalogue} where {name} = 'messages'").fetchone())  # noqa: S608

    @contextmanager
    def rows(self) -> Generator[sqlite3.Connection]:
        """The database, to look at; also while a gateway runs, and after it was killed."""
        if self.postgres is not None:
            with looking(self.postgres) as connection:
                yield cast("sqlite3.Connection", connection)  # it can do all that tests ask of it
            return
        with contextlib.closing(sqlite3.connect(f"{self.database.absolute().as_uri()}?mode=ro", uri=True)) as raw:
            raw.row_factory = sqlite3.Row
            yield raw

    def _usual(self) -> dict[str, Any]:
        price = {"input": 1, "output": 2}
        model = {"id": self.model, "contextWindow": self.window, "maxTokens": 4096, "cost": price}
        provider = {
            "baseUrl": self.model_url,
            "api": "openai-completions",
            "apiKey": "scripted-key",
            "models": [model],
        }
        return {
            "gateway": {"port": 0, "drainSeconds": 20},
            "database": {"durability": "process", **({"url": self.postgres} if self.postgres else {})},
            "tools": {"exec": {"ask": "off", "sandbox": "off"}},
            "models": {"providers": {"scripted": provider}},
            "agents": {"defaults": {"model": {"primary": f"scripted/{self.model}"}}},
        }


@dataclass(frozen=True, slots=True)
class Life:
    """One process of a gateway, from its start to its end."""

    site: Site
    pid: int
    greeting: asyncio.Future[str]
    """The line that it prints once it is ready."""
    exited: asyncio.Future[int]
    """Its exit code; minus the signal that killed it."""
    printed: asyncio.Queue[str] = field(default_factory=asyncio.Queue[str])
    """The lines that it prints after its greeting."""

    async def said(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Waits for the line that it prints once it is ready.

        Raises:
            Ended: it has ended before.
        """
        await asyncio.wait({self.greeting, self.exited}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if not self.greeting.done():
            raise Ended(f"it isn't ready: {self.site.said()}")
        return self.greeting.result()

    async def ready(self, seconds: float = PATIENCE_SECONDS) -> str:
        """Waits until it listens, and returns its URL.

        Raises:
            Ended: it has ended before.
            TimeoutError: it is neither ready nor dead.
        """
        await asyncio.wait({self.greeting, self.exited}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if self.exited.done():
            raise Ended(f"the gateway ended with {self.exited.result()}: {self.site.said()}")
        if not self.greeting.done():
            raise TimeoutError(f"the gateway isn't ready after {seconds:g} s: {self.site.said()}")
        return self.site.url()

    def kill(self) -> None:
        """SIGKILL; does nothing if it has ended."""
        self._send(signal.SIGKILL)

    def suspend(self) -> None:
        """SIGSTOP."""
        self._send(signal.SIGSTOP)

    def wake(self) -> None:
        """SIGCONT."""
        self._send(signal.SIGCONT)

    def terminate(self) -> None:
        """SIGTERM; does nothing if it has ended."""
        self._send(signal.SIGTERM)

    async def stop(self, seconds: float = PATIENCE_SECONDS) -> int:
        """Ends it by SIGTERM and returns its exit code.

        Raises:
            TimeoutError: it goes on after so many seconds.
        """
        self.terminate()
        return await asyncio.wait_for(asyncio.shield(self.exited), seconds)

    def _send(self, number: signal.Signals) -> None:
        if not self.exited.done():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


async def start(
    site: Site,
    env: Mapping[str, str] | None = None,
    *,
    limit: Callable[[], None] | None = None,
    command: Sequence[str] = COMMAND,
) -> Life:
    """Executes `laneway start` on a site.

    Args:
        site: where; must have been prepared.
        env: variables for this process alone.
        limit: is called in the new process before it becomes the gateway (`setrlimit`).
        command: what is executed instead.
    """
    with site.errors.open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            env=site.environ(env),
            cwd=site.folder,
            preexec_fn=limit,
        )
    loop = asyncio.get_running_loop()
    life = Life(site, process.pid, loop.create_future(), loop.create_future())
    watch = asyncio.create_task(_watch(process, life), name=f"gateway {process.pid}")
    life.exited.add_done_callback(lambda _done: watch)  # keeps the task as long as somebody waits for it
    return life


async def _watch(process: asyncio.subprocess.Process, life: Life) -> None:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if line:
        life.greeting.set_result(line.decode().strip())
    async for line in process.stdout:
        life.printed.put_nowait(line.decode().strip())
    life.exited.set_result(await process.wait())


async def start_worker(site: Site, *lanes: str, concurrency: int = 8, env: Mapping[str, str] | None = None) -> Life:
    """Executes `laneway worker` on a site, and waits until it is ready."""
    life = await start(site, env, command=(*COMMAND[:-1], *worker_words(*lanes, concurrency=concurrency)))
    await life.said()
    return life


def worker_words(*lanes: str, concurrency: int = 8) -> tuple[str, ...]:
    """A worker's command line, without the program."""
    names = [word for lane in lanes or ("subagent",) for word in ("--lane", lane)]
    return ("worker", *names, "--concurrency", str(concurrency))


class Start(Protocol):
    """How a gateway comes to life: `start`, or by way of something that has done the imports."""

    async def __call__(self, site: Site, env: Mapping[str, str] | None = None) -> Life: ...


@contextmanager
def reserved_port() -> Generator[int]:
    """A port for one gateway after the other: nobody else is given it, and listening on it is left to them."""
    with socket.socket() as kept:
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        kept.bind(("127.0.0.1", 0))
        yield int(kept.getsockname()[1])


@asynccontextmanager
async def gateway(site: Site, begin: Start = start) -> AsyncGenerator[Life]:
    """A gateway that is ready; killed at the end unless it has ended by then."""
    life = await begin(site)
    try:
        await life.ready()
        yield life
    finally:
        life.kill()
        await life.exited


@asynccontextmanager
async def model_server(rules: str, folder: Path) -> AsyncGenerator[str]:
    """The scripted model server in a process of its own; yields its base URL.

    Args:
        rules: `module:function` that gets the server and adds rules.
        folder: `SCENES` in its environment: where rules may write what they saw.
    """
    with (folder / "models.log").open("ab") as errors:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.support.model_server", "--rules", rules),
            stdout=asyncio.subprocess.PIPE,
            stderr=errors,
            cwd=REPOSITORY,
            env={"PATH": os.environ["PATH"], "HOME": str(folder), "SCENES": str(folder)},
        )
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
        assert line, (folder / "models.log").read_text("utf-8")
        yield line.decode().strip()
    finally:
        process.kill()
        await process.wait()
