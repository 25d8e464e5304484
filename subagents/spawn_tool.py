"""The tool `sessions_spawn`: the spawner as a model calls it; effect and result are one transaction."""

from __future__ import annotations

import json

from gateway.store import runs, sessions
from gateway.store.database import Transaction
from gateway.tools.base import Tool, ToolContext, ToolResult
from subagents import texts
from subagents.admission import Refused, Requester, SpawnArguments, too_deep
from subagents.rooms import Rooms, opening_key
from subagents.spawn import Spawner


def spawn_tool(spawner: Spawner, rooms: Rooms) -> Tool[SpawnArguments]:
    """The tool `sessions_spawn`."""

    def apply(tx: Transaction, context: ToolContext, args: SpawnArguments) -> ToolResult:
        session = sessions.get(tx, context.session_id)
        run = runs.find(tx, session.run_id) if session.run_id else None
        requester = Requester(session, run, session.turn_route, context.assistant_seq - 1)
        try:
            return ToolResult(
                json.dumps(spawner.spawn(tx, requester, args, room=opening_key(context)), ensure_ascii=False)
            )
        except Refused as refused:
            return texts.refusal(str(refused), refused.status)

    return Tool(
        name="sessions_spawn",
        description=(
            "Hand a task to a sub-agent that works beside this conversation and announces its result here. "
            "Returns at once."
        ),
        args=SpawnArguments,
        apply=apply,
        prepare=rooms.open,
        undo=rooms.undo,
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
        on_bad_arguments=lambda text: texts.refusal(text, "error"),
        on_denied=_why_denied,
    )


def _why_denied(context: ToolContext) -> ToolResult | None:
    """A child that may not nest doesn't have the tool; if it calls it all the same it is told the reason."""
    limit = context.agent.subagents.max_spawn_depth
    return texts.refusal(too_deep(context.depth, limit), "forbidden") if context.depth >= limit else None
