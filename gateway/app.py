"""The composition root: builds the parts of a gateway, starts and stops them in order.

The only place that knows all parts. Nothing here survives a crash; what a start has to take up stands in the tables.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import time
import uuid
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.agent.asking import Asker
from gateway.agent.finals import Finals
from gateway.agent.models import Models
from gateway.agent.rates import RateLeases
from gateway.agent.resolve import configured_models, default_model
from gateway.agent.resting import Resting
from gateway.agent.setting import Settings
from gateway.agent.steps import Steps
from gateway.agent.toolset import ToolRunner
from gateway.agent.turn import Parts, Turns
from gateway.approvals import ApprovalBook
from gateway.asking_people import Asking
from gateway.commands.core import core_commands
from gateway.config import Config, ConfigError, Paths, UnknownModel, load_config
from gateway.config.reload import diff_restart
from gateway.delivery import Delivery
from gateway.events import EventLog
from gateway.guests import Guests
from gateway.http.auth import own_token
from gateway.http.channels import http_channels
from gateway.http.server import HttpServer
from gateway.inbound import Inbound, Queues
from gateway.jobs.aggregate import aggregate_kind
from gateway.jobs.control import JobControl
from gateway.jobs.kinds import LANE as JOB_LANE
from gateway.jobs.runner import Jobs
from gateway.jobs.shell import LANE as SHELL_LANE
from gateway.jobs.shell import shell_kind
from gateway.lanes.local import LocalLanes
from gateway.lifecycle import Lifecycle
from gateway.metrics import Metrics
from gateway.plugins import Chore, LaneSpec, Plugin, Registry, load_plugins
from gateway.posting import Posting
from gateway.presence import Presence
from gateway.reception import Reception
from gateway.recovery import Recovery
from gateway.relay import Relay
from gateway.store import jobs
from gateway.store.database import Database, Transaction
from gateway.store.lock import StateLock
from gateway.store.open import open_database
from gateway.store.schema import sessions as sessions_table
from gateway.tools.core import core_tools
from gateway.tools.processes import kill_survivors
from gateway.tools.redact import Redactor
from gateway.tools.web import Fetcher
from gateway.transcripts import TranscriptFiles
from gateway.upkeep import Upkeep

MAIN_LANE = "main"
STOPPED = 0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How a gateway is to be run."""

    paths: Paths
    config_path: Path | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    announce: Callable[[str], None] = print
    """Gets one line once the gateway is ready, and then those of plugins."""
    allow_other_port: bool = False
    """Takes any free port if the configured one is in use."""
    handle_signals: bool = True
    plugins: Mapping[str, Plugin] | None = None
    """Plugins that are given directly, beside the installed ones."""


@dataclass(frozen=True, slots=True)
class ReloadResult:
    """What became of a reload: all or nothing."""

    reloaded: bool
    problems: tuple[str, ...] = ()
    restart_needed: tuple[str, ...] = ()
    """Keys whose new values count after a restart."""


