"""The Slack stand-in does wrong on demand, holds its limits, and runs as a process of its own."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
)
from slack_sdk.http_retry.builtin_interval_calculators import FixedValueRetryIntervalCalculator
from slack_sdk.web.async_client import AsyncWebClient

from tests.standins.slack import Fault, Options, RemoteSlack, SlackWorkspace, remote_slack, slack_process
from tests.support.slack_app import by_socket, refused, web_client

ROOT = Path(__file__).parent.parent


@pytest_asyncio.fixture
async def ws() -> AsyncGenerator[SlackWorkspace]:
    """A workspace with ann in #general; what a test leaves in it must be clean."""
    async with SlackWorkspace() as workspace:
        workspace.channel("general", "ann")
        yield workspace
        assert workspace.unused == 0
        workspace.assert_clean()


@pytest.fixture
def post(ws: SlackWorkspace) -> dict[str, Any]:
    """The arguments of a post."""
    return {"channel": ws.channel("general"), "text": "hello"}


async def test_answers_that_are_refusals(ws: SlackWorkspace, post: dict[str, Any]) -> None:
    client = web_client(ws)
    ws.next("chat.postMessage", Fault(error="is_archived"), Fault(status=429, retry_after=7), Fault(status=502))
    assert (await refused(client.chat_postMessage(**post)))["error"] == "is_archived"
    with pytest.raises(SlackApiError) as raised:
        await client.chat_postMessage(**post)
    error: Any = raised.value
    assert (error.response.status_code, error.response.headers["Retry-After"]) == (429, "7")
    with pytest.raises(SlackApiError):
        await client.chat_postMessage(**post)
    assert ws.messages() == [] and ws.limited == {"chat.postMessage": 1}
    await client.chat_postMessage(**post)
    assert [(call.outcome, call.applied) for call in ws.calls] == [
        ("is_archived", False),
        ("ratelimited", False),
        ("502", False),
        ("ok", True),
    ]


async def test_an_answer_is_lost_before_or_after_the_effect(ws: SlackWorkspace, post: dict[str, Any]) -> None:
    client = web_client(ws)
    ws.next("*", Fault(drop=True), Fault(drop=True, applied=True), Fault(status=503, applied=True))
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(**post)
    assert ws.messages() == []
    with pytest.raises(aiohttp.ClientError):
        await client.chat_postMessage(**post)
    with pytest.raises(SlackApiError):
        await client.chat_postMessage(**post)
    assert ws.texts() == ["hello", "hello"]
    assert [(call.applied, call.answered) for call in ws.calls] == [(False, False), (True, False), (True, False)]


async def test_an_edit_that_is_repeated_because_its_answer_was_lost_is_no_fault(
    ws: SlackWorkspace, post: dict[str, Any]
) -> None:
    retry = AsyncConnectionErrorRetryHandler(interval_calculator=FixedValueRetryIntervalCalculator(0))
    client: Any = AsyncWebClient(ws.app.bot_token, base_url=ws.api_url, retry_handlers=[retry])
    ts = (await client.chat_postMessage(**post))["ts"]
    ws.next("chat.update", Fault(drop=True, applied=True), where={"ts": ts})
    await client.chat_update(channel=post["channel"], ts=ts, text="changed")
    assert ws.count("chat.update") == 2 and ws.find(post["channel"], ts).edits == 1


async def test_answers_are_held_and_slow(ws: SlackWorkspace, post: dict[str, Any]) -> None:
    client, gate = web_client(ws), asyncio.Event()
    ws.next("chat.postMessage", Fault(hold=gate), Fault(hold="done", applied=True), Fault(delay=0.01))
    first = asyncio.create_task(client.chat_postMessage(**post))
    await ws.wait_calls("chat.postMessage")
    assert ws.messages() == []
    gate.set()
    await first
    second = asyncio.create_task(client.chat_postMessage(**post))
    await ws.until(lambda: len(ws.messages()) == 2, "effect before the answer")
    assert not second.done()
    ws.release("done")
    await second
    await client.chat_postMessage(**post)
    assert len(ws.messages()) == 3


async def test_limits_hold_per_channel_and_per_method() -> None:
    async with SlackWorkspace(Options(limits=True, burst=2)) as ws:
        room, other = ws.channel("general", "ann"), ws.channel("other")
        client = web_client(ws)
        for _ in range(2):
            await client.chat_postMessage(channel=room, text="x")
        assert (await refused(client.chat_postMessage(channel=room, text="x")))["error"] == "ratelimited"
        await client.chat_postMessage(channel=other, text="another channel has a limit of its own")
        patient: Any = AsyncWebClient(
            ws.app.bot_token, base_url=ws.api_url, retry_handlers=[AsyncRateLimitErrorRetryHandler(max_retry_count=2)]
        )
        await patient.chat_postMessage(channel=room, text="after a second")
        assert ws.limited["chat.postMessage"] >= 2 and len(ws.texts("general")) == 3
        for _ in range(20):
            await client.conversations_list()
        assert (await refused(client.conversations_list()))["error"] == "ratelimited"
        ws.assert_clean()


