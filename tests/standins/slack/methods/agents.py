"""assistant.threads.* and agents.sessions.*: what a thread shows while the app works in it.

docs.slack.dev/ai/agent-sessions and docs.slack.dev/reference/methods/assistant.threads.setStatus.
"""

from __future__ import annotations

import time
from typing import Any

from tests.standins.slack.errors import Refusal
from tests.standins.slack.methods.chat import customised
from tests.standins.slack.methods.registry import channel_of, message_of, method
from tests.standins.slack.model import Channel, Json, Session
from tests.standins.slack.scopes import Tier
from tests.standins.slack.workspace import Workspace

STATUS_SECONDS = 120
"""A status goes away after two minutes without a message."""
_MOST_LOADING = 10
_TITLE = 200
STOPPED = "agent_session_stopped"


def _thread(ws: Workspace, args: Json) -> tuple[Channel, str]:
    channel = channel_of(ws, args["channel_id"], write=True)
    if "thread_ts" not in args:
        raise Refusal("invalid_thread_ts", "only threads are sessions here")
    return channel, message_of(channel, args["thread_ts"], error="invalid_thread_ts").root


@method("assistant.threads.setStatus", scopes=("chat:write", "assistant:write"), tier=Tier.SPECIAL)
def set_status(ws: Workspace, args: Json) -> Json:
    """Shows what the app is doing; an empty text clears it."""
    channel, thread = _thread(ws, args)
    customised(ws, args)
    messages: list[Any] = args.get("loading_messages", [])
    if len(messages) > _MOST_LOADING or not all(isinstance(one, str) for one in messages):
        raise Refusal("invalid_arguments", f"`loading_messages` are at most {_MOST_LOADING} strings")
    if args["status"]:
        ws.statuses[channel.id, thread] = (args["status"], time.monotonic())
    else:
        ws.statuses.pop((channel.id, thread), None)
    ws.touch()
    return {}


@method("assistant.threads.setTitle", scopes=("assistant:write",))
def set_title(ws: Workspace, args: Json) -> Json:
    """Names a thread of the agent's own pane."""
    channel, thread = _thread(ws, args)
    ws.titles[channel.id, thread] = args["title"]
    ws.touch()
    return {}


@method("assistant.threads.setSuggestedPrompts", scopes=("assistant:write",))
def set_prompts(ws: Workspace, args: Json) -> Json:
    """Offers questions."""
    channel_of(ws, args["channel_id"], write=True)
    for prompt in args["prompts"]:
        if not isinstance(prompt, dict) or set(prompt) != {"title", "message"}:  # pyright: ignore[reportUnknownArgumentType] - JSON
            raise Refusal("invalid_arguments", "a prompt has `title` and `message`")
    return {}


@method("agents.sessions.setStatus", scopes=("chat:write",))
def set_session(ws: Workspace, args: Json) -> Json:
    """Says how a session stands, and begins it; `processing` shows a Stop button if the app hears of its press."""
    channel, thread = _thread(ws, args)
    customised(ws, args)
    if len(args.get("title", "")) > _TITLE:
        raise Refusal("invalid_arguments", f"`title` has at most {_TITLE} characters")
    if args.get("initiator_user_id", ws.app.user_id) not in channel.members:
        raise Refusal("user_not_in_channel", args["initiator_user_id"])
    session = ws.sessions.get((channel.id, thread))
    if session is None:
        session = Session(status="", title=args.get("title"), initiator=args.get("initiator_user_id"))
        ws.sessions[channel.id, thread] = session
    session.status = args["status"]
    ws.touch()
    answer: Json = {"status": session.status, "agent_status": session.status, "title": session.title or ""}
    if STOPPED not in ws.app.events:
        warning = f"missing_{STOPPED}_event_subscription"
        answer |= {"warning": warning, "response_metadata": {"warnings": [warning]}}
    return answer


@method("agents.sessions.rename", scopes=("chat:write",))
def rename(ws: Workspace, args: Json) -> Json:
    """Gives a session another title."""
    channel, thread = _thread(ws, args)
    if (session := ws.sessions.get((channel.id, thread))) is None:
        raise Refusal("session_not_found", thread)
    if len(args["title"]) > _TITLE:
        raise Refusal("invalid_arguments", f"`title` has at most {_TITLE} characters")
    session.title = args["title"]
    ws.touch()
    return {"title": session.title}
