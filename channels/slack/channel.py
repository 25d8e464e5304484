"""The channel `slack`: its accounts, each a Slack app in a workspace, behind one `Channel`.

Knows which account a route belongs to and hands everything on to it. Nothing of it survives a crash: what is to be
posted stands in the outbox, and what was posted can be asked for by its metadata.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from aiohttp import web

from channels import chunks
from channels.slack import markdown
from gateway.channel import Capabilities, Channel, DeliveryError, Intake, Live, Mark, Opening, Post
from gateway.config.channels import SlackAccount
from gateway.plugins import Registry
from gateway.routes import Route

if TYPE_CHECKING:
    from channels.slack.account import Account

NAME = "slack"
STATUS_SECONDS = 60.0
"""How often the status is set again while a turn lasts."""
STREAM_SECONDS = 0.7
STREAM_AFTER_SECONDS = 0.4
"""Slack allows twenty streams a minute to be begun, and many more posts."""
NOTHING = "(nothing)"
"""What stands for blanks, which Slack doesn't take."""
CAPABILITIES = Capabilities(
    streaming=True,
    stream_seconds=STREAM_SECONDS,
    stream_after=STREAM_AFTER_SECONDS,
    tasks=True,
    edits=True,
    threads=True,
    buttons=True,
    cards=True,
    files=True,
    typing_seconds=STATUS_SECONDS,
    marks=True,
)


class SlackChannel(Channel):
    """Slack."""

    name = NAME
    capabilities = CAPABILITIES

    def __init__(self, registry: Registry, accounts: Mapping[str, SlackAccount]) -> None:
        self._registry = registry
        self._settings = accounts
        self._accounts: dict[str, Account] = {}

    def able(self, route: Route) -> Capabilities:
        """A stream and a status need a thread; cards can be switched off. Many streams at once are slower each."""
        policy = self._registry.gateway.config.channels.policy(NAME, route.account)
        in_thread = route.thread is not None
        return replace(
            self.capabilities,
            streaming=in_thread,
            stream_seconds=STREAM_SECONDS
            * max(1, account.live if (account := self._accounts.get(route.account)) else 1),
            tasks=in_thread,
            cards=policy.live_card,
            typing_seconds=STATUS_SECONDS if in_thread else None,
        )

    async def start(self, intake: Intake) -> None:
        """Connects every account, in the background."""
        from channels.slack.account import Account  # loads Slack's library, which takes a while

        for name, settings in self._settings.items():
            account = self._accounts[name] = Account(name, settings, intake, partial(self._current, name))
            account.start()

    async def stop(self) -> None:
        """Disconnects."""
        await asyncio.gather(*(account.stop() for account in self._accounts.values()))

    async def take(self, request: web.Request) -> web.StreamResponse:
        """An HTTP request of Slack's: goes to the account whose secret it is signed with."""
        body = (await request.read()).decode("utf-8", "replace")
        for account in self._accounts.values():
            if account.signed(body, request.headers):
                return await account.take(body, request.headers)
        return web.json_response({"error": "no account has signed this request"}, status=401)

    def split(self, text: str) -> list[str]:
        """Pieces that fit into one message."""
        return chunks.split(text, markdown.fits) or [NOTHING]

    async def post(self, post: Post) -> str | None:
        """See `Channel.post`."""
        return await self._account(post.route).post(post)

    async def stream(self, post: Post) -> Live:
        """See `Channel.stream`."""
        return await self._account(post.route).stream(post)

    async def typing(self, route: Route, *, active: bool) -> None:
        """Sets the thread's status, which shows Slack's own Stop button while a turn lasts."""
        await self._account(route).status(route, active=active)

    async def mark(self, route: Route, message_id: str, mark: Mark) -> None:
        """Reacts to a person's message."""
        await self._account(route).mark(route, message_id, mark)

    async def open_thread(self, opening: Opening) -> Route:
        """A message at the top level of the channel, whose thread it is."""
        return await self._account(opening.route).open_thread(opening)

    async def close_thread(self, route: Route) -> None:
        """Deletes that message."""
        await self._account(route).close_thread(route)

    def state(self) -> dict[str, str]:
        """See `Channel.state`."""
        return {name: account.state for name, account in self._accounts.items()}

    def _current(self, name: str) -> SlackAccount:
        """An account's settings as they are now; what it is connected with stays till a restart."""
        return self._registry.gateway.config.channels.slack_accounts().get(name, self._settings[name])

    def _account(self, route: Route) -> Account:
        account = self._accounts.get(route.account)
        if account is None:
            known = route.account in self._settings  # not connected yet: what a restart finds goes on a little later
            reason = "isn't connected yet" if known else "isn't configured"
            raise DeliveryError(f"the Slack account `{route.account}` {reason}", permanent=not known)
        return account
