"""Scenes in which a gateway is killed while people talk to it in Slack, and the script that its model follows.

The gateway is a real process, forked from one that has done its imports; the workspace is a process of its own that
goes on, keeps what was said, and sends again what wasn't acknowledged. One workspace serves many scenes after each
other, each in a channel of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from tests.standins.slack import RemoteSlack, Seen, Timeout
from tests.support.model_script import Call, calls, say
from tests.support.model_server import ScriptedModelServer
from tests.support.pilot import REPORT
from tests.support.process import KILLED, Life, Site, Start

PATIENCE_SECONDS = 60.0
LOOK_SECONDS = 0.05
"""Between two looks at a gateway that may just be dead: nothing tells when it isn't."""
ALLOWED = ("edit without change",)
"""What a client that has forgotten everything can't know."""
LONG = "# Long\n\n" + "\n\n".join(f"Paragraph {n} says a thing or two. " * 8 for n in range(60)) + "\n\nThe end."


@dataclass(frozen=True, slots=True)
class Point:
    """A failpoint, and at which hit of it the process dies."""

    name: str
    hit: int = 1


def rules(server: ScriptedModelServer) -> None:
    """What the models say."""
    room = Call("sessions_spawn", {"task": "dig a hole", "label": "dig", "thread": True})
    server.on(lambda seen: say("hole dug", delay=0.6), role="child", user="^dig a hole$")
    server.on(lambda seen: say(f"child heard: {seen.last_user}"), role="child")
    server.on(lambda seen: say("noted"), role="main", user=REPORT)
    server.on(lambda seen: calls(room, text="Let me see."), role="main", user="ann: dig$", turn_step=1)
    server.on(lambda seen: say("They are at it."), role="main", user="ann: dig$")
    server.on(lambda seen: say(LONG), role="main", user="ann: long$")
    server.on(lambda seen: say(f"heard: {seen.last_user}", chunk_delay=0.12), role="main")


def slack_settings(
    about: Mapping[str, Any], api_url: str, channel: str, owner: str, port: int | None
) -> dict[str, Any]:
    """The configuration of a gateway that answers in one channel, over a socket or, called by Slack, on a port."""
    account: dict[str, Any] = {
        "botToken": about["bot_token"],
        "apiUrl": api_url.rstrip("/"),
        "groups": {channel: {}},
    }
    whole: dict[str, Any] = {"channels": {"slack": account}, "owners": [f"slack:{owner}"]}
    if port is None:
        account["appToken"] = about["app_token"]
        return whole
    account |= {"mode": "http", "signingSecret": about["signing_secret"]}
    return {"gateway": {"port": port, "drainSeconds": 20}, **whole}


