"""Every text about Slack that a person reads, the set-up with its manifest among them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

from channels.slack.blocks import private
from gateway.routes import PlaceKind

log = logging.getLogger("channels.slack")

COMMAND = "/laneway"
DESCRIPTION = "An assistant that hands work to sub-agents and reports back into the thread"
SCOPES = (
    "app_mentions:read",
    "assistant:write",
    "channels:history",
    "channels:read",
    "chat:write",
    "commands",
    "files:read",
    "groups:history",
    "groups:read",
    "im:history",
    "im:read",
    "im:write",
    "metadata.message:read",
    "mpim:history",
    "mpim:read",
    "reactions:write",
    "users:read",
)
"""What the assistant needs of a workspace."""
EVENTS = (
    "agent_session_stopped",
    "app_mention",
    "message.channels",
    "message.groups",
    "message.im",
    "message.mpim",
)


def command(text: str) -> str:
    """What is typed after `/laneway`, as a slash command: `status`, `/status` and nothing at all are meant."""
    text = text.strip()
    return text if text.startswith("/") else f"/{text or 'help'}"


def ephemeral(text: str, place: str) -> dict[str, Any]:
    """An answer that only who asked sees, with what it is about: the command itself has no thread."""
    return {"response_type": "ephemeral", **private(f"{text}\n\n{place}" if place else text)}


def about(link: str | None, kind: PlaceKind) -> str:
    """Which conversation a native command was for."""
    if kind == "direct":
        return ""
    return f"[About this thread]({link})" if link else "_About the channel itself: you have no thread here yet._"


def manifest(*, socket: bool, address: str) -> dict[str, Any]:
    """The app's manifest, to be pasted at api.slack.com/apps."""
    events: dict[str, Any] = {"bot_events": list(EVENTS)}
    interactivity: dict[str, Any] = {"is_enabled": True}
    slash: dict[str, Any] = {
        "command": COMMAND,
        "description": "Look at and steer the assistant and its sub-agents",
        "usage_hint": "status | subagents list | stop | help",
        "should_escape": False,
    }
    if not socket:
        url = f"{address}/channels/slack/events"
        events["request_url"] = interactivity["request_url"] = slash["url"] = url
    return {
        "display_information": {
            "name": "Laneway",
            "description": DESCRIPTION,
        },
        "features": {
            "agent_view": {"agent_description": DESCRIPTION},
            "app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": False},
            "bot_user": {"display_name": "Laneway", "always_online": True},
            "slash_commands": [slash],
        },
        "oauth_config": {"scopes": {"bot": list(SCOPES)}},
        "settings": {
            "event_subscriptions": events,
            "interactivity": interactivity,
            "org_deploy_enabled": False,
            "socket_mode_enabled": socket,
            "token_rotation_enabled": False,
        },
    }


def setup(port: int) -> Mapping[str, str]:
    """The steps, by the names of the parts."""
    return {
        "steps": _STEPS,
        "manifest": json.dumps(manifest(socket=True, address=""), indent=2),
        "config": _CONFIG,
        "after": _AFTER.format(port=port),
    }


_STEPS = f"""\
Connecting Slack, with Socket Mode (nothing has to reach your machine from outside):

1. Open https://api.slack.com/apps, press “Create New App”, choose “From a manifest” and your workspace,
   and paste the JSON below (`laneway channels setup slack --only manifest` prints it alone).
2. Under “Basic Information”, “App-Level Tokens”, make a token with the scope connections:write.
   It begins with xapp-.
3. Under “Install App”, install it into the workspace. The “Bot User OAuth Token” begins with xoxb-.
4. Put both tokens into the environment (export SLACK_BOT_TOKEN=… SLACK_APP_TOKEN=…) and the block after that into
   config.json5 (in ~/.laneway, or where LANEWAY_HOME says), with your ids; if you have that file already, its two
   keys go into it.
5. laneway channels test slack     says whether the tokens work and which scopes are missing.
   laneway start                   then mention the assistant in a channel that you have invited it to.
                                   {COMMAND} help lists what there is."""

_CONFIG = """\
// config.json5
{
  channels: {
    slack: {
      botToken: "${SLACK_BOT_TOKEN}",
      appToken: "${SLACK_APP_TOKEN}",
      // The channels in which it answers, by their ids (at the bottom of a channel's details).
      groups: { C0123456789: {} },
    },
  },
  // You: your member id is in your profile, under “⋮”.
  owners: ["slack:U0123456789"],
}"""

_AFTER = """\
Instead of Socket Mode Slack can call the gateway: mode: "http", signingSecret (from “Basic Information”)
in place of appToken, Socket Mode off in the app, and https://<your address>/channels/slack/events as the
request URL of events, interactivity and the slash command. Your proxy passes that path on to port {port}."""
