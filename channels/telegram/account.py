"""One bot: its connection, and what comes in over it.

Everything that Telegram sends is committed before it is acknowledged (spec/channels.md 1). A connection that can't be
made is tried again for ever, and says in `state` why.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from aiohttp import web
from telegram import BotCommand, Update, User, WebhookInfo

from channels.telegram import texts
from channels.telegram.api import Api
from channels.telegram.events import KINDS, Events
from channels.telegram.moves import Moves
from channels.telegram.pace import Pace
from channels.telegram.places import Places
from channels.telegram.polling import CONNECTED, Polling
from channels.telegram.posts import Posts
from channels.telegram.reading import NAME, Me
from channels.telegram.timing import Limits, Timing
from gateway.channel import DeliveryError, Intake
from gateway.commands.base import Command
from gateway.config.channels import TelegramAccount
from gateway.routes import Route
from gateway.tasks import TaskSet

SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 - the header's name
FORBIDDEN, UNAVAILABLE, BAD_REQUEST = 403, 503, 400
MOST_COMMANDS = 100
DESCRIPTION_CHARS = 256

log = logging.getLogger(__name__)


class Account:
    """A connection to Telegram."""

    def __init__(
        self,
        name: str,
        settings: TelegramAccount,
        intake: Intake,
        commands: Mapping[str, Command],
        timing: Timing,
        limits: Limits,
        moves: Mapping[str, str],
    ) -> None:
        """
        Args:
            name: of the account.
            settings: what it is connected with.
            intake: gets what comes in.
            commands: those that people may give.
            timing: how long things take.
            limits: how much may be sent.
            moves: its groups that have got another id (`Intake.moves`).
        """
        self.state = "connecting"
        """For people: `connected`, or what is wrong."""
        self._name = name
        self._settings = settings
        self._commands = commands
        self._timing = timing
        self._tasks = TaskSet()
        self._connected = False
        self._stopping = False
        token = settings.bot_token.get_secret_value() if settings.bot_token else ""
        self._secret = settings.webhook_secret.get_secret_value() if settings.webhook_secret else ""
        self._intake = intake
        self._moves = Moves({int(old): int(now) for old, now in moves.items()}, self._moved)
        self._api = Api(token, settings.api_root, timing, self._moves)
        self._places = Places(self._api)
        self.posts = Posts(name, self._api, Pace(limits), self._places, self._moves)
        self._events = Events(name, intake, commands, self.posts, self._places, self._moves, self._tasks)

    def may_open(self, route: Route) -> bool:
        """Whether topics can be opened in a chat, as far as that is known."""
        return self._places.may_open(self._moves.now(int(route.chat)))

    def start(self) -> None:
        """Begins to connect."""
        self._tasks.spawn(self._run(), f"telegram:{self._name}")

    async def stop(self) -> None:
        """Takes no more; what is being taken in is given up, and comes again."""
        self._connected, self._stopping = False, True
        await self._tasks.stop()
        await self._api.stop()

    async def take(self, request: web.Request) -> web.Response:
        """A webhook's request; one that comes too early is sent again by Telegram."""
        given = request.headers.get(SECRET_HEADER, "").encode()
        if not self._secret or not hmac.compare_digest(given, self._secret.encode()):
            return web.json_response({"error": "the secret is wrong"}, status=FORBIDDEN)
        if not self._connected:
            return web.json_response({"error": "not connected yet"}, status=UNAVAILABLE)
        try:
            body: object = json.loads(await request.read())
        except ValueError:
            body = None
        if not isinstance(body, dict) or "update_id" not in body:
            return web.json_response({"error": "this is no update"}, status=BAD_REQUEST)
        await self._events.take(self._api.read(cast("dict[str, Any]", body)))
        return web.json_response({})

    # ---- the connection ----

    async def _run(self) -> None:
        wait = self._timing.first_retry
        while True:
            try:
                await self._connect()
                break
            except DeliveryError as error:
                self._tell(str(error))
                await asyncio.sleep(error.retry_after or wait)
                wait = min(self._timing.longest_retry, wait * 2)
        self._tell(CONNECTED)
        self._tasks.spawn(self._set_commands(), f"telegram:{self._name}:commands")
        if self._settings.mode == "webhook":
            return
        try:
            await Polling(self._ask, self._events.take, self._tell, self._timing).run()
        finally:
            if not self._stopping:
                self._tell("polling has broken: see the log, and restart the gateway")

    async def _connect(self) -> None:
        """Asks who the bot is, and tells Telegram how updates are to come."""
        await self._api.start()
        bot: User = self._api.bot.bot
        self._events.me = Me(bot.id, bot.username or "")
        self._places.bot, self._places.private_topics = bot.id, bool(bot.has_topics_enabled)
        self._connected = True
        if self._settings.mode == "webhook":
            url = (self._settings.webhook_url or "").rstrip("/") + texts.PATH + self._name
            await self._api("set_webhook", url=url, secret_token=self._secret, allowed_updates=list(KINDS))
            return
        webhook: WebhookInfo = await self._api("get_webhook_info")
        if webhook.url:
            log.warning("telegram account %s: its webhook is taken away, because it polls", self._name)
            await self._api("delete_webhook")

    async def _moved(self, old: int, now: int) -> None:
        await self._intake.moved(Route(NAME, self._name, str(old)), str(now))

    async def _ask(self, offset: int, seconds: int) -> Sequence[Update]:
        return await self._api.updates(offset, seconds, KINDS)

    async def _set_commands(self) -> None:
        """What the apps complete after a slash."""
        fit = [each for each in self._commands.values() if each.name.isascii() and each.name.replace("_", "").isalnum()]
        shown = [BotCommand(each.name.lower(), each.help[:DESCRIPTION_CHARS]) for each in fit[:MOST_COMMANDS]]
        try:
            await self._api("set_my_commands", commands=shown)
        except DeliveryError as error:
            log.info("telegram account %s: its commands aren't set: %s", self._name, error)

    def _tell(self, state: str) -> None:
        if state != self.state:
            level = logging.INFO if state == CONNECTED else logging.WARNING
            log.log(level, "telegram account %s: %s", self._name, state)
            self.state = state
