"""The crash tests' story over Telegram: what Ann says to her assistant there, and what she must find in the end.

The stand-in is a process of its own and outlives every gateway. One of them serves one scene after the other: each has
a person and a forum of its own.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from channels.telegram import markdown
from channels.telegram.content import CUT_OFF, SENT_AGAIN
from tests.crash.checks import Left
from tests.crash.plots import Plot
from tests.crash.scene import Person as Watcher
from tests.crash.scene import Refused
from tests.crash.script import ORDERS, Script
from tests.standins.telegram import Group, Person, RemoteTelegram, Seen
from tests.support.model_script import Reply
from tests.support.model_script import Seen as Request
from tests.support.model_server import ScriptedModelServer
from tests.support.telegram_gateway import RIGHTS, SECRET, telegram_config

SLOW = " ".join(f"word{number}" for number in range(12))
MAIN = "agent:main:main"
MARKS = (SENT_AGAIN, CUT_OFF)
CARD = "🧭 Sub-agents"
STATUS = "agent:main:main"
"""What stands in the answer to /status."""


class SlowScript(Script):
    """The crash tests' script, with an answer that is long in the writing, and sub-agents that take their time."""

    def answer(self, seen: Request) -> Reply:
        """One answer."""
        reply = super().answer(seen)
        if reply.text == "heard slow":
            return replace(reply, text=f"heard slow {SLOW}", chunk_delay=0.1)
        return replace(reply, delay=0.2) if seen.role == "child" else reply


def rules(server: ScriptedModelServer) -> None:
    """For the model server's process."""
    server.on(SlowScript(Path(os.environ["SCENES"])).answer)


@dataclass(frozen=True)
class Story:
    """One scene's people and places."""

    tg: RemoteTelegram
    ann: Person
    forum: Group
    topic: int
    port: int | None
    """Where Telegram calls every gateway of the scene; None: they poll."""

    @classmethod
    async def begin(cls, tg: RemoteTelegram, port: int | None = None) -> Story:
        """New people and places."""
        ann = await tg.person("Ann")
        forum = await tg.group("Forum", ann, forum=True, rights=RIGHTS)
        return cls(tg, ann, forum, await ann.open_topic(forum, "Research"), port)

    @property
    def key(self) -> str:
        """The session of the topic."""
        return f"agent:main:telegram:group:{self.forum.id}:topic:{self.topic}"

    @property
    def plot(self) -> Plot:
        """What happens, and how it must end."""
        return Plot(
            "telegram",
            self._act,
            outcomes={"two-b": ("ok",), "one": ("ok",)},
            said={"DO search": MAIN, "Ann: so\nDO slow": self.key},
            config=self._config(),
        )

    def _config(self) -> dict[str, Any]:
        if self.port is None:
            return telegram_config(self.tg, self.ann, self.forum)
        webhook = {"mode": "webhook", "webhookUrl": f"http://127.0.0.1:{self.port}", "webhookSecret": SECRET}
        server = {"port": self.port, "drainSeconds": 20}
        return {"gateway": server, **telegram_config(self.tg, self.ann, self.forum, **webhook)}

    async def _act(self, watcher: Watcher) -> None:
        await self.ann.say("DO search")
        await self.ann.say("so\nDO slow", self.forum, topic=self.topic, mention=True)
        await watcher.until("search is answered", lambda: _heard(watcher, MAIN, "search"))
        await self.ann.say("/status")
        await watcher.until("slow is answered", lambda: _heard(watcher, self.key, "slow"))
        await watcher.until("the reports are answered", lambda: _heard(watcher, MAIN, "one", "two-b"))
        await watcher.until("/status is answered", self._has_status)
        await watcher.until("everything is idle", watcher.idle)

    async def _has_status(self) -> bool:
        return any(STATUS in message.text for message in await self._shown())

    async def _shown(self) -> list[Seen]:
        """What Ann sees of the bot, privately and in the topic."""
        found = [*await self.tg.messages(self.ann, bot=True), *await self.tg.messages(self.forum, bot=True)]
        return [message for message in found if not message.deleted]

    async def faults(self, left: Left) -> list[str]:
        """What is wrong in Telegram once all is settled."""
        pending = [update for update in await self.tg.pending() if str(self.ann.id) in str(update)]
        return [
            *(f"never confirmed: {update}" for update in pending),
            *_doubles(await self._shown(), left),
            *(f"in another topic: {message.text}" for message in await self._stray()),
        ]

    async def _stray(self) -> list[Seen]:
        return [each for each in await self.tg.messages(self.forum, bot=True) if each.topic != self.topic]


async def _heard(watcher: Watcher, key: str, *words: str) -> bool:
    """As `Person.heard`, of a session that may not be there yet."""
    try:
        return await watcher.heard(key, *words)
    except Refused:
        return False


def _doubles(shown: list[Seen], left: Left) -> Iterator[str]:
    """Every post is there once; one that was in doubt at a death once more at most, and marked."""
    texts = [row["text"] for row in left.outbox if row["kind"] == "text" and row["state"] == "delivered"]
    wanted = Counter(message.text for text in texts for message in markdown.render(text))
    plain = Counter(message.text for message in shown if not message.text.startswith(MARKS))
    marked = Counter(_unmarked(message.text) for message in shown if message.text.startswith(MARKS))
    cards = [message.text for message in shown if CARD in message.text]
    if sum(not text.startswith(MARKS) for text in cards) > 1 or len(cards) > 2:
        yield f"there are {len(cards)} cards: {cards}"
    for text, count in wanted.items():
        if not plain[text] + marked[text]:
            yield f"`{text}` isn't there"
        if plain[text] > count or marked[text] > len(left.deaths) or (marked[text] and not left.deaths):
            yield f"`{text}` is there {plain[text]} times, and {marked[text]} times marked"
    whole = [text for text in wanted if SLOW in text]
    for text in plain - wanted:
        # What a stream has left that a death cut off: the beginning of the answer, which follows marked.
        if CARD not in text and not any(answer.startswith(text) and marked[answer] for answer in whole):
            yield f"`{text}` was posted, and isn't in the outbox"


def _unmarked(text: str) -> str:
    for mark in MARKS:
        text = text.removeprefix(mark)
    return text.lstrip()


assert "slow" not in ORDERS, "an order without calls is answered at once"
