"""The crash matrix: SIGKILL at every commit and every effect, and all goes on as if nothing had happened.

Which points there are is found out by playing the scene without a death, with one, and with two at the same place (so
that a session is resumed alone); then each point is the place of a death in a scene of its own.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.crash.scene import Point
from tests.crash.stage import Stage

OFTEN = 8
"""A point that is reached so often in one life is a place of death twice: at first, and midway."""
MIDWAY = Point("after:tool_result", 6)
TWICE_SAME = (Point("effect:grep"), Point("effect:grep"))
"""Two deaths without progress: the session is under suspicion."""
REHEARSALS: tuple[tuple[Point, ...], ...] = ((), (MIDWAY,), TWICE_SAME)
RETRIES = 2

Plan = tuple[Point, ...]


@pytest.mark.timeout(600)
@pytest.mark.asyncio(loop_scope="session")
async def test_every_point(crash: Stage, tmp_path: Path) -> None:
    """One scene for every name of a point that any life reaches."""
    found = await asyncio.gather(*(_rehearse(crash, tmp_path, plan) for plan in REHEARSALS))
    results = await asyncio.gather(*(_play(crash, plan) for plan in _plans(found)))
    wrong = [text for text in results if text]
    assert not wrong, f"{len(wrong)} of {len(results)} deaths weren't survived:\n" + "\n".join(wrong)
    assert len(results) > 60, "there should be more points than that"


async def _rehearse(crash: Stage, folder: Path, plan: Plan) -> Counter[str]:
    """The points that the life after the planned deaths reaches, and how often."""
    log = folder / f"points-{len(plan)}"
    result = await crash.play(f"rehearsal {plan}", plan, str(log))
    assert not result.faults, result.told()
    return _points(Path(f"{log}.{len(plan)}"))


def _points(log: Path) -> Counter[str]:
    return Counter(log.read_text("utf-8").split())


def _plans(found: Sequence[Counter[str]]) -> Iterator[Plan]:
    seen: set[str] = set()
    for before, points in zip(REHEARSALS, found, strict=True):
        for name, count in points.items():
            if name not in seen or _of_a_start(name):
                yield (*before, Point(name))
                if count >= OFTEN and not before:
                    yield (Point(name, count // 2),)
        seen |= set(points)


def _of_a_start(name: str) -> bool:
    """Whether a point is more than itself after a death."""
    return name.partition(":")[2] in ("recover", "restore_files", "end_unwanted")


async def _play(crash: Stage, plan: Plan) -> str:
    """Plays a scene with these deaths; returns what is wrong.

    Which points are reached how often depends a little on timing; a death that didn't take place is tried again.
    """
    name = ", ".join(f"{point.name}:{point.hit}" for point in plan)
    for _ in range(1 + RETRIES):
        result = await crash.play(name, plan)
        if result.faults:
            return result.told()
        if result.scene.as_planned:
            return ""
    return f"{name}: the point was never reached"
