"""The Slack stand-in takes an app manifest as Slack would, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
import pytest_asyncio

from tests.standins.slack import SlackWorkspace
from tests.support.slack_app import refused, web_client

Json = dict[str, Any]


@pytest_asyncio.fixture
async def ws() -> AsyncGenerator[SlackWorkspace]:
    """A workspace; what a test leaves in it must be clean."""
    async with SlackWorkspace() as workspace:
        yield workspace
        workspace.assert_clean()


def manifest(**features: Any) -> Json:
    scopes = ["app_mentions:read", "assistant:write", "channels:history", "chat:write", "commands", "im:history"]
    return {
        "display_information": {"name": "Laneway", "description": "An assistant", "background_color": "#123abc"},
        "features": {
            "app_home": {"messages_tab_enabled": True, "messages_tab_read_only_enabled": False},
            "bot_user": {"display_name": "laneway", "always_online": True},
            "agent_view": {"agent_description": "Works in threads"},
            "slash_commands": [{"command": "/laneway", "description": "Everything", "usage_hint": "status"}],
            **features,
        },
        "oauth_config": {"scopes": {"bot": scopes}},
        "settings": {
            "event_subscriptions": {"bot_events": ["app_mention", "message.channels", "message.im"]},
            "interactivity": {"is_enabled": True},
            "socket_mode_enabled": True,
        },
    }


def changed(**settings: Any) -> Json:
    whole = manifest()
    whole["settings"] |= settings
    return whole


MANIFESTS: dict[str, Json] = {
    "'display_information' is a required": {},
    "is too long": {"display_information": {"name": "x" * 36}},
    "Additional properties": manifest(colour="red"),
    "non-empty": manifest(slash_commands=[]),
    "does not match": manifest(slash_commands=[{"command": "laneway", "description": "x"}]),
    "either Request URL or Socket Mode": changed(socket_mode_enabled=False),
    "requires `reactions:read`": changed(event_subscriptions={"bot_events": ["reaction_added"]}),
    "unknown event": changed(event_subscriptions={"bot_events": ["sunrise"]}),
    "New apps use `agent_view`": manifest(assistant_view={"assistant_description": "x"}),
    "requires the Messages Tab": manifest(app_home={}),
}


@pytest.mark.parametrize("said", MANIFESTS)
async def test_manifests_that_slack_would_not_take(ws: SlackWorkspace, said: str) -> None:
    configuration = web_client(ws, ws.app.config_token)
    answer = await refused(configuration.apps_manifest_validate(manifest=MANIFESTS[said]))
    assert answer["error"] == "invalid_manifest"
    assert any(said in error["message"] for error in answer["errors"]), answer


async def test_a_manifest_that_slack_takes_makes_the_app_what_it_says(ws: SlackWorkspace) -> None:
    configuration = web_client(ws, ws.app.config_token)
    assert (await configuration.apps_manifest_validate(manifest=manifest()))["ok"]
    ws.install(manifest())
    assert ws.app.commands == {"/laneway"} and "reactions:write" not in ws.app.scopes
    room = ws.channel("general", "ann")
    asked = await ws.user("ann").says("general", "hello")
    answer = await refused(web_client(ws).reactions_add(channel=room, timestamp=asked, name="eyes"))
    assert answer["needed"] == "reactions:write"
    with pytest.raises(LookupError, match="not a valid command"):
        await ws.user("ann").commands("/stop", "", "general")
    with pytest.raises(AssertionError, match="the manifest is refused"):
        ws.install({})
