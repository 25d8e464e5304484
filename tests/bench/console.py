"""The control room: what a first visit loads, how ten thousand runs are paged, and what fifty lively ones cost."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import sys
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypedDict, cast

import aiohttp
from playwright.async_api import Browser, Page, Response

from tests.bench import beat
from tests.bench.latency import turn
from tests.bench.process import GatewayProcess, gateway
from tests.bench.report import Measurement
from tests.bench.script import Model, config, model
from tests.support.browser import CHROMIUM, chromium

RUNS = 10_000
KEPT = 2_000
"""Of them with a transcript in the tables."""
LIVE = 50
LOOKED_SECONDS = 8.0
ROUNDS = 3
TURNS = 40
PAUSE_SECONDS = 0.12
"""Between two turns."""
WARM_UP = 5
TIMES = 12
LOAD_KB = 150.0
READY_MS = 300.0
PAGE_MS = 150.0
SEARCH_MS = 1_500.0
CORE_SHARE = 20.0
FACTOR = 1.2


class Process(TypedDict):
    """A process of the browser."""

    type: str
    cpuTime: float
    """seconds"""


class Processes(TypedDict):
    """All of them."""

    processInfo: list[Process]


async def console(folder: Path) -> list[Measurement]:
    """All of it; without a browser what needs none."""
    if not CHROMIUM.exists():
        print("console: Debian's package `chromium` isn't installed, so that no page is opened", file=sys.stderr)
        async with model() as scripted:
            return await _many(folder / "many", scripted)
    async with model() as scripted, chromium() as browser:
        return [
            *await _visits(folder / "visits", scripted, browser),
            *await _many(folder / "many", scripted),
            *await _lively(folder / "lively", scripted, browser),
        ]


# ---- a first visit ----


async def _visits(folder: Path, scripted: Model, browser: Browser) -> list[Measurement]:
    sizes: list[float] = []
    ready: list[float] = []
    async with _gateway(folder, scripted) as running:
        for _ in range(TIMES):
            async with _signed_in(running, browser) as page:
                cookies = await page.context.cookies()
            cold = await browser.new_context()
            for each in cookies:
                name, value = each.get("name", ""), each.get("value", "")
                await cold.add_cookies([{"name": name, "value": value, "url": running.url}])
            size, moment = await _visit(await cold.new_page(), f"{running.url}/web")
            sizes.append(size / 1000)
            ready.append(moment)
            await cold.close()
    return [
        Measurement("console: first load of the chat", "KB", sizes, LOAD_KB),
        Measurement("console: interactive after", "ms", ready[1:], READY_MS),
    ]


async def _visit(page: Page, url: str) -> tuple[int, float]:
    """Bytes of everything that a browser asks for, and milliseconds until the page may be used."""
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    await page.goto(url)
    await page.wait_for_selector('#link[data-state="live"]', state="attached")
    total = 0
    for response in responses:
        if "/web/events" not in response.url:
            size = await response.request.sizes()
            total += size["responseBodySize"] + size["responseHeadersSize"]
    return total, await page.evaluate("performance.getEntriesByName('laneway-ready')[0].startTime")


# ---- many runs ----


async def _many(folder: Path, scripted: Model) -> list[Measurement]:
    async with _gateway(folder, scripted):
        pass
    await asyncio.to_thread(_fill, folder / "state" / "laneway.db")
    found: dict[str, list[float]] = {}
    async with _gateway(folder, scripted) as running, aiohttp.ClientSession() as http:
        cookie = await _cookie(running, http)
        for name, path in (
            ("console: first of 10,000 runs", "/web/runs"),
            ("console: in the middle of 10,000 runs", f"/web/runs?before={RUNS // 2}"),
            ("console: failed ones of 10,000 runs", "/web/runs?state=failed"),
            ("console: search of a word that is in no run", "/web/runs?q=nowhere+at+all"),
            ("console: search of a word in a transcript", "/web/runs?q=needle"),
        ):
            for _ in range(TIMES):
                started = time.monotonic()
                async with http.get(running.url + path, headers={"Cookie": cookie}) as response:
                    text = await response.text()
                found.setdefault(name, []).append((time.monotonic() - started) * 1000)
                assert response.status == 200, text
    searched = {name: SEARCH_MS if "search" in name else PAGE_MS for name in found}
    return [Measurement(name, "ms", samples[1:], searched[name]) for name, samples in found.items()]


def _fill(file: Path) -> None:
    """Ten thousand ended runs, the newest of them with transcripts of ten messages."""
    now = time.time_ns() // 1_000_000
    runs: list[tuple[Any, ...]] = []
    sessions: list[tuple[Any, ...]] = []
    messages: list[tuple[Any, ...]] = []
    for number in range(1, RUNS + 1):
        run, session, at = str(uuid.uuid4()), str(uuid.uuid4()), now - (RUNS - number) * 60_000
        key = f"agent:main:subagent:{session}"
        kept = number > RUNS - KEPT
        outcome = "error" if number % 17 == 0 else "ok"
        row = (
            run,
            number,
            "subagent",
            session,
            key,
            "",
            "",
            "main",
            f"Run number {number}",
            f"Read file {number} well",
        )
        runs.append((*row, 0, "bench/scripted", "keep", "isolated", 0, "done", outcome, at, at, at + 9_000))
        runs[-1] = (*runs[-1], None if kept else at + 3_600_000)
        if kept:
            sessions.append((session, key, True, "main", "subagent", "subagent", run, 1, True, at, at))
            text = "It says a good deal about nothing in particular, line after line. " * 12
            told = [(session, seq, "assistant", "reply", text, at + seq) for seq in range(1, 10)]
            messages += [*told, (session, 10, "assistant", "reply", f"needle {number}", at + 10)]
    with contextlib.closing(sqlite3.connect(file)) as raw, raw:
        _insert(
            raw,
            "runs",
            "id number kind session_id session_key requester_id requester_key agent_id label task depth model cleanup "
            "context timeout_ms status outcome created_at started_at ended_at archived_at",
            runs,
        )
        fields = "id key current agent_id kind lane run_id depth closed created_at updated_at"
        _insert(raw, "sessions", fields, sessions)
        _insert(raw, "messages", "session_id seq role kind text created_at", messages)


def _insert(raw: sqlite3.Connection, table: str, fields: str, rows: list[tuple[Any, ...]]) -> None:
    names = fields.split()
    marks = ", ".join("?" * len(names))
    raw.executemany(f"insert into {table} ({', '.join(names)}) values ({marks})", rows)  # noqa: S608 - our own names


# ---- lively runs ----


async def _lively(folder: Path, scripted: Model, browser: Browser) -> list[Measurement]:
    path = folder / "plugins"
    beat.install(path)
    before = os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(path), before)))
    try:
        async with _gateway(folder, scripted, jobs={"maxConcurrent": LIVE + 10}) as running:
            for number in range(LIVE):
                body = {"name": "beat", "label": f"Lively run {number}"}
                async with running.http.post(f"{running.url}/api/jobs", json=body) as response:
                    assert response.status == 202, await response.text()
            shares: dict[str, float] = {}
            alone: list[float] = []
            watched: list[float] = []
            async with _signed_in(running, browser) as page:
                for name in ("now", "runs"):
                    await page.goto(f"{running.url}/web/{name}")
                    await page.wait_for_selector("text=looks at file")
                    shares[name] = await _share(browser)
                for _ in range(ROUNDS):  # in turn, since the machine isn't always equally fast
                    await page.goto("about:blank")
                    alone += await _overheads(scripted, running)
                    await page.goto(f"{running.url}/web/now")
                    watched += await _overheads(scripted, running)
    finally:
        os.environ["PYTHONPATH"] = before
    middle = sorted(alone)[len(alone) // 2]
    return [
        *(
            Measurement(f"console: /web/{name} with 50 lively runs, share of a core", "%", [share], CORE_SHARE)
            for name, share in shares.items()
        ),
        Measurement("turn's own overhead beside 50 lively runs", "ms", [each * 1000 for each in alone]),
        Measurement("the same with the page open", "ms", [each * 1000 for each in watched]),
        Measurement("  against nobody looking", "×", [each / middle for each in watched], FACTOR),
    ]


async def _overheads(scripted: Model, running: GatewayProcess) -> list[float]:
    found: list[float] = []
    async with running.watch("agent:main:talk") as watch:
        for _ in range(WARM_UP + TURNS):
            before, after = await turn(scripted, running, watch, "agent:main:talk")
            found.append(before + after)
            await asyncio.sleep(PAUSE_SECONDS)  # so that all that a page does falls into the time that is measured
    return found[WARM_UP:]


async def _share(browser: Browser) -> float:
    """How much of a core the page's process needs, in percent."""
    session = await browser.new_browser_cdp_session()

    async def used() -> float:
        found = cast("Processes", await session.send("SystemInfo.getProcessInfo"))  # pyright: ignore[reportUnknownMemberType]
        return sum(each["cpuTime"] for each in found["processInfo"] if each["type"] == "renderer")

    started, begun = time.monotonic(), await used()
    await asyncio.sleep(LOOKED_SECONDS)
    share = 100 * (await used() - begun) / (time.monotonic() - started)
    await session.detach()
    return share


# ---- common ----


@asynccontextmanager
async def _gateway(folder: Path, scripted: Model, **more: Any) -> AsyncGenerator[GatewayProcess]:
    folder.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - before anything is measured
    async with gateway(folder, config(scripted, **more)) as running:
        yield running


@asynccontextmanager
async def _signed_in(running: GatewayProcess, browser: Browser) -> AsyncGenerator[Page]:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.goto(await _link(running))
    await page.wait_for_selector('#link[data-state="live"]', state="attached")
    try:
        yield page
    finally:
        await context.close()


async def _link(running: GatewayProcess) -> str:
    async with running.http.post(f"{running.url}/api/signins", json={}) as response:
        return str((await response.json())["url"])


async def _cookie(running: GatewayProcess, http: aiohttp.ClientSession) -> str:
    code = (await _link(running)).partition("#code=")[2]
    headers = {"Origin": running.url}
    async with http.post(f"{running.url}/web/signin", json={"code": code}, headers=headers) as response:
        assert response.status == 200, await response.text()
        return response.headers["Set-Cookie"].partition(";")[0]
