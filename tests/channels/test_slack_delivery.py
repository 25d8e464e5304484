"""What becomes of answers when Slack is in trouble: never lost, never twice, never in a wrong place."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from tests.standins.slack import Fault, Options
from tests.support.laneway import Home
from tests.support.model_script import say
from tests.support.pilot import Json
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

LOST = Fault(drop=True, applied=True)
FOLLOWUP: Json = {"messages": {"queue": {"mode": "followup"}}}


async def failed(room: SlackRoom) -> Json:
    """The first post that can't be delivered."""
    await room.p.wait_until(
        lambda: any(e.type == "delivery" and e.data["state"] == "failed" for e in room.p.events), "a failed post"
    )
    return (await room.p.get("/api/outbox?state=failed"))["posts"][0]


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (Fault(status=429, retry_after=1), 2),
        (Fault(status=502), 2),
        (Fault(status=502, applied=True), 1),
        (Fault(drop=True), 2),
        (LOST, 1),
        (Fault(error="internal_error"), 2),
    ],
    ids=["429", "502", "502-applied", "dropped", "lost", "internal_error"],
)
async def test_6_a_post_in_trouble_arrives_once(tmp_path: Path, fault: Fault, calls: int) -> None:
    """Channels 6: retried with backoff and Retry-After; what may have been sent is looked up by its metadata."""
    async with slack_room(tmp_path, account={"dmPolicy": "open"}) as room:
        room.echo()
        room.ws.next("chat.postMessage", fault)
        await room.bob.says("dm", "one")
        await room.ws.wait_message("heard: one", channel=room.bob.dm)
        await room.delivered()
        assert room.ws.texts(room.bob.dm) == ["heard: one"]
        assert room.ws.count("chat.postMessage") == calls


@pytest.mark.parametrize("method", ["chat.stopStream", "chat.update"])
async def test_6_a_streamed_answer_in_trouble_arrives_once(tmp_path: Path, method: str) -> None:
    """Channels 6: … the same with an answer that was shown as a stream."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say("one two three", hold="rest", hold_after=4), role="main")
        room.ws.next(method, LOST, Fault(status=429, retry_after=1))
        if method == "chat.update":
            room.ws.next("chat.appendStream", LOST)  # so that an edit is needed at the end
        thread = await room.asks("count")
        await room.ws.wait_message("one", thread=thread)
        room.p.model.release("rest")
        await room.settled(thread)
        assert room.ws.texts(GENERAL, thread) == ["one two three"]


async def test_6_in_order_and_no_thread_waits_for_another(tmp_path: Path) -> None:
    """Channels 6: in order per route; what hangs in one thread holds up no other."""
    async with slack_room(tmp_path, config=FOLLOWUP) as room:
        room.echo()
        room.ws.next("chat.postMessage", Fault(hold="one"))
        first = await room.asks("one")
        await room.ws.wait_calls("chat.postMessage")
        await room.ann.says(GENERAL, "two", thread=first)
        await room.told("elsewhere")
        assert not any("two" in text for text in room.ws.texts(GENERAL, first))
        room.ws.release("one")
        await room.ws.wait_message("heard: ann: two", thread=first)
        await room.settled(first)
        assert room.ws.texts(GENERAL, first) == ["heard: ann: one", "heard: ann: two"]


async def test_6_posts_of_a_busy_channel_take_their_turns(tmp_path: Path) -> None:
    """Channels 6: Retry-After is honoured for the channel: what waits is sent once a second, not all at once."""
    async with slack_room(tmp_path, options=Options(limits=True, burst=2), account={"replyToMode": "channel"}) as room:
        threads = [await room.ann.says(GENERAL, f"root {n}") for n in range(6)]
        for n, thread in enumerate(threads):
            await room.ann.says(GENERAL, "/queue", thread=thread, mention=True)
            assert n >= 0
        for thread in threads:
            await room.ws.wait_message("Queue mode", thread=thread)
        await room.delivered()
        assert room.ws.limited["chat.postMessage"] <= 5, "those that wait aren't refused again and again"
        assert len(room.ws.posts()) == 6


@pytest.mark.parametrize("error", ["channel_not_found", "is_archived"])
async def test_21_what_can_t_be_delivered_stays_listed(tmp_path: Path, error: str) -> None:
    """Sub-agents 21: never retried on permanent errors; `laneway outbox list` has the reason, and retry works."""
    async with slack_room(tmp_path, account={"dmPolicy": "open"}) as room:
        room.echo()
        room.ws.next("chat.postMessage", Fault(error=error))
        await room.bob.says("dm", "one")
        post = await failed(room)
        assert error in post["error"] and post["text"] == "heard: one"
        assert room.ws.count("chat.postMessage") == 1
        home = Home(tmp_path)
        listed = await asyncio.to_thread(home.run, "outbox", "list")
        assert error in listed.out and str(post["id"]) in listed.out
        assert (await asyncio.to_thread(home.run, "outbox", "retry", str(post["id"]))).code == 0
        await room.ws.wait_message("heard: one", channel=room.bob.dm)
        await room.delivered()


async def test_6_an_answer_to_a_deleted_thread_goes_nowhere_else(tmp_path: Path) -> None:
    """Route rule: the answer goes to the route of its message, always; Slack would put it to the top level."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say("the secret of this thread", hold="one"), role="main", user="one$")
        room.p.on(reply=say("second secret of it", hold="two", hold_after=4), role="main", user="two$")
        for text in ("one", "two"):
            thread = await room.asks(text)
            await room.p.wait_asked(lambda seen, text=text: seen.last_user.endswith(text))
            if text == "two":  # it is already being shown there, and somebody deletes that too
                room.ws.delete(await room.ws.wait_message("second", thread=thread))
            await room.ann.deletes(GENERAL, thread)
            room.p.model.release(text)
            post = await failed(room)
            assert "the thread was deleted" in post["error"]
            assert room.ws.texts() == []
            await room.p.post(f"/api/outbox/{post['id']}/drop")
            room.p.events.clear()


