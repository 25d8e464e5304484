"""Slack in HTTP mode: signed requests at the gateway's own port, one address for all accounts."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.standins.slack import Fault, Options, SlackWorkspace
from tests.support.model_script import Call, Json, calls, say
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

PATH = "/channels/slack/events"
UNSIGNED = json.dumps({"type": "event_callback", "event": {"type": "message", "text": "hello"}}).encode()


@asynccontextmanager
async def http_room(folder: Path, options: Options | None = None, **more: Any) -> AsyncGenerator[SlackRoom]:
    """A gateway that Slack calls; Slack has verified its address."""
    options = options or Options()
    account = {"mode": "http", "signingSecret": options.signing_secret, "appToken": None}
    async with slack_room(folder, options=options, account=account, **more) as room:
        await room.connected()
        assert await room.ws.verify_url(room.p.gateway.url + PATH)
        yield room


async def test_1_events_commands_and_presses_come_over_http(tmp_path: Path) -> None:
    """Issue: HTTP events arrive at `/channels/slack/events`, url_verification, commands and presses among them."""
    async with http_room(tmp_path) as room:
        room.p.on(reply=say("late", hold="never"), role="child")
        room.p.on(reply=calls(Call("sessions_spawn", {"task": "dig"})), role="main", user="ann: dig", turn_step=1)
        room.echo()
        room.ws.twist("duplicate", "deaf")
        thread = await room.asks("dig")
        card = await room.ws.wait_message("1 active", thread=thread)
        ack = await room.ann.commands("/laneway", "subagents list", GENERAL)
        assert "dig" in ack.text and ack.ok
        pressed = await room.ann.presses(GENERAL, card.ts, "Stop")
        assert pressed.ok
        await room.ws.wait_message("all done", thread=thread)
        await room.settled(thread)
        assert room.heard().count("ann: dig") == 2, "one turn of two steps"


async def test_9_a_wrong_signature_is_refused(tmp_path: Path) -> None:
    """facts.md: a bad signature gets 401, and so does an old one; nothing of it is heard."""
    async with http_room(tmp_path) as room:
        wrong = await room.ws.requests.post(UNSIGNED, secret="another")  # noqa: S106 - made up
        old = await room.ws.requests.post(UNSIGNED, age=600)
        assert (wrong.status, old.status) == (401, 401)
        forged = await room.p.ask("POST", PATH, {"type": "event_callback"})
        assert forged.status == 401, "an operator's token is no signature"
        assert await room.p.sessions() == []


async def test_1_what_comes_before_the_account_is_connected_comes_again(tmp_path: Path) -> None:
    """Channels 1: what can't be committed yet isn't acknowledged."""
    async with slack_room(
        tmp_path, account={"mode": "http", "signingSecret": Options().signing_secret}, connect=False
    ) as room:
        room.ws.app.broken = "account_inactive"
        await room.p.restart()
        room.echo()
        room.ws.app.request_url = room.p.gateway.url + PATH
        asked = await room.asks("hello")
        await room.ws.until(lambda: any("http_error" in one.reasons for one in room.ws.deliveries), "a refusal")
        room.ws.app.broken = None
        await room.ws.wait_message("heard: ann: hello", thread=asked)


async def test_2_two_accounts_are_told_apart_by_their_signatures(tmp_path: Path) -> None:
    """Channels 2: several accounts per channel, each with its own secret, policy and people."""
    other = Options(team="umbrella", bot_token="xoxb-other", signing_secret="another")  # noqa: S106 - made up
    async with SlackWorkspace(other) as second:
        home = second.channel("home", "zoe")
        account: Json = {
            "botToken": other.bot_token,
            "signingSecret": other.signing_secret,
            "apiUrl": f"{second.base_url}/api",
            "groups": {home: {}},
        }
        async with http_room(tmp_path, config={"channels": {"slack": {"accounts": {"second": account}}}}) as room:
            room.echo()
            await room.connected("second")
            assert await second.verify_url(room.p.gateway.url + PATH)
            here = await room.asks("here")
            there = await second.user("zoe").says("home", "there", mention=True)
            await room.ws.wait_message("heard: ann: here", thread=here)
            await second.wait_message("heard: zoe: there", thread=there)
            assert len(room.ws.posts()) == len(second.posts()) == 1
            await second.user("ann").says("dm", "I am another ann")
            await second.wait_message("pairing approve", channel=second.user("ann").dm)
        second.assert_clean()


async def test_1_a_name_that_can_t_be_had_holds_nothing_up(tmp_path: Path) -> None:
    """Channels 1: who speaks is known by his id; Slack's other troubles don't keep a message from being committed."""
    async with http_room(tmp_path) as room:
        room.echo()
        room.ws.next("users.info", Fault(status=502))
        asked = await room.asks("hello")
        await room.ws.wait_message(f"heard: {room.ann.id}: hello", thread=asked)
