"""Streamable HTTP on the gateway: the MCP server as a page of its aiohttp application.

The protocol's library speaks ASGI; a request is handed over whole and its answer comes back whole. Without sessions:
a client notices nothing of a restart, and nobody's session can be taken over. Imported at the first request to `/mcp`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, cast

from aiohttp import web
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.requests import Request

from gateway.mcp.answers import Answer
from gateway.mcp.callers import Client
from gateway.mcp.calls import JobTools
from gateway.mcp.server import Context, build

LARGEST_BODY = 4 * 1024 * 1024
_CLIENT = "laneway.client"


class Endpoint:
    """Serves `/mcp`. `start` before the first request, `stop` with the gateway."""

    def __init__(self, tools: JobTools) -> None:
        self._tools = tools
        self._manager = StreamableHTTPSessionManager(
            build(self._call), json_response=True, stateless=True, max_request_body_size=LARGEST_BODY
        )
        self._ready = asyncio.Event()
        self._life: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begins to serve."""
        if self._life is None:
            self._life = asyncio.create_task(self._live(), name="mcp endpoint")
        await self._ready.wait()

    async def stop(self) -> None:
        """Ends what is under way."""
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life

    async def serve(self, request: web.Request, client: Client) -> web.Response:
        """Answers one POST of an authenticated client."""
        exchange = _Exchange(await request.read())
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.scheme,
            "path": request.path,
            "raw_path": request.path.encode(),
            "query_string": request.query_string.encode(),
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.raw_headers],
            "client": None,
            "server": None,
            _CLIENT: client,
        }
        await self._manager.handle_request(scope, exchange.receive, exchange.send)
        return exchange.response()

    async def _live(self) -> None:
        async with self._manager.run():
            self._ready.set()
            await asyncio.get_running_loop().create_future()

    async def _call(self, context: Context, name: str, values: Mapping[str, Any]) -> Answer:
        request = cast("Request", context.request)
        return await self._tools.call(name, values, request.scope[_CLIENT])


class _Exchange:
    """One request and its answer, as ASGI passes them."""

    def __init__(self, body: bytes) -> None:
        self._body: bytes | None = body
        self._status = 500
        self._headers: list[tuple[str, str]] = []
        self._sent = bytearray()

    async def receive(self) -> dict[str, Any]:
        """The whole body, and then nothing: a client that leaves cancels the request itself."""
        body, self._body = self._body, None
        if body is None:
            await asyncio.get_running_loop().create_future()
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: Mapping[str, Any]) -> None:
        """Takes a part of the answer."""
        if message["type"] == "http.response.start":
            self._status = int(message["status"])
            self._headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in message["headers"]]
        else:
            self._sent += message.get("body", b"")

    def response(self) -> web.Response:
        """The whole answer."""
        headers = [(name, value) for name, value in self._headers if name.lower() != "content-length"]
        return web.Response(status=self._status, headers=headers, body=bytes(self._sent))
