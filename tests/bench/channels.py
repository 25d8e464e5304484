"""Latencies of a platform's messages: five a second, and a hundred threads at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from tests.bench.platforms import PLATFORMS, Platform
from tests.bench.process import GatewayProcess, gateway
from tests.bench.report import Measurement
from tests.bench.script import Model, config, model

RATE = 5.0
"""Messages a second."""
MESSAGES = 60
WARM_UP = 5
THREADS = 100
TARGET_MS, TARGET_HIGH_MS = 20.0, 60.0
BURST_HIGH_MS = 1_000.0


def of(name: str) -> Callable[[Path], Awaitable[list[Measurement]]]:
    """The benchmark of a platform."""

    async def measure(folder: Path) -> list[Measurement]:
        async with model() as scripted, PLATFORMS[name]() as platform:
            settings = config(scripted, **platform.config())
            settings["agents"]["defaults"]["maxConcurrent"] = THREADS
            async with gateway(folder, settings) as running:
                await platform.connected()
                return [*await _steady(scripted, running, platform), *await _burst(scripted, running, platform)]

    return measure


async def _steady(scripted: Model, running: GatewayProcess, platform: Platform) -> list[Measurement]:
    """Questions at a steady rate, each in a thread of its own."""
    asked: list[tuple[str, str, float]] = []
    begin = time.monotonic()
    for number in range(WARM_UP + MESSAGES):
        await asyncio.sleep(max(0.0, begin + number / RATE - time.monotonic()))
        asked.append(await _ask(platform, f"How are you, number {number}?"))
    begun, sent = await _latencies(scripted, running, platform, asked)
    name = f"{platform.name}, {RATE:g} messages a second:"
    return [
        Measurement(f"{name} event → model request", "ms", begun[WARM_UP:], TARGET_MS, TARGET_HIGH_MS),
        Measurement(f"{name} answer stored → post sent", "ms", sent[WARM_UP:], TARGET_MS, TARGET_HIGH_MS),
    ]


async def _burst(scripted: Model, running: GatewayProcess, platform: Platform) -> list[Measurement]:
    """All at the same moment."""
    asked = [await _ask(platform, f"How are you all, number {number}?") for number in range(THREADS)]
    begun, sent = await _latencies(scripted, running, platform, asked)
    name = f"{platform.name}, {THREADS} threads at once:"
    return [
        Measurement(f"{name} event → model request", "ms", begun, None, BURST_HIGH_MS),
        Measurement(
            f"{name} answer stored → post sent", "ms", sent, None, BURST_HIGH_MS if platform.posts_at_once else None
        ),
    ]


async def _ask(platform: Platform, text: str) -> tuple[str, str, float]:
    return text, *await platform.ask(text)


async def _latencies(
    scripted: Model, running: GatewayProcess, platform: Platform, asked: Sequence[tuple[str, str, float]]
) -> tuple[list[float], list[float]]:
    """Milliseconds from each event to its model request, and from each stored answer to its post."""
    begun: list[float] = []
    sent: list[float] = []
    for text, key, at in asked:
        arrived = await platform.answered(text)
        [seen] = scripted.requests("main", text)
        begun.append((seen.arrived - at) * 1000)
        sent.append((arrived - await _stored(running, key)) * 1000)
    return begun, sent


async def _stored(running: GatewayProcess, key: str) -> float:
    """When a session's last answer was stored (`time.monotonic()`)."""
    async with running.http.get(f"{running.url}/api/sessions/{key}/transcript") as response:
        response.raise_for_status()
        messages = cast("list[dict[str, Any]]", (await response.json())["messages"])
    last = next(message for message in reversed(messages) if message["role"] == "assistant")
    return datetime.fromisoformat(last["createdAt"]).timestamp() - time.time() + time.monotonic()
