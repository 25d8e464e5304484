"""Admission: what a spawn asks for, and whether it may be (spec/subagents.md 3–8).

The checks only read, and come in the order of the spec; nothing is created here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gateway.agent.pricing import no_price, price_of
from gateway.agent.resolve import UnknownThinkingLevel
from gateway.config import Agent, Config, UnknownAgent, UnknownModel
from gateway.store import runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.sessions import Session
from gateway.tools.base import ToolArguments
from gateway.views import LABEL_CHARS, capped
from subagents.resolve import ResolvedModel, resolve_child_thinking, resolve_model, resolve_timeout_ms
from subagents.schema import schema_fault

LONGEST_TIMEOUT = 31_536_000
"""seconds; the most that the configuration allows as well"""
DEFAULT_LABEL_CHARS = 48
LARGEST_BUDGET_USD = 1_000_000
LARGEST_BUDGET_TOKENS = 10**12
AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


class SpawnArguments(ToolArguments):
    """Arguments of `sessions_spawn`."""

    task: str = Field(description="What the sub-agent should do, with all that it needs to know: it sees nothing else.")
    label: str | None = Field(default=None, description="Short name for people.")
    agent_id: str | None = Field(default=None, description="Another agent, if allowed (agents_list).")
    model: str | None = Field(default=None, description="provider/model; only if the user asked for one.")
    thinking: str | None = Field(default=None, description="off, minimal, low, medium, high, xhigh or max.")
    run_timeout_seconds: int | None = Field(default=None, ge=0, le=LONGEST_TIMEOUT, description="0 = no limit.")
    cleanup: Literal["keep", "delete"] = Field(
        default="keep", description="delete: archive right after the announcement."
    )
    context: Literal["isolated", "fork"] = Field(default="isolated", description="fork: starts with this conversation.")
    cwd: str | None = Field(default=None, description="Folder to work in.")
    budget_usd: float | None = Field(default=None, gt=0, le=LARGEST_BUDGET_USD)
    budget_tokens: int | None = Field(default=None, gt=0, le=LARGEST_BUDGET_TOKENS)
    output_schema: dict[str, Any] | None = Field(default=None, description="JSON Schema that the result must fit.")
    thread: bool = Field(default=False, description="Open a thread of its own, where people can talk with it.")
    mode: Literal["run", "session"] | None = Field(
        default=None, description="session (with thread): it stays for follow-ups after its result."
    )

    @field_validator("task")
    @classmethod
    def _task(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must say what to do; it is blank")
        return value.strip()

    @model_validator(mode="after")
    def _room(self) -> Self:
        if self.mode == "session" and not self.thread:
            raise ValueError('`mode: "session"` needs `thread: true`: follow-ups are written in the thread')
        if self.keeps_session and self.cleanup == "delete":
            raise ValueError('`cleanup: "delete"` and `mode: "session"` exclude each other; leave one out')
        return self

    @property
    def keeps_session(self) -> bool:
        """Whether its session goes on in its thread after the run; the default with `thread: true`."""
        return self.thread and self.mode != "run"


def label_of(args: SpawnArguments) -> str:
    """What people call it: its label, or the beginning of its task."""
    return capped((args.label or "").strip() or args.task[:DEFAULT_LABEL_CHARS], LABEL_CHARS)


class Refused(Exception):
    """The spawn is not to be.

    Args:
        status: `forbidden` (a rule says no) or `error` (the arguments are wrong).
    """

    def __init__(self, text: str, status: Literal["forbidden", "error"] = "error") -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, and from where."""

    session: Session | None
    """None: nobody, the job was submitted from outside any conversation."""
    run: Run | None
    route: str | None
    """Of the turn or command: the announcement is answered there."""
    upto: int
    """The last seq of his transcript that a fork may see."""
    trusted: bool = True
    """What he asks for may write files and run commands."""

    @property
    def conversation(self) -> Session | None:
        """His session, if he is a conversation or a sub-agent and no job: their limits hold for him."""
        return self.session if self.session is not None and self.session.kind != "job" else None


@dataclass(frozen=True, slots=True)
class Admitted:
    """A spawn that has passed every check, with everything resolved."""

    agent: Agent
    model: ResolvedModel
    thinking: str | None
    timeout_ms: int
    cwd: Path | None
    budget_micro: int | None


