"""What the Slack stand-in tells an app, over Socket Mode and over signed HTTP, driven by the real libraries."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from slack_sdk.webhook.async_client import AsyncWebhookClient

from tests.standins.slack import Ack, Options, SlackWorkspace
from tests.support.slack_app import PATH, Heard, by_http, by_socket

Json = dict[str, Any]
TRANSPORTS = {"socket": by_socket, "http": by_http}


@pytest_asyncio.fixture
async def ws() -> AsyncGenerator[SlackWorkspace]:
    """A workspace with ann in #general; what a test leaves in it must be clean."""
    async with SlackWorkspace() as workspace:
        workspace.channel("general", "ann")
        yield workspace
        workspace.assert_clean()


@pytest_asyncio.fixture(params=TRANSPORTS)
async def app(ws: SlackWorkspace, request: pytest.FixtureRequest) -> AsyncGenerator[Heard]:
    """An app that listens, in each of the two ways."""
    async with TRANSPORTS[request.param](ws) as heard:
        yield heard


async def test_a_mention_is_two_events_with_one_ts(ws: SlackWorkspace, app: Heard) -> None:
    ann = ws.user("ann")
    asked = await ann.says("general", "go", mention=True)
    reply = await ann.says("general", "more", thread=asked)
    await ws.wait_delivered()

    message, mention, second = app.events
    assert (message["type"], mention["type"], second["type"]) == ("message", "app_mention", "message")
    assert message["ts"] == mention["ts"] == asked and message["channel_type"] == "channel"
    assert mention["text"] == f"<@{ws.app.user_id}> go" and "thread_ts" not in mention
    assert (second["ts"], second["thread_ts"], second["parent_user_id"]) == (reply, asked, ann.id)
    body = app.bodies[0]
    assert body["authorizations"][0]["user_id"] == ws.app.user_id and body["api_app_id"] == ws.app.id


async def test_every_kind_of_event(ws: SlackWorkspace, app: Heard) -> None:
    ann, bob = ws.user("ann"), ws.user("bob")
    ws.channel("secret", "ann", private=True)
    direct = await ann.says("dm", "hello @laneway")
    await ann.says("secret", "psst")
    await ann.says("general", "look", files={"a.txt": b"1"})
    ts = await ann.says("general", "one")
    await ann.edits("general", ts, "two")
    await ann.reacts("general", ts, "tada")
    await ann.unreacts("general", ts, "tada")
    await ann.deletes("general", ts)
    await bob.joins("general")
    await ann.opens_chat()
    pane = await ann.opens_assistant()
    await app.client.chat_postMessage(channel=ann.dm, thread_ts=direct, text="echo")
    await ws.wait_delivered()

    assert app.kinds() == [
        *("message", "message", "file_share", "message", "message_changed", "reaction_added", "reaction_removed"),
        *("message_deleted", "member_joined_channel", "app_home_opened"),
        *("assistant_app_thread", "assistant_thread_started", "message"),
    ]
    by_kind = dict(zip(app.kinds(), app.events, strict=True))
    assert [event["channel_type"] for event in app.events[:3]] == ["im", "group", "channel"]
    assert by_kind["file_share"]["files"][0]["name"] == "a.txt"
    change = by_kind["message_changed"]
    assert (change["message"]["text"], change["previous_message"]["text"]) == ("two", "one")
    assert change["message"]["edited"]["user"] == ann.id and change["ts"] != ts == change["message"]["ts"]
    assert by_kind["message_deleted"]["deleted_ts"] == ts
    assert by_kind["reaction_added"]["item"] == {"type": "message", "channel": ws.channel("general"), "ts": ts}
    assert by_kind["assistant_thread_started"]["assistant_thread"]["thread_ts"] == pane
    echo = app.events[-1]
    assert (echo["bot_id"], echo["user"], echo["thread_ts"]) == (ws.app.bot_id, ws.app.user_id, direct)


async def test_nothing_is_heard_without_subscription_scope_or_membership(ws: SlackWorkspace, app: Heard) -> None:
    ann = ws.user("ann")
    ws.channel("outside", "ann", bot=False)
    ws.app.events.discard("message.channels")
    ws.app.scopes.discard("im:history")
    await ann.says("outside", "hello", mention=True)
    await ann.says("general", "hello")
    await ann.says("dm", "hello")
    await ann.says("general", "hello", mention=True)
    await ws.wait_delivered()
    assert app.kinds() == ["app_mention"]


