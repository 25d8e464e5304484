"""One connection to one MCP server, over the protocol's library. Imported when a server is first connected to.

The library's own checks of results against the server's schemas are left out: they would run the server's patterns in
our loop. Requests of a server (sampling, elicitation, roots) are refused by the library; we offer none of that.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, cast

import anyio
import httpx2
import mcp_types as types
from mcp import Client, MCPError
from mcp.client import Transport
from mcp.client.streamable_http import streamable_http_client
from mcp.client.subscriptions import Subscription
from mcp.shared.message import SessionMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import TypeAdapter, ValidationError

from gateway import __version__
from gateway.mcp.client.catalogue import MOST_TOOLS, Unfit, clean, offer
from gateway.mcp.client.limits import limited_client
from gateway.mcp.client.process import Broken, Command, Process, Refused, Unsure, running
from gateway.mcp.client.results import Outcome, outcome_of
from gateway.store.mcp import Offer
from gateway.tools.base import ProcessLedger
from gateway.views import capped

MOST_PAGES = 50
FLOOD = 5_000
"""Messages that nobody asked for, within `FLOOD_SECONDS`."""
FLOOD_SECONDS = 10.0
FAULT_CHARS = 300

log = logging.getLogger(__name__)
_RESULT: TypeAdapter[types.CallToolResult | types.InputRequiredResult] = TypeAdapter(
    types.CallToolResult | types.InputRequiredResult
)


class Connection:
    """A server that can be asked."""

    def __init__(self, client: Client, lost: asyncio.Event, why: Callable[[], Awaitable[str]]) -> None:
        self._client = client
        self._why = why
        self.verdict = ""
        """Why it was given up."""
        self.lost = lost
        """Set when it can't be asked any more."""
        self.changed = asyncio.Event()
        """Set when it says that its tools have changed."""

    @property
    def title(self) -> str:
        """What it calls itself."""
        info = self._client.server_info
        return capped(f"{info.name} {info.version}", 80) if info else ""

    def give_up(self, reason: str) -> None:
        """It is not to be asked any more."""
        self.verdict = self.verdict or reason
        self.lost.set()

    async def why(self) -> str:
        """Why it can't be asked any more."""
        return self.verdict or await self._why()

    async def offers(self) -> tuple[list[Offer], list[str]]:
        """The tools that it lists, and a sentence for each that can't be used.

        Raises:
            Broken: it doesn't answer as it should.
        """
        found: dict[str, Offer] = {}
        faults: list[str] = []
        cursor: str | None = None
        with explained():
            for _ in range(MOST_PAGES):
                page = await self._client.list_tools(cursor=cursor, cache_mode="bypass")
                for tool in page.tools:
                    try:
                        found.setdefault(tool.name, offer(tool.name, tool.description, tool.input_schema))
                    except Unfit as unfit:
                        faults.append(f"{capped(tool.name, 64)}: {unfit}")
                cursor = page.next_cursor
                if not cursor or len(found) > MOST_TOOLS:
                    break
        if len(found) > MOST_TOOLS:
            faults.append(f"it has more than {MOST_TOOLS} tools; the rest is left out")
        return list(found.values())[:MOST_TOOLS], faults

    async def call(self, name: str, arguments: Mapping[str, Any]) -> Outcome:
        """Calls a tool; a cancelled call is cancelled there as well.

        Raises:
            Refused: it has answered with an error; `Unsure` where that may have been the end of the connection.
            Broken: it can't be asked any more.
        """
        # Lone surrogates, which a model can write, would break the connection.
        plain: dict[str, Any] = json.loads(json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace"))
        request = types.CallToolRequest(params=types.CallToolRequestParams(name=name, arguments=plain))
        try:
            with explained():
                result = await self._client.session.send_request(request, _RESULT)
        except Broken:
            self.lost.set()
            raise
        except Unsure as unsure:
            if self.lost.is_set():
                raise Broken(str(unsure)) from unsure
            raise
        if isinstance(result, types.InputRequiredResult):
            raise Refused("it asks for something in return, which isn't supported here")
        return outcome_of(result)

    async def watch(self) -> None:
        """Follows changes of its tools where the newer protocol has them on a stream of their own."""
        tools = self._client.server_capabilities.tools
        if self._client.protocol_version not in MODERN_PROTOCOL_VERSIONS or tools is None or not tools.list_changed:
            return
        try:
            async with self._client.listen(tools_list_changed=True) as stream:
                await self._follow(stream)
        except (MCPError, RuntimeError, TimeoutError) as error:
            log.debug("changes of an mcp server aren't followed: %s", error)

    async def _follow(self, stream: Subscription) -> None:
        async for _ in stream:
            self.changed.set()


@asynccontextmanager
async def over_stdio(command: Command, ledger: ProcessLedger) -> AsyncGenerator[Connection]:
    """A connection to a server that is started.

    Raises:
        Broken: it can't be started, or ends before it has answered.
    """
    async with running(command, ledger) as process:
        lost = asyncio.Event()
        try:
            async with _connected(_pipes(process, lost), lost, process.ended) as connection:
                try:
                    yield connection
                finally:
                    process.fault = process.fault or connection.verdict
        except (Broken, Refused) as error:
            if lost.is_set():
                raise Broken(await process.ended()) from error
            raise


@asynccontextmanager
async def over_http(url: str, headers: Mapping[str, str], seconds: float) -> AsyncGenerator[Connection]:
    """A connection to a server at an address.

    Raises:
        Broken: it can't be reached, or doesn't answer as it should.
    """
    lost = asyncio.Event()

    async def why() -> str:
        return "it can't be reached any more"

    with explained():
        async with (
            limited_client(headers, seconds) as http,
            _connected(streamable_http_client(url, http_client=http), lost, why) as connection,
        ):
            yield connection


@asynccontextmanager
async def _connected(
    transport: Transport, lost: asyncio.Event, why: Callable[[], Awaitable[str]]
) -> AsyncGenerator[Connection]:
    changed: list[Callable[[], None]] = []

    async def hear(message: object) -> None:
        if isinstance(message, types.ToolListChangedNotification):
            for tell in changed:
                tell()

    client = Client(
        transport,
        message_handler=hear,
        cache=None,
        client_info=types.Implementation(name="laneway", version=__version__),
    )
    with explained():
        async with client:
            connection = Connection(client, lost, why)
            changed.append(connection.changed.set)
            watching = asyncio.create_task(connection.watch(), name="mcp changes")
            try:
                yield connection
            finally:
                watching.cancel()
                await asyncio.wait({watching})


@asynccontextmanager
async def _pipes(process: Process, lost: asyncio.Event) -> AsyncGenerator[Any]:
    """A process as the library's transport."""
    heard, hearing = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    # Without bound, so that no call waits for a server that doesn't read.
    saying, said = anyio.create_memory_object_stream[SessionMessage](math.inf)

    async def read() -> None:
        unasked = Flood()
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError), _noted(process):
            while line := await process.read_line():
                try:
                    message = types.jsonrpc_message_adapter.validate_json(line, by_name=False)
                except ValueError:
                    unasked.count()  # something that it has printed
                    continue
                if not isinstance(message, types.JSONRPCResponse | types.JSONRPCError):
                    unasked.count()
                await heard.send(SessionMessage(message))
        lost.set()
        heard.close()

    async def write() -> None:
        with suppress(anyio.EndOfStream, anyio.ClosedResourceError, ConnectionError):
            async for message in said:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.write(text.encode() + b"\n")

    tasks = {asyncio.create_task(read(), name="mcp hears"), asyncio.create_task(write(), name="mcp says")}
    try:
        yield hearing, saying
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        for stream in (heard, hearing, saying, said):
            stream.close()


