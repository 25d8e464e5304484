"""A gateway on a stand-in Telegram: what people do there, and what they read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from channels.telegram.plugin import TelegramPlugin
from channels.telegram.timing import Limits, Timing
from tests.standins.telegram import Driver, Group, Person, Seen, TelegramStandIn
from tests.support.pilot import PATIENCE, Json, Pilot, merged, pilot

RIGHTS = ("can_manage_topics", "can_delete_messages")
HURRIED = Timing(poll=5, linger=0.1, stream=0.02, quick=0.05, read=5.0, first_retry=0.05, longest_retry=0.2)
"""For tests that aren't about time."""
GENEROUS = Limits(chat_seconds=0.0, group=10_000, overall=10_000, fleeting=10_000)
"""For tests that aren't about flood limits."""
SECRET = "a-secret-of-the-webhook"  # noqa: S105 - the test's own
USERNAME = "laneway_bot"


def telegram_config(tg: Driver, ann: Person, *groups: Group, **account: Any) -> dict[str, Any]:
    """The configuration of this bot; Ann is an owner, and these groups are open."""
    return {
        "channels": {
            "telegram": {
                "botToken": tg.token,
                "apiRoot": tg.api_root,
                "groups": {str(group.id): {} for group in groups},
                **account,
            }
        },
        "owners": [f"telegram:{ann.id}"],
    }


class TelegramRoom:
    """A gateway, and a Telegram in which Ann, who owns it, and Bob talk to it: privately, in a forum, in a group."""

    def __init__(self, p: Pilot, tg: TelegramStandIn, people: tuple[Person, Person], groups: tuple[Group, Group]):
        self.p = p
        self.tg = tg
        self.ann, self.bob = people
        self.forum, self.team = groups
        """A forum in which the bot may do everything with topics, and a group without topics."""

    def key(self, group: Group, topic: int | None = None) -> str:
        """The key of the session of a group, or of a topic."""
        base = f"agent:main:telegram:group:{group.id}"
        return f"{base}:topic:{topic}" if topic else base

    async def reads(self, chat: Group | Person, text: str, *, topic: int | str | None = "any") -> Seen:
        """Waits until a message of the bot shows this text."""
        return await self.tg.wait_message(lambda m: text in m.text, chat=chat, topic=topic)

    async def texts(self, chat: Group | Person, *, topic: int | str | None = "any") -> list[str]:
        """What the bot's messages show, oldest first."""
        return [each.text for each in await self.tg.messages(chat, topic=topic, bot=True) if not each.deleted]

    async def tells(self, like: Seen, number: int, **changes: Any) -> int | None:
        """Tells the bot of a message that the stand-in has nobody to write.

        Args:
            like: a message that somebody has written.
            number: its id.
            changes: how it differs; None takes a field away.

        Returns:
            The update's id.
        """
        await self.tg.allow("message to react not found")
        body = {"message_id": number, **{key: value for key, value in like.raw.items() if key != "message_id"}}
        whole = {key: value for key, value in {**body, **changes}.items() if value is not None}
        return self.tg.parts.world.updates.add("message", whole, like.chat)

    async def settled(self, key: str) -> None:
        """Waits until a session rests and everything is posted."""
        await self.p.wait_idle(key)
        await self.delivered()

    async def delivered(self) -> None:
        """Waits until nothing is on its way to Telegram."""
        while True:
            seen = len(self.p.events)
            if all(each["state"] == "failed" for each in (await self.p.get("/api/outbox"))["posts"]):
                return
            await self.p.wait_until(lambda seen=seen: len(self.p.events) > seen, "a delivery")

    async def tried(self) -> Json:
        """The post that was tried and waits for its next try; no event tells of it."""
        async with asyncio.timeout(PATIENCE):
            while not (tried := [each for each in (await self.p.get("/api/outbox"))["posts"] if each["attempts"]]):
                pass
        return tried[0]

    async def says(self, text: str) -> str:
        """Waits until the state of the connection says something; no event tells of it."""
        async with asyncio.timeout(PATIENCE):
            while text not in (state := await self.state()):
                pass
        return state

    async def state(self) -> str:
        """How the connection is, as `laneway channels list` shows it."""
        found = (await self.p.get("/api/channels"))["channels"]
        return str(next(each["accounts"]["default"] for each in found if each["name"] == "telegram"))


@asynccontextmanager
async def telegram_room(
    folder: Path,
    *,
    standin: TelegramStandIn | None = None,
    config: Mapping[str, Any] | None = None,
    account: Mapping[str, Any] | None = None,
    timing: Timing = HURRIED,
    limits: Limits = GENEROUS,
    clean: bool = True,
    start: bool = True,
) -> AsyncGenerator[TelegramRoom]:
    """A connected gateway; at the end the stand-in must have seen nothing that a correct bot wouldn't have done.

    Args:
        folder: for the state.
        standin: one that begins otherwise than usual.
        config: goes over the configuration.
        account: keys of `channels.telegram`.
        timing: how long things take.
        limits: how much the channel sends.
        clean: False leaves the judgement to the test.
        start: False leaves starting to the test.
    """
    async with standin or TelegramStandIn(retry_seconds=0.02) as tg:
        ann, bob = await tg.person("Ann", "ann"), await tg.person("Bob", "bob")
        forum = await tg.group("Forum", ann, bob, forum=True, rights=RIGHTS)
        team = await tg.group("Team", ann, bob)
        whole = merged(telegram_config(tg, ann, forum, team, **(account or {})), config or {})
        plugins = {"telegram": TelegramPlugin(timing, limits)}
        async with pilot(folder, config=whole, plugins=plugins, start=start) as p:
            room = TelegramRoom(p, tg, (ann, bob), (forum, team))
            if start:
                await tg.wait_call("setMyCommands")
            yield room
        if clean:
            await tg.assert_clean()
