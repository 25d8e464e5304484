"""The whole configuration as one frozen object, and the views on it that the rest of Laneway uses.

Made by `load_config` (from a file) or `parse_config` (from data). A new configuration is a new
object; nothing in one ever changes.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

from pydantic import Field, PrivateAttr, SecretStr

from gateway.config import checks
from gateway.config.agents import AgentsConfig
from gateway.config.base import Name, Section
from gateway.config.channels import Binding, ChannelsConfig
from gateway.config.jobs import JobsConfig
from gateway.config.mcp import McpConfig
from gateway.config.names import ModelName, find_model
from gateway.config.paths import Paths
from gateway.config.problems import Locator
from gateway.config.providers import EnvironmentKey, ModelsConfig
from gateway.config.resolve import Agent, Agents, Surroundings, UnknownAgent, resolve_agents
from gateway.config.server import (
    DatabaseConfig,
    GatewayConfig,
    MessagesConfig,
    PluginsConfig,
    RetentionConfig,
    SessionConfig,
    WorkersConfig,
)
from gateway.config.tools import ToolsConfig
from gateway.config.tree import Shape, leaves

SHORTEST_SECRET = 6
"""Texts that are shorter can't be told from ordinary words, and aren't redacted."""

_SCHEME = re.compile(r"(?:bearer|basic|token)\s+", re.IGNORECASE)
_SECRET_WORDS = ("KEY", "TOKEN", "SECRET", "PASS", "CREDENTIAL")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a configuration came from and what it was completed with."""

    paths: Paths
    home: Path
    source: Path | None = None
    locator: Locator = field(default_factory=Locator)
    keys: Mapping[str, EnvironmentKey] = field(default_factory=dict[str, EnvironmentKey])
    """Keys of providers found in the environment."""
    variables: Mapping[str, SecretStr] = field(default_factory=dict[str, SecretStr])
    """Variables that `${…}` put into texts, with their values."""


class Config(Section):
    """Everything that can be configured."""

    shape: ClassVar[Shape]
    """The shape of the whole configuration."""

    agents: AgentsConfig = Field(default=AgentsConfig(), description="Who answers.")
    tools: ToolsConfig = Field(default=ToolsConfig(), description="Which tools there are.")
    models: ModelsConfig = Field(default=ModelsConfig(), description="Which models there are and how they are reached.")
    messages: MessagesConfig = Field(default=MessagesConfig(), description="How messages are taken in.")
    session: SessionConfig = Field(default=SessionConfig(), description="How conversations are told apart.")
    jobs: JobsConfig = Field(default=JobsConfig(), description="Background work of every kind.")
    mcp: McpConfig = Field(default=McpConfig(), description="MCP servers whose tools the agents may use.")
    channels: ChannelsConfig = Field(default=ChannelsConfig(), description="The platforms that people write on.")
    bindings: tuple[Binding, ...] = Field(
        default=(),
        description="Which agent answers where: the most exact match counts (peer, chat, account, channel).",
    )
    owners: tuple[Name, ...] = Field(
        default=(),
        description="People who may do everything, as `slack:U…`, `telegram:123`; who sits at the terminal always may.",
    )
    gateway: GatewayConfig = Field(default=GatewayConfig(), description="Where the gateway listens.")
    database: DatabaseConfig = Field(default=DatabaseConfig(), description="Where everything is kept.")
    workers: WorkersConfig = Field(default=WorkersConfig(), description="Several processes on one database.")
    retention: RetentionConfig = Field(
        default=RetentionConfig(), description="When what is archived is deleted for good."
    )
    plugins: PluginsConfig = Field(default=PluginsConfig(), description="Which plugins are loaded.")

    _origin: Origin | None = PrivateAttr(default=None)

    def model_post_init(self, context: Any, /) -> None:
        """Keeps the `Origin` that validation was given as its context."""
        if isinstance(context, Origin):
            self._origin = context

    @property
    def origin(self) -> Origin:
        """Where this configuration came from.

        Raises:
            RuntimeError: it was made by hand instead of by `load_config` or `parse_config`.
        """
        if self._origin is None:
            raise RuntimeError("this Config has no origin: make it with load_config or parse_config")
        return self._origin

    @property
    def source(self) -> Path | None:
        """The file it was read from; None: there was none."""
        return self.origin.source

    @property
    def paths(self) -> Paths:
        """The state folder that it belongs to."""
        return self.origin.paths

    @property
    def substituted_variables(self) -> tuple[str, ...]:
        """Names of the environment variables that `${…}` put into its texts."""
        return tuple(sorted(self.origin.variables))

    @cached_property
    def _agents(self) -> Agents:
        source = self.source
        around = Surroundings(
            self.paths,
            self.origin.home,
            source.absolute().parent if source else self.paths.state,
            self.origin.keys,
        )
        return resolve_agents(self.agents, self.tools, self.models, around)

    @property
    def default_agent_id(self) -> str:
        """The agent that answers where nothing chooses another."""
        return self._agents.default_id

    def agent_ids(self) -> tuple[str, ...]:
        """Ids of all agents, in the order of the configuration; never empty."""
        return tuple(self._agents.by_id)

    def agent(self, agent_id: str) -> Agent:
        """An agent with everything resolved; the case of the id doesn't matter.

        Raises:
            UnknownAgent: none has this id.
        """
        agent = self._agents.by_id.get(agent_id.lower())
        if agent is None:
            raise UnknownAgent(agent_id, self.agent_ids())
        return agent

    def model_name(self, agent_id: str, text: str) -> ModelName:
        """The model that `text` names for this agent: `provider/model`, an alias, or a bare name.

        Raises:
            UnknownAgent: there is no such agent.
            UnknownModel: nothing, or more than one model, has that name.
        """
        return find_model(text, self.agent(agent_id).providers, self.models.aliases)

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed but looks wrong, each with its place."""
        found = (
            *checks.agent_warnings(self.agents, self.agent_ids(), self.origin.locator),
            *checks.token_warnings(self.gateway, self.origin.locator),
            *checks.binding_warnings(self.bindings, self.agent_ids(), self.origin.locator),
            *checks.owner_warnings(self.owners, self.origin.locator),
        )
        return tuple(str(problem) for problem in found)

    def tool_name_warnings(self, known: Iterable[str]) -> tuple[str, ...]:
        """The names in allow and deny lists that no tool of `known` has."""
        return tuple(str(p) for p in checks.tool_warnings(self.agents, self.tools, known, self.origin.locator))

    @cached_property
    def _secrets(self) -> frozenset[str]:
        found = {key.value.get_secret_value() for key in self.origin.keys.values()}
        for _, _, value in leaves(self, type(self).shape):
            if isinstance(value, SecretStr):
                found |= _parts(value.get_secret_value())
            elif isinstance(value, str) and "://" in value:
                found |= _password(value)
        for name, value in self.origin.variables.items():
            if any(word in name.upper() for word in _SECRET_WORDS):
                found.add(value.get_secret_value())
        return frozenset(secret for secret in found if len(secret) >= SHORTEST_SECRET)

    def secret_values(self) -> frozenset[str]:
        """Every secret that this configuration knows, for redaction (`spec/architecture.md`, protocol 10)."""
        return self._secrets


Config.shape = Shape(section=Config)


def _parts(secret: str) -> set[str]:
    """A secret with its parts: of `Bearer x` also `x`, of an address its password."""
    scheme = _SCHEME.match(secret)
    return {secret, secret[scheme.end() :] if scheme else secret, *_password(secret)}


def _password(address: str) -> set[str]:
    try:
        password = urlsplit(address).password
    except ValueError:
        return set()
    return {password} if password else set()
