"""The scene of the crash tests: a gateway in several lives, and a person who doesn't notice the deaths between.

`play` starts a gateway on a fresh site, says what the person says, kills and starts as planned, and returns with
everything settled and the gateway stopped; `checks.py` looks at what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import aiohttp

from tests.crash.snapshot import Snapshot, snapshot
from tests.support.process import KILLED, Life, Site, Start

PATIENCE_SECONDS = 60.0
NET_SECONDS = 1.0
"""Below the events: how long nobody is told of anything before the person looks again."""


@dataclass(frozen=True, slots=True)
class Point:
    """Dies at a failpoint."""

    name: str
    hit: int = 1


@dataclass(frozen=True, slots=True)
class Moment:
    """Dies so many seconds after its start."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ByModel:
    """The model's answer is its death."""


Death = Point | Moment | ByModel


class Unsettled(AssertionError):
    """Something doesn't come to an end. The text says what is still under way."""


@dataclass
class Scene:
    """One gateway through several lives."""

    site: Site
    start: Start
    act: Callable[[Person], Awaitable[None]]
    """What the person does."""
    plan: Sequence[Death] = ()
    """How each life ends, beginning with the first; those after it end well."""
    points_log: str = ""
    """File that gets the name of every failpoint that the first lives reach."""
    deaths: list[Snapshot] = field(default_factory=list[Snapshot])
    lives: int = 0

    def __post_init__(self) -> None:
        self._life: Life | None = None
        self._url = ""
        self._up = asyncio.Event()
        self._stopping = False

    async def play(self) -> None:
        """The whole scene.

        Raises:
            Unsettled: it doesn't settle in time.
            Ended: a gateway ended in a way that nobody planned.
        """
        living = asyncio.create_task(self._live(), name=f"lives of {self.site.model}")
        try:
            async with aiohttp.ClientSession() as http:
                playing = asyncio.create_task(self._act(Person(self, http)), name=f"person of {self.site.model}")
                await asyncio.wait({living, playing}, return_when=asyncio.FIRST_COMPLETED)
                if not playing.done():
                    playing.cancel()
                    living.result()
                await playing
            await living
        finally:
            living.cancel()
            await asyncio.wait({living})
            if self._life is not None:
                self._life.kill()

    async def address(self) -> str:
        """Where the gateway listens, once it does."""
        await self._up.wait()
        return self._url

    @property
    def as_planned(self) -> bool:
        """Whether every planned death took place."""
        return len(self.deaths) == len(self.plan)

    async def _act(self, person: Person) -> None:
        listening = asyncio.create_task(person.listen(), name=f"events of {self.site.model}")
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self.act(person)
            self._stopping = True
            if self._life is not None:
                self._life.terminate()
        except TimeoutError:
            raise Unsettled(f"{person.waits_for}: {self.site.said()}") from None
        finally:
            listening.cancel()
            await asyncio.wait({listening})

    async def _live(self) -> None:
        """Starts a gateway after each planned death, until one has ended well."""
        while True:
            death = self.plan[self.lives] if self.lives < len(self.plan) else None
            code = await self._one_life(death)
            if code == 0 and self._stopping:
                return
            assert code == KILLED, f"the gateway ended with {code}: {self.site.said()}"
            assert death is not None, "it was killed, and nobody planned that"
            self.deaths.append(snapshot(self.site))

    async def _one_life(self, death: Death | None) -> int:
        env = {"LANEWAY_FAILPOINT": f"{death.name}:{death.hit}"} if isinstance(death, Point) else {}
        if self.points_log:
            env["LANEWAY_FAILPOINT_LOG"] = f"{self.points_log}.{self.lives}"
        self.lives += 1
        life = self._life = await self.start(self.site, env)
        killing = asyncio.create_task(_kill_after(life, death.seconds)) if isinstance(death, Moment) else None
        try:
            await asyncio.wait({life.greeting, life.exited}, return_when=asyncio.FIRST_COMPLETED)
            if not life.exited.done():
                self._url = self.site.url()
                self._up.set()
                if self._stopping:
                    life.terminate()
            return await life.exited
        finally:
            self._up.clear()
            if killing is not None:
                killing.cancel()


async def _kill_after(life: Life, seconds: float) -> None:
    await asyncio.sleep(seconds)
    life.kill()


class Gone(Exception):
    """The gateway doesn't answer: it is being killed, or has been."""


class Refused(AssertionError):
    """The gateway refuses a request. The text is its answer."""


