"""The channels behind `Harness`: Slack by socket and HTTP, Telegram by polling and webhook, terminal, web chat."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from gateway.routes import Route
from tests.standins.slack import Fault as SlackFault
from tests.standins.slack import Options
from tests.standins.telegram import Fault, Person, Seen
from tests.support import web_person
from tests.support.harness import FOLLOWUP, Harness, Place
from tests.support.pilot import KEY, Pilot, merged, pilot
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room
from tests.support.telegram_gateway import SECRET, TelegramRoom, telegram_room

Enter = Callable[[Path], AbstractAsyncContextManager[Harness]]
POLICY = {"dmPolicy": "open"}


class SlackHarness(Harness):
    """Slack: `one` and `two` are threads of #general, `private` is Bob's direct conversation."""

    channel = "slack"

    def __init__(self, room: SlackRoom) -> None:
        super().__init__(room.p)
        self._room = room
        self._ws = room.ws
        self._threads: dict[Place, str] = {}

    async def say(self, place: Place, text: str) -> None:
        if place == "private":
            await self._room.bob.says("dm", text)
        elif place in self._threads:
            await self._room.ann.says(GENERAL, text, thread=self._threads[place], mention=not text.startswith("/"))
        else:
            self._threads[place] = await self._room.ann.says(GENERAL, text, mention=True)

    async def again(self) -> None:
        last = self._ws.deliveries[-1]
        same = last.event["ts"]
        copies = [each for each in self._ws.deliveries if each.event.get("ts") == same]
        for copy in copies:
            assert await self._ws.dispatcher.transport.event(copy.payload, 1, "http_timeout") is None

    def route(self, place: Place) -> Route:
        if place == "private":
            return Route("slack", "default", self._room.bob.dm)
        return Route("slack", "default", self._ws.channel(GENERAL), self._threads[place])

    def key(self, place: Place) -> str:
        return (
            f"agent:main:slack:dm:{self._room.bob.id}" if place == "private" else self._room.key(self._threads[place])
        )

    async def texts(self, place: Place) -> list[str]:
        if place == "private":
            return self._ws.texts(self._room.bob.dm)
        return self._ws.texts(GENERAL, self._threads[place])

    async def changed(self) -> None:
        await self._ws.next_change()

    async def refuse(self) -> None:
        self._ws.next("chat.postMessage", SlackFault(error="is_archived"), where={"channel": self._room.bob.dm})

    async def fail(self) -> None:
        self._ws.next("chat.postMessage", SlackFault(status=502), where={"channel": self._room.bob.dm})

    async def press(self, place: Place, label: str) -> str:
        card = await self._ws.wait_message(rf"Sub-agents.*\[{label}\]", thread=self._threads[place])
        await self._room.ann.presses(GENERAL, card.ts, label)
        whispered = await self._ws.wait_message(lambda one: one.ephemeral_for == self._room.ann.id)
        return whispered.text

    async def send_file(self, place: Place, name: str, content: bytes) -> None:
        await self._room.ann.says(GENERAL, "look", thread=self._threads[place], mention=True, files={name: content})


