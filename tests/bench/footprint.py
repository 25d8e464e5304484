"""Start-up time and memory."""

from __future__ import annotations

import asyncio
from pathlib import Path

from tests.bench.latency import turn
from tests.bench.process import gateway
from tests.bench.report import Measurement
from tests.bench.script import config, model

REPEATS = 5
SETTLE_SECONDS = 1.0
"""So long a gateway is left alone before its memory is read: there is no event for `nothing happens any more`."""


async def startup(folder: Path) -> list[Measurement]:
    """From the start of the process to ready: on a state folder that is there, and on none."""
    fresh: list[float] = []
    again: list[float] = []
    idle: list[float] = []
    for number in range(1 + REPEATS):
        home = folder / f"start-{number}"
        home.mkdir()
        async with gateway(home, _OFFLINE) as running:
            fresh.append(running.seconds)
        async with gateway(home, _OFFLINE) as running:
            again.append(running.seconds)
            await asyncio.sleep(SETTLE_SECONDS)
            idle.append(running.rss)
    return [
        Measurement("laneway start → ready", "s", again[1:], 1.2),
        Measurement("laneway start → ready, first start", "s", fresh[1:]),
        Measurement("resident idle, no model SDK", "MB", idle[1:], 85),
    ]


async def with_sdk(folder: Path) -> list[Measurement]:
    """Memory with the OpenAI SDK loaded and one turn done."""
    ready: list[float] = []
    idle: list[float] = []
    for number in range(REPEATS):
        home = folder / f"sdk-{number}"
        home.mkdir()
        async with model() as scripted, gateway(home, config(scripted)) as running:
            ready.append(running.seconds)
            async with running.watch("agent:main:main") as watch:
                await turn(scripted, running, watch, "agent:main:main")
            await asyncio.sleep(SETTLE_SECONDS)
            idle.append(running.rss)
    return [Measurement("resident idle, OpenAI-compatible SDK loaded", "MB", idle, 110)]


async def with_litellm(folder: Path) -> list[Measurement]:
    """Memory with litellm loaded: what it costs, for providers that need it."""
    idle: list[float] = []
    for number in range(2):
        home = folder / f"litellm-{number}"
        home.mkdir()
        async with gateway(home, _LITELLM) as running:
            before = 0.0
            while running.rss - before > 1.0 or running.rss < 150:
                before = running.rss
                await asyncio.sleep(2 * SETTLE_SECONDS)
            idle.append(running.rss)
    return [Measurement("resident idle, litellm loaded", "MB", idle)]


_OFFLINE = {"gateway": {"port": 0, "drainSeconds": 0}}
_LITELLM = {
    **_OFFLINE,
    "models": {
        "providers": {
            "anthropic": {
                "baseUrl": "http://127.0.0.1:9",
                "api": "anthropic-messages",
                "apiKey": "scripted-key",
                "models": [{"id": "claude", "contextWindow": 100_000, "maxTokens": 4_096}],
            }
        }
    },
    "agents": {"defaults": {"model": {"primary": "anthropic/claude"}}},
}
