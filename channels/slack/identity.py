"""Who the assistant is in a workspace, and what the people and places in it are called."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from channels.slack.client import Api
from gateway.channel import DeliveryError
from gateway.routes import PlaceKind

KEPT = 10_000
"""Names that are remembered."""
ASK_AGAIN_SECONDS = 30.0
NAME_SECONDS = 1.5
"""How long a message waits for its writer's name. Slack wants an answer within three seconds."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The assistant in its workspace."""

    user: str
    bot: str
    team: str
    url: str
    """Of the workspace, for links."""

    @classmethod
    def of(cls, answer: dict[str, Any]) -> Identity:
        """From the answer of `auth.test`."""
        return cls(
            str(answer.get("user_id", "")),
            str(answer.get("bot_id", "")),
            str(answer.get("team_id", "")),
            str(answer.get("url", "")),
        )


class Names:
    """Remembers names, and what kind of place a channel is."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._users: OrderedDict[str, str] = OrderedDict()
        self._kinds: OrderedDict[str, PlaceKind] = OrderedDict()
        self._ask_again: OrderedDict[str, float] = OrderedDict()
        """Users whose names couldn't be had, and when they are asked for again."""

    @property
    def users(self) -> Collection[str]:
        """Ids of the people who are known, because they have written or were mentioned."""
        return self._users.keys()

    def known(self, user: str) -> str:
        """The name of a user, his id if it isn't known."""
        return self._users.get(user, user)

    async def of_user(self, user: str) -> str:
        """The name of a user, asked for once; his id while Slack doesn't tell."""
        if user not in self._users:
            now = time.monotonic()
            if now < self._ask_again.get(user, 0.0):
                return user
            name = await self._ask_user(user)
            if name is None:
                _remember(self._ask_again, user, now + ASK_AGAIN_SECONDS)
                return user
            _remember(self._users, user, name)
        return self._users[user]

    async def kind(self, channel: str, channel_type: str | None) -> PlaceKind:
        """What kind of place a channel is.

        Args:
            channel: its id.
            channel_type: as an event tells it; not every event does.

        Raises:
            DeliveryError: Slack doesn't tell now. Nothing may be decided on a guess.
        """
        told: dict[str, PlaceKind] = {"im": "direct", "mpim": "group", "channel": "channel", "group": "channel"}
        if channel_type in told:
            _remember(self._kinds, channel, told[channel_type])
        elif channel.startswith("D"):
            return "direct"
        elif channel not in self._kinds:
            _remember(self._kinds, channel, await self._ask_kind(channel))
        return self._kinds[channel]

    async def _ask_user(self, user: str) -> str | None:
        try:
            async with asyncio.timeout(NAME_SECONDS):
                found = (await self._api("users_info", user=user)).get("user", {})
        except (DeliveryError, TimeoutError):
            return None
        profile = found.get("profile", {})
        return str(profile.get("display_name") or profile.get("real_name") or found.get("name") or user)

    async def _ask_kind(self, channel: str) -> PlaceKind:
        try:
            found = (await self._api("conversations_info", channel=channel)).get("channel", {})
        except DeliveryError as error:
            if not error.permanent:
                raise
            return "channel"  # the app isn't allowed to ask: it lacks the scope of group messages
        return "direct" if found.get("is_im") else "group" if found.get("is_mpim") else "channel"


def _remember(cache: OrderedDict[str, Any], key: str, value: object) -> None:
    cache[key] = value
    while len(cache) > KEPT:
        cache.popitem(last=False)
