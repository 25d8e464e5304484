"""Many children that wait: what each costs, and whether a conversation notices them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.bench.footprint import SETTLE_SECONDS
from tests.bench.latency import turn
from tests.bench.process import GatewayProcess, gateway
from tests.bench.report import Measurement
from tests.bench.script import Model, config, model

CAP = 8
"""As configured by default; so many children hang, and all others queue."""
BATCH = 50
QUEUED = 1_000
TURNS = 30
WARM_UP = 5
FACTOR = 2.0


async def queued(folder: Path) -> list[Measurement]:
    """Growth of the resident memory by a thousand queued children."""
    growth: list[float] = []
    for number in range(5):
        home = folder / f"queued-{number}"
        home.mkdir()
        async with model() as scripted, gateway(home, config(scripted, children=CAP)) as running:
            await _hang(running, CAP, "warm")
            await _hang(running, BATCH, "warm-queue")
            scripted.forget()
            await asyncio.sleep(SETTLE_SECONDS)
            before = running.rss
            for batch in range(QUEUED // BATCH):
                await _hang(running, BATCH, f"queue-{batch}")
                scripted.forget()
            await asyncio.sleep(SETTLE_SECONDS)
            growth.append((running.rss - before) * 1024 / QUEUED)
    return [Measurement("1,000 queued children: memory of each", "KB", growth, 30)]


async def isolation(folder: Path) -> list[Measurement]:
    """A turn's own overhead while 200 children queue behind 8 that hang, against that of an idle gateway."""
    idle: list[float] = []
    busy: list[float] = []
    own: list[float] = []
    async with model() as scripted, gateway(folder, config(scripted, children=CAP)) as running:
        idle = await _overheads(scripted, running, "agent:main:talk")
        await _hang(running, CAP, "hanging")
        for batch in range(4):
            await _hang(running, BATCH, "hanging" if batch == 0 else f"queue-{batch}")
        busy = await _overheads(scripted, running, "agent:main:talk")
        own = await _overheads(scripted, running, "agent:main:hanging")
    middle = sorted(idle)[len(idle) // 2]
    return [
        Measurement("turn's own overhead, idle", "ms", [each * 1000 for each in idle]),
        Measurement("the same with 8 hanging and 200 queued children", "ms", [each * 1000 for each in busy]),
        Measurement("  against idle", "×", [each / middle for each in busy], FACTOR),
        Measurement("  in the conversation that asked for 58 of them", "×", [each / middle for each in own], FACTOR),
    ]


async def _overheads(scripted: Model, running: GatewayProcess, key: str) -> list[float]:
    found: list[float] = []
    async with running.watch(key) as watch:
        for _ in range(WARM_UP + TURNS):
            before, after = await turn(scripted, running, watch, key)
            found.append(before + after)
    return found[WARM_UP:]


async def _hang(running: GatewayProcess, count: int, name: str) -> None:
    """Spawns children whose model never answers, and waits until the conversation rests."""
    key = f"agent:main:{name}"
    async with running.watch(key) as watch:
        await running.say(f"spawn {count} x1 hold=forever", key)
        await watch.until(lambda: bool(watch.of("message", b'"assistant"')))