@dataclass
class SlackScene:
    """One story in one channel, with deaths."""

    site: Site
    start: Start
    ws: RemoteSlack
    channel: str
    plan: Sequence[Point] = ()
    """Where each life but the last one ends."""
    points_log: str = ""
    """Gets the names of the points that each life reaches, in a file for each."""
    deaths: int = 0
    asked: str = ""
    """The thread that Ann began."""
    opened: str = ""
    """The sub-agent's own thread."""
    _stopping: bool = False
    _life: Life | None = None
    _lives: int = 0
    _up: asyncio.Event = field(default_factory=asyncio.Event)

    async def play(self) -> list[str]:
        """Plays it; returns what is wrong at the end."""
        living = asyncio.create_task(self._live(), name=f"lives of {self.channel}")
        telling = asyncio.create_task(self._tell(), name=f"story of {self.channel}")
        try:
            await asyncio.wait({living, telling}, return_when=asyncio.FIRST_COMPLETED)
            if living.done():
                living.result()
            await telling
            await living
        except (Timeout, TimeoutError, AssertionError) as error:
            return [f"{type(error).__name__}: {error}: {self.site.said()[-1500:]}"]
        finally:
            telling.cancel()
            living.cancel()
            await asyncio.gather(living, telling, return_exceptions=True)
            if self._life is not None:
                self._life.kill()
                await asyncio.shield(self._life.exited)
        return await self._faults()

    # ------------------------------------------------------------------ the story

    async def _tell(self) -> None:
        ann = await self.ws.user("ann")
        self.asked = await ann.says(self.channel, "hello", mention=True)
        await self._reads("^heard: .*ann: hello$", self.asked)
        # Until the answer stands: what is said while it is still being written goes into the same turn.
        await self._settles()
        await ann.says(self.channel, "dig", thread=self.asked)
        self.opened = (await self._reads("🧵 ")).ts
        await self._reads("hole dug", self.opened)
        await self._reads("^noted$", self.asked)
        await ann.says(self.channel, "deeper", thread=self.opened)
        await self._reads("child heard: .*ann: deeper$", self.opened)
        await ann.says(self.channel, "/queue", thread=self.asked)
        await self._reads("^Queue mode", self.asked)
        await ann.says(self.channel, "long", thread=self.asked)
        await self._reads("The end", self.asked)
        await self._settles()
        self._stopping = True
        if self._life is not None:
            self._life.terminate()

    async def _reads(self, pattern: str, thread: str | None = None) -> Seen:
        return await self.ws.wait_message(pattern, channel=self.channel, thread=thread, seconds=PATIENCE_SECONDS)

    async def _settles(self) -> None:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (  # noqa: ASYNC110 - another process tells nobody
                await self._rests()
                and all("all done" in card.view for card in await self._cards())
                and not await self.ws.pending()
            ):
                await asyncio.sleep(LOOK_SECONDS)

    async def _cards(self) -> list[Seen]:
        posts = await self.ws.posts(self.channel)
        return [one for one in posts if one.root == self.asked and "Sub-agents" in one.view]

    async def _rests(self) -> bool:
        """Whether the gateway is there, and has nothing to do and nothing to post."""
        await self._up.wait()
        headers = {"Authorization": f"Bearer {self.site.token()}"}
        try:
            async with aiohttp.ClientSession(self.site.url(), headers=headers) as http:
                posts = await (await http.get("/api/outbox")).json()
                sessions = await (await http.get("/api/sessions")).json()
        except (aiohttp.ClientError, OSError):
            return False
        return not posts["posts"] and all(session["idle"] for session in sessions["sessions"])

    # ------------------------------------------------------------------ lives and deaths

    async def _live(self) -> None:
        while True:
            death = self.plan[self._lives] if self._lives < len(self.plan) else None
            code = await self._one_life(death)
            if code == 0 and self._stopping:
                return
            assert code == KILLED and death is not None, f"the gateway ended with {code}"
            self.deaths += 1

    async def _one_life(self, death: Point | None) -> int:
        env = {"LANEWAY_FAILPOINT": f"{death.name}:{death.hit}"} if death else {}
        if self.points_log:
            env["LANEWAY_FAILPOINT_LOG"] = f"{self.points_log}.{self._lives}"
        self._lives += 1
        life = self._life = await self.start(self.site, env)
        try:
            await asyncio.wait(
                {asyncio.shield(life.greeting), asyncio.shield(life.exited)}, return_when=asyncio.FIRST_COMPLETED
            )
            if not life.exited.done():
                self._up.set()
                if self._stopping:
                    life.terminate()
            return await asyncio.shield(life.exited)
        finally:
            self._up.clear()

    # ------------------------------------------------------------------ the judgement

    async def _faults(self) -> list[str]:
        """Everything that isn't there exactly once, or stands somewhere else."""
        posts = await self.ws.posts(self.channel)
        wanted = {
            self.asked: (
                "^heard: .*ann: hello$", "^They are at it.$", "^noted$", "^Queue mode", "^# Long", "The end.$",
            ),
            self.opened: ("^🧵 ", "^hole dug$", "^child heard: .*ann: deeper$"),
        }  # fmt: skip
        found: list[str] = []
        known: set[str] = set()
        for thread, patterns in wanted.items():
            for pattern in patterns:
                fitting = [one.ts for one in posts if one.root == thread and re.search(pattern, one.view, re.DOTALL)]
                known.update(fitting)
                if len(fitting) != 1:
                    found.append(f"{len(fitting)} posts {pattern!r} in {self._name(thread)}")
        cards = await self._cards()
        if len(cards) > 1 or any("all done" not in one.view for one in cards):
            found.append(f"cards: {[one.view for one in cards]}")
        known.update(one.ts for one in cards)
        found += [
            f"nobody asked for this, in {self._name(one.root)}: {one.view[:200]!r}"
            for one in posts
            if one.ts not in known
        ]
        long = [one.view[:6] for one in posts if re.search("^# Long|The end.$", one.view, re.DOTALL)]
        if long[:1] != ["# Long"]:
            found.append("the pieces of the long answer stand in the wrong order")
        with contextlib.suppress(Timeout):
            await self.ws.wait_delivered(seconds=10)
        found += [f"not acknowledged: {event['payload']['event']}" for event in await self.ws.pending()]
        faults = await self.ws.take_faults()
        found += [f"Slack: {one}" for one in faults if not any(re.search(pattern, one) for pattern in ALLOWED)]
        return found

    def _name(self, thread: str) -> str:
        return {self.asked: "Ann's thread", self.opened: "the sub-agent's thread"}.get(thread, f"thread {thread}")
