"""`/mcp`: the MCP servers and their tools, and the approval of what has changed in them. For owners."""

from __future__ import annotations

from gateway.commands.base import Command, CommandContext, CommandError, CommandReply
from gateway.mcp.client.servers import UnknownServer
from gateway.mcp.client.views import approved_text, listed_text, server_json

USAGE = "[list|approve <server> <tool|all>]"


def mcp_command() -> Command:
    """The command."""
    return Command("mcp", USAGE, "MCP servers and their tools", _mcp, operator=True, words=("list", "approve"))


async def _mcp(context: CommandContext, rest: str) -> CommandReply:
    servers = context.gateway.mcp
    words = rest.split()
    if not words or words == ["list"]:
        data = {"servers": [server_json(servers, each) for each in servers.servers()]}
        return CommandReply(listed_text(servers), data)
    if len(words) != 3 or words[0] != "approve":
        raise CommandError(f"Usage: /mcp {USAGE}")
    _, server, tool = words
    try:
        done = await servers.approve(server, None if tool == "all" else tool, context.sender.id)
    except UnknownServer as unknown:
        raise CommandError(str(unknown)) from None
    return CommandReply(approved_text(server, done), {"server": server, "tools": done})
