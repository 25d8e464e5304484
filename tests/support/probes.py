"""A plugin with tools that a test holds in its hands: calls that wait for it, and calls that it counts."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from gateway.plugins import Registry
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult


class GateArguments(ToolArguments):
    """Which gate."""

    name: str


class EchoArguments(ToolArguments):
    """What to say."""

    text: str


class Probes:
    """The plugin `probes`: tools `gate`, which waits until the test opens it, and `echo`, which returns its text."""

    name = "probes"

    def __init__(self) -> None:
        self.entered: list[str] = []
        """Names of the gates that calls have come to, in order."""
        self.echoed: list[str] = []
        """What `echo` was called with, in order."""
        self._arrived = asyncio.Condition()
        self._open: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def register(self, registry: Registry) -> None:
        """Registers both tools."""
        registry.tool(Tool(name="gate", description="Waits.", args=GateArguments, run=self._gate, timeout_seconds=None))
        registry.tool(Tool(name="echo", description="Returns its text.", args=EchoArguments, run=self._echo))

    def open(self, name: str) -> None:
        """Lets through who waits at a gate, and who comes later."""
        self._open[name].set()

    async def wait_entered(self, *names: str) -> None:
        """Waits until calls have come to all these gates."""
        async with asyncio.timeout(30), self._arrived:
            await self._arrived.wait_for(lambda: all(name in self.entered for name in names))

    async def wait_entered_count(self, count: int) -> None:
        """Waits until so many calls have come to gates."""
        async with asyncio.timeout(30), self._arrived:
            await self._arrived.wait_for(lambda: len(self.entered) >= count)

    async def wait_echoed(self, *texts: str) -> None:
        """Waits until `echo` has been called with these, in order."""
        async with asyncio.timeout(30), self._arrived:
            await self._arrived.wait_for(lambda: self.echoed == [*texts])

    async def _gate(self, _context: ToolContext, args: GateArguments) -> ToolResult:
        async with self._arrived:
            self.entered.append(args.name)
            self._arrived.notify_all()
        await self._open[args.name].wait()
        return ToolResult(f"passed {args.name}")

    async def _echo(self, _context: ToolContext, args: EchoArguments) -> ToolResult:
        async with self._arrived:
            self.echoed.append(args.text)
            self._arrived.notify_all()
        return ToolResult(args.text)
