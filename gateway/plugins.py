"""Plugins: how sub-agents, channels and third parties extend the gateway.

A plugin is an object with a `name` and a `register(registry)`; it is found through the entry-point group
`laneway.plugins`. The gateway imports none of them by name. What a plugin registers is read once, when the gateway is
composed; a plugin that fails to load is an error that names it and says how to disable it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from aiohttp import web

from gateway.channel import Channel
from gateway.commands.base import Command
from gateway.config import Config
from gateway.jobs.kinds import JobKind
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.sessions import Session
from gateway.tools.base import Tool

if TYPE_CHECKING:
    from gateway.agent.prompt import WorkspaceFiles
    from gateway.agent.setting import Setting
    from gateway.app import Gateway
    from gateway.doctor import Finding

GROUP = "laneway.plugins"


class PluginError(Exception):
    """A plugin can't be loaded. The text names it and says how to go on without it."""


@dataclass(frozen=True, slots=True)
class LaneSpec:
    """A named queue with a concurrency cap."""

    name: str
    cap: Callable[[Config], int]
    """Read again at every configuration reload."""


class RunKind(Protocol):
    """What the owner of a kind of run decides."""

    @property
    def name(self) -> str: ...

    def announcement(self, tx: Transaction, run: Run) -> str | None:
        """The text that the requester's inbox gets when `run` has ended, inside the transaction that ends it.

        None: nothing reaches the requester.
        """
        ...

    def system_prompt(self, setting: Setting, session: Session, run: Run, files: WorkspaceFiles) -> str:
        """The system prompt of a session that such a run lives in."""
        ...

    def denied_tools(self, config: Config, session: Session) -> frozenset[str]:
        """Tools that such a session never gets, whatever its agent's policy says."""
        ...


PromptSection = Callable[[Transaction, Session], str | None]
"""Adds a part to the end of a main session's prompt; read at every model call."""
OutputCheck = Callable[[Run, str], str | None]
"""Says what is wrong with a run's final text; None: nothing."""
Hook = Callable[[], Awaitable[None]]
Greeting = Callable[[], Awaitable[str]]
"""A line for who has started the gateway."""


@dataclass(frozen=True, slots=True)
class Chore:
    """Work whose due times stand in a table: archiving, retention."""

    name: str
    next_due: Callable[[], Awaitable[int | None]]
    """The next due time in milliseconds."""
    work: Callable[[], Awaitable[None]]
    """Does all that is due."""


