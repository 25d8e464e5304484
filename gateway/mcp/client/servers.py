"""All MCP servers of the configuration, and their tools in the registry.

A start doesn't wait for them: what was accepted of their tools is offered at once, and a call waits for its server as
long as the server's timeout allows. Tools stay while a server is down or restarts, so that no prompt changes with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import ConfigDict

from gateway.agent.messages import ToolSpec
from gateway.config import Config
from gateway.config.mcp import McpServer
from gateway.mcp.client.catalogue import PREFIX, tool_name
from gateway.mcp.client.server import Server, Surroundings
from gateway.plugins import Registry
from gateway.store import audit, mcp
from gateway.store.database import Database, Transaction
from gateway.tools import policy
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult

log = logging.getLogger(__name__)


class McpArguments(ToolArguments):
    """Whatever the server's schema asks for; the server checks it."""

    model_config = ConfigDict(extra="allow")


@dataclass(frozen=True)
class McpTool(Tool[McpArguments]):
    """A tool whose schema is the server's."""

    schema: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @cached_property
    def spec(self) -> ToolSpec:
        """The tool as a model sees it."""
        return ToolSpec(self.name, self.description, dict(self.schema))


class UnknownServer(Exception):
    """There is no such server, or it has no such tool."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A tool of a server, for people."""

    name: str
    """As agents know it."""
    known: mcp.Known
    used: bool
    """The configuration doesn't leave it out."""


class McpServers:
    """Owns the servers."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        config: Callable[[], Config],
        state: Path,
        environ: Mapping[str, str],
        clean: Callable[[str], str],
    ) -> None:
        self._database = database
        self._registry = registry
        self._config = config
        self._around = Surroundings(database, state, environ, self._listed, clean)
        self._servers: dict[str, Server] = {}
        self._known: dict[str, Sequence[mcp.Known]] = {}
        self._changing = asyncio.Lock()

    async def start(self) -> None:
        """Offers the tools that are known and begins to connect; waits for no server."""
        if self._config().mcp.servers:
            await self.apply()

    async def apply(self) -> None:
        """Follows the configuration: starts, stops and restarts what has changed in it."""
        async with self._changing:
            wanted = self._config().mcp.servers
            for name in [name for name, server in self._servers.items() if server.settings != wanted.get(name)]:
                await self._servers.pop(name).stop()
            fresh = [
                Server(name, settings, self._around) for name, settings in wanted.items() if name not in self._servers
            ]
            for server in fresh:
                self._servers[server.name] = server
                self._known[server.name] = await self._database.read(mcp.known, server.name)
            self._offer()
            for server in fresh:
                if server.settings.enabled:
                    server.start()
                else:
                    server.reason = "it is switched off in the configuration"

    async def stop(self) -> None:
        """Ends all servers."""
        async with self._changing:
            await asyncio.gather(*(server.stop() for server in self._servers.values()))

    def servers(self) -> list[Server]:
        """The servers of the configuration."""
        return [self._servers[name] for name in sorted(self._servers)]

    def tools(self, server: str) -> list[Listed]:
        """The tools of a server, usable or not."""
        settings = self._servers[server].settings
        return [
            Listed(tool_name(server, each.name), each, _used(settings, each)) for each in self._known.get(server, ())
        ]

    async def approve(self, server: str, tool: str | None, by: str) -> list[str]:
        """Accepts what has changed of a tool, or of all of a server; returns their names.

        Args:
            server: its name.
            tool: by the server's name for it or the agents'; None: all that wait.
            by: who approves.

        Raises:
            UnknownServer: there is none, or it has no such tool.
        """
        if server not in self._servers:
            there = ", ".join(sorted(self._servers)) or "none"
            raise UnknownServer(f"there is no MCP server `{server[:64]}`; there are: {there}")
        name: str | None = None
        if tool is not None:
            name = next((each.known.name for each in self.tools(server) if tool in (each.name, each.known.name)), None)
            if name is None:
                there = ", ".join(each.known.name for each in self.tools(server)) or "none"
                raise UnknownServer(f"`{server}` has no tool `{tool[:64]}`; there are: {there}")
        done, known = await self._database.run(_approve, server, name, by)
        self._listed(server, known)
        return done

    # ---- the registry ----

    def _listed(self, server: str, known: Sequence[mcp.Known]) -> None:
        before = {each.name: each.standing for each in self._known.get(server, ())}
        self._known[server] = known
        for each in known:
            if each.standing in ("new", "changed") and before.get(each.name) != each.standing:
                log.warning(
                    "mcp server %s: its tool %s is %s and isn't used until an owner approves it: laneway mcp list",
                    server,
                    each.name,
                    each.standing,
                )
        self._offer()

    def _offer(self) -> None:
        """Brings the registry up to date; what hasn't changed stays the same object."""
        offered = self._registry.tools
        found: dict[str, Tool[Any]] = {}
        for name, server in self._servers.items():
            if not server.settings.enabled:
                continue
            for known in self._known.get(name, ()):
                if known.standing == "usable" and _used(server.settings, known):
                    tool = self._tool(server, known)
                    old = offered.get(tool.name)
                    found[tool.name] = old if old is not None and _same(old, tool) else tool
        before = {name: tool for name, tool in offered.items() if name.startswith(PREFIX)}
        if before.keys() != found.keys() or any(before[name] is not tool for name, tool in found.items()):
            self._registry.swap_tools(PREFIX, found)

    def _tool(self, server: Server, known: mcp.Known) -> McpTool:
        name, inner = server.name, known.name

        async def run(context: ToolContext, arguments: McpArguments) -> ToolResult:
            context.progress(f"{name}: {inner}")
            current = self._servers.get(name)
            if current is None or not current.settings.enabled:
                return ToolResult(f"the MCP server `{name}` isn't configured any more", error=True)
            return await current.call(inner, arguments.model_extra or {})

        return McpTool(
            tool_name(name, inner),
            f"(MCP server {name}; its own words:) {known.description}",
            McpArguments,
            run,
            timeout_seconds=None,
            owners_only=server.settings.owners_only,
            by_name_only=True,
            schema=known.input_schema,
        )


def _approve(tx: Transaction, server: str, name: str | None, by: str) -> tuple[list[str], list[mcp.Known]]:
    done = mcp.approve(tx, server, name, by)
    for each in done:
        audit.add(tx, by, "mcp approve", None, server=server, tool=each.name, fingerprint=each.new_fingerprint)
    return [each.name for each in done], mcp.known(tx, server)


def _used(settings: McpServer, known: mcp.Known) -> bool:
    lists = settings.tools
    allowed = lists.allow is None or bool(policy.matching((known.name,), lists.allow))
    return allowed and not policy.matching((known.name,), lists.deny)


def _same(old: Tool[Any], new: McpTool) -> bool:
    return (
        isinstance(old, McpTool)
        and (old.description, old.owners_only) == (new.description, new.owners_only)
        and old.schema == new.schema
    )
