"""sessions_spawn: check → admit → create, in one transaction with the tool's own result (spec/subagents.md 1–8).

Nothing created stays behind after a refusal: the checks only read, and what follows them is one unit of work.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from gateway.agent.compaction import fork_too_large
from gateway.agent.pricing import price_of
from gateway.agent.prompt import prompt_messages
from gateway.agent.resolve import UnknownThinkingLevel
from gateway.config import Agent, Config, UnknownAgent, UnknownModel
from gateway.plugins import Registry
from gateway.store import inbox, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.sessions import Session
from gateway.tools import policy
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from gateway.views import LABEL_CHARS, capped
from subagents.resolve import ResolvedModel, resolve_child_thinking, resolve_model, resolve_timeout_ms
from subagents.schema import schema_fault

LANE = "subagent"
KIND = "subagent"
DEFAULT_LABEL_CHARS = 48
LONGEST_TIMEOUT = 31_536_000
"""seconds; the most that the configuration allows as well"""
LARGEST_BUDGET_USD = 1_000_000
LARGEST_BUDGET_TOKENS = 10**12
AGENT_ID = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
NOTE = "It works on its own and announces its result here. Don't wait and don't poll: end your turn."


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

    @field_validator("task")
    @classmethod
    def _task(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must say what to do; it is blank")
        return value.strip()


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

    session: Session
    run: Run | None
    route: str | None
    """Of the turn or command: the announcement is answered there."""
    upto: int
    """The last seq of his transcript that a fork may see."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """A spawn that has passed every check, with everything resolved."""

    agent: Agent
    model: ResolvedModel
    thinking: str | None
    timeout_ms: int
    cwd: Path | None
    budget_micro: int | None


class Spawner:
    """Creates sub-agents. Its methods are units of work."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def spawn(self, tx: Transaction, requester: Requester, args: SpawnArguments, **links: str | None) -> dict[str, Any]:
        """Checks, admits and creates; returns the accepted result.

        Args:
            tx: the unit of work.
            requester: who asks.
            args: what for.
            links: `retry_of`, where the task is run again.

        Raises:
            Refused: with what would be allowed.
        """
        admitted = self._admit(tx, requester, args)
        run = self._create(tx, requester, args, admitted, links)
        return self._accepted(tx, run, self._compacts(tx, requester, args, admitted))

    def _admit(self, tx: Transaction, requester: Requester, args: SpawnArguments) -> Admitted:
        """The checks, in the order of spec/subagents.md 3."""
        config = self._registry.gateway.config
        own = _agent(config, requester.session.agent_id)
        agent_id = _syntactic(args.agent_id)
        _check_depth(own, requester.session)
        _check_children(tx, own, requester.session)
        agent = _target(config, own, agent_id)
        try:
            model = resolve_model(config, agent, requester.session, args.model)
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

    def _create(
        self,
        tx: Transaction,
        requester: Requester,
        args: SpawnArguments,
        admitted: Admitted,
        links: dict[str, str | None],
    ) -> Run:
        parent, agent = requester.session, admitted.agent
        run_id = str(uuid.uuid4())
        fork = _fork(tx, requester) if args.context == "fork" else {}
        session = sessions.create(
            tx,
            key=f"agent:{agent.id}:subagent:{uuid.uuid4()}",
            agent_id=agent.id,
            kind="subagent",
            lane=LANE,
            parent_id=parent.id,
            run_id=run_id,
            depth=parent.depth + 1,
            owned=parent.owned,
            cwd=str(admitted.cwd) if admitted.cwd else None,
            **fork,
        )
        run = runs.create(
            tx,
            id=run_id,
            kind=KIND,
            session_id=session.id,
            session_key=session.key,
            requester_id=parent.id,
            requester_key=parent.key,
            parent_run_id=requester.run.id if requester.run else None,
            route=requester.route,
            agent_id=agent.id,
            label=capped((args.label or "").strip() or args.task[:DEFAULT_LABEL_CHARS], LABEL_CHARS),
            task=args.task,
            depth=session.depth,
            model=admitted.model.ref.name,
            fallbacks=list(admitted.model.fallbacks) or None,
            thinking=admitted.thinking,
            cleanup=args.cleanup,
            context=args.context,
            timeout_ms=admitted.timeout_ms,
            budget_micro=admitted.budget_micro,
            budget_tokens=args.budget_tokens,
            output_schema=args.output_schema,
            denied_tools=sorted(self._denied(requester, agent)) or None,
            status=Status.QUEUED,
            **links,
        )
        self.begin(tx, session, run, args.task)
        return run

    def begin(self, tx: Transaction, session: Session, run: Run, message: str) -> None:
        """Gives a run its first message and asks for its activation."""
        inbox.put(tx, session.id, "task", f"task:{run.id}", message, route=run.route, run_id=run.id)
        self._registry.gateway.lanes.enqueue(tx, session.lane, session.id)
        self._registry.gateway.lifecycle.tell(tx, run.id, "created")

    def _denied(self, requester: Requester, agent: Agent) -> frozenset[str]:
        """What the child lacks because its requester does (spec/subagents.md 11)."""
        known = self._registry.tools
        own = requester.session
        if agent.id == own.agent_id:
            has = self._registry.gateway.settings.toolset(own, requester.run).tools
            return frozenset(known) - frozenset(has)
        denied = _agent(self._registry.gateway.config, own.agent_id).tools.deny
        return policy.matching(known, denied)

    def _compacts(self, tx: Transaction, requester: Requester, args: SpawnArguments, admitted: Admitted) -> bool:
        """Whether a forked transcript is over half of the child's window, so that it is summarised first."""
        if args.context != "fork":
            return False
        rows = transcript.load(tx, requester.session.id, after=0, upto=requester.upto)
        return fork_too_large(prompt_messages(rows, admitted.model.ref), admitted.model.ref)

    def _accepted(self, tx: Transaction, run: Run, compacts: bool) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "status": "accepted",
            "runId": run.id,
            "childSessionKey": run.session_key,
            "mode": "run",
            "context": run.context,
            "label": run.label,
            "resolvedModel": run.model,
            "note": NOTE,
        }
        if compacts:
            answer["compacted"] = "the conversation is over half of the child's window; it gets a summary of it"
        position = self._queue_position(tx, run)
        if position:
            cap = self._registry.gateway.lanes.stats()[LANE].cap
            answer["queued"] = (
                f"position {position} ({cap} sub-agents run at once: agents.defaults.subagents.maxConcurrent)"
            )
        return answer

    def _queue_position(self, tx: Transaction, run: Run) -> int:
        """Its place among those that wait for a slot; 0 if one is free. Read from the table, so that a batch of
        spawns that are committed together counts right."""
        cap = self._registry.gateway.lanes.stats()[LANE].cap
        running, ahead = runs.lane_load(tx, run)
        return max(0, ahead + 1 - max(0, cap - running))


