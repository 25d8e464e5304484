"""The composition root: builds the parts of a gateway, starts and stops them in order.

The only place that knows all parts. Nothing here survives a crash; what a start has to take up stands in the tables.
"""

from __future__ import annotations

import asyncio
import gc
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

from gateway import __version__, logs
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
from gateway.chores import core_chores
from gateway.commands.core import core_commands
from gateway.commands.jobs import job_commands
from gateway.commands.mcp import mcp_command
from gateway.company import Role, join_in, keep_company
from gateway.config import Config, ConfigError, Paths, UnknownModel, load_config
from gateway.config.reload import diff_restart
from gateway.delivery import Delivery
from gateway.events import EventLog
from gateway.far import Far, FarPresence, hear
from gateway.guests import Guests
from gateway.http.auth import own_token
from gateway.http.channels import http_channels
from gateway.http.server import HttpServer
from gateway.inbound import Inbound, Queues
from gateway.jobs.aggregate import aggregate_kind
from gateway.jobs.control import JobControl
from gateway.jobs.kinds import LANE as JOB_LANE
from gateway.jobs.noop import noop_kind
from gateway.jobs.runner import Jobs
from gateway.jobs.shell import LANE as SHELL_LANE
from gateway.jobs.shell import shell_kind
from gateway.lifecycle import Lifecycle
from gateway.mcp.client.server import Surroundings
from gateway.mcp.client.servers import McpServers
from gateway.metrics import Metrics
from gateway.plugins import LaneSpec, Plugin, Registry, load_plugins
from gateway.posting import Posting
from gateway.presence import Presence
from gateway.pulse import Pulse, resident_bytes
from gateway.reception import Reception
from gateway.recovery import Recovery
from gateway.relay import Relay
from gateway.store import starts, workers
from gateway.store.database import Database, Transaction
from gateway.store.lock import StateLock
from gateway.store.open import open_database
from gateway.store.schema import sessions as sessions_table
from gateway.telemetry.tracing import Tracing
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

    def __init__(self, options: ServeOptions, config: Config, database: Database, role: Role | None = None) -> None:
        """Builds all parts; starts nothing.

        Args:
            options: how it is to be run.
            config: the configuration.
            database: opened.
            role: what this process is there for; None: it is the gateway.

        Raises:
            PluginError: a plugin can't be loaded.
        """
        self.options = options
        self.paths = options.paths
        self.config = config
        self.database = database
        self.instance = str(uuid.uuid4())
        self.role = role or gateway_role(config)
        self.started_at = time.time_ns() // 1_000_000
        self.ready = False
        self.url = ""
        self.stopping = asyncio.Event()
        self._redactor = self._make_redactor(config)
        logs.follow(config.gateway.log, self.clean)
        self._fetcher = Fetcher()
        self._background: set[asyncio.Task[None]] = set()

        self.registry = self._make_registry(config)
        self.metrics = Metrics()
        self.company = keep_company(database, self.instance, self.role, self._caps(config), self.metrics.started)
        self.company.on_displaced = self.stopping.set
        self.bus, self.lanes = self.company.bus, self.company.lanes
        far = Far(self.bus, self.role)
        self.tracing = Tracing(self.clean)
        self.pulse = Pulse()
        self.events = EventLog(database, far.events, far.fleeting)
        self.files = TranscriptFiles(self.paths, sync=config.database.durability == "full")
        # Channels are connected in the gateway alone: what another process has to show goes by way of the bus.
        self.relay = Relay(database, self.registry.channels if self.role.is_gateway else {})
        self.presence = Presence(self.registry.channels) if self.role.is_gateway else FarPresence(self.bus)
        self.deliverer = Delivery(database, self.registry.channels, self.events, self.relay, self.tracing)
        self.posting = Posting(self.registry.channels, self.events, self.presence, self._wake_delivery)
        self.asking = Asking(self.posting, self.events)
        self.approvals = ApprovalBook(database, self.asking.notify, self.asking.answerable, tell=far.approval)
        self.lifecycle = self._make_lifecycle()
        self.steps = self._make_steps()
        self.models = Models(gate=RateLeases(database, self.instance).hold)
        self.settings = Settings(self._current, database, self.registry, self.posting, self.approvals)
        self.mcp = self._make_mcp()
        self.turns = self._make_turns()
        self.queues = Queues(self.steps, self.lanes, self.events, self._current, self.ring)
        self.guests = Guests(self.lanes, self.lifecycle, self.posting, self.queues, self._current, self.ring)
        self.intake = self._make_intake()
        self.jobs = JobControl(self.registry)
        self.recovery = Recovery(self.lifecycle, self.posting, self.instance)
        self.company.members = join_in(self.company, self.recovery, config, self._release_claims)
        self.http = HttpServer(self)
        self.upkeep = self._make_upkeep()
        self.registry.composed = self
        hear(self)

    # --- life -----------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Takes over from the last process and begins to work.

        Raises:
            OSError: the port is in use.
        """
        self.pulse.start()
        self.metrics.watch_process(self.pulse.lag, resident_bytes)
        await self.tracing.open(self.config.telemetry, self.instance)
        await self.company.start()
        await self.database.run(starts.begin, self.instance, "gateway", __version__)
        recovered = await self.database.run(self.recovery.recover)
        killed = await kill_survivors(self.database)
        await self.company.tell_caps(self._caps(self.config))
        await self.events.open()
        if killed or recovered.interrupted:
            log.info("took over: %d sessions were active, %d process groups killed", recovered.interrupted, killed)
        for hook in self.registry.startup:
            await hook()
        self.url = await self.http.start(allow_other_port=self.options.allow_other_port)
        self._spawn(self._prepare_models(), "prepare-models")
        await self.mcp.start()
        await self.upkeep.start(self.turns.activate, recovered.suspects)
        await self.company.members.watch()
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
        await self.mcp.stop()
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
        await self.events.close()
        await self.http.stop()
        await self.database.run(starts.stopped, self.instance)
        await self.company.stop()
        await self.close_clients()

    async def close_clients(self) -> None:
        """Ends what is connected to the outside world, and what is done beside everything else."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self.models.close()
        await self._fetcher.close()
        await self.tracing.close()
        self.pulse.stop()

    def prepare_models_later(self) -> None:
        """Imports what the configured models need, beside everything else."""
        self._spawn(self._prepare_models(), "prepare-models")

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
        logs.follow(config.gateway.log, self.clean)
        if self.role.is_gateway:
            await self.company.tell_caps(self._caps(config))
            self.bus.say("reload")
        self._spawn(self._prepare_models(), "prepare-models")
        await self.mcp.apply()
        log.info("the configuration is reloaded")
        return ReloadResult(True, restart_needed=restart)

    def look_at_approvals(self, approval_id: int | None) -> None:
        """Another process has closed a question, or may have."""
        self._spawn(self.approvals.look(approval_id), "approvals")

    def catch_up(self) -> None:
        """What other processes have said may have been missed."""
        self._spawn(self.upkeep.enqueue_unfinished(), "catch-up")

    def load_caps(self) -> None:
        """The gateway has told new caps of the lanes."""
        self._spawn(self._load_caps(), "caps")

    async def _load_caps(self) -> None:
        self.lanes.set_caps(await self.database.read(workers.caps))

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
        if self.role.is_gateway:
            self.upkeep.ring(at)
        else:
            self.bus.say("due", at=at)

    def _wake_delivery(self, tx: Transaction) -> None:
        """There is something to send, once this unit is committed."""
        if self.role.is_gateway:
            tx.after_commit(self.deliverer.wake)
        else:
            self.bus.send(tx, "outbox")

    def _is_draining(self) -> bool:
        return self.lanes.draining

    # --- parts ----------------------------------------------------------------------------------------------------

    def _make_registry(self, config: Config) -> Registry:
        registry = Registry(config=config)
        for tool in core_tools(self._fetcher):
            registry.tool(tool)
        for command in (*core_commands(), *job_commands(), mcp_command()):
            registry.command(command)
        registry.lane(LaneSpec(MAIN_LANE, lambda config: config.agents.defaults.max_concurrent))
        registry.job_kind(aggregate_kind())
        registry.job_kind(noop_kind())
        registry.job_kind(shell_kind())
        registry.lane(LaneSpec(SHELL_LANE, lambda config: config.jobs.shell.max_concurrent))
        registry.lane(LaneSpec(JOB_LANE, lambda config: config.jobs.max_concurrent))
        for channel in http_channels():
            registry.channel(channel)
        load_plugins(registry, config.plugins.disabled, self.options.plugins)
        return registry

    def _make_upkeep(self) -> Upkeep:
        for chore in core_chores(self):
            self.registry.chore(chore)
        return Upkeep(self.database, self.lanes, self.lifecycle, self.recovery, self.events, self.registry.chores)

    def _make_lifecycle(self) -> Lifecycle:
        return Lifecycle(
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
            self.tracing,
        )

    def _make_steps(self) -> Steps:
        resting = Resting(self.lanes, self.lifecycle, self.events, self._current)
        finals = Finals(self.lifecycle, self.posting, resting)
        runner = Jobs(self.registry, self.database, self.lifecycle, self._is_draining)
        return Steps(self.instance, self.lanes, self.lifecycle, self.posting, resting, finals, runner, self.tracing)

    def _make_intake(self) -> Reception:
        inbound = Inbound(self, self.database, self.queues, self.registry.commands, self.metrics)
        return Reception(self.database, inbound, self.queues, self.guests, self.posting, self._current)

    def _make_mcp(self) -> McpServers:
        environ = self.options.environ
        around = Surroundings(self.database, self.instance, self.bus, self.paths.state, environ, self.clean)
        return McpServers(self.registry, self._current, around)

    def _make_turns(self) -> Turns:
        seen = (self.events, self.metrics, self.relay, self.tracing)
        asker = Asker(self.database, self.steps, self.models, self.settings, *seen)
        return Turns(
            Parts(
                self.database,
                self.steps,
                asker,
                self.settings,
                ToolRunner(self.database, self.clean, self._check_claim),
                self.lanes.is_draining,
                self.registry.check_output,
                self.tracing,
            )
        )

    async def _check_claim(self, session_id: str, fence: int) -> None:
        await self.company.members.check(session_id, fence)

    def _release_claims(self, tx: Transaction) -> None:
        """A graceful stop counts nothing against anybody."""
        mine = sessions_table.c.claimed_by == self.instance
        tx.execute(sessions_table.update().where(mine).values(claimed_by=None))

    def _current(self) -> Config:
        return self.config

    def _caps(self, config: Config) -> dict[str, int]:
        return {name: lane.cap(config) for name, lane in self.registry.lanes.items()}

    def _make_redactor(self, config: Config) -> Redactor:
        environ = self.options.environ
        lent = {environ[name] for each in config.mcp.servers.values() for name in each.inherit if name in environ}
        return Redactor({*config.secret_values(), *lent, own_token(config, self.paths)})

    async def _prepare_models(self) -> None:
        await self.models.prepare(configured_models(self.config))
        if gc.get_freeze_count():  # a process of our own (gateway/cli): what has been loaded since its start stays too,
            gc.collect()  # and a search of all that would hold up the loop for 0.1 s every now and then
            gc.freeze()

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


def gateway_role(config: Config) -> Role:
    """What the gateway works on itself."""
    lanes = config.workers.gateway_lanes
    return Role() if lanes is None else Role(lanes=tuple(dict.fromkeys((MAIN_LANE, *lanes))))


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
