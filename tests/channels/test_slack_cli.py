"""Slack at the command line: set-up, and whether what was set up works."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from channels.slack import texts
from tests.standins.slack import Options, SlackWorkspace
from tests.standins.slack.manifest import manifest_faults
from tests.support.laneway import Home
from tests.support.model_script import Json
from tests.support.slack_app import refused, web_client
from tests.support.slack_gateway import slack_room


def account(ws: SlackWorkspace, **more: object) -> Json:
    """The settings of an account in a workspace."""
    return {"botToken": ws.app.bot_token, "appToken": ws.app.app_token, "apiUrl": f"{ws.base_url}/api", **more}


@asynccontextmanager
async def home_with(folder: Path, ws: SlackWorkspace, **accounts: Json) -> AsyncGenerator[Home]:
    """A home whose configuration has these accounts, the workspace's own first."""
    home = Home(folder)
    home.state.mkdir()
    slack = {**account(ws), "accounts": accounts}
    (home.state / "config.json5").write_text(json.dumps({"channels": {"slack": slack}}))
    yield home


async def test_channels_list_says_how_each_account_is(tmp_path: Path) -> None:
    """Issue: `laneway channels list --json`."""
    async with slack_room(tmp_path) as room:
        done = await asyncio.to_thread(Home(tmp_path).run, "channels", "list", "--json")
        slack = next(channel for channel in done.json["channels"] if channel["name"] == "slack")
        assert slack["accounts"] == {"default": "connected"}
        assert all(slack["capabilities"].values())
        room.ws.app.broken = "token_revoked"
        await room.p.restart()
        await room.connected(state="Slack says token_revoked (the token was revoked: channels.slack.botToken)")


async def test_channels_test_says_what_is_wrong_and_what_to_do(tmp_path: Path) -> None:
    """Issue: `laneway channels test`: auth.test, scopes, clock skew, the socket; per account."""
    late = Options(team="late", scopes=("chat:write",), clock_offset=-400.0)
    async with SlackWorkspace() as ws, SlackWorkspace(late) as second:
        ws.install(texts.manifest(socket=True, address=""))
        wrong = account(ws, botToken="xoxb-wrong")
        no_socket = account(ws, appToken="xapp-wrong")
        web = account(ws, mode="http", signingSecret="secret", appToken=None)
        async with home_with(tmp_path, ws, late=account(second), wrong=wrong, socketless=no_socket, web=web) as home:
            done = await asyncio.to_thread(home.run, "channels", "test", "slack", "--json")
        found = {(each["level"], each["text"].partition(":")[0]): each for each in done.json["findings"]}
        said = [f"{each['level']} {each['text']}" for each in done.json["findings"]]
        assert done.code == 1 and done.json["ok"] is False
        assert [line for line in said if " default" in line] == [
            "ok default: signed in as laneway in acme",
            "ok default: has every scope",
            "ok default: Socket Mode can be opened",
        ]
        assert any(line.startswith("fail late: lacks the scopes app_mentions:read, assistant:write") for line in said)
        assert any(line.startswith("warn late: this machine's clock is 40") for line in said)
        assert "invalid_auth (the token is wrong: channels.slack.botToken)" in found["fail", "wrong"]["text"]
        assert "invalid_auth" in found["fail", "socketless"]["text"] and found["fail", "socketless"]["fix"]
        assert "ok web: Slack must reach /channels/slack/events of this gateway" in said
        assert "xoxb" not in done.out + done.err and "xapp-wrong" not in done.out + done.err


async def test_doctor_online_asks_slack_too(tmp_path: Path) -> None:
    """Issue: `laneway doctor --online` for channels."""
    async with SlackWorkspace() as ws:
        ws.app.broken = "account_inactive"
        async with home_with(tmp_path, ws) as home:
            done = await asyncio.to_thread(home.run, "doctor", "--online")
        assert done.code == 1
        assert "account_inactive (the app was removed from the workspace)" in " ".join(done.out.split())


async def test_the_printed_manifest_works_as_pasted(tmp_path: Path) -> None:
    """Issue: a Slack app manifest printed by `laneway channels setup slack` that works as pasted."""
    home = Home(tmp_path)
    printed = await asyncio.to_thread(home.run, "channels", "setup", "slack", "--only", "manifest")
    manifest = printed.json
    assert manifest_faults(manifest) == []
    async with SlackWorkspace() as ws:
        client = web_client(ws, ws.app.config_token)
        assert (await client.apps_manifest_validate(manifest=manifest))["errors"] == []
        answer = await refused(client.apps_manifest_validate(manifest=texts.manifest(socket=False, address="")))
        assert "request_url" in str(answer["errors"])
    assert manifest_faults(texts.manifest(socket=False, address="https://laneway.example")) == []


async def test_the_printed_configuration_is_valid(tmp_path: Path) -> None:
    """Issue: … and the config.json5 beside it."""
    home = Home(tmp_path, {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1"})
    printed = await asyncio.to_thread(home.run, "channels", "setup", "slack", "--only", "config")
    home.state.mkdir()
    (home.state / "config.json5").write_text(printed.out)
    shown = await asyncio.to_thread(home.run, "config", "show", "--json")
    assert shown.code == 0, shown.err
    assert "C0123456789" in shown.out and "xoxb-1" not in shown.out
