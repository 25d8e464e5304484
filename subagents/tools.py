"""The tools with which an agent follows and steers its sub-agents: `subagents` and `agents_list`.

`subagents` is a store tool: its effect and its result are one transaction. A message never waits for its answer, so
that no turn hangs on a child; the answer comes with the announcement, or is read with `log`.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from gateway.commands.base import CommandError
from gateway.config import Config, UnknownModel
from gateway.lifecycle import agent_of
from gateway.plugins import Registry
from gateway.store import sessions
from gateway.store.database import Transaction
from gateway.store.sessions import Session
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from subagents import targets, texts
from subagents.admission import allowed_agents
from subagents.control import LOG_DEFAULT, LOG_MOST, Control, Origin
from subagents.resolve import resolve_model
from subagents.scope import Viewer
from subagents.session_tools import session_tools

MODEL = "agent"
"""The sender whose list an index of a model refers to."""
WHY = "stopped by the agent that asked for it"


class SubagentsArguments(ToolArguments):
    """Arguments of `subagents`."""

    action: Literal["list", "info", "log", "send", "steer", "stop"]
    target: str | None = Field(
        default=None, description="List number, run id prefix, session key, label or `last`; `all` for stop."
    )
    message: str | None = Field(default=None, description="For send and steer.")
    limit: int = Field(default=LOG_DEFAULT, ge=1, le=LOG_MOST, description="Messages of a log.")
    tools: bool = Field(default=False, description="With tool calls in a log.")


class AgentsListArguments(ToolArguments):
    """Arguments of `agents_list`: none."""


def subagent_tools(registry: Registry, control: Control) -> tuple[Tool[Any], ...]:
    """Every tool of sub-agents but `sessions_spawn`."""
    return (_subagents_tool(control), _agents_tool(registry), *session_tools(registry, control))


def _subagents_tool(control: Control) -> Tool[SubagentsArguments]:
    def apply(tx: Transaction, context: ToolContext, args: SubagentsArguments) -> ToolResult:
        viewer = Viewer(sessions.get(tx, context.session_id), MODEL)
        try:
            return ToolResult(_done(tx, control, viewer, context, args))
        except CommandError as error:
            return ToolResult(str(error), error=True)

    return Tool(
        name="subagents",
        description=(
            "See and steer your sub-agents. send and steer return at once: what a sub-agent answers comes with its "
            "announcement or is read with log. A message to one that has finished continues it as a new run."
        ),
        args=SubagentsArguments,
        apply=apply,
        renamed={"id": "use target", "runId": "use target", "label": "use target", "text": "use message"},
    )


def _done(tx: Transaction, control: Control, viewer: Viewer, context: ToolContext, args: SubagentsArguments) -> str:
    """The result of one call.

    Raises:
        CommandError: it can't be done.
    """
    target = args.target or ""
    if args.action == "list":
        return texts.fenced("The sub-agents of this session.", control.list(tx, viewer).text)
    if args.action == "stop" and target.strip().lower() == "all":
        return control.stop_all(tx, viewer, WHY).text
    run = targets.resolve(tx, viewer, target)
    if args.action == "info":
        return texts.fenced("One sub-agent.", control.info(tx, run).text)
    if args.action == "log":
        return texts.fenced(
            "The last messages of a sub-agent.", control.log(tx, run, args.limit, tools=args.tools).text
        )
    if args.action == "stop":
        return control.stop(tx, run, WHY).text
    steer = args.action == "steer"
    sent = control.send(tx, run, args.message or "", _origin(viewer, context), steer=steer)
    return f"{control.sent(tx, sent, steer=steer).text} Its answer comes with its announcement; don't wait for it."


def _origin(viewer: Viewer, context: ToolContext) -> Origin:
    route = viewer.session.turn_route if viewer.session else None
    call = f"call:{context.session_id}:{context.assistant_seq}:{context.call_index}"
    return Origin(route, f"agent:{context.agent.id}", call)


def _agents_tool(registry: Registry) -> Tool[AgentsListArguments]:
    async def run(context: ToolContext, _args: AgentsListArguments) -> ToolResult:
        session = await registry.gateway.database.read(sessions.get, context.session_id)
        return ToolResult(json.dumps(agents_json(context.config, session), ensure_ascii=False))

    return Tool(
        name="agents_list",
        description="The agents that sessions_spawn may run as, each with the model that its sub-agents use.",
        args=AgentsListArguments,
        run=run,
        idempotent=True,
    )


def agents_json(config: Config, session: Session) -> dict[str, Any]:
    """The agents that a session may spawn under (spec/subagents.md 4), with their effective sub-agent models."""
    own = agent_of(config, session.agent_id)
    return {
        "requester": own.id,
        "requireAgentId": own.subagents.require_agent_id,
        "agents": [_agent_json(config, session, agent_id) for agent_id in allowed_agents(config, own)],
    }


def _agent_json(config: Config, session: Session, agent_id: str) -> dict[str, Any]:
    agent = config.agent(agent_id)
    found: dict[str, Any] = {"id": agent.id, "name": agent.name, "thinking": agent.subagents.thinking}
    try:
        return found | {"model": resolve_model(config, agent, session, None).ref.name}
    except UnknownModel as error:
        return found | {"model": None, "problem": str(error)}
