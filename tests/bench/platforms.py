"""Platforms that people write on, for the benchmarks: what the gateway adds between them and the model.

A platform is a stand-in server in this process, so that its clock, the model's and ours are one. Another one is added
by implementing `Platform` and naming it in `PLATFORMS`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from channels.slack import texts
from tests.standins.slack import Person, SlackWorkspace
from tests.standins.slack.model import Call
from tests.standins.telegram import TelegramStandIn

FINAL = ("chat.stopStream", "chat.postMessage", "chat.update")
"""The calls of Slack by which the delivery sends an answer; a stream before it isn't the delivery's."""


class Platform(Protocol):
    """A workspace in which somebody asks questions, each in a thread of its own."""

    name: str
    posts_at_once: bool
    """It takes a hundred posts within a second; else only the beginning of the work is held to the burst's target."""

    def config(self) -> dict[str, Any]:
        """The sections of the configuration that connect a gateway to it."""
        ...

    async def connected(self) -> None:
        """Waits until the gateway is connected."""
        ...

    async def ask(self, text: str) -> tuple[str, float]:
        """Somebody asks; returns the session's key and when the platform sent the event (`time.monotonic()`)."""
        ...

    async def answered(self, text: str) -> float:
        """Waits until a question's answer is there to stay; returns when the call arrived that sent it."""
        ...


class SlackBench:
    """A Slack workspace."""

    name = "slack"
    posts_at_once = True

    def __init__(self, ws: SlackWorkspace) -> None:
        self._ws = ws
        self._ann: Person = ws.user("ann")
        self._threads: dict[str, str] = {}
        """Question → the thread that began with it."""

    def config(self) -> dict[str, Any]:
        """See `Platform.config`."""
        ws = self._ws
        account: dict[str, Any] = {
            "botToken": ws.app.bot_token,
            "appToken": ws.app.app_token,
            "apiUrl": f"{ws.base_url}/api",
            "groups": {ws.channel("general"): {}},
        }
        return {"channels": {"slack": account}}

    async def connected(self) -> None:
        """See `Platform.connected`."""
        await self._ws.wait_connected()

    async def ask(self, text: str) -> tuple[str, float]:
        """See `Platform.ask`: a mention at top level."""
        ts = self._threads[text] = await self._ann.says("general", text, mention=True)
        sent = next(one for one in reversed(self._ws.deliveries) if one.event.get("ts") == ts)
        return f"agent:main:slack:channel:{self._ws.channel('general')}:thread:{ts}", sent.made

    async def answered(self, text: str) -> float:
        """See `Platform.answered`."""
        thread = self._threads[text]

        def found() -> Call | None:
            replies = {one.ts: one for one in self._ws.thread("general", thread)[1:]}
            for call in self._ws.calls:
                if call.method in FINAL and call.outcome == "ok":
                    place = str(call.args.get("ts") or "")
                    if place in replies or call.args.get("thread_ts") == thread:
                        return call
            return None

        return (await self._ws.until(found, f"answer to {text}", 60)).at


@asynccontextmanager
async def slack() -> AsyncGenerator[Platform]:
    """A workspace with Ann in #general, and the app as its manifest makes it."""
    async with SlackWorkspace() as ws:
        ws.install(texts.manifest(socket=True, address=""))
        ws.channel("general", "ann")
        yield SlackBench(ws)


class TelegramBench:
    """A Telegram in which everybody writes to the bot directly: a chat takes one message a second."""

    name = "telegram"
    posts_at_once = False

    def __init__(self, tg: TelegramStandIn) -> None:
        self._tg = tg
        self._people: dict[str, int] = {}
        """Question → who has asked it."""

    def config(self) -> dict[str, Any]:
        """See `Platform.config`."""
        account = {"botToken": self._tg.token, "apiRoot": self._tg.api_root, "dmPolicy": "open"}
        return {"channels": {"telegram": account}}

    async def connected(self) -> None:
        """See `Platform.connected`."""
        await self._tg.wait_call("getUpdates")

    async def ask(self, text: str) -> tuple[str, float]:
        """See `Platform.ask`: somebody new, in his chat with the bot."""
        person = await self._tg.person(f"person{len(self._people)}")
        self._people[text] = person.id
        at = time.monotonic()
        await person.say(text)
        return f"agent:main:telegram:dm:{person.id}", at

    async def answered(self, text: str) -> float:
        """See `Platform.answered`: looks into the stand-in itself, which would otherwise be busy with telling us."""
        chat = self._people[text]

        async def found() -> float | None:
            calls = self._tg.parts.calls.calls
            return next((c.at for c in calls if c.method == "sendMessage" and c.params.get("chat_id") == chat), None)

        return await self._tg.until(found, seconds=60)


@asynccontextmanager
async def telegram() -> AsyncGenerator[Platform]:
    """A Telegram with a bot."""
    async with TelegramStandIn() as tg:
        yield TelegramBench(tg)


PLATFORMS: Mapping[str, Callable[[], AbstractAsyncContextManager[Platform]]] = {"slack": slack, "telegram": telegram}
