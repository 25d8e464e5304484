"""Keeps one MCP server alive: connects, asks for its tools, notices its end, and connects again after a while.

A call never waits longer than the server's timeout. One that was cut off is cancelled at the server, and a server that
then answers nothing else is ended. Nothing here survives the process but what is accepted of the tools.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from gateway.bus import Bus
from gateway.config.mcp import McpServer
from gateway.mcp.client.catalogue import source_of
from gateway.mcp.client.process import Broken, Command, Refused, Unsure
from gateway.store import mcp
from gateway.store.database import Database, StoreError, Transaction
from gateway.store.sessions import FenceLost
from gateway.tasks import TaskSet
from gateway.tools.base import ToolResult
from gateway.tools.exec import PASSED
from gateway.tools.processes import StoreLedger

if TYPE_CHECKING:
    from gateway.mcp.client.connection import Connection

START_SECONDS = 30.0
"""From the start to the list of its tools."""
PROBE_SECONDS = 5.0
"""A server that doesn't answer so long after a call was cut off is ended."""
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 60.0
STEADY_SECONDS = 60.0
"""After which a server counts as one that works, so that its next restart comes soon."""
RELIST_SECONDS = 1.0
"""Between two lists of its tools, however often it says that they have changed."""
BUS = "mcp"
"""What processes say to each other when the table of tools has changed."""
UNKNOWN = "Whether it has done anything isn't known: check before you do it again."

log = logging.getLogger(__name__)


class State(StrEnum):
    """Where a server is in its life."""

    STARTING = "starting"
    """It is being connected to."""
    READY = "ready"
    """It can be asked."""
    WAITING = "waiting"
    """It is connected to again after a while."""
    OFF = "off"
    """It is stopped, or switched off in the configuration."""


class Down(Exception):
    """A server can't be asked now; nothing was sent."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a server needs of the gateway."""

    database: Database
    instance: str
    """This process, by which it claims sessions."""
    bus: Bus
    state: Path
    environ: Mapping[str, str]
    clean: Callable[[str], str]
    """Takes known secrets out of a text."""
    listed: Callable[[str, Sequence[mcp.Known]], None] = lambda _server, _known: None
    """Is told the tools of a server whenever it has listed them."""


class _Library(Protocol):
    """`gateway.mcp.client.connection`, which loads the protocol's library."""

    def over_stdio(self, command: Command, ledger: StoreLedger) -> AbstractAsyncContextManager[Connection]: ...

    def over_http(
        self, url: str, headers: Mapping[str, str], seconds: float
    ) -> AbstractAsyncContextManager[Connection]: ...


