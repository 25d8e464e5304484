"""`laneway jobs watch`: open jobs and the latest ended ones as a live table.

It is drawn anew whenever an event tells of a job; nothing is asked for while nothing happens, and a burst of events is
one look. Runtimes go on by this process's own clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.cli.context import CliContext, run
from gateway.cli.format import clean
from gateway.cli.job_lists import columns, job_row
from gateway.client import ApiClient, Unreachable
from gateway.client.jobs import Job, Jobs, news
from gateway.waiting import rung

LOOK_SECONDS = 0.25
"""The shortest time between two looks."""
TICK_SECONDS = 1.0
"""How often runtimes are drawn anew."""
ENDED = 5
"""How many ended jobs are shown below the open ones."""


@dataclass(frozen=True, slots=True)
class Shown:
    """What a look has found."""

    jobs: Sequence[Job]
    more: bool
    """There are more open ones."""
    at: float

    def aged(self) -> list[Job]:
        """The same with the runtimes of now."""
        passed = time.monotonic() - self.at
        return [
            job.model_copy(update={"runtime_seconds": job.runtime_seconds + passed}) if job.status == "running" else job
            for job in self.jobs
        ]


def watch(here: CliContext, *, name: str | None, limit: int, as_json: bool) -> None:
    """Shows jobs until it is interrupted."""
    with suppress(KeyboardInterrupt):
        if as_json or not sys.stdout.isatty():
            run(_watch(here, name, limit, _print_json if as_json else _print_table))
            return
        with Live(console=Console(highlight=False), auto_refresh=False, screen=False) as live:
            run(_watch(here, name, limit, lambda shown: live.update(_table(shown), refresh=True), ticks=True))


async def _watch(
    here: CliContext, name: str | None, limit: int, show: Callable[[Shown], None], *, ticks: bool = False
) -> None:
    changed = asyncio.Event()
    gateway: list[ApiClient] = []

    async def listen() -> None:
        async with aclosing(news(here.client, None)) as stream:
            async for client, event in stream:
                gateway[:] = [client]
                if event is None or event.type in ("run", "progress"):
                    changed.set()

    listening = asyncio.create_task(listen(), name="watch:events")
    listening.add_done_callback(lambda _ended: changed.set())
    shown: Shown | None = None
    try:
        while True:
            await rung(changed, TICK_SECONDS if ticks and shown is not None else None)
            if listening.done():
                listening.result()
            if changed.is_set():
                changed.clear()
                with suppress(Unreachable):  # the next connection begins with a look
                    shown = await _look(gateway[0], name, limit)
            if shown is not None:
                show(shown)
            await asyncio.sleep(LOOK_SECONDS)  # a burst of events is one look
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _look(client: ApiClient, name: str | None, limit: int) -> Shown:
    at = time.monotonic()
    jobs = Jobs(client)
    still_open = await jobs.page(status="open", name=name, limit=limit)
    ended = await jobs.page(status="done", name=name, limit=ENDED)
    return Shown([*still_open.jobs, *ended.jobs], still_open.next is not None, at)


def _table(shown: Shown) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in columns():
        table.add_column(head, no_wrap=True)
    for job in shown.aged():
        table.add_row(*(Text(clean(cell)) for cell in job_row(job)), style="" if job.active else "dim")
    if shown.more:
        table.add_row(*("…",) * len(columns()))
    return table


def _print_json(shown: Shown) -> None:
    sys.stdout.write(json.dumps({"jobs": [job.data() for job in shown.jobs]}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def _print_table(shown: Shown) -> None:
    Console(highlight=False, soft_wrap=True).print(_table(shown))
