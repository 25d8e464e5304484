"""Official MCP clients of a gateway under test."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx2
import mcp_types as types
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tests.support.pilot import Pilot

REPOSITORY = Path(__file__).parents[2]
Json = dict[str, Any]


class McpClient:
    """Calls tools and looks at what they return."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def ask(self, tool: str, **arguments: Any) -> types.CallToolResult:
        """One call; what it returns fits the tool's output schema, or the client raises."""
        return await self.client.call_tool(tool, arguments)

    async def done(self, tool: str, **arguments: Any) -> Json:
        """The structured content of a call that must succeed."""
        result = await self.ask(tool, **arguments)
        assert not result.is_error, text(result)
        return dict(result.structured_content or {})

    async def said(self, tool: str, **arguments: Any) -> str:
        """The text of a call that must succeed."""
        result = await self.ask(tool, **arguments)
        assert not result.is_error, text(result)
        return text(result)

    async def refused(self, tool: str, **arguments: Any) -> Json:
        """The error of a call that must fail."""
        result = await self.ask(tool, **arguments)
        assert result.is_error, text(result)
        fault = cast("Json", (result.structured_content or {})["error"])
        assert text(result) == f"{fault['code']}: {fault['message']}"
        return fault


def text(result: types.CallToolResult) -> str:
    """The text of a result."""
    return "\n".join(each.text for each in result.content if isinstance(each, types.TextContent))


@asynccontextmanager
async def over_http(p: Pilot, token: str | None = None, mode: str = "auto") -> AsyncGenerator[McpClient]:
    """A client over streamable HTTP.

    Args:
        p: the gateway.
        token: whose; the operator's if None.
        mode: `legacy` speaks the protocol of 2025.
    """
    headers = {"Authorization": f"Bearer {token or p.token}"}
    async with (
        httpx2.AsyncClient(headers=headers, trust_env=False) as http,
        Client(streamable_http_client(f"{p.gateway.url}/mcp", http_client=http), mode=mode) as client,
    ):
        yield McpClient(client)


@asynccontextmanager
async def over_stdio(state: Path, mode: str = "auto") -> AsyncGenerator[McpClient]:
    """A client that starts `laneway mcp` on a state folder."""
    environ: Mapping[str, str] = {
        "PATH": os.environ["PATH"],
        "HOME": str(state.parent),
        "PYTHONPATH": str(REPOSITORY),
        "LANEWAY_HOME": str(state),
        "LANEWAY_OFFLINE": "1",
    }
    command = StdioServerParameters(command=sys.executable, args=["-m", "gateway.cli", "mcp"], env=dict(environ))
    async with Client(command, mode=mode) as client:
        yield McpClient(client)
