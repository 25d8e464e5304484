"""Jobs under fire: workers are killed and suspended at random while they work on thousands of mixed jobs.

    python -m tests.crash.chaos_jobs --n 5000 --seed 7
    python -m tests.crash.chaos_jobs --n 1000 --database sqlite

On PostgreSQL there are a gateway and eight workers, on SQLite the gateway alone. Every two seconds one of them gets
SIGKILL and is started again; now and then one is suspended, for less than its lease or for longer. At the end nothing
may be lost, finished twice or announced twice; see `jobs_checks.py`. The seed is printed; it decides what is submitted
and who is hit, while what that interrupts depends on the machine as well.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import aiohttp

from tests.crash import jobs_checks
from tests.crash.jobs_mix import TALK, Mix, Order
from tests.crash.jobs_troop import Troop, Watchman
from tests.crash.nursery import NurseryClient
from tests.support.postgres import PostgresServer
from tests.support.process import Site, model_server

RULES = "tests.crash.jobs_mix:rules"
WORKERS = 8
LEASE_SECONDS = 3.0
CAPS = {"jobs": 6, "shell": 3, "subagent": 4, "main": 4}
SUBMITTERS = 4
MOST_OPEN = 150
"""Jobs that wait, and it is submitted no faster: the mix is to be at work all the time."""
SETTLE_SECONDS = 180.0
ASK_SECONDS = 10.0
AGAIN_SECONDS = 0.1
LONGEST_SECONDS = 3_600.0
OVER = "select count(*) from runs where status <> 'done'"
UNREAD = """
select count(*) from inbox i join sessions s on s.id = i.session_id where s.kind = 'main' and i.state = 'pending'
"""

Kind = Literal["postgres", "sqlite"]
IMPORTS: Mapping[Kind, Sequence[str]] = {
    "postgres": ("gateway.store.postgres_migrate", "gateway.store.notify", "gateway.lanes.postgres", "gateway.worker"),
    "sqlite": (),
}
"""Modules that all processes need."""


@dataclass(frozen=True, slots=True)
class Report:
    """What was seen."""

    wrong: Sequence[str]
    jobs: int
    kills: int
    naps: int
    most: str
    seconds: float

    def text(self) -> str:
        """For people."""
        what = f"{self.jobs} jobs, {self.kills} kills, {self.naps} suspensions in {self.seconds:.0f} s"
        return "\n".join([*self.wrong, f"{what}; at once at most: {self.most}; {len(self.wrong)} faults"])


async def chaos(
    folder: Path, kind: Kind, jobs: int, seed: int, seconds: float = LONGEST_SECONDS, *, forked: bool = True
) -> Report:
    """Submits jobs, kills whoever works on them, and looks what has become of all.

    Args:
        folder: for the state.
        kind: of the database.
        jobs: how many.
        seed: of what is submitted and who is hit.
        seconds: after which nothing more is submitted, and nobody is hit.
        forked: start processes by forking one that has done their imports; else execute `laneway` each time.
    """
    async with AsyncExitStack() as stack:
        url = (
            await asyncio.to_thread(stack.enter_context(PostgresServer.start()).migrated)
            if kind == "postgres"
            else None
        )
        models = await stack.enter_async_context(model_server(RULES, folder))
        http = await stack.enter_async_context(aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ASK_SECONDS)))
        site = Site(folder / "site", models, postgres=url)
        await asyncio.to_thread(site.prepare, _config())
        rng = random.Random(seed)  # noqa: S311 - what happens, not secrets
        nursery = (
            await stack.enter_async_context(NurseryClient(folder, str(folder), *IMPORTS[kind])) if forked else None
        )
        troop = Troop(site, WORKERS if kind == "postgres" else 0, LEASE_SECONDS, rng, nursery)
        run = _Chaos(troop, Watchman(site, CAPS), http, Mix(random.Random(seed), str(folder / "log"), jobs))  # noqa: S311
        try:
            begun = time.monotonic()
            await run.play(seconds)
            found = await asyncio.to_thread(
                jobs_checks.look, site, run.accepted, folder / "log", [*((at, at) for at in troop.kills), *troop.naps]
            )
        finally:
            await troop.abandon()
        wrong = [*run.faults, *dict.fromkeys(run.watchman.faults), *troop.faults, *jobs_checks.faults(found)]
        most = ", ".join(f"{number} {what}" for what, number in sorted(run.watchman.most.items()))
        spent = time.monotonic() - begun
        return Report(wrong, len(found.runs), len(troop.kills), len(troop.naps), most, spent)


def _config() -> dict[str, Any]:
    return {
        "gateway": {"port": 0, "drainSeconds": 5},
        "workers": {"leaseSeconds": LEASE_SECONDS},
        "jobs": {"maxConcurrent": CAPS["jobs"], "shell": {"enabled": True, "maxConcurrent": CAPS["shell"]}},
        "agents": {
            "defaults": {
                "model": {"primary": "scripted/scripted"},
                "maxConcurrent": CAPS["main"],
                "subagents": {
                    "maxConcurrent": CAPS["subagent"],
                    "maxChildrenPerAgent": 1000,
                    "archiveAfterMinutes": 0,
                },
            }
        },
    }


class _Chaos:
    """One run of it."""

    def __init__(self, troop: Troop, watchman: Watchman, http: aiohttp.ClientSession, mix: Mix) -> None:
        self.troop = troop
        self.watchman = watchman
        self.accepted: list[Order] = []
        self._numbers: dict[str, int] = {}
        self.faults: list[str] = []
        self._http = http
        self._mix = mix
        self._site = troop.site

    async def play(self, seconds: float) -> None:
        """From the first start to the last end."""
        await self.troop.begin()
        watching = asyncio.create_task(self.watchman.watch())
        disturbing = asyncio.create_task(self.troop.disturb(seconds))
        await self._submit_all(seconds)
        await self._wait(OVER, time.monotonic() + seconds)
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        await self.troop.settle()
        settled = await self._wait(OVER, time.monotonic() + SETTLE_SECONDS)
        settled = settled and await self._wait(UNREAD, time.monotonic() + SETTLE_SECONDS)
        if not settled:
            self.faults.append(f"not everything has come to rest {SETTLE_SECONDS:g} s after the last kill")
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        await self.troop.end()

    async def _submit_all(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        orders = iter(self._mix)
        await asyncio.gather(*(self._submit_some(orders, until) for _ in range(SUBMITTERS)))

    async def _submit_some(self, orders: Any, until: float) -> None:
        for order in orders:
            self.accepted.append(order)
            await self._submit(order)
            while await asyncio.to_thread(self._count, OVER) > MOST_OPEN:  # noqa: ASYNC110 - other processes' doing
                await asyncio.sleep(AGAIN_SECONDS)
            if time.monotonic() > until:
                return

    async def _submit(self, order: Order) -> None:
        """Until it is acknowledged, by whichever process is the gateway then."""
        path = f"/api/sessions/{TALK}{order.label}/messages" if order.said else "/api/jobs"
        # What another submitter has under way isn't known yet.
        order.after = [label for label in order.after if label in self._numbers]
        body = {
            **order.body,
            **({"after": [f"#{self._numbers[label]}" for label in order.after]} if order.after else {}),
        }
        while True:
            try:
                headers = {"Authorization": f"Bearer {self._site.token()}", "Idempotency-Key": order.label}
                async with self._http.post(self._site.url() + path, json=body, headers=headers) as response:
                    if response.status < 300:
                        if not order.said:
                            self._numbers[order.label] = (await response.json())["id"]
                        return
                    if response.status < 500:
                        self.faults.append(f"{order.label} is refused: {response.status} {await response.text()}")
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                pass  # it may be accepted, or not
            await asyncio.sleep(AGAIN_SECONDS)

    async def _wait(self, statement: str, until: float) -> bool:
        while await asyncio.to_thread(self._count, statement):
            if time.monotonic() > until:
                return False
            await asyncio.sleep(AGAIN_SECONDS)
        return True

    def _count(self, statement: str) -> int:
        with self._site.rows() as rows:
            return int(rows.execute(statement).fetchone()[0])


def main() -> int:
    """Runs from the command line; 0 if everything was survived."""
    parser = argparse.ArgumentParser(description="Kills and suspends workers at random while jobs run.")
    parser.add_argument("--n", type=int, default=5_000, help="how many jobs (default 5000)")
    parser.add_argument(
        "--seed", type=int, default=None, help="of what is submitted and who is hit (default: a new one)"
    )
    parser.add_argument("--seconds", type=float, default=LONGEST_SECONDS, help="stop after so long")
    parser.add_argument("--executed", action="store_true", help="execute `laneway` each time instead of forking")
    parser.add_argument("--database", choices=("postgres", "sqlite"), default="postgres")
    options = parser.parse_args()
    seed = secrets.randbelow(10**6) if options.seed is None else options.seed
    print(f"chaos of jobs on {options.database}: {options.n} jobs, seed {seed}", flush=True)
    folder = Path(tempfile.mkdtemp(prefix="laneway-chaos-jobs-"))
    report = asyncio.run(chaos(folder, options.database, options.n, seed, options.seconds, forked=not options.executed))
    print(f"{report.text()}, seed {seed}; everything is in {folder}")
    return 1 if report.wrong else 0


if __name__ == "__main__":
    sys.exit(main())
