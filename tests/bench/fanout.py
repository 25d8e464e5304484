"""Fifty children of three model calls each, asked for in one turn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tests.bench.process import GatewayProcess, gateway
from tests.bench.report import Measurement
from tests.bench.script import REPORT, Model, config, model
from tests.support.model_script import Seen

CHILDREN = 50
CALLS = 3
WARM_UP = 1
REPEATS = 7


@dataclass(frozen=True, slots=True)
class _Round:
    accepted: float
    done: float
    answered: float
    requests: int
    cpu: float


async def fanout(folder: Path) -> list[Measurement]:
    """Times from the answer that asks for the children, and the memory afterwards."""
    rounds: list[_Round] = []
    memory: list[float] = []
    async with model() as scripted, gateway(folder, config(scripted)) as running:
        for number in range(WARM_UP + REPEATS):
            rounds.append(await _round(scripted, running, f"agent:main:fan-{number}"))
            memory.append(running.rss)
        peak = running.peak
    rounds = rounds[WARM_UP:]
    return [
        Measurement("50 children: all accepted", "ms", [each.accepted * 1000 for each in rounds], 150),
        Measurement("50 children × 3 calls: all done", "s", [each.done for each in rounds], 1.5),
        Measurement("50 children: all announced and answered", "s", [each.answered for each in rounds], 2.0),
        Measurement("50 children: requests of the parent", "", [each.requests for each in rounds], 5),
        Measurement("50 children: processor time of the gateway", "s", [each.cpu for each in rounds]),
        Measurement("resident after 50 children", "MB", [memory[0]], 150),
        Measurement(f"resident after {50 * len(memory)} children", "MB", [memory[-1]], 150),
        Measurement(f"resident after {50 * len(memory)} children, highest", "MB", [peak]),
    ]


async def _round(scripted: Model, running: GatewayProcess, key: str) -> _Round:
    scripted.forget()
    before = running.cpu
    async with running.watch(key) as watch:
        await running.say(f"spawn {CHILDREN} x{CALLS}", key)
        await watch.until(lambda: len(watch.of("run", b'"change":"done"')) == CHILDREN)
        done = watch.of("run", b'"change":"done"')[-1].at
        while not (last := _complete(scripted)):
            watch.changed.clear()
            await watch.changed.wait()
        end = scripted.answered(last)
        await watch.until(lambda: any(frame.at > end for frame in watch.of("message", b'"assistant"')))
        posted = watch.of("message", b'"assistant"')[-1].at
    own = scripted.requests("main")
    assert len(scripted.requests("child")) == CHILDREN * CALLS
    began = scripted.answered(own[0])
    return _Round(own[1].arrived - began, done - began, posted - began, len(own), running.cpu - before)


def _complete(scripted: Model) -> Seen | None:
    """The answered request of the parent that has all reports."""
    answered = {number for number, _ in scripted.server.answered}
    own = (seen for seen in reversed(scripted.requests("main")) if seen.number in answered)
    return next((seen for seen in own if seen.everything.count(REPORT) == CHILDREN), None)
