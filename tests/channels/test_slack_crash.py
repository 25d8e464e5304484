"""SIGKILL at every point between a message in Slack and its answer there; Slack sends again what nobody acknowledged.

Over a socket, and over HTTP, where the gateway comes back on the port that Slack calls.

Which points there are is found out by playing the story without a death. Every message must be answered exactly once,
in the thread that asked, whatever was killed when.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
import pytest_asyncio

from channels.slack import texts
from channels.slack.plugin import EVENTS_PATH
from gateway.store.migrate import migrate
from tests.crash.nursery import NurseryClient
from tests.standins.slack import RemoteSlack, slack_process
from tests.support.process import Site, Start, model_server, reserved_port
from tests.support.slack_crash import Point, SlackScene, slack_settings

RULES = "tests.support.slack_crash:rules"
SLOTS = 2 * (os.cpu_count() or 1)
"""Workspaces side by side."""
OFTEN = ("effected:post",)
"""Reached for posts of every kind, sent and not recorded: each time is a place of death."""
ON_THE_WAY = (
    "_take", "_answered", "begin", "boundary", "reply", "final", "open_stream", "_begun", "_known_as", "_mark_sending",
    "_delivered", "_look", "_begin", "opened", "tool_result", "sessions_spawn", "result", "posting", "apply",
)  # fmt: skip
"""Units of work between a message and its answer; the others have their own tests in `tests/crash`."""
ENOUGH = 6
IN_SHORT = (Point("before:_take"), Point("effect:confirm"), Point("before:_delivered"))
Plan = tuple[Point, ...]


@dataclass
class Stage:
    """What the scenes share."""

    folder: Path
    start: Start
    model_url: str
    slots: asyncio.Queue[RemoteSlack]
    migrated: Path
    count: int = 0

    async def play(self, plan: Plan, http: bool, points_log: str = "") -> tuple[SlackScene, list[str]]:
        """One story, on the next workspace that is free."""
        ws = await self.slots.get()
        try:
            with reserved_port() as port:
                return await self._play(ws, plan, port if http else None, points_log)
        finally:
            self.slots.put_nowait(ws)

    async def _play(
        self, ws: RemoteSlack, plan: Plan, port: int | None, points_log: str
    ) -> tuple[SlackScene, list[str]]:
        self.count += 1
        name = f"scene-{self.count}"
        channel = await ws.channel(name, "ann")
        ann = await ws.user("ann")
        await ws.install(texts.manifest(socket=port is None, address="https://laneway.example"))
        await ws.request_url(f"http://127.0.0.1:{port}{EVENTS_PATH}" if port else None)
        site = Site(self.folder / name, self.model_url)
        site.prepare(slack_settings(await ws.about(), ws.api_url, channel, ann.id, port))
        shutil.copy(self.migrated, site.database)
        scene = SlackScene(site, self.start, ws, channel, plan, points_log)
        found = await scene.play()
        if not found:
            await asyncio.to_thread(shutil.rmtree, site.folder)
        return scene, found


@pytest_asyncio.fixture
async def stage(tmp_path: Path) -> AsyncGenerator[Stage]:
    """A model server, a nursery, and some workspaces."""
    migrated = tmp_path / "migrated.db"
    migrate(migrated)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(model_server(RULES, tmp_path))
        nursery = await stack.enter_async_context(NurseryClient(tmp_path, str(tmp_path)))
        slots: asyncio.Queue[RemoteSlack] = asyncio.Queue()
        for _ in range(SLOTS):
            ws = await stack.enter_async_context(slack_process())
            slots.put_nowait(ws)
        yield Stage(tmp_path, nursery.start, url, slots, migrated)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("http", [False, True], ids=["socket", "http"])
async def test_every_message_is_answered_once_whatever_is_killed_when(stage: Stage, tmp_path: Path, http: bool) -> None:
    """Issue: kill -9 at each point of receive → commit → ack → turn → outbox → send → record, with redelivery."""
    log = tmp_path / "points"
    _, found = await stage.play((), http, str(log))
    assert not found, found
    points = Counter(log.with_name("points.0").read_text("utf-8").split())
    effects = ("post", "stream", "open_thread", *(("confirm",) if http else ()))
    assert {f"effected:{effect}" for effect in effects} <= set(points)
    plans = list(_plans(points))
    assert len(plans) > 24, "there should be more deaths than that"
    wrong: list[str] = []
    await asyncio.gather(*(_play(stage, plan, http, wrong) for plan in plans))
    assert not wrong, f"{len(wrong)} deaths weren't survived:\n" + "\n".join(wrong)


@pytest.mark.timeout(120)
async def test_over_http_in_short(stage: Stage) -> None:
    """Issue, on the way of one message: before its commit, before its 200, and before what was sent is recorded."""
    scene, found = await stage.play(IN_SHORT, http=True)
    assert not found, found
    assert scene.deaths == len(IN_SHORT)


def _plans(points: Counter[str]) -> Iterator[Plan]:
    """Before and after one commit are two deaths of one scene; each post is a place of death of its own."""
    for name, count in points.items():
        kind, _, unit = name.partition(":")
        if name in OFTEN:
            yield from ((Point(name, hit),) for hit in range(1, count + 1))
        elif kind in ("effect", "effected"):
            yield (Point(name),)
        elif kind == "before" and unit in ON_THE_WAY:
            yield (Point(name), Point(f"after:{unit}"))


async def _play(stage: Stage, plan: Plan, http: bool, wrong: list[str]) -> None:
    """Plays a scene with these deaths; adds to `wrong` what is wrong. One that didn't take place is tried again."""
    name = ", ".join(f"{point.name}:{point.hit}" for point in plan)
    for attempt in (plan, plan[-1:]):
        if len(wrong) >= ENOUGH:
            return
        scene, found = await stage.play(attempt, http)
        if found:
            wrong.append(f"{name} (in {scene.site.folder}):\n    " + "\n    ".join(found))
        if found or scene.deaths == len(attempt):
            return
    wrong.append(f"{name}: the point was never reached")
