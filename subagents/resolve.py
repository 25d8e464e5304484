"""The resolution chains of a spawn: agent, model, thinking, timeout (spec/subagents.md, resolution chains)."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.agent.messages import ModelRef, ThinkingLevel
from gateway.agent.resolve import DEMO_MODEL, fallback_models, find_model, resolve_thinking
from gateway.config import Agent, Config
from gateway.store.sessions import Session


@dataclass(frozen=True, slots=True)
class ResolvedModel:
    """The model that a child will be asked with."""

    ref: ModelRef
    fallbacks: tuple[str, ...]
    """Names; empty for an explicit model, which is strict."""


def resolve_model(config: Config, agent: Agent, requester: Session | None, explicit: str | None) -> ResolvedModel:
    """Explicit → the target's or the defaults' `subagents.model` → the live session's `/model` → the target's own.

    Raises:
        UnknownModel: the first match can't be used; never a silent default.
    """
    if explicit is not None:
        return ResolvedModel(find_model(config, agent.id, explicit), ())
    live = requester.model if requester is not None and requester.agent_id == agent.id else None
    if agent.subagents.model is None and live is not None:
        return ResolvedModel(find_model(config, agent.id, live), ())
    choice = agent.subagents.model or agent.model
    if choice is None:
        return ResolvedModel(DEMO_MODEL, ())
    fallbacks = fallback_models(config, agent.id, choice)
    return ResolvedModel(find_model(config, agent.id, choice.primary), tuple(ref.name for ref in fallbacks))


def resolve_child_thinking(agent: Agent, explicit: str | None) -> ThinkingLevel | None:
    """Explicit → the target's or the defaults' `subagents.thinking` → none.

    Raises:
        UnknownThinkingLevel: the explicit one isn't a level; the text lists them.
    """
    return resolve_thinking(explicit, agent.subagents.thinking)


def resolve_timeout_ms(agent: Agent, explicit: int | None) -> int:
    """Explicit (also 0) → `subagents.runTimeoutSeconds` of the target → of the defaults → 0. In milliseconds."""
    return (agent.subagents.run_timeout_seconds if explicit is None else explicit) * 1000
