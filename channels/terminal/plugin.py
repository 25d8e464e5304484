"""What the terminal brings to the gateway: the channel `terminal`, and to the command line: `chat`.

The channel has nothing to send: chats read their posts from the event log, so that storing a post is delivering it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.channel import Capabilities, Channel, Intake
from gateway.plugins import Registry

if TYPE_CHECKING:
    import typer

NAME = "terminal"


class TerminalChannel(Channel):
    """A channel whose readers come and fetch."""

    name = NAME
    capabilities = Capabilities(pull=True, streaming=True)

    async def start(self, intake: Intake) -> None:
        """Nothing to start: messages come through the HTTP API."""

    async def stop(self) -> None:
        """Nothing to stop."""


class TerminalPlugin:
    """The plugin `terminal`."""

    name = NAME

    def register(self, registry: Registry) -> None:
        """Registers the channel."""
        registry.channel(TerminalChannel())

    def cli(self, app: typer.Typer) -> None:
        """Adds `laneway chat`."""
        from channels.terminal.command import register  # the gateway's process must never load typer and rich

        register(app)


plugin = TerminalPlugin()
