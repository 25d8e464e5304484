"""The agents as everybody else uses them: every default filled in, so that nobody merges settings on his own.

Built once for each configuration, and never changed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from types import MappingProxyType

from gateway.config.agents import AgentsConfig, AgentSettings
from gateway.config.base import ModelChoice, OnRestart, Thinking
from gateway.config.paths import Paths, expand_home
from gateway.config.providers import (
    KNOWN_PROVIDERS,
    EnvironmentKey,
    ModelsConfig,
    ProviderConfig,
    complete,
    is_usable,
)
from gateway.config.tools import ToolProfile, ToolsConfig

MAIN = "main"
"""Id of the one agent that there is where none is configured."""


class UnknownAgent(KeyError):
    """No agent with this id is configured; the text names those that are."""

    def __init__(self, agent_id: str, known: tuple[str, ...]) -> None:
        self.agent_id = agent_id
        self.known = known
        super().__init__(f"no agent “{agent_id[:80]}” is configured; there are: {', '.join(known)}")

    def __str__(self) -> str:
        return str(self.args[0])


@dataclass(frozen=True, slots=True)
class ToolPolicy:
    """Which tools an agent has: those of the profile that `allow` matches (if set) and `deny` doesn't."""

    profile: ToolProfile
    allow: tuple[str, ...] | None
    """None: all of the profile. Already narrowed by `tools.allow`."""
    deny: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Subagents:
    """How sub-agents run that are spawned as, or by, one agent: its own settings, else the defaults."""

    model: ModelChoice | None
    """`agents.list[].subagents.model`, else `agents.defaults.subagents.model`; None: the agent's own."""
    thinking: Thinking | None
    """The same chain; None: none is asked for."""
    allow_agents: tuple[str, ...] | None
    """None: only the agent's own id; `*` stands for every configured one."""
    require_agent_id: bool
    max_children: int
    """Active children for each requester session."""
    max_spawn_depth: int
    run_timeout_seconds: int
    """0 = none."""
    archive_after_minutes: float
    """0 = never."""
    budget_usd: float | None
    on_restart: OnRestart


@dataclass(frozen=True, slots=True)
class Agent:
    """One agent with everything resolved."""

    id: str
    name: str
    workspace: Path
    model: ModelChoice | None
    """Its own, else the defaults', else that of the first provider with a key; None: no provider has one."""
    thinking: Thinking | None
    max_turns: int
    tools: ToolPolicy
    providers: Mapping[str, ProviderConfig]
    """By name, each complete: own entries, then shared ones, the default agent's, the environment's keys."""
    subagents: Subagents
    budget_usd: float | None
    settings: AgentSettings
    """What the configuration says about this agent alone."""

    def usable_providers(self) -> tuple[str, ...]:
        """The providers that calls may succeed at: with a key, or known to need none."""
        return tuple(name for name, provider in self.providers.items() if is_usable(name, provider))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What resolution needs beside the configuration's own text."""

    paths: Paths
    home: Path
    """What `~` stands for."""
    base: Path
    """The folder that relative workspaces are in: that of the configuration file."""
    keys: Mapping[str, EnvironmentKey]


@dataclass(frozen=True, slots=True)
class Agents:
    """All agents, in the order of the configuration."""

    by_id: Mapping[str, Agent]
    default_id: str


def resolve_agents(agents: AgentsConfig, tools: ToolsConfig, models: ModelsConfig, around: Surroundings) -> Agents:
    """Fills in what each agent leaves unset."""
    settings: dict[str, AgentSettings] = {entry.id: entry for entry in agents.list}
    settings |= {agent_id: entry for agent_id, entry in agents.entries.items() if agent_id not in settings}
    if not settings:
        settings[MAIN] = AgentSettings()
    default_id = next((agent_id for agent_id, entry in settings.items() if entry.default), next(iter(settings)))
    shared = (models.providers, settings[default_id].models.providers)
    by_id: dict[str, Agent] = {}
    for agent_id, own in settings.items():
        providers = _providers((own.models.providers, *shared), around.keys)
        workspace = _workspace(agent_id, own, agents, default_id, around)
        by_id[agent_id] = _agent(agent_id, own, agents, _policy(tools, own), providers, workspace)
    return Agents(MappingProxyType(by_id), default_id)


def _agent(
    agent_id: str,
    own: AgentSettings,
    agents: AgentsConfig,
    policy: ToolPolicy,
    providers: Mapping[str, ProviderConfig],
    workspace: Path,
) -> Agent:
    defaults = agents.defaults
    return Agent(
        id=agent_id,
        name=own.name or agent_id,
        workspace=workspace,
        model=own.model or defaults.model or _first_model(providers),
        thinking=own.thinking or defaults.thinking,
        max_turns=defaults.max_turns,
        tools=policy,
        providers=providers,
        subagents=_subagents(own, agents),
        budget_usd=own.budget_usd,
        settings=own,
    )


def _subagents(agent: AgentSettings, agents: AgentsConfig) -> Subagents:
    own, defaults = agent.subagents, agents.defaults.subagents

    def pick(name: str) -> object:
        value: object = getattr(own, name)
        return getattr(defaults, name) if value is None else value

    merged = defaults.model_copy(update={name: pick(name) for name in type(own).model_fields})
    return Subagents(
        model=merged.model,
        thinking=merged.thinking,
        allow_agents=merged.allow_agents,
        require_agent_id=merged.require_agent_id,
        max_children=merged.max_children_per_agent,
        max_spawn_depth=merged.max_spawn_depth,
        run_timeout_seconds=merged.run_timeout_seconds,
        archive_after_minutes=merged.archive_after_minutes,
        budget_usd=merged.budget_usd,
        on_restart=merged.on_restart,
    )


def _workspace(agent_id: str, own: AgentSettings, agents: AgentsConfig, default_id: str, around: Surroundings) -> Path:
    is_default = agent_id == default_id
    named = own.workspace or (agents.defaults.workspace if is_default else None)
    if named is None:
        return around.paths.workspace(agent_id, default=is_default)
    return around.base / expand_home(named, around.home)


def _policy(tools: ToolsConfig, own: AgentSettings) -> ToolPolicy:
    return ToolPolicy(
        profile=own.tools.profile or tools.profile,
        allow=_narrow(tools.allow, own.tools.allow),
        deny=tuple(dict.fromkeys((*tools.deny, *own.tools.deny))),
    )


def _narrow(shared: tuple[str, ...] | None, own: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """What both lists allow; a name or pattern of one stays if the other has it or matches it."""
    if shared is None or own is None:
        return shared if own is None else own
    both = [name for name in own if any(fnmatchcase(name, pattern) for pattern in shared)]
    both += [name for name in shared if any(fnmatchcase(name, pattern) for pattern in own)]
    return tuple(dict.fromkeys(both))


def _providers(
    layers: tuple[Mapping[str, ProviderConfig], ...], keys: Mapping[str, EnvironmentKey]
) -> Mapping[str, ProviderConfig]:
    names = dict.fromkeys(name for layer in (*layers, keys) for name in layer)
    return MappingProxyType(
        {
            name: complete(name, tuple(layer[name] for layer in layers if name in layer), keys.get(name))
            for name in names
        }
    )


def _first_model(providers: Mapping[str, ProviderConfig]) -> ModelChoice | None:
    for name, provider in providers.items():
        known = KNOWN_PROVIDERS.get(name)
        model = provider.models[0].id if provider.models else known.default_model if known else None
        if model and is_usable(name, provider):
            return ModelChoice(primary=f"{name}/{model}")
    return None