@contextmanager
def _noted(process: Process) -> Generator[None]:
    try:
        yield
    except Broken as broken:
        process.fault = str(broken)


class Flood:
    """Counts messages that nobody has asked for."""

    def __init__(self) -> None:
        self._since = asyncio.get_running_loop().time()
        self._number = 0

    def count(self) -> None:
        """One more.

        Raises:
            Broken: there are too many.
        """
        now = asyncio.get_running_loop().time()
        if now - self._since > FLOOD_SECONDS:
            self._since, self._number = now, 0
        self._number += 1
        if self._number > FLOOD:
            raise Broken("it sends more messages than anybody can read")


@contextmanager
def explained() -> Generator[None]:
    """Makes one kind of error of all that the library and a server can do.

    Raises:
        Refused: the server's own error, or an answer that isn't one.
        Broken: everything else.
    """
    try:
        yield
    except MCPError as error:
        if error.code in (types.CONNECTION_CLOSED, types.REQUEST_TIMEOUT):
            raise Unsure(_words(error.message)) from error
        raise Refused(_words(error.message)) from error
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))
        raise Refused(_words(f"its answer isn't as the protocol wants it: {place}: {first['msg']}")) from error
    except (OSError, httpx2.HTTPError, RuntimeError, ValueError) as error:
        raise Broken(_words(str(error)) or type(error).__name__) from error
    except ExceptionGroup as group:
        raise _first(group) from group


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """What a group of errors comes down to."""
    inner = group.exceptions[0]
    if isinstance(inner, ExceptionGroup):
        return _first(cast("ExceptionGroup[Exception]", inner))
    if isinstance(inner, Broken | Refused):
        return inner
    return Broken(_words(str(inner)) or type(inner).__name__)


def _words(text: str) -> str:
    """Somebody else's words in a sentence of ours."""
    return capped(clean(text, FAULT_CHARS), FAULT_CHARS)
