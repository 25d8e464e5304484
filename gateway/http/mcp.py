"""The pages of the Model Context Protocol: `/mcp` for clients that speak it, and what `laneway mcp` asks.

Who may read sees every job, who may chat his own; a foreign one and a missing one look the same. The protocol's library
is loaded by the first request to `/mcp`, in a thread.
"""

from __future__ import annotations

import asyncio
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

from aiohttp import web
from pydantic import Field

from gateway.http.auth import caller, scope
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.keys import GATEWAY
from gateway.jobs.owner import Owner
from gateway.mcp.answers import UnknownTool
from gateway.mcp.callers import Client
from gateway.mcp.client.servers import UnknownServer
from gateway.mcp.client.views import approved_text, server_json

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.mcp.calls import JobTools
    from gateway.mcp.endpoint import Endpoint


class CallBody(Body):
    """A call of one tool."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class ApproveBody(Body):
    """What is accepted."""

    server: str = Field(min_length=1, max_length=64)
    tool: str | None = Field(None, min_length=1, max_length=200)


class Desk:
    """What the pages share: the tools, and the endpoint once somebody has asked for it."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._endpoint: Endpoint | None = None
        self._lock = asyncio.Lock()

    @cached_property
    def tools(self) -> JobTools:
        """The tools."""
        from gateway.mcp.calls import JobTools  # a megabyte of arguments' models that most gateways never need

        return JobTools(self._gateway)

    async def endpoint(self) -> Endpoint:
        """The endpoint, begun if it wasn't."""
        async with self._lock:
            if self._endpoint is None:
                module = await asyncio.to_thread(import_module, "gateway.mcp.endpoint")
                endpoint: Endpoint = module.Endpoint(self.tools)
                await endpoint.start()
                self._endpoint = endpoint
            return self._endpoint

    async def close(self) -> None:
        """Ends the endpoint."""
        if self._endpoint is not None:
            await self._endpoint.stop()


DESK: web.AppKey[Desk] = web.AppKey("mcp", Desk)


def routes() -> list[web.RouteDef]:
    """The pages."""
    return [
        web.post("/mcp", mcp),
        web.post("/api/mcp/call", call),
        web.get("/api/mcp/servers", list_servers),
        web.post("/api/mcp/approve", approve),
    ]


def set_up(app: web.Application) -> None:
    """Gives an application what the pages need."""
    desk = app[DESK] = Desk(app[GATEWAY])

    async def close(_app: web.Application) -> None:
        await desk.close()

    app.on_cleanup.append(close)


@scope("read", "chat")
async def mcp(request: web.Request) -> web.StreamResponse:
    """`POST /mcp`: streamable HTTP."""
    endpoint = await request.app[DESK].endpoint()
    return await endpoint.serve(request, client_of(request))


@scope("read", "chat")
async def call(request: web.Request) -> web.Response:
    """`POST /api/mcp/call`: one tool, without the protocol around it."""
    body = await read_body(request, CallBody)
    try:
        found = await request.app[DESK].tools.call(body.tool, body.arguments, client_of(request))
    except UnknownTool as unknown:
        raise ApiError(404, str(unknown), field="tool") from None
    return answer({"text": found.text, "data": found.data, "error": found.error})


async def list_servers(request: web.Request) -> web.Response:
    """`GET /api/mcp/servers`: the servers whose tools the agents use, with the tools that wait for an approval."""
    servers = request.app[GATEWAY].mcp
    return answer({"servers": [server_json(servers, each) for each in servers.servers()]})


async def approve(request: web.Request) -> web.Response:
    """`POST /api/mcp/approve`: accepts what has changed of a tool, or of all of a server."""
    body = await read_body(request, ApproveBody)
    try:
        done = await request.app[GATEWAY].mcp.approve(body.server, body.tool, f"http:{caller(request).name}")
    except UnknownServer as unknown:
        raise ApiError(404, str(unknown)) from None
    return answer({"server": body.server, "tools": done, "text": approved_text(body.server, done)})


def client_of(request: web.Request) -> Client:
    """Who calls, as his token says."""
    who = caller(request)
    owner = Owner(f"http:{who.name}", operator=who.operator, guarded=True)
    looker = Owner(owner.name, operator=who.operator or "read" in who.scopes)
    return Client(owner, looker, who.operator or "chat" in who.scopes)
