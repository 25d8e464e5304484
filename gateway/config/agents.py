"""The `agents` section: defaults, and one entry for each agent as a list or as a record."""

from pydantic import Field

from gateway.config.base import (
    AgentId,
    AgentPattern,
    ModelSetting,
    Name,
    OnRestart,
    PathText,
    Section,
    Thinking,
    Usd,
    Whole,
)
from gateway.config.providers import Minutes, ProviderMap
from gateway.config.tools import ToolProfile


class SubagentDefaults(Section):
    """How sub-agents run, unless an agent says otherwise (`spec/subagents.md`)."""

    model: ModelSetting | None = Field(
        default=None, description="Model of sub-agents; unset: that of the target agent."
    )
    thinking: Thinking | None = Field(
        default=None, description="Thinking level of sub-agents; unset: none is asked for."
    )
    max_concurrent: Whole = Field(
        default=8, ge=1, le=1000, description="Sub-agents that run at once; more of them queue."
    )
    archive_after_minutes: Minutes = Field(
        default=60,
        description="Minutes from a sub-agent's end to its archiving, fractions allowed; 0 = never.",
    )
    max_spawn_depth: Whole = Field(default=1, ge=1, le=5, description="Levels of nesting; 1 = sub-agents spawn none.")
    max_children_per_agent: Whole = Field(
        default=5, ge=1, le=1000, description="Active sub-agents that one session may have at a time."
    )
    run_timeout_seconds: Whole = Field(
        default=0, ge=0, le=31_536_000, description="Seconds after which a sub-agent is ended; 0 = no limit."
    )
    allow_agents: tuple[AgentPattern, ...] | None = Field(
        default=None,
        description='Agents that may be spawned; unset: only the own one, ["*"]: every configured one.',
    )
    require_agent_id: bool = Field(default=False, description="Refuse a spawn that names no agent.")
    budget_usd: Usd | None = Field(
        default=None, description="Most that one sub-agent may spend, in USD; unset: no limit."
    )
    on_restart: OnRestart = Field(default="resume", description="What becomes of running sub-agents after a restart.")


class AgentSubagents(Section):
    """What one agent says about sub-agents; whatever is unset comes from `agents.defaults.subagents`."""

    model: ModelSetting | None = Field(default=None, description="Model of sub-agents that run as this agent.")
    thinking: Thinking | None = Field(default=None, description="Thinking level of sub-agents that run as this agent.")
    archive_after_minutes: Minutes | None = Field(
        default=None, description="Minutes from the end to archiving; 0 = never."
    )
    max_spawn_depth: Whole | None = Field(default=None, ge=1, le=5, description="Levels of nesting.")
    max_children_per_agent: Whole | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="Active sub-agents that one session of this agent may have at a time.",
    )
    run_timeout_seconds: Whole | None = Field(
        default=None,
        ge=0,
        le=31_536_000,
        description="Seconds after which such a sub-agent is ended; 0 = no limit.",
    )
    allow_agents: tuple[AgentPattern, ...] | None = Field(
        default=None, description="Agents that this one may spawn; replaces the list of the defaults."
    )
    require_agent_id: bool | None = Field(default=None, description="Refuse a spawn by this agent that names no agent.")
    budget_usd: Usd | None = Field(default=None, description="Most that one such sub-agent may spend, in USD.")
    on_restart: OnRestart | None = Field(default=None, description="What becomes of them after a restart.")


class AgentDefaults(Section):
    """What holds for every agent that doesn't say otherwise."""

    model: ModelSetting | None = Field(
        default=None,
        description="The model; unset: that of the first provider with a key, else the offline demo.",
    )
    thinking: Thinking | None = Field(default=None, description="The thinking level; unset: the provider's own.")
    workspace: PathText | None = Field(
        default=None, description="Workspace of the default agent; unset: `workspace` in the state folder."
    )
    max_turns: Whole = Field(default=100, ge=1, le=10_000, description="Model calls in one turn before it is ended.")
    max_concurrent: Whole = Field(default=4, ge=1, le=1000, description="Conversations that are answered at once.")
    subagents: SubagentDefaults = Field(default=SubagentDefaults(), description="How sub-agents run.")


class AgentTools(Section):
    """Which tools one agent has; it can only narrow what `tools` gives to all."""

    profile: ToolProfile | None = Field(default=None, description="The set of tools to begin with.")
    allow: tuple[Name, ...] | None = Field(default=None, description="Only these tools, if `tools.allow` has them too.")
    deny: tuple[Name, ...] = Field(
        default=(), description="Tools that this agent never has, beside those of `tools.deny`."
    )


class AgentModels(Section):
    """What one agent has of its own to reach models."""

    providers: ProviderMap = Field(
        default={},
        description="Providers and keys of this agent; they go before those of `models.providers`.",
    )


class AgentSettings(Section):
    """One agent, without its id."""

    default: bool = Field(default=False, description="This agent answers where nothing chooses another.")
    name: Name | None = Field(default=None, description="Name for people; unset: the id.")
    workspace: PathText | None = Field(
        default=None,
        description="Its folder; unset: `workspace` (default agent) or `workspace-<id>` in the state folder.",
    )
    model: ModelSetting | None = Field(default=None, description="Its model; unset: `agents.defaults.model`.")
    thinking: Thinking | None = Field(
        default=None, description="Its thinking level; unset: `agents.defaults.thinking`."
    )
    models: AgentModels = Field(default=AgentModels(), description="Providers and keys of its own.")
    subagents: AgentSubagents = Field(default=AgentSubagents(), description="What it says about sub-agents.")
    tools: AgentTools = Field(default=AgentTools(), description="Which tools it has.")
    budget_usd: Usd | None = Field(
        default=None,
        description="Most that its sessions may spend in a day (UTC), in USD; its models need prices; unset: no limit.",
    )


class AgentEntry(AgentSettings):
    """One agent of `agents.list`."""

    id: AgentId = Field(description="Its id: letters, digits, “-” and “_”; upper and lower case are the same.")


class SubagentDef(Section):
    """A named kind of sub-agent, for jobs (`--subagent-def`); what it leaves out is as for any sub-agent."""

    prompt: Name | None = Field(default=None, description="What it is and how it works; goes into its system prompt.")
    agent_id: AgentId | None = Field(default=None, description="The agent that it runs as.")
    tools: tuple[Name, ...] | None = Field(default=None, description="Only these tools.")
    model: Name | None = Field(default=None, description="Its model.")
    thinking: Thinking | None = Field(default=None, description="Its thinking level.")
    max_turns: Whole | None = Field(default=None, ge=1, le=10_000, description="Model calls before it is ended.")
    run_timeout_seconds: Whole | None = Field(
        default=None, ge=0, le=31_536_000, description="Seconds after which it is ended; 0 = no limit."
    )
    budget_usd: Usd | None = Field(default=None, description="Most that one may spend, in USD.")


class AgentsConfig(Section):
    """Who answers."""

    defaults: AgentDefaults = Field(default=AgentDefaults(), description="What holds for every agent.")
    list: tuple[AgentEntry, ...] = Field(
        default=(), description="The agents; with none there is one with the id `main`."
    )
    subagent_defs: dict[str, SubagentDef] = Field(
        default={}, description="Named kinds of sub-agents, by a name of your choice."
    )
    entries: dict[AgentId, AgentSettings] = Field(default={}, description="The same as a record: the key is the id.")
