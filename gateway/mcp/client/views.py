"""How MCP servers and their tools are shown: as JSON over HTTP, and as text in chats."""

from __future__ import annotations

from typing import Any

from gateway.mcp.client.server import Server
from gateway.mcp.client.servers import Listed, McpServers
from gateway.views import capped, iso

WHY = {
    "new": "it came later than its server; an owner must approve it",
    "changed": "its description or schema has changed; an owner must approve it",
    "gone": "its server doesn't list it any more",
}
UNUSED = "the configuration leaves it out (mcp.servers.<name>.tools)"
TEXT_CHARS = 400


def server_json(servers: McpServers, server: Server) -> dict[str, Any]:
    """One server with its tools."""
    return {
        "name": server.name,
        "transport": server.settings.transport,
        "state": server.state.value,
        "reason": server.reason or None,
        "title": server.title or None,
        "restarts": server.restarts,
        "ownersOnly": server.settings.owners_only,
        "tools": [_tool_json(each) for each in servers.tools(server.name)],
        "faults": list(server.faults),
    }


def listed_text(servers: McpServers) -> str:
    """All servers, a line each, with the tools that aren't used and why."""
    lines: list[str] = []
    for server in servers.servers():
        tools = servers.tools(server.name)
        usable = sum(why(each) is None for each in tools)
        state = f"{server.state.value}: {capped(server.reason, 200)}" if server.reason else server.state.value
        lines.append(f"{server.name} — {state}; {usable} of {len(tools)} tools")
        lines += [f"  ⚠️ {capped(each.known.name, 64)}: {reason}" for each in tools if (reason := why(each))]
        lines += [f"  ⚠️ {capped(fault, 200)}" for fault in server.faults]
    return "\n".join(lines) or "No MCP servers are configured (mcp.servers)."


def why(tool: Listed) -> str | None:
    """Why a tool isn't used; None: it is."""
    return WHY.get(tool.known.standing) or (None if tool.used else UNUSED)


def approved_text(server: str, names: list[str]) -> str:
    """What an approval has done."""
    if not names:
        return f"Nothing of `{server}` waits for an approval."
    return f"✅ {server}: {', '.join(capped(name, 64) for name in names)} may be used."


def _tool_json(tool: Listed) -> dict[str, Any]:
    known = tool.known
    return {
        "name": tool.name,
        "tool": known.name,
        "standing": known.standing,
        "why": why(tool),
        "description": capped(known.description, TEXT_CHARS),
        "newDescription": None if known.new_description is None else capped(known.new_description, TEXT_CHARS),
        "schemaChanged": known.new_schema is not None and known.new_schema != known.input_schema,
        "approvedAt": iso(known.approved_at),
        "approvedBy": known.approved_by,
    }
