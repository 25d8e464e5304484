"""What the page brings to the gateway: the channel `web`, everything under `/web`, and the link at the start.

The channel has nothing to send: pages ask for what is stored, so that storing a post is delivering it.
"""

from __future__ import annotations

from channels.web.eyes import CHANNEL
from channels.web.pages import site
from channels.web.signin import SignIns
from gateway.channel import Capabilities, Channel, Intake
from gateway.http import signins
from gateway.plugins import Registry


class WebChannel(Channel):
    """A channel whose readers come and fetch."""

    name = CHANNEL
    capabilities = Capabilities(pull=True, streaming=True, buttons=True, files=True)

    async def start(self, intake: Intake) -> None:
        """Nothing to start: messages come through the pages."""

    async def stop(self) -> None:
        """Nothing to stop."""


class WebPlugin:
    """The plugin `web`."""

    name = CHANNEL

    def register(self, registry: Registry) -> None:
        """Registers all of it."""
        sign_ins = SignIns()
        registry.channel(WebChannel())
        registry.routes([*sign_ins.routes(), *site(sign_ins).routes()])

        async def greet() -> str:
            return f"Open it in a browser: {await signins.link(registry.gateway)} (once, within 10 minutes)"

        registry.greeting(greet)


plugin = WebPlugin()
