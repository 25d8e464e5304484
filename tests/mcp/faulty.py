"""A gateway with the scripted MCP server."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.mcp.client.server import Server
from tests.support.pilot import PATIENCE, Pilot, merged, pilot

SCRIPT = Path(__file__).with_name("scripted_server.py")
PUBLIC = {"command": sys.executable, "args": ["-m", "mcp_server_time", "--local-timezone", "Europe/Vienna"]}
"""A server that this project did not write."""
Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Faulty:
    """The server `odd`, from outside."""

    folder: Path

    def config(self, **settings: Any) -> Json:
        """Its configuration."""
        server = {"command": sys.executable, "args": [str(SCRIPT), str(self.folder)], **settings}
        return {"mcp": {"servers": {"odd": server}}}

    def write(self, name: str, value: object) -> None:
        """Tells it something."""
        self.folder.mkdir(exist_ok=True)
        (self.folder / name).write_text(value if isinstance(value, str) else json.dumps(value))

    def lines(self, name: str) -> list[str]:
        """What it has noted."""
        file = self.folder / name
        return file.read_text().split() if file.exists() else []

    @property
    def pids(self) -> list[int]:
        """Of all its processes, over all restarts."""
        return [int(line) for line in self.lines("starts.log")]


def tool(name: str, description: str = "Does it.", **schema: Any) -> Json:
    """A tool of its list."""
    return {"name": name, "description": description, "inputSchema": {"type": "object", **schema}}


@asynccontextmanager
async def faulty(
    tmp_path: Path, config: Mapping[str, Any] | None = None, *, wait: bool = True, **settings: Any
) -> AsyncGenerator[tuple[Pilot, Faulty]]:
    """A gateway with it.

    Args:
        tmp_path: for both.
        config: of the gateway.
        wait: until it is ready.
        settings: of the server.
    """
    odd = Faulty(tmp_path / "odd")
    odd.folder.mkdir(exist_ok=True)
    async with pilot(tmp_path, config=merged(odd.config(**settings), config or {})) as p:
        if wait:
            await ready(p)
        yield p, odd


def server(p: Pilot, name: str = "odd") -> Server:
    """A server of a gateway in this process."""
    return next(each for each in p.gateway.mcp.servers() if each.name == name)


async def ready(p: Pilot, name: str = "odd") -> None:
    """Until it can be asked."""
    await until(lambda: server(p, name).state == "ready", f"{name} to be ready")


async def until(true: Callable[[], bool], what: str, seconds: float = PATIENCE) -> None:
    """Processes that aren't ours tell nobody when something has happened in them."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not true():
        assert asyncio.get_running_loop().time() < deadline, f"waited in vain for {what}"
        await asyncio.sleep(0.01)


async def use(p: Pilot, name: str, **arguments: Any) -> str:
    """Lets the assistant call one tool of the server."""
    [result] = await p.use([(f"mcp__odd__{name}", arguments)])
    return result


async def heard(p: Pilot, text: str) -> None:
    """Says something and waits for the answer."""
    await p.say(text)
    await p.wait_idle()


def offered(p: Pilot) -> set[str]:
    """Tools of MCP servers that a main session has in the last request."""
    return {each for each in p.main_requests()[-1].tools if each.startswith("mcp__")}


def alive(pid: int) -> bool:
    """Whether a process lives."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