async def test_slack_s_own_stop_button(ws: SlackWorkspace, app: Heard) -> None:
    ann, room = ws.user("ann"), ws.channel("general")
    asked = await ann.says("general", "go")
    who = {"recipient_team_id": ws.team_id, "recipient_user_id": ann.id}
    ts = (await app.client.chat_startStream(channel=room, thread_ts=asked, **who))["ts"]
    answer = await app.client.agents_sessions_setStatus(channel_id=room, thread_ts=asked, status="processing")
    assert answer["agent_status"] == "processing" and "warning" not in answer
    await ann.stops("general", asked)
    await ws.wait_delivered()
    stop = app.events[-1]
    assert (stop["type"], stop["thread_ts"], stop["streaming_message_ts"]) == ("agent_session_stopped", asked, [ts])

    ws.app.events.discard("agent_session_stopped")
    answer = await app.client.agents_sessions_setStatus(channel_id=room, thread_ts=asked, status="processing")
    assert answer["warning"] == "missing_agent_session_stopped_event_subscription"


async def test_a_command_carries_no_thread_and_is_answered(ws: SlackWorkspace, app: Heard) -> None:
    ann = ws.user("ann")
    app.say = "two helpers run"
    assert (await ann.commands("/laneway", "status now", "general")).text == "two helpers run"
    (command,) = app.bodies
    assert (command["command"], command["text"], command["user_id"]) == ("/laneway", "status now", ann.id)
    assert command["channel_id"] == ws.channel("general") and "thread_ts" not in command
    assert ann.sees("general") == ["laneway: two helpers run"]

    hook = AsyncWebhookClient(command["response_url"])
    for number in range(5):
        answered = await hook.send(text=f"later {number}", response_type="in_channel" if number else "ephemeral")
        assert (answered.status_code, answered.body) == (200, "ok")
    assert ann.sees("general")[-1] == "laneway: later 4" and len(ws.messages("general")) == 4
    assert (await hook.send(text="too often")).body == "used_url"
    assert (await hook.send(text="x" * 50_000)).status_code == 404
    assert len(ws.take_faults()) == 2


async def test_buttons_are_pressed_and_forged(ws: SlackWorkspace, app: Heard) -> None:
    ann, room = ws.user("ann"), ws.channel("general")
    asked = await ann.says("general", "go")
    stop = {"type": "button", "action_id": "stop", "value": "7", "text": {"type": "plain_text", "text": "Stop"}}
    menu = {"type": "static_select", "action_id": "pick", "options": [{"text": stop["text"], "value": "9"}]}
    card: list[Json] = [{"type": "actions", "block_id": "card", "elements": [stop, menu]}]
    ts = (await app.client.chat_postMessage(channel=room, thread_ts=asked, text="card", blocks=card))["ts"]
    await ws.wait_delivered()
    app.bodies.clear()

    assert await ann.presses("general", ts, "Stop") == Ack(ok=True)
    assert (await ann.presses("general", ts, 1, option="9")).ok
    assert (await ann.forges("general", ts, "stop", "someone else's")).ok
    pressed, chosen, forged = app.bodies
    assert pressed["type"] == "block_actions" and pressed["user"]["id"] == ann.id
    assert pressed["container"] == {
        "type": "message",
        "message_ts": ts,
        "channel_id": room,
        "is_ephemeral": False,
        "thread_ts": asked,
    }
    assert pressed["message"]["thread_ts"] == asked and pressed["channel"]["id"] == room
    (action,) = pressed["actions"]
    assert (action["action_id"], action["block_id"], action["value"]) == ("stop", "card", "7")
    assert chosen["actions"][0]["selected_option"]["value"] == "9"
    assert forged["actions"][0]["value"] == "someone else's"

    await AsyncWebhookClient(pressed["response_url"]).send(text="stopped", replace_original=True)
    assert ws.view(ws.find(room, ts)) == "stopped"
    await AsyncWebhookClient(pressed["response_url"]).send(delete_original=True)
    assert len(ws.thread("general", asked)) == 1


