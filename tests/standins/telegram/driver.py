"""The stand-in as a test uses it, whether it lives in this process or in one of its own.

    ann = await tg.person("Ann")
    group = await tg.group("Team", ann, forum=True, rights=["can_manage_topics"])
    topic = await ann.open_topic(group, "Research")
    asked = await ann.say("spawn three", group, topic=topic, mention=True)
    card = await tg.wait_message(lambda m: "3 running" in m.text, chat=group, topic=topic)
    query = await ann.press(card, "Stop")
    assert (await tg.wait_answer(query))["text"] == "Stopped"
    await tg.next("sendMessage", Fault.flood(2))
    await tg.assert_clean()

Nothing here sleeps: every wait ends when the stand-in's state changes.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from typing import Any, TypeVar

from tests.standins.telegram.faults import Fault
from tests.standins.telegram.limits import Limits
from tests.standins.telegram.people import Group, Person, chat_id
from tests.standins.telegram.views import Called, Seen

Json = dict[str, Any]
Found = TypeVar("Found")

PATIENCE = 10.0
"""Seconds that a wait lasts unless told otherwise."""


class Driver(ABC):
    """Everything that a test does and asks. Chats are given as `Group`, `Person` (his private chat) or id."""

    base_url = ""
    """For `telegram.Bot(base_url=…)`: ends in `/bot`."""
    token = ""

    @property
    def file_url(self) -> str:
        """For `telegram.Bot(base_file_url=…)`."""
        return f"{self.base_url.removesuffix('/bot')}/file/bot"

    @property
    def api_root(self) -> str:
        """The address without any path."""
        return self.base_url.removesuffix("/bot")

    @abstractmethod
    async def do(self, operation: str, **arguments: Any) -> Any:
        """One of `operations.OPERATIONS`."""

    @abstractmethod
    async def after(self, version: int, seconds: float) -> None:
        """Waits until something has changed since a version of the state, or so many seconds."""

    # ------------------------------------------------------------------ people and places

    async def person(
        self, name: str, username: str | None = None, *, language: str = "en", started: bool = True
    ) -> Person:
        """A new person. Unless `started`, he has no chat with the bot yet, and it can't write to him."""
        user = await self.do("person", name=name, username=username, language=language, started=started)
        return Person(self, user["id"], name)

    async def group(
        self,
        title: str,
        *members: Person,
        kind: str = "supergroup",
        forum: bool = False,
        rights: Sequence[str] | None = None,
    ) -> Group:
        """A group with the bot in it, made by the first member.

        Args:
            rights: the bot is an administrator with these (`["*"]`: all); None: an ordinary member.
        """
        ids = [member.id for member in members]
        given = None if rights is None else list(rights)
        chat = await self.do("group", title=title, members=ids, kind=kind, forum=forum, rights=given)
        return Group(self, chat["id"], title)

    # ------------------------------------------------------------------ waiting

    async def until(self, look: Callable[[], Awaitable[Found | None]], *, seconds: float = PATIENCE) -> Found:
        """Looks again at every change until something is found.

        Raises:
            TimeoutError: after so many seconds.
        """
        end = time.monotonic() + seconds
        while True:
            version: int = await self.do("version")
            if found := await look():
                return found
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"nothing of the kind within {seconds} s; calls: {await self._recent()}")
            await self.after(version, left)

    async def wait_message(
        self,
        matches: Callable[[Seen], bool] = lambda _: True,
        *,
        chat: Group | Person | int | None = None,
        topic: int | str | None = "any",
        seconds: float = PATIENCE,
    ) -> Seen:
        """Waits for a message of the bot, as it stands now (an edit may make it match), that isn't deleted."""

        async def look() -> Seen | None:
            found = await self.messages(chat, topic=topic, bot=True)
            return next((message for message in found if not message.deleted and matches(message)), None)

        return await self.until(look, seconds=seconds)

    async def wait_answer(self, query: str, *, seconds: float = PATIENCE) -> Json:
        """Waits for the answer to a pressed button."""

        async def look() -> Json | None:
            answer: Json | None = await self.do("answer", query=query)
            return {"text": "", **answer} if answer is not None else None

        return await self.until(look, seconds=seconds)

    async def wait_call(
        self,
        method: str,
        matches: Callable[[Called], bool] = lambda _: True,
        *,
        count: int = 1,
        seconds: float = PATIENCE,
    ) -> list[Called]:
        """Waits until so many calls of a method that match have arrived, answered or not."""

        async def look() -> list[Called] | None:
            found = [call for call in await self.calls(method) if matches(call)]
            return found if len(found) >= count else None

        return await self.until(look, seconds=seconds)

    async def wait_taken(self, update: int | None, *, seconds: float = PATIENCE) -> None:
        """Waits until the bot has confirmed an update: by a higher offset, or a 2xx of its webhook."""
        assert update is not None, "the bot wasn't told"

        async def look() -> bool:
            return update in await self.taken()

        await self.until(look, seconds=seconds)

    async def wait_typing(
        self, chat: Group | Person | int, *, topic: int | None = None, seconds: float = PATIENCE
    ) -> None:
        """Waits until readers see the bot typing."""

        async def look() -> bool:
            return await self.typing(chat, topic=topic)

        await self.until(look, seconds=seconds)

    # ------------------------------------------------------------------ what there is

    async def messages(
        self, chat: Group | Person | int | None = None, *, topic: int | str | None = "any", bot: bool | None = None
    ) -> list[Seen]:
        """Messages, deleted ones too, oldest first; of a topic (None: General), of the bot or of people only."""
        found = [Seen.from_json(body) for body in await self.do("messages", chat=chat_id(chat))]
        return [
            message
            for message in found
            if topic in ("any", message.topic)
            and (bot is None or message.raw["from"]["is_bot"] == bot)
            and not (message.service and bot)
        ]

    async def transcript(self, chat: Group | Person | int, *, topic: int | str | None = "any") -> str:
        """What a reader sees: a line `Name: text [Button] …` for each message that isn't deleted."""
        lines: list[str] = []
        for message in await self.messages(chat, topic=topic):
            if not message.deleted and not message.service:
                buttons = "".join(f" [{label}]" for row in message.buttons for label in row)
                lines.append(f"{message.name}: {message.marked}{buttons}")
        return "\n".join(lines)

    async def typing(self, chat: Group | Person | int, *, topic: int | None = None) -> bool:
        """Whether readers see the bot typing now."""
        where = (chat_id(chat), topic)
        return any(a["live"] and (a["chat"], a["thread"]) == where for a in await self.do("actions"))

    async def actions(self, chat: Group | Person | int) -> list[Json]:
        """All chat actions of a chat: `thread`, `action`, `at`, `live`."""
        return [action for action in await self.do("actions") if action["chat"] == chat_id(chat)]

    async def drafts(self, person: Person) -> list[Json]:
        """All drafts that were shown to a person: `id`, `thread`, `text`, `marked`, `live`."""
        return await self.do("drafts", chat=person.id)

    async def topics(self, chat: Group | Person) -> list[Json]:
        """Topics without General: `id`, `name`, `closed`, `creator`."""
        return await self.do("topics", chat=chat.id)

    async def commands(self, scope: Json | None = None, language: str = "") -> list[Json]:
        """Commands that were set for a scope."""
        return await self.do("commands", scope=scope, language=language)

    async def calls(self, method: str | None = None) -> list[Called]:
        """All calls, or those of one method."""
        return [Called(**call) for call in await self.do("calls", method=method)]

    async def taken(self) -> list[int]:
        """Ids of the updates that the bot has confirmed."""
        return await self.do("taken")

    async def pending(self) -> list[Json]:
        """Updates that it hasn't."""
        return await self.do("pending")

    async def webhook(self) -> Json:
        """As getWebhookInfo, with `attempts`: pairs of update id and HTTP status (0: not reached)."""
        return await self.do("webhook")

    async def busiest(self, chat: Group | Person | int | None = None, *, seconds: float = 1) -> int:
        """Most messages and edits within so many seconds, in one chat or overall."""
        return await self.do("busiest", chat=chat_id(chat), seconds=seconds)

    # ------------------------------------------------------------------ trouble

    async def next(
        self, method: str, fault: Fault, *, chat: Group | Person | int | None = None, times: int = 1
    ) -> None:
        """What goes wrong with the next calls of a method (`*`: of any)."""
        await self.do("trouble", method=method, fault=fault.to_json(), chat=chat_id(chat), times=times)

    async def release(self, name: str) -> None:
        """Lets go what is held under this name, now and later."""
        await self.do("release", name=name)

    async def advance(self, seconds: float) -> None:
        """Lets the stand-in's time pass: typing, drafts, queries and flood windows lapse by it."""
        await self.do("advance", seconds=seconds)

    async def enforce_limits(self, limits: Limits | None) -> None:
        """Answers 429 beyond these limits; None: counts only."""
        await self.do("enforce_limits", limits=None if limits is None else asdict(limits))

    async def redeliver(self, update: int) -> None:
        """Delivers an update once more, though the bot has confirmed it."""
        await self.do("redeliver", update=update)

    async def allow(self, pattern: str, *, method: str = "*") -> None:
        """Faults whose text matches a regular expression are none, from now on and before."""
        await self.do("allow", pattern=pattern, method=method)

    async def faults(self) -> list[str]:
        """What the bot did wrong, and troubles that never came to pass."""
        return await self.do("faults")

    async def assert_clean(self) -> None:
        """Fails if there are faults."""
        found = await self.faults()
        assert not found, "the Telegram stand-in saw what it should not:\n" + "\n".join(found)

    async def _recent(self) -> list[str]:
        return [f"{call.method} {call.status} {call.description}".strip() for call in (await self.calls())[-12:]]
