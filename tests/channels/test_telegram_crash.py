"""kill -9 at each point of receive → commit → confirm → turn → outbox → send → record, over Telegram (issue).

The gateway is a process, and so is the stand-in, which delivers again what wasn't confirmed: by a poll's offset, or by
the webhook's 200. Which points there are is found out by playing the story without a death; then each is the place of a
death in a scene of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from tests.crash.checks import faults, read
from tests.crash.scene import Point, Scene, Unsettled
from tests.crash.stage import Stage, stage
from tests.standins.telegram import RemoteTelegram, telegram_process
from tests.support.process import Ended, reserved_port
from tests.support.telegram_scene import Story

RULES = "tests.support.telegram_scene:rules"
AT_ONCE = 4
UNITS = (
    "_take",  # receive, commit: a message
    "_answered",  # a command
    "open_stream",  # outbox, of an answer that is being written
    "_begun",
    "final",  # turn, outbox
    "_mark_sending",  # send: the second death is just before the effect
    "_delivered",  # record: the first death is just after the effect
    "_look",  # cards
)
"""Commits: the first death is before one, the second one, in the next life, after it."""
POINTS = ("effect:confirm", "effected:confirm", "effected:post:3", "before:_known_as", "after:_known_as")
"""What a scene can only be killed at once: what is confirmed, a later post, the beginning of a stream."""
IN_SHORT = (Point("before:_take"), Point("effect:confirm"), Point("before:_delivered"))

Opened = tuple[Stage, asyncio.Queue[RemoteTelegram]]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def opened(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Opened]:
    """A stage, and stand-ins that are free."""
    folder = tmp_path_factory.mktemp("telegram-crash")
    async with AsyncExitStack() as stack:
        standins = [telegram_process(folder / f"telegram-{number}.jsonl") for number in range(AT_ONCE)]
        free = asyncio.Queue[RemoteTelegram]()
        for standin in standins:
            free.put_nowait(await stack.enter_async_context(standin))
        imports = ("channels.telegram.account", "telegramify_markdown")
        yield await stack.enter_async_context(stage(folder, rules=RULES, imports=imports)), free


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("webhook", [False, True], ids=["polling", "webhook"])
@pytest.mark.asyncio(loop_scope="module")
async def test_every_point(opened: Opened, tmp_path: Path, webhook: bool) -> None:
    """Issue: every message is answered once; what was in doubt is sent at most once more, and marked."""
    log = tmp_path / "points"
    assert await _play(opened, (), webhook, str(log)) == []
    reached = log.with_name("points.0").read_text("utf-8").split()
    plans = [*map(_unit, UNITS), *map(_point, POINTS)]
    assert {plan[0].name for plan in plans} <= set(reached)
    found = await asyncio.gather(*(_play(opened, plan, webhook) for plan in plans))
    assert found == [[]] * len(plans), "\n".join(f"{p}: {f}" for p, f in zip(plans, found, strict=True) if f)


@pytest.mark.timeout(120)
@pytest.mark.asyncio(loop_scope="module")
async def test_by_webhook_in_short(opened: Opened) -> None:
    """Issue, on the way of one message: before its commit, before its 200, and before what was sent is recorded."""
    assert await _play(opened, IN_SHORT, webhook=True) == []


def _unit(name: str) -> tuple[Point, ...]:
    return (Point(f"before:{name}"), Point(f"after:{name}"))


def _point(name: str) -> tuple[Point, ...]:
    kind, _, rest = name.partition(":")
    what, _, hit = rest.partition(":")
    return (Point(f"{kind}:{what}", int(hit or 1)),)


async def _play(opened: Opened, plan: Sequence[Point], webhook: bool, log: str = "") -> list[str]:
    """One scene; what is wrong with what it leaves."""
    made, free = opened
    tg = await free.get()
    try:
        with reserved_port() as port:
            return await _play_with(made, await Story.begin(tg, port if webhook else None), plan, log)
    except (Unsettled, Ended, AssertionError) as error:
        return [str(error)]
    finally:
        free.put_nowait(tg)


async def _play_with(made: Stage, story: Story, plan: Sequence[Point], log: str) -> list[str]:
    plot = story.plot
    scene = Scene(made.site(plot), made.start, plot.act, plan, log)
    await scene.play()
    found = await asyncio.to_thread(faults, scene, plot)
    missed = [] if scene.as_planned else [f"{len(scene.deaths)} of {len(plan)} deaths took place"]
    return [*missed, *found, *await story.faults(read(scene))]
