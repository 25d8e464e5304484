"""The gateway under measurement: a real `laneway start` on a state folder of its own, seen from outside.

Requests go over its HTTP API, memory is read from the kernel, and what happens inside is followed through the events
stream. Nothing runs in this process but the clock, and the scripted model server.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp

REPOSITORY = Path(__file__).parents[2]
PATIENCE = 60.0
"""seconds after which waiting is a fault"""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Frame:
    """An event as it came over the wire."""

    at: float
    """`time.monotonic()` when it was read."""
    type: str
    data: bytes

    @property
    def json(self) -> Json:
        """Its data, read."""
        return cast("Json", json.loads(self.data))


@dataclass(slots=True)
class Watch:
    """The events stream of a gateway."""

    frames: list[Frame] = field(default_factory=list[Frame])
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    async def until(self, holds: Callable[[], bool]) -> None:
        """Waits for an event after which a condition holds.

        Raises:
            TimeoutError: it doesn't come to hold in time.
        """
        async with asyncio.timeout(PATIENCE):
            while not holds():
                self.changed.clear()
                await self.changed.wait()

    def of(self, type: str, *words: bytes) -> list[Frame]:
        """The events of a type whose data hold all of these words."""
        return [frame for frame in self.frames if frame.type == type and all(word in frame.data for word in words)]

    def take(self, block: bytes) -> None:
        """Adds one block of the stream."""
        lines = dict(line.split(b": ", 1) for line in block.split(b"\n") if b": " in line)
        if b"event" in lines:
            self.frames.append(Frame(time.monotonic(), lines[b"event"].decode(), lines.get(b"data", b"{}")))
            self.changed.set()


@dataclass(frozen=True, slots=True)
class GatewayProcess:
    """A running gateway."""

    process: asyncio.subprocess.Process
    seconds: float
    """From the start of the process to the line that says it is ready."""
    state: Path
    url: str
    http: aiohttp.ClientSession

    @property
    def rss(self) -> float:
        """Its resident memory, MB."""
        return _status(self.process.pid, "VmRSS")

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has used so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def peak(self) -> float:
        """The most that its resident memory has ever been, MB."""
        return _status(self.process.pid, "VmHWM")

    async def say(self, text: str, key: str) -> float:
        """Sends a message to a session; returns how many seconds its acceptance took."""
        started = time.monotonic()
        async with self.http.post(f"{self.url}/api/sessions/{key}/messages", json={"text": text}) as response:
            await response.read()
            response.raise_for_status()
        return time.monotonic() - started

    async def session(self, key: str) -> Json:
        """A session's record."""
        async with self.http.get(f"{self.url}/api/sessions/{key}") as response:
            response.raise_for_status()
            return cast("Json", await response.json())

    @asynccontextmanager
    async def watch(self, key: str | None = None) -> AsyncGenerator[Watch]:
        """Follows the events of a session and what is below it, or of all."""
        found = Watch()
        query = {} if key is None else {"session": key}
        async with self.http.get(f"{self.url}/api/events", params=query) as response:
            response.raise_for_status()
            await response.content.readuntil(b"\n\n")
            reading = asyncio.create_task(_read(response, found), name="bench:events")
            try:
                yield found
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _read(response: aiohttp.ClientResponse, watch: Watch) -> None:
    rest = b""
    async for chunk in response.content.iter_any():
        *blocks, rest = (rest + chunk).split(b"\n\n")
        for block in blocks:
            watch.take(block)


@asynccontextmanager
async def gateway(folder: Path, config: Mapping[str, Any]) -> AsyncGenerator[GatewayProcess]:
    """Starts a gateway on `folder` and stops it at the end.

    Args:
        folder: home and state of the gateway; may hold the state of an earlier one.
        config: the whole configuration file.
    """
    state = folder / "state"
    state.mkdir(mode=0o700, exist_ok=True)
    (state / "config.json5").write_text(json.dumps(config), "utf-8")
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *_command(), env=_environ(folder), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        line = await asyncio.wait_for(process.stdout.readline(), PATIENCE)
        seconds = time.monotonic() - started
        assert line, "the gateway did not start"
        url = str(json.loads((state / "gateway.json").read_text("utf-8"))["url"])
        token = (state / "token").read_text("utf-8").strip()
        timeout = aiohttp.ClientTimeout(total=None)
        async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {token}"}, timeout=timeout) as http:
            yield GatewayProcess(process, seconds, state, url, http)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), PATIENCE)


def _command() -> list[str]:
    """`laneway start`; `BENCH_WRAP` puts a profiler's script in the place of the program."""
    return [sys.executable, *os.environ.get("BENCH_WRAP", "-m gateway.cli").split(), "start"]


def _environ(folder: Path) -> dict[str, str]:
    """Nothing of the tester's own but the path, and what is meant for the gateway."""
    meant = {name: value for name, value in os.environ.items() if name.startswith("LANEWAY__")}
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "LANG": "C.UTF-8",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")])),
        "LANEWAY_HOME": str(folder / "state"),
        "LANEWAY_OFFLINE": "1",
        "LANEWAY_DEMO_DELAY": "0",
        **meant,
    }


def _status(pid: int, name: str) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1]) / 1024
    raise LookupError(name)