class Gateway:
    """One gateway on one state folder."""

    def __init__(self, options: ServeOptions, config: Config, database: Database) -> None:
        """Builds all parts; starts nothing.

        Raises:
            PluginError: a plugin can't be loaded.
        """
        self.options = options
        self.paths = options.paths
        self.config = config
        self.database = database
        self.instance = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self.started_at = time.time_ns() // 1_000_000
        self.ready = False
        self.url = ""
        self.stopping = asyncio.Event()
        self._redactor = self._make_redactor(config)
        self._fetcher = Fetcher()
        self._background: set[asyncio.Task[None]] = set()

        self.registry = Registry(config=config)
        self._register_core()
        load_plugins(self.registry, config.plugins.disabled, options.plugins)

        self.metrics = Metrics()
        self.events = EventLog(database)
        self.lanes = LocalLanes(self._caps(config), self.metrics.started)
        self.metrics.watch_lanes(self.lanes.stats)
        self.files = TranscriptFiles(self.paths, sync=config.database.durability == "full")
        self.relay = Relay(database, self.registry.channels)
        self.presence = Presence(self.registry.channels)
        self.deliverer = Delivery(database, self.registry.channels, self.events, self.relay)
        self.posting = Posting(self.registry.channels, self.events, self.presence, self.deliverer.wake)
        self.asking = Asking(self.posting, self.events)
        self.approvals = ApprovalBook(database, notify=self.asking.notify, answerable=self.asking.answerable)
        self.lifecycle = Lifecycle(
            self.lanes,
            self.events,
            self.metrics,
            self.files,
            self.posting,
            self.registry.run_kinds,
            self.registry.job_kinds,
            self._current,
            self.approvals.withdraw,
            self.ring,
        )
        self.steps = self._make_steps()
        self.models = Models(gate=RateLeases(database, self.instance).hold)
        self.settings = Settings(self._current, database, self.registry, self.posting, self.approvals)
        self.turns = self._make_turns()
        self.queues = Queues(self.steps, self.lanes, self.events, self._current, self.ring)
        self.guests = Guests(self.lanes, self.lifecycle, self.posting, self.queues, self._current, self.ring)
        self.intake = self._make_intake()
        self.jobs = JobControl(self.registry)
        self.recovery = Recovery(self.lifecycle, self.posting)
        self.http = HttpServer(self)
        self.registry.chore(Chore("delayed", self._next_delayed, self._release_delayed))
        self.registry.chore(Chore("threads", self._next_thread, self._give_back_threads))
        self.upkeep = Upkeep(database, self.lanes, self.lifecycle, self.recovery, self.events, self.registry.chores)
        self.registry.composed = self

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes over from the last process and begins to work.

        Raises:
            OSError: the port is in use.
        """
        killed = await kill_survivors(self.database)
        recovered = await self.database.run(self.recovery.recover)
        if killed or recovered.interrupted:
            log.info("took over: %d sessions were active, %d process groups killed", recovered.interrupted, killed)
        for hook in self.registry.startup:
            await hook()
        self.url = await self.http.start(allow_other_port=self.options.allow_other_port)
        self._spawn(self._prepare_models(), "prepare-models")
        await self.upkeep.start(self.turns.activate, recovered.suspects)
        self.deliverer.start()
        for channel in self.registry.channels.values():
            await channel.start(self.intake)
        self.ready = True
        self._write_whereabouts()

    async def stop(self) -> None:
        """Takes no new work, lets model calls in flight finish, and leaves nothing behind that a start must repair."""
        self.ready = False
        self.paths.gateway_json.unlink(missing_ok=True)
        await self.lanes.drain(self.config.gateway.drain_seconds)
        await self.upkeep.stop()
        await self.presence.stop()
        await self.deliverer.stop()
        await self.relay.stop()
        # Only now: a channel that stops can't finish a post. What it still takes in is stored, and waits for a start.
        for channel in self.registry.channels.values():
            await channel.stop()
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        for hook in reversed(self.registry.shutdown):
            await hook()
        self.events.close()
        await self.http.stop()
        await self.database.run(_release_claims)
        await self.models.close()
        await self._fetcher.close()

    async def reload(self) -> ReloadResult:
        """Reads the configuration again: all or nothing; a run keeps its stored model."""
        try:
            config = load_config(self.options.config_path, paths=self.paths, environ=self.options.environ)
        except ConfigError as error:
            log.warning("the configuration is not reloaded: %s", error)
            return ReloadResult(False, tuple(str(problem) for problem in error.problems))
        restart = diff_restart(self.config, config)
        self.config = config
        self._redactor = self._make_redactor(config)
        self.lanes.set_caps(self._caps(config))
        self._spawn(self._prepare_models(), "prepare-models")
        log.info("the configuration is reloaded")
        return ReloadResult(True, restart_needed=restart)

    def reload_later(self) -> None:
        """For a signal: reloads soon."""
        self._spawn(self._reload(), "reload")

    async def _reload(self) -> None:
        await self.reload()

    def clean(self, text: str) -> str:
        """A text without the secrets that are known now."""
        return self._redactor.clean(text)

    def ring(self, at: int) -> None:
        """Something is due at this time (milliseconds), which may be earlier than was known."""
        self.upkeep.ring(at)

    # --- parts ----------------------------------------------------------------------------------------------------

    def _register_core(self) -> None:
        for tool in core_tools(self._fetcher):
            self.registry.tool(tool)
        for command in core_commands():
            self.registry.command(command)
        self.registry.lane(LaneSpec(MAIN_LANE, lambda config: config.agents.defaults.max_concurrent))
        self.registry.job_kind(aggregate_kind())
        self.registry.job_kind(shell_kind())
        self.registry.lane(LaneSpec(SHELL_LANE, lambda config: config.jobs.shell.max_concurrent))
        self.registry.lane(LaneSpec(JOB_LANE, lambda config: config.jobs.max_concurrent))
        for channel in http_channels():
            self.registry.channel(channel)

    def _make_steps(self) -> Steps:
        resting = Resting(self.lanes, self.lifecycle, self.events, self._current)
        finals = Finals(self.lifecycle, self.posting, resting)
        runner = Jobs(self.registry, self.database, self.lifecycle, lambda: self.lanes.draining)
        return Steps(self.instance, self.lanes, self.lifecycle, self.posting, resting, finals, runner)

    def _make_intake(self) -> Reception:
        inbound = Inbound(self, self.database, self.queues, self.registry.commands, self.metrics)
        return Reception(self.database, inbound, self.queues, self.guests, self.posting, self._current)

    def _make_turns(self) -> Turns:
        asker = Asker(self.database, self.steps, self.models, self.settings, self.events, self.metrics, self.relay)
        return Turns(
            Parts(
                self.database,
                self.steps,
                asker,
                self.settings,
                ToolRunner(self.database, self.clean),
                lambda: self.lanes.draining,
                self.registry.check_output,
            )
        )

    async def _next_delayed(self) -> int | None:
        return await self.database.read(jobs.next_due)

    async def _release_delayed(self) -> None:
        while await self.database.run(self._release_some):
            pass

    def _release_some(self, tx: Transaction) -> int:
        found = jobs.due(tx)
        for run in found:
            self.lifecycle.release_due(tx, run)
        return len(found)

    async def _next_thread(self) -> int | None:
        return await self.database.read(self.guests.next_due)

    async def _give_back_threads(self) -> None:
        await self.database.run(self.guests.overdue)

    def _current(self) -> Config:
        return self.config

    def _caps(self, config: Config) -> dict[str, int]:
        return {name: lane.cap(config) for name, lane in self.registry.lanes.items()}

    def _make_redactor(self, config: Config) -> Redactor:
        return Redactor({*config.secret_values(), own_token(config, self.paths)})

    async def _prepare_models(self) -> None:
        await self.models.prepare(configured_models(self.config))

    def _spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name=name)
        self._background.add(task)
        task.add_done_callback(self._background.discard)
        return task

    def _write_whereabouts(self) -> None:
        """Tells clients where this gateway listens."""
        text = json.dumps({"url": self.url, "pid": os.getpid(), "version": __version__, "startedAt": self.started_at})
        temporary = self.paths.gateway_json.with_suffix(".tmp")
        temporary.write_text(text)
        temporary.chmod(0o600)
        temporary.replace(self.paths.gateway_json)

    def greeting(self) -> str:
        """One line for who has started it."""
        try:
            model = default_model(self.config, self.config.default_agent_id).name
        except UnknownModel as error:
            model = str(error)
        return (
            f"Laneway {__version__} · {self.url} · model {model} · state {self.paths.state} · talk to it: laneway chat"
        )


def _release_claims(tx: Transaction) -> None:
    """A graceful stop counts nothing against anybody."""
    tx.execute(sessions_table.update().values(claimed_by=None))


async def serve(options: ServeOptions) -> int:
    """Runs a gateway until it is stopped by a signal or cancelled; returns the exit code.

    Raises:
        ConfigError: the configuration is wrong; every problem is listed.
        LockHeld: another gateway runs on this state folder.
        StoreError: the database can't be used.
        PluginError: a plugin can't be loaded.
    """
    config = load_config(options.config_path, paths=options.paths, environ=options.environ)
    options.paths.state.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = StateLock(options.paths.lock)
    lock.acquire()
    try:
        await _serve_locked(options, config)
    finally:
        lock.release()
    return STOPPED


async def _serve_locked(options: ServeOptions, config: Config) -> None:
    options.paths.gateway_json.unlink(missing_ok=True)
    database = open_database(config)
    try:
        gateway = Gateway(options, config, database)
        if options.handle_signals:
            _handle_signals(gateway)
        try:
            if await _started(gateway):
                options.announce(gateway.greeting())
                for greeting in gateway.registry.greetings:
                    options.announce(await greeting())
            await gateway.stopping.wait()
        finally:
            await asyncio.shield(gateway.stop())
    finally:
        await database.close()


async def _started(gateway: Gateway) -> bool:
    """Starts a gateway; False: it was told to stop before it was ready."""
    starting = asyncio.create_task(gateway.start(), name="start")
    stopping = asyncio.create_task(gateway.stopping.wait(), name="stopping")
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
        return starting.done()
    finally:
        starting.cancel()
        stopping.cancel()
        await asyncio.wait({starting, stopping})


def _handle_signals(gateway: Gateway) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stopping.set)
    loop.add_signal_handler(signal.SIGHUP, gateway.reload_later)
