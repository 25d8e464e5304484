"""reactions.*"""

from __future__ import annotations

import re

from tests.standins.slack.errors import Refusal
from tests.standins.slack.methods.registry import channel_of, message_of, method
from tests.standins.slack.model import Json
from tests.standins.slack.scopes import Tier
from tests.standins.slack.wire import message_json
from tests.standins.slack.workspace import Workspace

_NAME = re.compile(r"[a-z0-9_+'-]+(::skin-tone-[2-6])?")


def _react(ws: Workspace, args: Json, *, added: bool, error: str) -> Json:
    """Adds or removes. Doing it twice is no fault: after a crash nobody knows."""
    channel = channel_of(ws, args["channel"], write=True)
    message = message_of(channel, args["timestamp"])
    if not _NAME.fullmatch(args["name"]):
        raise Refusal("invalid_name", args["name"])
    if not ws.react(message, ws.app.user_id, args["name"], added=added):
        raise Refusal(error, args["name"], fault=False)
    return {}


@method("reactions.add", scopes=("reactions:write",))
def add(ws: Workspace, args: Json) -> Json:
    """The bot reacts."""
    return _react(ws, args, added=True, error="already_reacted")


@method("reactions.remove", scopes=("reactions:write",), tier=Tier.TWO)
def remove(ws: Workspace, args: Json) -> Json:
    """The bot takes a reaction back."""
    return _react(ws, args, added=False, error="no_reaction")


@method("reactions.get", scopes=("reactions:read",))
def get(ws: Workspace, args: Json) -> Json:
    """How a message was reacted to."""
    if "channel" not in args or "timestamp" not in args:
        raise Refusal("no_item_specified")
    channel = channel_of(ws, args["channel"])
    message = message_of(channel, args["timestamp"])
    return {"type": "message", "channel": channel.id, "message": message_json(ws, message)}