def _agent(config: Config, agent_id: str) -> Agent:
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
            f"`agentId` {capped(agent_id, 80)!r} is not an agent id: 1 to 64 of a-z 0-9 _ -, beginning with a letter or digit"
        )
    return lower


def _check_depth(own: Agent, session: Session) -> None:
    limit = own.subagents.max_spawn_depth
    if session.depth >= limit:
        raise Refused(_too_deep(session.depth, limit), "forbidden")


def _too_deep(depth: int, limit: int) -> str:
    return (
        f"sub-agents can't nest any deeper: current depth {depth}, max {limit} "
        "(agents.defaults.subagents.maxSpawnDepth)"
    )


def _why_denied(context: ToolContext) -> ToolResult | None:
    """A child that may not nest doesn't have the tool; if it calls it all the same it is told the reason."""
    limit = context.agent.subagents.max_spawn_depth
    return refusal(_too_deep(context.depth, limit), "forbidden") if context.depth >= limit else None


def _check_children(tx: Transaction, own: Agent, session: Session) -> None:
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
    return _agent(config, wanted)


def _budget(
    tx: Transaction, requester: Requester, agent: Agent, model: ResolvedModel, explicit: float | None
) -> int | None:
    """micro-USD. Where a budget watches, its own or one above it, the model must have a price."""
    budget = agent.subagents.budget_usd if explicit is None else explicit
    above = [requester.run, *runs.ancestors(tx, requester.run)] if requester.run else []
    watched = budget is not None or any(each.budget_micro is not None for each in above)
    if watched and price_of(model.ref) is None:
        raise Refused(
            f"`budgetUsd` needs a price, and none is known for {model.ref.name}: set "
            f"models.providers.{model.ref.provider}.models[].cost, or use budgetTokens"
        )
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


def _fork(tx: Transaction, requester: Requester) -> dict[str, int | str]:
    """A reference to the requester's transcript; the child's own rows are numbered after it."""
    session = requester.session
    first = 1
    if session.summary_seq is not None:
        summary = transcript.page(tx, session.id, limit=1, after=session.summary_seq - 1)
        first = (summary[0].summary_upto or 0) + 1 if summary else 1
    return {
        "fork_session_id": session.id,
        "fork_from": first,
        "fork_upto": requester.upto,
        "next_seq": requester.upto + 1,
    }


def spawn_tool(registry: Registry, spawner: Spawner) -> Tool[SpawnArguments]:
    """The tool `sessions_spawn`."""

    def apply(tx: Transaction, context: ToolContext, args: SpawnArguments) -> ToolResult:
        session = sessions.get(tx, context.session_id)
        run = runs.find(tx, session.run_id) if session.run_id else None
        requester = Requester(session, run, session.turn_route, context.assistant_seq - 1)
        try:
            return ToolResult(json.dumps(spawner.spawn(tx, requester, args), ensure_ascii=False))
        except Refused as refused:
            return refusal(str(refused), refused.status)

    return Tool(
        name="sessions_spawn",
        description=(
            "Hand a task to a sub-agent that works beside this conversation and announces its result here. "
            "Returns at once."
        ),
        args=SpawnArguments,
        apply=apply,
        renamed={
            "timeoutSeconds": "use runTimeoutSeconds",
            "timeout": "use runTimeoutSeconds",
            "prompt": "use task",
            "message": "use task",
            "agent": "use agentId",
            "name": "use label",
            **dict.fromkeys(
                ("channel", "to", "threadId", "accountId", "deliver", "target", "chatId", "replyTo"),
                "results always go where the request came from; leave it out",
            ),
        },
        on_bad_arguments=lambda text: refusal(text, "error"),
        on_denied=_why_denied,
    )


def refusal(text: str, status: str) -> ToolResult:
    """A spawn's refusal, as the model reads it."""
    return ToolResult(json.dumps({"status": status, "error": text}, ensure_ascii=False), error=True)