async def test_6_a_refusal_of_a_deleted_thread_is_permanent_too(tmp_path: Path) -> None:
    """Sub-agents 21: … where Slack refuses such an answer instead."""
    async with slack_room(tmp_path, options=Options(deleted_thread="refuse")) as room:
        room.p.on(reply=say("late", hold="one"), role="main")
        thread = await room.asks("one")
        await room.p.wait_asked(lambda seen: seen.last_user.endswith("one"))
        await room.ann.deletes(GENERAL, thread)
        room.p.model.release("one")
        post = await failed(room)
        assert "the thread was deleted" in post["error"]
        assert room.ws.texts() == []


async def test_21_slack_s_refusal_of_the_app_is_waited_out(tmp_path: Path) -> None:
    """Sub-agents 21: a token that is refused says nothing about the post: it waits, listed with the reason."""
    async with slack_room(tmp_path, account={"dmPolicy": "open"}) as room:
        room.echo()
        room.ws.next("chat.postMessage", Fault(error="token_revoked"))
        await room.bob.says("dm", "one")
        await room.ws.wait_calls("chat.postMessage")
        waiting: list[Any] = []
        async with asyncio.timeout(10):
            while not waiting:
                waiting = [post for post in (await room.p.get("/api/outbox"))["posts"] if post["error"]]
        assert "the token was revoked: channels.slack.botToken" in waiting[0]["error"]
        assert (waiting[0]["state"], waiting[0]["attempts"]) == ("pending", 0)
        await room.p.post(f"/api/outbox/{waiting[0]['id']}/retry")
        await room.ws.wait_message("heard: one", channel=room.bob.dm)


async def test_9_tokens_stand_in_no_reason_and_no_log(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Channels 9: secrets never appear in logs, errors, `config show` or prompts."""
    caplog.set_level("DEBUG")
    async with slack_room(tmp_path, account={"dmPolicy": "open"}) as room:
        room.echo()
        room.ws.next("chat.postMessage", Fault(drop=True), Fault(error="not_in_channel"))
        await room.bob.says("dm", "one")
        post = await failed(room)
        shown = await asyncio.to_thread(Home(tmp_path).run, "config", "show")
        secrets = (room.ws.app.bot_token, room.ws.app.app_token)
        for text in (
            caplog.text,
            str(post),
            shown.out,
            shown.err,
            *(str(seen.body) for seen in room.p.main_requests()),
        ):
            assert not any(secret in text for secret in secrets)
