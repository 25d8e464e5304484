"""What Slack brings to the gateway: the channel `slack`, if an account is configured.

The libraries are loaded when the first account connects; without one nothing of Slack is.
"""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from channels.slack import texts
from gateway.config import Config
from gateway.doctor import Finding
from gateway.http.acknowledge import acknowledge
from gateway.http.auth import open_to_platforms
from gateway.plugins import Registry

EVENTS_PATH = "/channels/slack/events"


class SlackPlugin:
    """The plugin `slack`."""

    name = "slack"

    def register(self, registry: Registry) -> None:
        """Registers the channel, and the page that Slack calls."""
        accounts = registry.config.channels.slack_accounts()
        if not accounts:
            return
        from channels.slack.channel import SlackChannel  # loads what cuts and reads Markdown: 2 MB

        channel = SlackChannel(registry, accounts)

        @open_to_platforms
        async def events(request: web.Request) -> web.StreamResponse:
            return await acknowledge(request, await channel.take(request))

        registry.channel(channel)
        registry.routes([web.post(EVENTS_PATH, events)])

    async def examine(self, config: Config) -> list[Finding]:
        """See `ChecksItself.examine`."""
        from channels.slack.examine import examine  # loads Slack's library

        return await examine(config)

    def setup(self, config: Config) -> Mapping[str, str]:
        """See `ExplainsSetup.setup`."""
        return texts.setup(config.gateway.port)


plugin = SlackPlugin()
