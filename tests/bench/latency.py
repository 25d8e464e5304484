"""Latencies of one conversation: what the gateway adds between a model's answer and the next request."""

from __future__ import annotations

import time
from pathlib import Path

from tests.bench.process import GatewayProcess, Watch, gateway
from tests.bench.report import Measurement
from tests.bench.script import REPORT, Model, config, model

WARM_UP = 3
SPAWNS = 30
TURNS = 30
TARGET_MS = 15.0
SLASH_TARGET_MS = 50.0


async def latencies(folder: Path) -> list[Measurement]:
    """Spawning, announcing, a plain turn and a slash command, one at a time."""
    async with model() as scripted, gateway(folder, config(scripted)) as running:
        return [*await _spawning(scripted, running), *await _turns(scripted, running), *await _slash(running)]


async def _spawning(scripted: Model, running: GatewayProcess) -> list[Measurement]:
    accepted: list[float] = []
    first: list[float] = []
    announced: list[float] = []
    for number in range(WARM_UP + SPAWNS):
        key = f"agent:main:spawn-{number // 10}"
        scripted.forget()
        async with running.watch(key) as watch:
            hold = f"spawn-{number}"
            await running.say(f"spawn 1 x1 hold={hold}", key)
            await watch.until(lambda watch=watch: bool(watch.of("message", b'"assistant"')))
            scripted.server.release(hold)
            await watch.until(lambda watch=watch: len(watch.of("message", b'"assistant"')) > 1)
        asking, going_on = scripted.requests("main", "spawn ")[:2]
        [child] = scripted.requests("child")
        [report] = scripted.requests("main", REPORT)
        accepted.append(going_on.arrived - scripted.answered(asking))
        first.append(child.arrived - scripted.answered(asking))
        announced.append(report.arrived - scripted.answered(child))
    return [
        _ms("spawn answer → next request of the session", accepted, TARGET_MS),
        _ms("spawn answer → child's first request", first, TARGET_MS),
        _ms("child's last answer → announcement request", announced, TARGET_MS),
    ]


async def _turns(scripted: Model, running: GatewayProcess) -> list[Measurement]:
    begun: list[float] = []
    posted: list[float] = []
    for number in range(WARM_UP + TURNS):
        key = f"agent:main:turn-{number // 10}"
        async with running.watch(key) as watch:
            before, after = await turn(scripted, running, watch, key)
        begun.append(before)
        posted.append(after)
    return [
        _ms("message sent → model request", begun),
        _ms("model's answer → post event", posted),
    ]


async def turn(scripted: Model, running: GatewayProcess, watch: Watch, key: str) -> tuple[float, float]:
    """One turn without tools: seconds from the message to the request, and from the answer to the post."""
    scripted.forget()
    watch.frames.clear()
    started = time.monotonic()
    await running.say("How are you?", key)
    await watch.until(lambda: bool(watch.of("message", b'"assistant"')))
    [seen] = scripted.requests("main", "How are you?")
    [post] = watch.of("message", b'"assistant"')
    return seen.arrived - started, post.at - scripted.answered(seen)


async def _slash(running: GatewayProcess) -> list[Measurement]:
    found: list[Measurement] = []
    for text in ("/status", "/subagents list"):
        seconds = [await running.say(text, "agent:main:spawn-0") for _ in range(WARM_UP + TURNS)]
        found.append(_ms(f"slash command {text}", seconds, SLASH_TARGET_MS))
    return found


def _ms(name: str, seconds: list[float], target: float | None = None) -> Measurement:
    return Measurement(name, "ms", [each * 1000 for each in seconds[WARM_UP:]], target)
