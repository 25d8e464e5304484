"""A worker: a process that activates the sessions of some lanes, beside the gateway, on the same PostgreSQL database.

It owns nothing but its activations. HTTP, channels, delivery, alarms and upkeep are the gateway's; what a worker wants
shown or rung it says over the bus. Killed, it is taken over; stopped, it gives back what it holds.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import select

from gateway import __version__
from gateway.app import MAIN_LANE, Gateway, ServeOptions
from gateway.company import Role
from gateway.config import Config, Paths, load_config
from gateway.plugins import Plugin
from gateway.store import moved, workers
from gateway.store.database import Database, StoreError, Transaction
from gateway.store.open import open_database, postgres_url
from gateway.store.schema import meta
from gateway.tools.processes import kill_survivors

log = logging.getLogger(__name__)


class WorkerRefused(Exception):
    """This process can't be a worker. The text says why, and what would be right."""


@dataclass(frozen=True, slots=True)
class WorkOptions:
    """How a worker is to be run."""

    paths: Paths
    lanes: tuple[str, ...]
    concurrency: int
    config_path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    announce: Callable[[str], None] = print
    """Gets one line once the worker is ready."""
    handle_signals: bool = True
    plugins: Mapping[str, Plugin] | None = None
    """Plugins that are given directly, beside the installed ones."""


class Worker:
    """One worker process."""

    def __init__(self, options: WorkOptions, config: Config, database: Database) -> None:
        """Builds all parts; starts nothing.

        Raises:
            WorkerRefused: a lane can't be worked on here.
        """
        serve = ServeOptions(
            options.paths,
            options.config_path,
            options.environ,
            handle_signals=options.handle_signals,
            plugins=options.plugins,
        )
        self._options = options
        self.core = Gateway(serve, config, database, Role("worker", options.lanes, options.concurrency))
        """The same parts as a gateway's; most of them rest."""
        self.stopping = self.core.stopping
        self._check_lanes()

    async def start(self) -> None:
        """Makes itself known, and begins to work.

        Raises:
            WorkerRefused: it doesn't fit the gateway.
            StoreError: the database can't be used.
        """
        core = self.core
        await core.database.read(_check_company, str(core.paths.state))
        await core.tracing.open(core.config.telemetry, core.instance)
        await core.company.start()
        killed = await kill_survivors(core.database)
        if killed:
            log.info("killed %d process groups that dead workers had left here", killed)
        core.lanes.set_caps(await core.database.read(workers.caps))
        for hook in core.registry.worker_startup:
            await hook()
        core.prepare_models_later()
        await core.mcp.start()
        core.lanes.start(core.turns.activate, core.upkeep)
        await core.company.members.watch()

    async def stop(self) -> None:
        """Takes no new work, lets what is in flight come to rest, and gives everything back."""
        core = self.core
        await core.lanes.drain(core.config.gateway.drain_seconds)
        await core.mcp.stop()
        for hook in reversed(core.registry.worker_shutdown):
            await hook()
        await core.company.stop()
        await core.close_clients()

    def greeting(self) -> str:
        """One line for who has started it."""
        lanes = ", ".join(self._options.lanes)
        return (
            f"Laneway {__version__} worker · lanes {lanes} · {self._options.concurrency} at once · {self.core.instance}"
        )

    def _check_lanes(self) -> None:
        known = self.core.registry.lanes
        for lane in self._options.lanes:
            if lane == MAIN_LANE:
                raise WorkerRefused(
                    f"lane `{MAIN_LANE}` is the gateway's own: its answers stream to channels that only the gateway is "
                    "connected to; give --lane subagent, or another"
                )
            if lane not in known:
                others = ", ".join(name for name in sorted(known) if name != MAIN_LANE)
                raise WorkerRefused(f"there is no lane `{lane}`; there are: {others}")


def _check_company(tx: Transaction, state: str) -> None:
    """A worker must be of the gateway's version, and see the same files under the same paths."""
    gateway = next((each for each in workers.listed(tx) if each.role == "gateway"), None)
    if gateway is not None and gateway.version != __version__:
        raise WorkerRefused(
            f"the gateway on {gateway.host} is Laneway {gateway.version} and this is {__version__}; "
            "update one of them: all processes on a database must be of one version"
        )
    noted = tx.execute(select(meta.c.value).where(meta.c.key == moved.KEY)).scalar()
    if noted is not None and noted != state:
        raise WorkerRefused(
            f"the gateway's state folder is {noted} and this one's is {state}; transcripts and workspaces are read "
            "there by all processes: mount the same folder under the same path (docs/scaling.md)"
        )


async def serve_worker(options: WorkOptions) -> int:
    """Runs a worker until it is stopped by a signal or cancelled; returns the exit code.

    Raises:
        ConfigError: the configuration is wrong; every problem is listed.
        WorkerRefused: it can't be a worker.
        StoreError: the database can't be used.
        PluginError: a plugin can't be loaded.
    """
    config = load_config(options.config_path, paths=options.paths, environ=options.environ)
    if postgres_url(config) is None:
        raise WorkerRefused(
            "workers need PostgreSQL: on SQLite one process works alone, and the gateway runs its sub-agents itself; "
            "move the state with `laneway db migrate-to postgresql://…` and name it in database.url"
        )
    database = open_database(config)
    try:
        worker = Worker(options, config, database)
        if options.handle_signals:
            _handle_signals(worker)
        try:
            await worker.start()
            options.announce(worker.greeting())
            await worker.stopping.wait()
        finally:
            await asyncio.shield(worker.stop())
    finally:
        await database.close()
    return 0


def _handle_signals(worker: Worker) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stopping.set)
    loop.add_signal_handler(signal.SIGHUP, worker.core.reload_later)


EXPECTED: tuple[type[Exception], ...] = (WorkerRefused, StoreError)
"""Reasons not to work whose text is for a person."""
