"""Random kills: SIGKILL at any moment of a gateway's life, again and again.

    python -m tests.crash.chaos --n 500 --seed 7

Each scene dies twice, at moments drawn from a life's usual length. The seed is printed; how a moment falls among the
commits depends on the machine as well, so that the same seed is a similar run, not the same one.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.crash.plots import DAY, EVENING, Plot
from tests.crash.scene import Moment
from tests.crash.stage import AT_ONCE, Result, Stage, stage

PLOTS = (DAY, EVENING)
KILLS_PER_SCENE = 2
"""A third death might be the end of a session that was not to blame (spec/subagents.md 23)."""
SHORTEST_SECONDS = 0.01
ENOUGH = 6
"""Scenes that fail, and it is given up."""
MOST_SCENES = 3
"""Scenes for each one that is needed: moments that come after the end of a life kill nobody."""


async def chaos(folder: Path, kills: int, seed: int, *, forked: bool = True) -> tuple[int, list[str]]:
    """Kills so many times; returns how often in fact, and everything that went wrong.

    Args:
        folder: for the sites.
        kills: how many.
        seed: of the moments.
        forked: see `stage`.
    """
    async with stage(folder, forked=forked) as crash:
        usual = await _usual_seconds(crash)
        plans = _plans(random.Random(seed), kills, usual)  # noqa: S311 - moments, not secrets
        wrong: list[str] = []
        done = 0

        async def work() -> None:
            nonlocal done
            while done < kills and len(wrong) < ENOUGH and (chosen := next(plans, None)) is not None:
                plot, plan = chosen
                name = " and ".join(f"killed after {each.seconds:.3f} s" for each in plan)
                result = await crash.play(name, plan, plot)
                done += len(result.scene.deaths)
                wrong.extend(_told(result))

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        return done, wrong


def _told(result: Result) -> list[str]:
    return [result.told()] if result.faults else []


async def _usual_seconds(crash: Stage) -> dict[str, float]:
    """How long the life of each plot takes on this machine, with others beside it."""
    seconds = await asyncio.gather(*(_seconds(crash, plot) for plot in PLOTS))
    return {plot.name: each for plot, each in zip(PLOTS, seconds, strict=True)}


async def _seconds(crash: Stage, plot: Plot) -> float:
    begun = time.monotonic()
    result = await crash.play("undisturbed", plot=plot)
    assert not result.faults, result.told()
    return time.monotonic() - begun


def _plans(rng: random.Random, kills: int, usual: Mapping[str, float]) -> Iterator[tuple[Plot, tuple[Moment, ...]]]:
    for _ in range(1 + MOST_SCENES * kills // KILLS_PER_SCENE):
        plot = rng.choice(PLOTS)
        moments = (rng.uniform(SHORTEST_SECONDS, usual[plot.name]) for _ in range(min(kills, KILLS_PER_SCENE)))
        yield plot, tuple(map(Moment, moments))


def main() -> int:
    """Runs from the command line; 0 if everything was survived."""
    parser = argparse.ArgumentParser(description="Kills gateways at random moments and checks what they leave.")
    parser.add_argument("--n", type=int, default=60, help="how many kills (default 60)")
    parser.add_argument("--seed", type=int, default=None, help="of the moments (default: a new one)")
    parser.add_argument("--executed", action="store_true", help="execute `laneway start` each time instead of forking")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    print(f"chaos: {options.n} kills, seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="laneway-chaos-"))
    begun = time.monotonic()
    done, wrong = asyncio.run(chaos(folder, options.n, seed, forked=not options.executed))
    print("\n".join(wrong))
    print(f"chaos: {done} kills in {time.monotonic() - begun:.0f} s, {len(wrong)} scenes not survived, seed {seed}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
