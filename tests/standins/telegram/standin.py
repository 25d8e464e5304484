"""The stand-in in the test's own process."""

from __future__ import annotations

from typing import Any, TextIO

from aiohttp import web

from tests.standins.telegram.calls import Calls
from tests.standins.telegram.driver import Driver
from tests.standins.telegram.faults import Plan
from tests.standins.telegram.limits import Flood
from tests.standins.telegram.model import BotAccount
from tests.standins.telegram.operations import OPERATIONS
from tests.standins.telegram.parts import Parts
from tests.standins.telegram.server import Server
from tests.standins.telegram.webhook import Webhook
from tests.standins.telegram.world import World

BOT_ID = 700_000_001
TOKEN = f"{BOT_ID}:AAFakeTokenOfTheStandInForTelegramTests"


class TelegramStandIn(Driver):
    """A Telegram with one bot, on loopback. Use it as an async context manager.

    Args:
        token: the bot's.
        username: the bot's, without `@`.
        privacy: group privacy, as BotFather sets it by default.
        topics: forum topic mode in private chats.
        callback_seconds: how long a pressed button can be answered.
        retry_seconds: pause between tries of the webhook.
        log: gets a JSON line for each call and fault.
    """

    def __init__(
        self,
        *,
        token: str = TOKEN,
        username: str = "laneway_bot",
        privacy: bool = True,
        topics: bool = False,
        callback_seconds: float = 15,
        retry_seconds: float = 0.2,
        log: TextIO | None = None,
    ) -> None:
        bot = BotAccount(int(token.partition(":")[0]), token, username, "Laneway", privacy, topics)
        world = World(bot, callback_seconds=callback_seconds)
        webhook = Webhook(world, retry_seconds=retry_seconds)
        self.parts = Parts(world, webhook, Plan(), Calls(log), Flood())
        """For what no operation shows."""
        self.token = token
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        """Listens on 127.0.0.1 and sets `base_url`."""
        app = Server(self.parts).app()
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1, handler_cancellation=True
        )
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port).start()
        await self.parts.webhook.start()
        self.base_url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/bot"

    async def stop(self) -> None:
        """Closes every connection and sends nothing more."""
        await self.parts.webhook.stop()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> TelegramStandIn:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def do(self, operation: str, **arguments: Any) -> Any:
        """One of `operations.OPERATIONS`."""
        return OPERATIONS[operation](self.parts, **arguments)

    async def after(self, version: int, seconds: float) -> None:
        """Waits for a change."""
        await self.parts.world.changes.after(version, seconds)
