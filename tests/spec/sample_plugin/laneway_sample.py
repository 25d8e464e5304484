"""A third party's plugin, as small as one can be: a tool, a command and a lane."""

from __future__ import annotations

from gateway.commands.base import Command, CommandContext, CommandReply
from gateway.plugins import LaneSpec, Registry
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult


class ReverseArguments(ToolArguments):
    """What to turn round."""

    text: str


async def _reverse(_context: ToolContext, args: ReverseArguments) -> ToolResult:
    return ToolResult(args.text[::-1])


async def _sample(_context: CommandContext, rest: str) -> CommandReply:
    return CommandReply(f"sample: {rest}")


class SamplePlugin:
    """The plugin `sample`."""

    name = "sample"

    def register(self, registry: Registry) -> None:
        """Registers all three."""
        registry.tool(
            Tool(
                name="sample_reverse",
                description="Turns a text round.",
                args=ReverseArguments,
                run=_reverse,
                idempotent=True,
            )
        )
        registry.command(Command("sample", "<text>", "says it again", _sample))
        registry.lane(LaneSpec("sample", lambda _config: 3))


plugin = SamplePlugin()
