"""The crash matrix: SIGKILL at every commit and every effect, and all goes on as if nothing had happened.

Which points there are is found out by playing the scene without a death, with one, and with two at the same place (so
that a session is resumed alone); then each point is the place of a death in a scene of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

from tests.crash.plots import DAY, EVENING, Plot
from tests.crash.scene import Point
from tests.crash.stage import Stage

OFTEN = 8
"""A point that is reached so often in one life is a place of death twice: at first, and midway."""
MIDWAY = Point("after:tool_result", 6)
TWICE_SAME = (Point("effect:grep"), Point("effect:grep"))
"""Two deaths without progress: the session is under suspicion."""
ENOUGH = 6
"""Scenes that fail; a gateway that doesn't work at all need not be shown a hundred times."""

Plan = tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A scene that shows which points its last life reaches."""

    plot: Plot
    plan: Plan = ()
    """Deaths before that life."""


REHEARSALS = (Rehearsal(DAY), Rehearsal(DAY, (MIDWAY,)), Rehearsal(DAY, TWICE_SAME), Rehearsal(EVENING))


@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="session")
async def test_every_point(crash: Stage, tmp_path: Path) -> None:
    """One scene for every name of a point that any life reaches."""
    logs = [tmp_path / f"points-{number}" for number in range(len(REHEARSALS))]
    found = await asyncio.gather(*map(partial(_rehearse, crash), REHEARSALS, logs))
    plans = list(_plans(found))
    assert sum(len(plan) for _, plan in plans) > 100, "there should be more deaths than that"
    wrong: list[str] = []
    await asyncio.gather(*(_play(crash, plot, plan, wrong) for plot, plan in plans))
    assert not wrong, f"{len(wrong)} deaths weren't survived:\n" + "\n".join(wrong)


async def _rehearse(crash: Stage, rehearsal: Rehearsal, log: Path) -> Counter[str]:
    """The points that the life after the planned deaths reaches, and how often."""
    async with crash.room:
        result = await crash.play(f"rehearsal {rehearsal.plan}", rehearsal.plan, rehearsal.plot, points_log=str(log))
    assert not result.faults, result.told()
    return _points(log.with_name(f"{log.name}.{len(rehearsal.plan)}"))


def _points(log: Path) -> Counter[str]:
    return Counter(log.read_text("utf-8").split())


def _plans(found: Sequence[Counter[str]]) -> Iterator[tuple[Plot, Plan]]:
    seen: set[str] = set()
    for rehearsal, points in zip(REHEARSALS, found, strict=True):
        after_a_death = bool(rehearsal.plan)
        for name, count in points.items():
            if name not in seen or (rehearsal.plan == (MIDWAY,) and _of_a_start(name)):
                yield from ((rehearsal.plot, plan) for plan in _deaths(rehearsal.plan, name, 1))
            if not after_a_death:
                hits = range(2, count + 1) if _stands_for_many(name) else [count // 2] if count >= OFTEN else []
                yield from ((rehearsal.plot, plan) for hit in hits for plan in _deaths((), name, hit))
        seen |= set(points)


def _deaths(before: Plan, name: str, hit: int) -> Iterator[Plan]:
    """The scenes of one point. Before and after the same commit are two deaths of one scene: first it is lost, then,
    in the next life, it is all that was done.
    """
    kind, _, unit = name.partition(":")
    if before or kind not in ("before", "after"):
        yield (*before, Point(name, hit))
    elif kind == "before":
        yield (Point(name, hit), Point(f"after:{unit}"))


def _of_a_start(name: str) -> bool:
    """Whether a point is more than itself after a death."""
    return name.partition(":")[2] in ("recover", "restore_files", "end_unwanted")


def _stands_for_many(name: str) -> bool:
    """Whether a point is that of different units of work: what people do to runs."""
    return name.partition(":")[2] == "work"


async def _play(crash: Stage, plot: Plot, plan: Plan, wrong: list[str]) -> None:
    """Plays a scene with these deaths; adds to `wrong` what is wrong.

    Which points are reached how often depends a little on timing: a death that didn't take place is tried again, the
    last time by itself.
    """
    name = ", ".join(f"{point.name}:{point.hit}" for point in plan)
    for attempt in (plan, plan, plan[-1:]):
        async with crash.room:
            if len(wrong) >= ENOUGH:
                return
            result = await crash.play(name, attempt, plot)
        if result.faults:
            wrong.append(result.told())
        if result.faults or result.scene.as_planned:
            return
    wrong.append(f"{name}: the point was never reached")
