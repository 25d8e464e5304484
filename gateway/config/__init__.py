"""The configuration: one frozen object made from `config.json5`, the environment and the defaults.

Ask `load_config` for it, and `config.agent(id)` for an agent with everything resolved. Nothing here writes a
file.
"""

from gateway.config.base import ModelChoice, OnRestart, Thinking
from gateway.config.load import load_config, parse_config
from gateway.config.models import Config
from gateway.config.names import ModelName, UnknownModel
from gateway.config.paths import Paths
from gateway.config.problems import ConfigError, Problem
from gateway.config.providers import ModelCost, ModelEntry, ProviderConfig
from gateway.config.reload import diff_restart
from gateway.config.resolve import Agent, Subagents, ToolPolicy, UnknownAgent

__all__ = [
    "Agent",
    "Config",
    "ConfigError",
    "ModelChoice",
    "ModelCost",
    "ModelEntry",
    "ModelName",
    "OnRestart",
    "Paths",
    "Problem",
    "ProviderConfig",
    "Subagents",
    "Thinking",
    "ToolPolicy",
    "UnknownAgent",
    "UnknownModel",
    "diff_restart",
    "load_config",
    "parse_config",
]