class TelegramHarness(Harness):
    """Telegram: `one` and `two` are topics of a forum, `private` is Bob's chat with the bot."""

    channel = "telegram"

    def __init__(self, room: TelegramRoom, topics: Mapping[Place, int]) -> None:
        super().__init__(room.p)
        self._room = room
        self._tg = room.tg
        self._topics = topics
        self._last: Seen | None = None

    async def say(self, place: Place, text: str) -> None:
        if place == "private":
            self._last = await self._room.bob.say(text)
        else:
            topic = self._topics[place]
            command = text.startswith("/")
            self._last = await self._room.ann.say(text, self._room.forum, topic=topic, mention=not command)

    async def again(self) -> None:
        assert self._last is not None and self._last.update is not None
        update = self._last.update
        await self._tg.wait_taken(update)
        await self._tg.redeliver(update)
        await self._tg.until(lambda: self._gone(update))

    async def _gone(self, update: int) -> bool:
        return all(each["update_id"] != update for each in await self._tg.pending())

    def route(self, place: Place) -> Route:
        chat: Any = self._room.bob if place == "private" else self._room.forum
        thread = None if place == "private" else str(self._topics[place])
        return Route("telegram", "default", str(chat.id), thread)

    def key(self, place: Place) -> str:
        if place == "private":
            return f"agent:main:telegram:dm:{self._room.bob.id}"
        return self._room.key(self._room.forum, self._topics[place])

    async def texts(self, place: Place) -> list[str]:
        if place == "private":
            return await self._room.texts(self._room.bob)
        return await self._room.texts(self._room.forum, topic=self._topics[place])

    async def changed(self) -> None:
        await self._tg.after(await self._tg.do("version"), 0.1)

    async def refuse(self) -> None:
        await self._tg.next("sendMessage", Fault.refused("Bad Request: chat not found"), chat=self._room.bob)

    async def fail(self) -> None:
        await self._tg.next("sendMessage", Fault.server_error(502), chat=self._room.bob)

    async def press(self, place: Place, label: str) -> str:
        card = await self._tg.wait_message(
            lambda m: "Sub-agents" in m.text and bool(m.buttons), topic=self._topics[place]
        )
        button = next(each for row in card.buttons for each in row if each.startswith(label))
        return str((await self._tg.wait_answer(await self._room.ann.press(card, button)))["text"])

    async def send_file(self, place: Place, name: str, content: bytes) -> None:
        where: dict[str, Any] = {"caption": "@laneway_bot look", "topic": self._topics[place]}
        self._last = await self._room.ann.send_document(name, content, self._room.forum, **where)


class TerminalHarness(Harness):
    """The terminal, over the API that it speaks: `one` and `two` are threads of one conversation."""

    channel = "terminal"
    refuses = keeps = False

    def __init__(self, p: Any) -> None:
        super().__init__(p)
        self._last: tuple[Place, str, str] = ("one", "", "")
        self._replies: list[tuple[Place, str]] = []
        self._seen = 0

    async def say(self, place: Place, text: str) -> None:
        self._last = (place, text, f"key-{id(text)}-{len(self._replies)}-{len(self.p.events)}")
        await self._send()

    async def again(self) -> None:
        await self._send()

    async def _send(self) -> None:
        place, text, key = self._last
        route = self.route(place)
        body = {"text": text, "channel": route.channel, "thread": route.thread}
        answer = await self.p.post(f"/api/sessions/{self.key(place)}/messages", body, headers={"Idempotency-Key": key})
        assert answer.status in (200, 202), answer.text
        if answer.json["reply"] and (place, answer.json["reply"]) not in self._replies:
            self._replies.append((place, answer.json["reply"]))

    def route(self, place: Place) -> Route:
        return Route("terminal", "default", self.key(place), None if place == "private" else place)

    def key(self, place: Place) -> str:
        return "agent:main:private" if place == "private" else KEY

    async def texts(self, place: Place) -> list[str]:
        self._seen = len(self.p.events)
        thread = self.route(place).thread
        posts = [post for post in self.p.posts(self.key(place)) if post["route"].get("thread") == thread]
        return [*(post["text"] for post in posts), *(reply for where, reply in self._replies if where == place)]

    async def changed(self) -> None:
        await self.p.wait_until(lambda: len(self.p.events) > self._seen, "anything")

    async def glimpse(self, place: Place) -> str:
        self._seen = len(self.p.events)
        return "".join(str(each.data["text"]) for each in self.p.events if each.type in ("snapshot", "delta"))


