"""The channel `telegram`: its accounts, each a bot, behind one `Channel`.

Knows which account a route belongs to and hands everything on to it. Nothing of it survives a crash: what is to be
posted stands in the outbox.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from aiohttp import web

from channels.telegram.timing import Limits, Timing
from gateway.channel import Capabilities, Channel, DeliveryError, Intake, Live, Mark, Opening, Post
from gateway.config.channels import TelegramAccount
from gateway.plugins import Registry
from gateway.routes import Route

if TYPE_CHECKING:
    from channels.telegram.account import Account

NAME = "telegram"
TYPING_SECONDS = 4.5
"""A typing indicator lapses after five."""
CAPABILITIES = Capabilities(
    streaming=True,
    edits=True,
    threads=True,
    buttons=True,
    cards=True,
    files=True,
    typing_seconds=TYPING_SECONDS,
    marks=True,
)


class TelegramChannel(Channel):
    """Telegram."""

    name = NAME
    capabilities = CAPABILITIES

    def __init__(
        self, registry: Registry, accounts: Mapping[str, TelegramAccount], timing: Timing, limits: Limits
    ) -> None:
        self._registry = registry
        self._settings = accounts
        self._timing = timing
        self._limits = limits
        self._accounts: dict[str, Account] = {}

    def able(self, route: Route) -> Capabilities:
        """A private chat has drafts; a group has topics where it is a forum in which the bot may manage them."""
        policy = self._registry.gateway.config.channels.policy(NAME, route.account)
        account = self._accounts.get(route.account)
        private = not route.chat.startswith("-")
        return replace(
            self.capabilities,
            drafts=private,
            stream_seconds=self._timing.stream,
            stream_after=0.0 if private else self._timing.quick,
            # What a restart takes up may ask before its account is connected; opening one waits for that.
            threads=account.may_open(route) if account is not None else route.account in self._settings,
            cards=policy.live_card,
        )

    async def start(self, intake: Intake) -> None:
        """Connects every account, in the background."""
        from channels.telegram.account import Account  # loads Telegram's library, which takes a while

        for name, settings in self._settings.items():
            moves = await intake.moves(NAME, name)
            account = self._accounts[name] = Account(
                name, settings, intake, self._registry.commands, self._timing, self._limits, moves
            )
            account.start()

    async def stop(self) -> None:
        """Disconnects."""
        await asyncio.gather(*(account.stop() for account in self._accounts.values()))

    async def take(self, request: web.Request) -> web.StreamResponse:
        """A webhook's request, for the account that its address names."""
        account = self._accounts.get(request.match_info["account"])
        if account is None:
            return web.json_response({"error": "the secret is wrong"}, status=403)  # whether it exists is told nobody
        return await account.take(request)

    def split(self, text: str) -> list[str]:
        """Pieces that fit into one message."""
        from channels.telegram.content import pieces  # loads Telegram's library, and so does `start`

        return pieces(text)

    async def ready(self, route: Route) -> None:
        """See `Channel.ready`."""
        account = self._accounts.get(route.account)
        if account is not None:
            await account.posts.ready(route)

    async def post(self, post: Post) -> str | None:
        """See `Channel.post`."""
        return await self._account(post.route).posts.post(post)

    async def stream(self, post: Post) -> Live:
        """See `Channel.stream`."""
        return await self._account(post.route).posts.stream(post)

    async def typing(self, route: Route, *, active: bool) -> None:
        """Shows that the bot is typing; it ends by itself, or with the bot's next message."""
        if active:
            await self._account(route).posts.typing(route)

    async def mark(self, route: Route, message_id: str, mark: Mark) -> None:
        """Reacts to a person's message."""
        await self._account(route).posts.mark(route, message_id, mark)

    async def open_thread(self, opening: Opening) -> Route:
        """Opens a topic."""
        return await self._account(opening.route).posts.open_thread(opening)

    async def close_thread(self, route: Route) -> None:
        """Deletes a topic."""
        await self._account(route).posts.close_thread(route)

    def state(self) -> dict[str, str]:
        """See `Channel.state`."""
        return {name: account.state for name, account in self._accounts.items()}

    def _account(self, route: Route) -> Account:
        account = self._accounts.get(route.account)
        if account is None:
            known = route.account in self._settings  # not connected yet: what a restart finds goes on a little later
            reason = "isn't connected yet" if known else "isn't configured"
            raise DeliveryError(f"the Telegram account `{route.account}` {reason}", permanent=not known)
        return account
