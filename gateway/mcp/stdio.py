"""`laneway mcp`: the MCP server on stdin and stdout, for a client that starts it itself.

It does nothing on its own: each call is asked of the running gateway, so that one gateway owns the work. Where none
runs it says so in the call's answer and looks again at the next one; a restart of the gateway ends no connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from mcp.server.stdio import stdio_server

from gateway.client import ApiClient, ApiError, Unreachable
from gateway.client.find import NoGateway
from gateway.mcp.answers import Answer, UnknownTool, refusal
from gateway.mcp.catalogue import TOOLS
from gateway.mcp.server import Context, build

Find = Callable[[], Awaitable[ApiClient]]


async def ask(find: Find, name: str, values: Mapping[str, Any]) -> Answer:
    """Runs one call on the gateway, which is looked for anew each time: it may have been restarted.

    Raises:
        UnknownTool: there is no such tool.
    """
    if name not in TOOLS:
        raise UnknownTool(f"there is no tool `{name[:64]}`; there are: {', '.join(TOOLS)}")
    try:
        async with await find() as client:
            found = await client.request("POST", "/api/mcp/call", body={"tool": name, "arguments": dict(values)})
    except NoGateway as error:
        return refusal(str(error), "unavailable")
    except ApiError as error:
        return refusal(str(error), "permission_denied" if error.status in (401, 403) else "unavailable")
    except Unreachable as error:
        unsure = (
            ". Whether it was done isn't known: look before you repeat it" if TOOLS[name].changes else "; ask again"
        )
        return refusal(f"{error}{unsure}", "unavailable")
    return Answer(str(found["text"]), found["data"], bool(found["error"]))


async def serve(find: Find) -> None:
    """Serves until stdin ends.

    Args:
        find: finds the running gateway; raises `NoGateway`.
    """

    async def call(_context: Context, name: str, values: Mapping[str, Any]) -> Answer:
        return await ask(find, name, values)

    server = build(call)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())