class WebHarness(TerminalHarness):
    """The web chat: `one` and `two` are conversations of an operator, `private` is Bob's, who may chat."""

    channel = "web"

    def __init__(self, p: Pilot, me: web_person.Person, bob: web_person.Person) -> None:
        super().__init__(p)
        self._me = me
        self._bob = bob

    async def _send(self) -> None:
        place, text, key = self._last
        answer = await self._page(place).post(f"/web/chat/{self.key(place)}/messages", {"id": key, "text": text})
        assert answer.status in (200, 202), answer.text
        if answer.json["reply"] and (place, answer.json["reply"]) not in self._replies:
            self._replies.append((place, answer.json["reply"]))

    def route(self, place: Place) -> Route:
        return Route("web", "default", self.key(place))

    def key(self, place: Place) -> str:
        return web_person.BOB if place == "private" else f"agent:main:{place}"

    async def send_file(self, place: Place, name: str, content: bytes) -> None:
        page, key = self._page(place), self.key(place)
        kept = await page.ask("POST", f"/web/chat/{key}/files?name={name}", data=content)
        assert (await page.send("look", key, files=[kept.json["file"]])).status == 202

    def _page(self, place: Place) -> web_person.Person:
        return self._bob if place == "private" else self._me


# ---------------------------------------------------------------------- their ways in


@asynccontextmanager
async def slack_socket(folder: Path) -> AsyncGenerator[Harness]:
    """Slack, over a socket."""
    async with slack_room(folder, config=FOLLOWUP, account=POLICY) as room:
        yield SlackHarness(room)


@asynccontextmanager
async def slack_http(folder: Path) -> AsyncGenerator[Harness]:
    """Slack, which calls the gateway."""
    account = {**POLICY, "mode": "http", "signingSecret": Options().signing_secret, "appToken": None}
    async with slack_room(folder, config=FOLLOWUP, account=account) as room:
        await room.p.restart(gateway={"port": int(room.p.gateway.url.rpartition(":")[2])})
        await room.connected()
        assert await room.ws.verify_url(f"{room.p.gateway.url}/channels/slack/events")
        yield SlackHarness(room)


@asynccontextmanager
async def telegram_polling(folder: Path) -> AsyncGenerator[Harness]:
    """Telegram, which is asked."""
    async with telegram_room(folder, config=FOLLOWUP, account=POLICY) as room:
        yield await _telegram(room)


@asynccontextmanager
async def telegram_webhook(folder: Path) -> AsyncGenerator[Harness]:
    """Telegram, which calls the gateway."""
    async with telegram_room(folder, config=FOLLOWUP, account=POLICY) as room:
        account = {"mode": "webhook", "webhookUrl": room.p.gateway.url, "webhookSecret": SECRET}
        port = int(room.p.gateway.url.rpartition(":")[2])
        await room.p.restart(gateway={"port": port}, channels={"telegram": account})
        await room.tg.wait_call("setWebhook", lambda call: call.status != 0)
        yield await _telegram(room)


async def _telegram(room: TelegramRoom) -> TelegramHarness:
    ann: Person = room.ann
    return TelegramHarness(
        room, {"one": await ann.open_topic(room.forum, "One"), "two": await ann.open_topic(room.forum, "Two")}
    )


@asynccontextmanager
async def terminal(folder: Path) -> AsyncGenerator[Harness]:
    """The terminal."""
    async with pilot(folder, config=merged(FOLLOWUP, {})) as p:
        yield TerminalHarness(p)


@asynccontextmanager
async def web(folder: Path) -> AsyncGenerator[Harness]:
    """The web chat."""
    async with pilot(folder, config=merged(FOLLOWUP, {})) as p, aiohttp.ClientSession() as http:
        me, bob = await web_person.person(p, http), await web_person.person(p, http, "chat", "Bob")
        yield WebHarness(p, me, bob)


HARNESSES: Mapping[str, Enter] = {
    "slack-socket": slack_socket,
    "slack-http": slack_http,
    "telegram-polling": telegram_polling,
    "telegram-webhook": telegram_webhook,
    "terminal": terminal,
    "web": web,
}