class Person:
    """Says things, repeats them until they are acknowledged, and watches the events to know when to go on."""

    def __init__(self, scene: Scene, http: aiohttp.ClientSession) -> None:
        self._scene = scene
        self._http = http
        self._news = asyncio.Event()
        self._last_event = "0"
        self.waits_for = ""

    async def say(self, key: str, text: str, number: str, thread: str | None = None) -> None:
        """A message, or a slash command, over the control API."""
        body = {"text": text, "thread": thread}
        await self._insistently("POST", f"/api/sessions/{quote(key)}/messages", body, {"Idempotency-Key": number})

    async def say_to_sink(self, key: str, text: str, number: str) -> None:
        """A message over the channel that posts."""
        await self._insistently("POST", "/api/sink", {"key": key, "text": text, "id": number})

    async def stop(self, label: str) -> None:
        """Stops the run with this label."""
        run_id = (await self._run(label))["runId"]
        await self._insistently("POST", f"/api/runs/{run_id}/stop", {}, {"Idempotency-Key": f"stop-{label}"})

    async def allow(self) -> bool:
        """Says yes to whatever is asked; whether anything was."""
        waiting = (await self._ask("GET", "/api/approvals"))["approvals"]
        for approval in waiting:
            with contextlib.suppress(Refused):
                await self._ask("POST", f"/api/approvals/{approval['id']}", {"decision": "allow"})
        return bool(waiting)

    async def is_run(self, label: str, status: str) -> bool:
        """Whether the newest run with this label has this status."""
        return (await self._run(label))["status"] == status

    async def is_busy(self, key: str) -> bool:
        """Whether a turn of a session is under way."""
        return bool((await self._ask("GET", f"/api/sessions/{quote(key)}"))["busy"])

    async def _run(self, label: str) -> Any:
        found = await self._insistently("GET", "/api/runs?limit=500")
        return next(run for run in found["runs"] if run["label"] == label)

    async def until(self, what: str, true: Callable[[], Awaitable[bool]]) -> None:
        """Waits, looking again at every event."""
        self.waits_for = what
        while True:
            self._news.clear()
            with contextlib.suppress(Gone):
                if await true():
                    return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), NET_SECONDS)

    async def listen(self) -> None:
        """Follows the events through all lives."""
        while True:
            url = await self._scene.address()
            with contextlib.suppress(aiohttp.ClientError, OSError):
                headers = self._headers() | {"Last-Event-ID": self._last_event}
                async with self._http.get(f"{url}/api/events", headers=headers, timeout=_ENDLESS) as stream:
                    async for line in stream.content:
                        if line.startswith(b"id: "):
                            self._last_event = line[4:].decode().strip()
                        elif line.startswith(_NEWS):
                            self._news.set()
            self._news.set()
            await asyncio.sleep(0.01)  # a connection that is refused leaves no event to wait for

    async def idle(self) -> bool:
        """Whether both conversations rest, with all that was begun in them."""
        found = await self._ask("GET", "/api/sessions?kind=main")
        posts = await self._ask("GET", "/api/outbox")
        return all(session["idle"] for session in found["sessions"]) and not posts["posts"]

    async def heard(self, key: str, *words: str) -> bool:
        """Whether a session's assistant has named all these in its final texts."""
        found = await self._ask("GET", f"/api/sessions/{quote(key)}/transcript?limit=500&tools=1")
        rows = [row for row in found["messages"] if row["role"] == "assistant" and not row["calls"]]
        return set(words) <= {word for row in rows for word in row["text"].split()}

    async def _insistently(
        self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None
    ) -> Any:
        """Repeats a request until it is answered."""
        self.waits_for = f"{method} {path} is answered"
        while True:
            try:
                return await self._ask(method, path, body, headers)
            except Gone:
                await asyncio.sleep(0.01)

    async def _ask(self, method: str, path: str, body: object = None, headers: dict[str, str] | None = None) -> Any:
        url = await self._scene.address()
        try:
            async with self._http.request(
                method, url + path, json=body, headers=self._headers() | (headers or {}), timeout=_SHORT
            ) as response:
                text = await response.text()
                if response.status >= 500:
                    raise Gone(text)
                if response.status >= 300:
                    raise Refused(f"{method} {path}: {response.status} {text}")
                return await response.json()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise Gone(str(error)) from error

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._scene.site.token()}"}


_NEWS = (b"event: message", b"event: idle", b"event: delivery", b"event: approval", b"event: run")
_ENDLESS = aiohttp.ClientTimeout(total=None)
_SHORT = aiohttp.ClientTimeout(total=15)
