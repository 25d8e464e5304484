"""What Telegram brings to the gateway: the channel `telegram`, if an account is configured.

The library is loaded when the first account connects; without one nothing of Telegram is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from channels.telegram import texts
from channels.telegram.channel import TelegramChannel
from channels.telegram.timing import Limits, Timing
from gateway.commands.core import core_commands
from gateway.config import Config
from gateway.doctor import Finding
from gateway.http.acknowledge import acknowledge
from gateway.http.auth import open_to_platforms
from gateway.plugins import Registry, load_plugins


@dataclass(frozen=True)
class TelegramPlugin:
    """The plugin `telegram`."""

    timing: Timing = Timing()  # noqa: RUF009 - frozen, as this is
    limits: Limits = Limits()  # noqa: RUF009
    name = "telegram"

    def register(self, registry: Registry) -> None:
        """Registers the channel, and the page that Telegram calls."""
        accounts = registry.config.channels.telegram_accounts()
        if not accounts:
            return
        channel = TelegramChannel(registry, accounts, self.timing, self.limits)

        @open_to_platforms
        async def webhook(request: web.Request) -> web.StreamResponse:
            return await acknowledge(request, await channel.take(request))

        registry.channel(channel)
        registry.routes([web.post(texts.PATH + "{account}", webhook)])

    async def examine(self, config: Config) -> list[Finding]:
        """See `ChecksItself.examine`."""
        if not config.channels.telegram_accounts():
            return []
        from channels.telegram.examine import examine  # loads Telegram's library

        return await examine(config, self.timing)

    def setup(self, config: Config) -> Mapping[str, str]:
        """See `ExplainsSetup.setup`."""
        registry = Registry(config=config)
        for command in core_commands():
            registry.command(command)
        load_plugins(registry, config.plugins.disabled)
        return texts.setup(config.gateway.port, texts.command_list(registry.commands.values()))


plugin = TelegramPlugin()