class Server:
    """One server of the configuration."""

    def __init__(self, name: str, settings: McpServer, around: Surroundings) -> None:
        self.name = name
        self.settings = settings
        self.state = State.OFF
        self.reason = ""
        """Why it isn't ready."""
        self.title = ""
        """What it calls itself."""
        self.faults: list[str] = []
        """What is wrong with its tools."""
        self.restarts = 0
        self._around = around
        self._connection: Connection | None = None
        self._settled = asyncio.Event()
        self._ended = False
        """A cancellation isn't enough: the protocol's library loses one that comes as a connection fails."""
        self._tasks = TaskSet()

    @property
    def source(self) -> str:
        """A fingerprint of where it comes from."""
        settings = self.settings
        return source_of(settings.command, settings.args, settings.cwd, settings.url)

    def start(self) -> None:
        """Begins to connect; nobody waits for it."""
        self._tasks.spawn(self._live(), f"mcp {self.name}")

    async def stop(self) -> None:
        """Ends it."""
        self._ended = True
        await self._tasks.stop()
        self._to(State.OFF, "it is stopped")

    async def call(self, tool: str, arguments: Mapping[str, Any]) -> ToolResult:
        """Calls a tool; whatever goes wrong is a result."""
        seconds = self.settings.timeout_seconds
        connection: Connection | None = None
        try:
            async with asyncio.timeout(seconds):
                connection = await self._usable()
                outcome = await connection.call(tool, arguments)
            return ToolResult(outcome.text, error=outcome.error)
        except TimeoutError:
            if connection is None:
                return self._told(f"hasn't started within {seconds:g} s. Nothing was done; try again later")
            self._tasks.spawn(self._probe(connection), f"mcp probe {self.name}")
            return self._told(f"didn't answer within {seconds:g} s, and the call was cut off. {UNKNOWN}")
        except Down as down:
            return self._told(f"can't be asked now: {down}. Nothing was done")
        except Unsure as unsure:
            if connection is not None:
                self._tasks.spawn(self._probe(connection), f"mcp probe {self.name}")
            return self._told(f"answered with an error, or is gone: {unsure}. {UNKNOWN}")
        except Refused as refused:
            return self._told(f"answered with an error: {refused}")
        except Broken as broken:
            why = await connection.why() if connection is not None else str(broken)
            return self._told(f"broke down during the call: {why}. {UNKNOWN}")

    def _told(self, text: str) -> ToolResult:
        return ToolResult(f"the MCP server `{self.name}` {text}", error=True)

    async def _usable(self) -> Connection:
        await self._settled.wait()
        if self._connection is None:
            raise Down(self.reason or "it isn't connected")
        return self._connection

    async def _probe(self, connection: Connection) -> None:
        """A call was cut off, or its end was strange: does the server still listen?"""
        try:
            async with asyncio.timeout(PROBE_SECONDS):
                await connection.offers()
        except (TimeoutError, Broken, Refused):
            connection.give_up("it answered nothing any more")

    async def _live(self) -> None:
        wait = FIRST_WAIT_SECONDS
        loop = asyncio.get_running_loop()
        while not self._ended:
            began = loop.time()
            try:
                await self._connect()
            except (Broken, Refused, StoreError, FenceLost) as error:
                if self._ended:
                    return
                if loop.time() - began > STEADY_SECONDS:
                    wait = FIRST_WAIT_SECONDS
                self._to(State.WAITING, str(error))
                log.warning("mcp server %s: %s; the next try is in %g s", self.name, self.reason, wait)
            await _pause(wait)
            wait = min(2 * wait, LONGEST_WAIT_SECONDS)
            self.restarts += 1

    async def _connect(self) -> None:
        """One connection, from its beginning to its end.

        Raises:
            Broken: its end, or why there was no beginning.
        """
        self._to(State.STARTING)
        # In a thread: it would stop all turns for most of a second.
        library = cast("_Library", await asyncio.to_thread(import_module, "gateway.mcp.client.connection"))
        async with AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(START_SECONDS):
                    connection = await stack.enter_async_context(self._open(library))
                    await self._list(connection)
            except TimeoutError:
                raise Broken(f"it hasn't answered within {START_SECONDS:g} s after its start") from None
            self.title = connection.title
            self._connection = connection
            self._to(State.READY)
            try:
                await self._stay(connection)
            finally:
                self._connection = None
        raise Broken(await connection.why())

    async def _stay(self, connection: Connection) -> None:
        """Until the connection is lost; asks for the tools again whenever they have changed."""
        while not connection.lost.is_set():
            await _either(connection.lost.wait, connection.changed.wait)
            if connection.changed.is_set() and not connection.lost.is_set():
                connection.changed.clear()
                try:
                    async with asyncio.timeout(START_SECONDS):
                        await self._list(connection)
                except TimeoutError:
                    connection.give_up("it didn't list its tools")
                await _within(RELIST_SECONDS, connection.lost.wait)

    async def _list(self, connection: Connection) -> None:
        offers, self.faults = await connection.offers()
        self._around.listed(self.name, await self._around.database.run(self._note, offers))

    def _note(self, tx: Transaction, offers: Sequence[mcp.Offer]) -> list[mcp.Known]:
        before = mcp.known(tx, self.name)
        found = mcp.listed(tx, self.name, self.source, offers)
        if [each.standing for each in before] != [each.standing for each in found]:
            self._around.bus.send(tx, BUS)
        return found

    def _open(self, library: _Library) -> AbstractAsyncContextManager[Connection]:
        settings = self.settings
        if settings.command is None:
            headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
            return library.over_http(settings.url or "", headers, settings.timeout_seconds)
        environ = self._around.environ
        env = {name: environ[name] for name in (*PASSED, *settings.inherit) if name in environ}
        env |= {name: value.get_secret_value() for name, value in settings.env.items()}
        folder = Path(settings.cwd) if settings.cwd else self._around.state / "mcp" / self.name
        command = Command((settings.command, *settings.args), env, folder)
        return library.over_stdio(
            command, StoreLedger(self._around.database, f"mcp:{self.name}", self._around.instance)
        )

    def _to(self, state: State, reason: str = "") -> None:
        self.state, self.reason = state, self._around.clean(reason)
        if state is State.STARTING:
            self._settled.clear()
        else:
            self._settled.set()


async def _pause(seconds: float) -> None:
    """Nothing could wake it earlier: why a server ended, nobody knows."""
    await _within(seconds, asyncio.Event().wait)


async def _within(seconds: float, wait: Callable[[], Awaitable[object]]) -> None:
    try:
        async with asyncio.timeout(seconds):
            await wait()
    except TimeoutError:
        return


async def _either(*waits: Callable[[], Any]) -> None:
    tasks = {asyncio.create_task(wait()) for wait in waits}
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
