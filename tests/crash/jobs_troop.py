"""The processes of the chaos: a gateway and workers, killed, suspended and started again, and who looks on meanwhile.

On SQLite the gateway is alone. Whoever dies is started again at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.crash.jobs_mix import MARK
from tests.crash.nursery import NurseryClient
from tests.support.process import COMMAND, Ended, Life, Site, start, worker_words

LANES = ("jobs", "shell", "subagent")
CONCURRENCY = 4
"""Of each worker."""
KILL_SECONDS = 2.0
NAPS = 0.3
"""How often somebody is suspended as well."""
LOOK_SECONDS = 0.1
START_SECONDS = 60.0


@dataclass(slots=True)
class Post:
    """A process that there always is: when it dies it is started again."""

    name: str
    worker: bool
    life: Life | None = None
    """None: it is being started."""
    suspended: bool = False


@dataclass(slots=True)
class Troop:
    """Everything that is killed."""

    site: Site
    workers: int
    lease: float
    rng: random.Random
    nursery: NurseryClient | None = None
    """Forks them; None: each is executed."""
    posts: list[Post] = field(default_factory=list[Post])
    kills: list[float] = field(default_factory=list[float])
    """When (`time.time()`)."""
    naps: list[tuple[float, float]] = field(default_factory=list[tuple[float, float]])
    """From when to when somebody was suspended."""
    faults: list[str] = field(default_factory=list[str])
    _tasks: set[asyncio.Task[None]] = field(default_factory=set[asyncio.Task[None]])

    async def begin(self) -> None:
        """Starts all; they are ready."""
        self.posts = [Post("gateway", worker=False), *(Post(f"worker {n}", worker=True) for n in range(self.workers))]
        await self._man(self.posts[0])
        await asyncio.gather(*(self._man(post) for post in self.posts[1:]))

    async def disturb(self, seconds: float) -> None:
        """Kills somebody every two seconds, and lets somebody sleep now and then, for so long or until cancelled."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            await asyncio.sleep(KILL_SECONDS)
            if self.rng.random() < NAPS and (post := await self._victim()) is not None:
                self._spawn(self._suspend(post))
                await asyncio.sleep(0)  # he is asleep before the next one is chosen
            if (post := await self._victim()) is not None:
                await self._kill(post)

    async def settle(self) -> None:
        """Wakes all, and waits until all are there again."""
        for post in self.posts:
            if post.suspended and post.life is not None:
                post.life.wake()
                post.suspended = False
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def end(self) -> None:
        """A graceful end of all, workers first."""
        for post in self.posts[::-1]:
            if post.life is not None and (code := await post.life.stop()) != 0:
                self.faults.append(f"{post.name} ended with {code} after SIGTERM")

    async def abandon(self) -> None:
        """Kills whoever is left."""
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for post in self.posts:
            if post.life is not None:
                post.life.wake()
                post.life.kill()
                await post.life.exited

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _victim(self) -> Post | None:
        """Somebody who is ready. Spared is who has a session to himself: it has seen two deaths, and a third one would
        be the end of it, though it isn't to blame (spec/subagents.md 23)."""
        spared = await asyncio.to_thread(self._alone)
        ready = [post for post in self.posts if post.life is not None and not post.suspended]
        fair = [post for post in ready if post.life is not None and post.life.pid not in spared]
        return self.rng.choice(fair) if fair else None

    def _alone(self) -> set[int]:
        with self.site.rows() as rows:
            if self.site.postgres is None:
                found = rows.execute("select 1 from meta where key like 'alone:%'").fetchall()
                return {post.life.pid for post in self.posts if post.life is not None} if found else set()
            return {int(row[0]) for row in rows.execute(_ALONE).fetchall()}

    async def _kill(self, post: Post) -> None:
        assert post.life is not None
        life, post.life = post.life, None
        self.kills.append(time.time())
        if life.exited.done():
            self.faults.append(f"{post.name} had ended with {life.exited.result()} by itself")
        life.kill()
        await asyncio.shield(life.exited)
        self._spawn(self._man(post))

    async def _suspend(self, post: Post) -> None:
        """For less than its lease, or for longer."""
        life = post.life
        if life is None:
            return
        seconds = self.lease * self.rng.uniform(0.3, 2.0)
        begun = time.time()
        post.suspended = True
        life.suspend()
        await asyncio.sleep(seconds)
        life.wake()
        post.suspended = False
        self.naps.append((begun, time.time()))

    async def _man(self, post: Post) -> None:
        """Starts a process, again if need be: a worker that finds no gateway, for one, ends at once."""
        until = time.monotonic() + START_SECONDS
        while True:
            try:
                life = await self._start(worker_words(*LANES, concurrency=CONCURRENCY) if post.worker else ("start",))
                await life.said()
            except Ended as ended:
                if time.monotonic() > until:
                    self.faults.append(f"{post.name} can't be started: {ended}")
                    return
                await asyncio.sleep(0.2)
            else:
                post.life = life
                return

    async def _start(self, words: Sequence[str]) -> Life:
        if self.nursery is not None:
            return await self.nursery.start(self.site, words=words)
        return await start(self.site, command=(*COMMAND[:-1], *words))


_ALONE = "select pid from workers where 'alone:' || id in (select key from meta)"


@dataclass(slots=True)
class Watchman:
    """Looks every moment at what runs: shell jobs as the kernel shows them, claims as the database does."""

    site: Site
    caps: Mapping[str, int]
    faults: list[str] = field(default_factory=list[str])
    most: Counter[str] = field(default_factory=Counter[str])
    """The most that was seen at once, by lane."""
    looks: int = 0

    async def watch(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.to_thread(self._look)
            await asyncio.sleep(LOOK_SECONDS)

    def _look(self) -> None:
        self.looks += 1
        # What is there before and after has been there at one moment in between.
        alive = _commands().keys() & _commands().keys()
        self._count("shell", len(alive), "commands run")
        twice = [label for label, count in Counter(label for _, label in alive).items() if count > 1]
        if twice:
            self.faults.append(f"shell job {twice} runs twice at once")
        with self.site.rows() as rows:
            found = rows.execute(_CLAIMED).fetchall()
        for row in found:
            self._count(str(row[0]), int(row[1]), "sessions are claimed")

    def _count(self, lane: str, number: int, what: str) -> None:
        self.most[f"{lane}: {what}"] = max(self.most[f"{lane}: {what}"], number)
        if number > self.caps.get(lane, number):
            self.faults.append(f"{number} {what} in the lane {lane}, whose cap is {self.caps[lane]}")


_CLAIMED = "select lane, count(*) from sessions where claimed_by is not null group by lane"


def _commands() -> dict[tuple[int, str], None]:
    """Process group and label of each shell job that is running."""
    found: dict[tuple[int, str], None] = {}
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = (folder / "cmdline").read_bytes()
            place = line.find(MARK.encode())
            if place < 0:
                continue
            state, _parent, group = (folder / "stat").read_text().rpartition(")")[2].split()[:3]
            if state != "Z":
                label = line[place + len(MARK) :].partition(b";")[0].decode()
                found[int(group), label] = None
    return found
