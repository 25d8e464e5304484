"""The stage of the crash tests: one model server and one nursery for any number of scenes side by side."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.migrate import migrate
from tests.crash import sink
from tests.crash.checks import Left, faults, read
from tests.crash.nursery import NurseryClient
from tests.crash.plots import DAY, Plot
from tests.crash.scene import Death, Person, Scene, Unsettled
from tests.support import databases
from tests.support.process import REPOSITORY, Ended, Site, Start, model_server, start

AT_ONCE = 2 * (os.cpu_count() or 1)
"""Scenes side by side: each waits a second for the run that is to time out."""
RULES = "tests.crash.script:rules"


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a scene."""

    name: str
    scene: Scene
    faults: tuple[str, ...]

    def told(self) -> str:
        """For the tester: what was planned, what is wrong, where to look."""
        lines = "\n".join(f"    {fault}" for fault in self.faults)
        return f"{self.name} (in {self.scene.site.folder}):\n{lines}"


class Stage:
    """Plays scenes."""

    def __init__(self, folder: Path, model_url: str, start: Start, plugins: str) -> None:
        self.folder = folder
        self.start = start
        """Starts a gateway on any prepared site."""
        self._model_url = model_url
        self._plugins = plugins
        self._migrated = folder / "migrated.db"
        migrate(self._migrated)
        self.room = asyncio.Semaphore(AT_ONCE)
        """To be entered for each scene."""
        self._count = 0

    def site(self, plot: Plot = DAY, **subagents: Any) -> Site:
        """A fresh site for one scene; nested sub-agents are allowed, and what else is said of sub-agents."""
        self._count += 1
        model = f"scene-{self._count}"
        env = {"PYTHONPATH": f"{self._plugins}{os.pathsep}{REPOSITORY}"}
        defaults = {"model": {"primary": f"scripted/{model}"}, "subagents": {"maxSpawnDepth": 2, **subagents}}
        url = databases.server().migrated() if databases.ON_POSTGRES else None
        site = Site(self.folder / model, self._model_url, model, plot.window, env, url)
        site.prepare({"agents": {"defaults": defaults}, **plot.config})
        if url is None:
            shutil.copy(self._migrated, site.database)  # a migration is a third of a scene's time
        return site

    async def act(self, act: Callable[[Person], Awaitable[None]], plan: Sequence[Death] = (), **subagents: Any) -> Left:
        """Plays a scene of one's own and returns what it leaves."""
        scene = Scene(self.site(**subagents), self.start, act, plan)
        await scene.play()
        assert scene.as_planned, f"{len(scene.deaths)} of {len(plan)} deaths took place"
        return read(scene)

    async def play(self, name: str, plan: Sequence[Death] = (), plot: Plot = DAY, points_log: str = "") -> Result:
        """Plays one scene and checks what it leaves; what went well leaves no files."""
        scene = Scene(self.site(plot), self.start, plot.act, plan, points_log)
        try:
            await scene.play()
        except (Unsettled, Ended, AssertionError) as error:
            return Result(name, scene, (str(error),))
        found = tuple(await asyncio.to_thread(faults, scene, plot))
        if not found:
            await asyncio.to_thread(shutil.rmtree, scene.site.folder)
        return Result(name, scene, found)


@asynccontextmanager
async def stage(
    folder: Path, *, forked: bool = True, rules: str = RULES, imports: Sequence[str] = ()
) -> AsyncGenerator[Stage]:
    """A stage in a folder.

    Args:
        folder: for all sites, and what the model server sees.
        forked: start gateways by forking one that has done its imports; else execute `laneway start` each time.
        rules: what the models say.
        imports: modules that the one to be forked imports beside the usual ones.
    """
    plugins = sink.install(folder / "plugins")
    async with model_server(rules, folder) as url:
        if not forked:
            yield Stage(folder, url, start, plugins)
            return
        async with NurseryClient(folder, plugins, *imports) as nursery:
            yield Stage(folder, url, nursery.start, plugins)