async def test_an_event_comes_again_until_it_is_acknowledged(ws: SlackWorkspace, app: Heard) -> None:
    ann = ws.user("ann")
    app.deaf = asyncio.Event()
    await ann.says("general", "hello")
    await app.wait(lambda bodies: len(bodies) == 1)
    ws.redeliver()
    await app.wait(lambda bodies: len(bodies) == 2)
    app.deaf.set()
    await ws.wait_delivered()
    assert app.bodies[0]["event_id"] == app.bodies[1]["event_id"]
    assert "x-slack-retry-num" not in app.headers[0] or app.headers[0]["x-slack-retry-num"] == ["0"]
    assert app.headers[1]["x-slack-retry-num"] == ["1"]
    assert app.headers[1]["x-slack-retry-reason"] == ["http_timeout"]

    ws.twist("duplicate", "deaf", "hold")
    for text in ("twice", "not heard", "later"):
        await ann.says("general", text)
    await app.wait(lambda bodies: len(bodies) == 6)
    assert sorted(event["text"] for event in app.events[2:]) == ["not heard", "not heard", "twice", "twice"]
    await ws.until(lambda: len(ws.dispatcher.pending) == 1, "acknowledgement of all but one")
    ws.redeliver()
    await ws.wait_delivered()
    assert app.events[-1]["text"] == "later" and [one.attempts for one in ws.deliveries] == [2, 1, 2, 1]


async def test_an_event_is_lost_after_the_last_attempt(ws: SlackWorkspace, app: Heard) -> None:
    ws.options = replace(ws.options, ack_seconds=0.05, retry_delays=(0.0, 0.0, 0.0))
    app.deaf = asyncio.Event()
    await ws.user("ann").says("general", "hello")
    await ws.wait_delivered()
    assert ws.dispatcher.lost == ws.deliveries and len(app.bodies) == 4
    assert ws.deliveries[0].reasons == ["http_timeout"] * 4
    assert not (await ws.user("ann").commands("/laneway", "", "general")).ok, "nor does anybody wait for ever"
    app.deaf.set()


async def test_sockets_break_and_are_replaced(ws: SlackWorkspace) -> None:
    ann = ws.user("ann")
    async with by_socket(ws) as app:
        app.deaf = asyncio.Event()
        await ann.says("general", "before")
        await app.wait(lambda bodies: len(bodies) == 1)
        assert await ws.drop_sockets() == 1
        app.deaf.set()
        await ws.wait_connected(2)
        await ws.wait_delivered()
        assert [event["text"] for event in app.events] == ["before", "before"]

        await ws.say_goodbye()
        await ws.wait_connected(3)
        await ann.says("general", "after")
        await ws.wait_delivered()
        assert app.events[-1]["text"] == "after" and len(app.events) == 3


async def test_several_sockets_share_the_events(ws: SlackWorkspace) -> None:
    ann = ws.user("ann")
    async with by_socket(ws) as one, by_socket(ws) as other:
        await ws.until(lambda: len(ws.sockets.connections) == 2, "two sockets")
        for number in range(4):
            await ann.says("general", str(number))
        await ws.wait_delivered()
        assert len(one.bodies) == len(other.bodies) == 2
        assert sorted(event["text"] for event in one.events + other.events) == ["0", "1", "2", "3"]


async def test_what_happens_while_nobody_listens_comes_later(ws: SlackWorkspace) -> None:
    ann = ws.user("ann")
    await ann.says("general", "early")
    assert await ann.commands("/laneway", "status", "general") == Ack(ok=False, error="dispatch_failed")
    async with by_socket(ws) as app:
        await ws.wait_delivered()
        assert [event["text"] for event in app.events] == ["early"]


async def test_only_slack_s_signature_counts(ws: SlackWorkspace) -> None:
    async with by_http(ws) as app:
        event = json.dumps({"type": "event_callback", "event": {"type": "message", "text": "forged"}}).encode()
        assert (await ws.requests.post(event, secret="wrong")).status == 401  # noqa: S106 - it is wrong
        assert (await ws.requests.post(event, age=400)).status == 401
        assert (await ws.requests.post(event)).status == 200
        assert len(app.bodies) == 1
        assert ws.app.request_url is not None
        assert not await ws.verify_url(ws.app.request_url.replace(PATH, "/elsewhere"))
        assert ws.app.request_url.endswith(PATH)


async def test_a_clock_that_goes_wrong() -> None:
    async with SlackWorkspace(Options(clock_offset=-600)) as ws, by_socket(ws) as app:
        answer = await app.client.auth_test()
        assert answer.headers["Date"].endswith("GMT")
        ws.app.request_url = f"{ws.base_url}/nothing"
        ws.channel("general", "ann")
        assert (await ws.user("ann").commands("/laneway", "", "general")).error == "http_404"