async def test_the_workspace_outlives_its_app_as_a_process(tmp_path: Path) -> None:
    log = tmp_path / "slack.jsonl"
    async with slack_process(log, retry_delays=[0.0] * 5) as slack:
        about = await slack.about()
        room = await slack.channel("general", "ann")
        ann = await slack.user("ann")
        asked = await ann.says("general", "hello", mention=True, files={"a.txt": b"\x00\x01"})
        client: Any = AsyncWebClient(about["bot_token"], base_url=slack.api_url)
        await slack.next("chat.postMessage", Fault(status=503, applied=True), where={"channel": room})
        waiting = asyncio.create_task(slack.wait_message("answer", thread=asked))
        with pytest.raises(SlackApiError):
            await client.chat_postMessage(channel=room, thread_ts=asked, text="the answer")
        assert (await waiting).view == "the answer"
        assert [one.view for one in await slack.thread(room, asked)] == ["@laneway hello\n📎 a.txt", "the answer"]
        assert len(await slack.pending()) == 3, "two of the question and one of the answer; nobody listens yet"
        (call,) = await slack.calls("chat.postMessage")
        assert (call.outcome, call.applied, call.answered) == ("503", True, False)

        await client.chat_postMessage(channel=room, text="<!channel>")
        with pytest.raises(AssertionError, match="mass mention"):
            await slack.assert_clean()
        await slack.assert_clean("^mass mention")
        with pytest.raises(AssertionError, match="no channel"):
            await ann.says("nowhere", "x")
        assert await ann.sees("general") == ["ann: @laneway hello\n📎 a.txt", "laneway: <!channel>"]
    records = [json.loads(line) for line in log.read_text().splitlines()]
    assert {record["event"] for record in records} == {"attempt", "call", "answered"}


async def test_an_app_that_is_killed_before_it_acknowledges_hears_it_again() -> None:
    async with slack_process() as slack:
        about = await slack.about()
        tokens = (str(about["bot_token"]), str(about["app_token"]))
        room, ann = await slack.channel("general", "ann"), await slack.user("ann")
        command = (sys.executable, "-m", "tests.support.slack_app", slack.api_url, *tokens)
        first = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        try:
            ts = await ann.says("general", "please hang")
            await slack.wait_message(lambda one: one.ts == ts and "eyes" in one.reactions, seconds=30)
        finally:
            first.kill()
            await first.wait()
        assert ts in [one["payload"]["event"].get("ts") for one in await slack.pending()]
        await ann.says("general", "second")
        other = await asyncio.create_subprocess_exec(*command, cwd=ROOT)
        try:
            await slack.wait_message("heard: second", channel=room, seconds=30)
            await slack.wait_calls("reactions.add", 2)
        finally:
            other.kill()
            await other.wait()
        await slack.assert_clean()


async def test_buttons_and_sockets_from_afar() -> None:
    async with SlackWorkspace() as ws, by_socket(ws) as app, aiohttp.ClientSession() as http:
        from_afar = RemoteSlack(ws.base_url, http)
        room = await from_afar.channel("general", "ann")
        ann = await from_afar.user("ann")
        stop = {"type": "button", "action_id": "s", "text": {"type": "plain_text", "text": "Stop"}}
        card = [{"type": "actions", "elements": [stop]}]
        ts = (await app.client.chat_postMessage(channel=room, text="card", blocks=card))["ts"]
        seen = await from_afar.wait_message("Stop", channel=room)
        assert (seen.ts, seen.buttons) == (ts, ["Stop"])
        assert (await ann.presses(room, ts, "Stop")).ok
        assert (await ann.commands("/laneway", "status", room)).ok
        await from_afar.wait_delivered()
        assert await from_afar.drop_sockets() == 1
        await from_afar.wait_connected(2)
        await from_afar.say_goodbye()
        await from_afar.wait_connected(3)
        await from_afar.wait_calls("apps.connections.open", 3)
        await from_afar.assert_clean()


async def test_everything_else_from_afar(ws: SlackWorkspace) -> None:
    async with remote_slack(ws.base_url) as far:
        room, ann = await far.channel("general", "ann"), await far.user("ann")
        ts = await ann.says("dm", "hello @laneway", raw=True)
        await ann.reacts("dm", ts, "eyes")
        await ann.unreacts("dm", ts, "eyes")
        await ann.edits("dm", ts, "bye")
        await ann.opens_chat()
        bob = await far.user("bob")
        await bob.joins(room)
        await bob.leaves(room)
        await ann.removes_bot(room)
        await ann.invites_bot(room)
        kinds = [one["payload"]["event"]["type"] for one in await far.deliveries()]
        assert kinds.count("member_joined_channel") == 2 and kinds.count("reaction_removed") == 1
        assert [one.text for one in await far.messages(ann.dm)] == ["bye"]
        await ann.deletes("dm", ts)
        assert await far.messages(ann.dm) == []

        await far.broken("token_revoked")
        assert (await refused(web_client(ws).auth_test()))["error"] == "token_revoked"
        await far.broken(None)
        await far.request_url(f"{ws.base_url}/nothing")
        assert not await far.verify_url(f"{ws.base_url}/nothing")
        assert (await ann.commands("/laneway", "", "general")).error == "http_404"
        await far.request_url(None)
        await far.listening(sockets=False)
        assert ws.sockets.listening is False
        await far.archive(room)
        assert (await refused(web_client(ws).chat_postMessage(channel=room, text="x")))["error"] == "is_archived"
        await far.twist("hold")
        await far.redeliver()
        await far.release("nothing")
        assert (await far.status(room, ts), await far.limited(), await far.take_faults()) == ("", {}, [])
        with pytest.raises(AssertionError, match="no verb"):
            await far.ask("dance")