@dataclass
class Registry:
    """What all plugins together have registered."""

    tools: dict[str, Tool[Any]] = field(default_factory=dict[str, Tool[Any]])
    commands: dict[str, Command] = field(default_factory=dict[str, Command])
    lanes: dict[str, LaneSpec] = field(default_factory=dict[str, LaneSpec])
    channels: dict[str, Channel] = field(default_factory=dict[str, Channel])
    run_kinds: dict[str, RunKind] = field(default_factory=dict[str, RunKind])
    job_kinds: dict[str, JobKind] = field(default_factory=dict[str, JobKind])
    output_checks: list[OutputCheck] = field(default_factory=list[OutputCheck])
    prompt_sections: list[PromptSection] = field(default_factory=list[PromptSection])
    http_routes: list[web.RouteDef] = field(default_factory=list[web.RouteDef])
    config: Config = field(default_factory=Config)
    """The configuration at the start; what follows a reload asks the gateway."""
    chores: list[Chore] = field(default_factory=list[Chore])
    startup: list[Hook] = field(default_factory=list[Hook])
    shutdown: list[Hook] = field(default_factory=list[Hook])
    greetings: list[Greeting] = field(default_factory=list[Greeting])
    worker_startup: list[Hook] = field(default_factory=list[Hook])
    worker_shutdown: list[Hook] = field(default_factory=list[Hook])
    origins: dict[str, str] = field(default_factory=dict[str, str])
    """`tool read` → the plugin that registered it."""
    current: str = "core"
    composed: Gateway | None = None

    @property
    def gateway(self) -> Gateway:
        """The gateway, for what a plugin does once it runs."""
        if self.composed is None:
            raise PluginError(f"plugin `{self.current}` asks for the gateway before it is composed")
        return self.composed

    def tool(self, tool: Tool[Any]) -> None:
        """Offers a tool to agents, subject to their policies."""
        self._claim("tool", tool.name)
        self.tools[tool.name] = tool

    def swap_tools(self, prefix: str, tools: Mapping[str, Tool[Any]]) -> None:
        """Replaces all tools whose names begin with a prefix. `tools` becomes another object, by which whoever has kept
        something that was made of it can tell."""
        others = {name: tool for name, tool in self.tools.items() if not name.startswith(prefix)}
        self.tools = others | dict(tools)

    def command(self, command: Command) -> None:
        """Adds a slash command."""
        self._claim("command", command.name)
        self.commands[command.name] = command

    def lane(self, lane: LaneSpec) -> None:
        """Adds a lane."""
        self._claim("lane", lane.name)
        self.lanes[lane.name] = lane

    def channel(self, channel: Channel) -> None:
        """Adds a channel; it is started with the gateway."""
        self._claim("channel", channel.name)
        self.channels[channel.name] = channel

    def run_kind(self, kind: RunKind) -> None:
        """Adds a kind of run."""
        self._claim("run kind", kind.name)
        self.run_kinds[kind.name] = kind

    def job_kind(self, kind: JobKind) -> None:
        """Adds a kind of job that can be submitted."""
        self._claim("job kind", kind.name)
        self.job_kinds[kind.name] = kind

    def output_check(self, check: OutputCheck) -> None:
        """Adds a check of what runs end with."""
        self.output_checks.append(check)

    def check_output(self, run: Run, text: str) -> str | None:
        """What is wrong with a run's final text; None: nothing."""
        return next((fault for check in self.output_checks if (fault := check(run, text))), None)

    def prompt_section(self, section: PromptSection) -> None:
        """Adds a section to the prompt of main sessions."""
        self.prompt_sections.append(section)

    def routes(self, routes: Iterable[web.RouteDef]) -> None:
        """Adds HTTP routes. They are behind the same authentication as the control API, unless a handler is marked
        with `http.auth.open_to_platforms`."""
        self.http_routes.extend(routes)

    def chore(self, chore: Chore) -> None:
        """Adds work that is done whenever something is due."""
        self._claim("chore", chore.name)
        self.chores.append(chore)

    def on_startup(self, hook: Hook, *, workers: bool = False) -> None:
        """Is awaited once before the first session is activated.

        Args:
            hook: what is awaited.
            workers: in every worker process too: it provides what tools need, and acts on nothing that is shared.
        """
        self.startup.append(hook)
        if workers:
            self.worker_startup.append(hook)

    def on_shutdown(self, hook: Hook, *, workers: bool = False) -> None:
        """Is awaited once when the process stops, while the database is still open; see `on_startup`."""
        self.shutdown.append(hook)
        if workers:
            self.worker_shutdown.append(hook)

    def greeting(self, greeting: Greeting) -> None:
        """Is asked for a line once the gateway is ready and has been announced."""
        self.greetings.append(greeting)

    def _claim(self, what: str, name: str) -> None:
        key = f"{what} `{name}`"
        if key in self.origins:
            raise PluginError(
                f"plugin `{self.current}` registers {key}, which `{self.origins[key]}` has registered; "
                f'put one of them into plugins.disabled, e.g. plugins: {{ disabled: ["{self.current}"] }}'
            )
        self.origins[key] = self.current


class Plugin(Protocol):
    """The whole of what a plugin must be."""

    @property
    def name(self) -> str: ...

    def register(self, registry: Registry) -> None:
        """Registers what it brings. Called once, before anything runs."""
        ...


@runtime_checkable
class ChecksItself(Protocol):
    """A plugin that can say whether what it needs from outside is there."""

    async def examine(self, config: Config) -> list[Finding]:
        """Asks the outside world; what isn't configured is no finding."""
        ...


@runtime_checkable
class ExplainsSetup(Protocol):
    """A plugin whose set-up takes steps elsewhere."""

    def setup(self, config: Config) -> Mapping[str, str]:
        """The steps as texts for a person, by the names of the parts, in order."""
        ...


def installed(disabled: Iterable[str] = ()) -> dict[str, Plugin]:
    """Every installed plugin that isn't disabled, by its entry point's name, in the order of the names.

    Raises:
        PluginError: one can't be imported.
    """
    off = set(disabled)
    found: dict[str, Plugin] = {}
    for entry in sorted(entry_points(group=GROUP), key=lambda item: item.name):
        if entry.name in off:
            continue
        try:
            found[entry.name] = entry.load()
        except (ImportError, AttributeError) as error:
            raise PluginError(
                f"plugin `{entry.name}` ({entry.value}) can't be loaded: {error}; "
                f'repair it or go on without it: plugins: {{ disabled: ["{entry.name}"] }}'
            ) from error
    return found


def load_plugins(registry: Registry, disabled: Iterable[str], extra: Mapping[str, Plugin] | None = None) -> None:
    """Loads every installed plugin that isn't disabled, in the order of their names.

    Args:
        registry: receives what they register.
        disabled: entry-point names to leave out.
        extra: plugins that are given directly instead of being installed.

    Raises:
        PluginError: one can't be imported or registers what another one has.
    """
    off = set(disabled)
    found = installed(off)
    found.update({name: plugin for name, plugin in (extra or {}).items() if name not in off})
    for name, plugin in found.items():
        registry.current = name
        plugin.register(registry)
    registry.current = "core"
