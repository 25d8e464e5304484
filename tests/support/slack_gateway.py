"""A gateway on a stand-in Slack workspace: what people do there, and what they read.

The app has exactly the scopes, events and commands of the manifest that `laneway channels setup slack` prints.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from channels.slack import texts
from tests.standins.slack import Options, Person, SlackWorkspace
from tests.support.model_script import say
from tests.support.pilot import PATIENCE, Pilot, merged, pilot

ANN, BOB = "ann", "bob"
GENERAL = "general"


def slack_config(ws: SlackWorkspace, **account: Any) -> dict[str, Any]:
    """The configuration of an account in this workspace; Ann is an owner, #general is open."""
    return {
        "channels": {
            "slack": {
                "botToken": ws.app.bot_token,
                "appToken": ws.app.app_token,
                "apiUrl": f"{ws.base_url}/api",
                "groups": {ws.channel(GENERAL): {}},
                **account,
            }
        },
        "owners": [f"slack:{ws.user(ANN).id}"],
    }


class SlackRoom:
    """A gateway, and a workspace in which Ann, who owns it, and Bob talk to it in #general."""

    def __init__(self, p: Pilot, ws: SlackWorkspace) -> None:
        self.p = p
        self.ws = ws
        self.ann: Person = ws.user(ANN)
        self.bob: Person = ws.user(BOB)

    async def asks(self, text: str, *, thread: str | None = None, who: Person | None = None) -> str:
        """Somebody mentions the assistant in #general; returns the ts of what he wrote."""
        return await (who or self.ann).says(GENERAL, text, thread=thread, mention=True)

    def key(self, thread: str | None, channel: str = GENERAL) -> str:
        """The key of the session of a thread, or of a channel itself."""
        key = f"agent:main:slack:channel:{self.ws.channel(channel)}"
        return f"{key}:thread:{thread}" if thread else key

    def echo(self) -> None:
        """The assistant repeats what it hears."""
        self.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")

    async def told(self, text: str, *, thread: str | None = None, who: Person | None = None) -> str:
        """Somebody mentions the assistant in #general and gets his answer from `echo`; returns the thread's ts."""
        asked = await self.asks(text, thread=thread, who=who)
        name = (who or self.ann).name
        await self.ws.wait_message(rf"heard: .*\b{name}: {re.escape(text)}$", thread=thread or asked)
        return thread or asked

    def heard(self) -> list[str]:
        """What people said, as the model read it."""
        return [seen.last_user for seen in self.p.main_requests()]

    async def connected(self, account: str = "default", state: str = "connected") -> None:
        """Asks until an account's connection is so; no event tells of it."""
        async with asyncio.timeout(PATIENCE):
            while not (await self.states()).get(account, "").startswith(state):
                pass

    async def states(self) -> dict[str, str]:
        """Each account with how its connection is."""
        channels = (await self.p.get("/api/channels"))["channels"]
        return next(channel["accounts"] for channel in channels if channel["name"] == "slack")

    async def settled(self, thread: str) -> None:
        """Waits until the session of a thread rests and everything is posted."""
        await self.p.wait_idle(self.key(thread))
        await self.delivered()

    async def delivered(self) -> None:
        """Waits until nothing is on its way to Slack."""
        while True:
            seen = len(self.p.events)
            if not (await self.p.get("/api/outbox"))["posts"]:
                return
            await self.p.wait_until(lambda seen=seen: len(self.p.events) > seen, "a delivery")


@asynccontextmanager
async def slack_room(
    folder: Path,
    *,
    options: Options | None = None,
    config: Mapping[str, Any] | None = None,
    account: Mapping[str, Any] | None = None,
    clean: bool = True,
    connect: bool = True,
) -> AsyncGenerator[SlackRoom]:
    """A connected gateway; at the end the workspace must have seen nothing that a correct client wouldn't have done.

    Args:
        folder: for the state.
        options: how the workspace begins.
        config: goes over the configuration.
        account: keys of `channels.slack`.
        clean: False leaves the judgement to the test.
        connect: False doesn't wait for the connection.
    """
    async with SlackWorkspace(options) as ws:
        ws.install(texts.manifest(socket=(account or {}).get("mode") != "http", address="https://laneway.example"))
        ws.channel(GENERAL, ANN, BOB)
        whole = merged(slack_config(ws, **(account or {})), config or {})
        async with pilot(folder, config=whole) as p:
            room = SlackRoom(p, ws)
            if connect:
                await room.connected()
            yield room
        assert not ws.unused, "a fault was made that nothing ran into"
        if clean:
            ws.assert_clean()