def admit(config: Config, tx: Transaction, requester: Requester, args: SpawnArguments) -> Admitted:
    """The checks, in the order of spec/subagents.md 3.

    Raises:
        Refused: with what would be allowed.
    """
    asker = requester.conversation
    own = agent_named(config, requester.session.agent_id if requester.session else config.default_agent_id)
    agent_id = _syntactic(args.agent_id)
    if asker is not None:
        _check_depth(own, asker)
        _check_children(tx, own, asker)
    agent = _target(config, own, agent_id) if asker is not None else agent_named(config, agent_id or own.id)
    try:
        model = resolve_model(config, agent, asker, args.model)
        thinking = resolve_child_thinking(agent, args.thinking)
    except (UnknownModel, UnknownThinkingLevel) as error:
        raise Refused(str(error)) from None
    if args.context == "fork" and agent.id != own.id:
        raise Refused(f'context "fork" needs the same agent: this is `{own.id}`, asked for is `{agent.id}`')
    if args.output_schema is not None and (fault := schema_fault(args.output_schema)):
        raise Refused(f"`outputSchema` is not a JSON Schema: {fault}")
    budget = _budget(tx, requester, agent, model, args.budget_usd)
    cwd = _folder(agent, args.cwd)
    return Admitted(agent, model, thinking, resolve_timeout_ms(agent, args.run_timeout_seconds), cwd, budget)


def agent_named(config: Config, agent_id: str) -> Agent:
    try:
        return config.agent(agent_id)
    except UnknownAgent as error:
        raise Refused(str(error)) from None


def _syntactic(agent_id: str | None) -> str | None:
    if agent_id is None:
        return None
    lower = agent_id.strip().lower()
    if not AGENT_ID.fullmatch(lower):
        raise Refused(
            f"`agentId` {capped(agent_id, 80)!r} is not an agent id: 1 to 64 of a-z 0-9 _ -, "
            "beginning with a letter or digit"
        )
    return lower


def _check_depth(own: Agent, session: Session) -> None:
    limit = own.subagents.max_spawn_depth
    if session.depth >= limit:
        raise Refused(too_deep(session.depth, limit), "forbidden")


def too_deep(depth: int, limit: int) -> str:
    return (
        f"sub-agents can't nest any deeper: current depth {depth}, max {limit} "
        "(agents.defaults.subagents.maxSpawnDepth)"
    )


def _check_children(tx: Transaction, own: Agent, session: Session) -> None:
    sessions.hold(tx, session.id)  # whoever counts its children is alone with them
    active, limit = runs.count_open(tx, session.id), own.subagents.max_children
    if active >= limit:
        raise Refused(
            f"this session has {active}/{limit} active sub-agents (agents.defaults.subagents.maxChildrenPerAgent); "
            "wait for an announcement, or stop one",
            "forbidden",
        )


def allowed_agents(config: Config, own: Agent) -> tuple[str, ...]:
    """Ids that an agent may spawn under: configured ones only (spec/subagents.md 4)."""
    allowed = own.subagents.allow_agents
    if allowed is None:
        return (own.id,)
    if "*" in allowed:
        return config.agent_ids()
    return tuple(agent_id for agent_id in config.agent_ids() if agent_id in allowed)


def _target(config: Config, own: Agent, agent_id: str | None) -> Agent:
    allowed = allowed_agents(config, own)
    named = ", ".join(allowed) or "none"
    if agent_id is None:
        if own.subagents.require_agent_id:
            raise Refused(f"`agentId` is required here (subagents.requireAgentId); allowed: {named}", "forbidden")
        if own.subagents.allow_agents is None or own.id in allowed:
            return own
    wanted = agent_id or own.id
    if wanted not in allowed:
        raise Refused(
            f"agent `{wanted}` is not allowed here (subagents.allowAgents of `{own.id}`); allowed: {named}", "forbidden"
        )
    return agent_named(config, wanted)


def _budget(
    tx: Transaction, requester: Requester, agent: Agent, model: ResolvedModel, explicit: float | None
) -> int | None:
    """micro-USD. Where a budget in USD watches, its own, one above it or its agent's, the model must have a price."""
    budget = agent.subagents.budget_usd if explicit is None else explicit
    above = [requester.run, *runs.ancestors(tx, requester.run)] if requester.run else []
    watched = budget is not None or any(each.budget_micro is not None for each in above)
    if (watched or agent.budget_usd is not None) and price_of(model.ref) is None:
        if watched:
            raise Refused(f"{no_price('`budgetUsd`', model.ref)}, or use budgetTokens")
        raise Refused(no_price(f"agents.list[].budgetUsd of agent `{agent.id}`", model.ref))
    return None if budget is None else max(1, round(budget * 1_000_000))


def _folder(agent: Agent, cwd: str | None) -> Path | None:
    if cwd is None:
        return None
    root = agent.workspace.resolve()
    try:
        folder = (root / cwd).resolve()
        found = folder.is_dir()
    except (OSError, ValueError) as error:  # too long, or with a NUL character
        raise Refused(f"`cwd` is not a path that can be used: {capped(str(error), 200)}") from None
    if not folder.is_relative_to(root):
        raise Refused(f"`cwd` must lie inside the workspace of `{agent.id}`, {root}")
    if not found:
        raise Refused(f"`cwd` is not a folder: {folder}")
    return folder
