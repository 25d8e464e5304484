"""The Telegram stand-in's updates: polling, webhook, privacy, buttons, drafts that are stopped."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.error import BadRequest, Conflict
from telegram.ext import ExtBot

from tests.standins.telegram import TelegramStandIn
from tests.support.telegram import client, texts

STOP = InlineKeyboardMarkup([[InlineKeyboardButton("Stop", callback_data="s:1")]])
EVERYTHING = ["message", "edited_message", "callback_query", "my_chat_member", "message_reaction"]


@pytest.fixture
async def tg() -> AsyncGenerator[TelegramStandIn]:
    """A stand-in; what a test has provoked it must allow."""
    async with TelegramStandIn(retry_seconds=0.01) as standin:
        yield standin
        await standin.assert_clean()


@pytest.fixture
async def bot(tg: TelegramStandIn) -> AsyncGenerator[ExtBot[None]]:
    """The real client of it."""
    async with client(tg) as started:
        yield started


# ---------------------------------------------------------------------- polling


async def test_a_long_poll_ends_when_somebody_writes(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    poll = asyncio.create_task(bot.get_updates(timeout=30))
    await tg.wait_call("getUpdates")
    await ann.say("hello")
    assert texts(await poll) == ["hello"]


async def test_an_update_comes_again_until_it_is_confirmed(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    first, second = await ann.say("one"), await ann.say("two")
    for _ in range(2):
        assert texts(await bot.get_updates()) == ["one", "two"]
    assert first.update is not None and second.update is not None
    assert texts(await bot.get_updates(offset=second.update)) == ["two"]
    assert await tg.taken() == [first.update]
    assert await bot.get_updates(offset=second.update + 1) == ()
    await tg.wait_taken(second.update)
    await tg.redeliver(first.update)
    assert texts(await bot.get_updates(offset=second.update + 1)) == ["one"]
    assert await bot.get_updates(offset=second.update + 1) == ()


async def test_a_second_poll_ends_the_first(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    first = asyncio.create_task(bot.get_updates(timeout=30))
    await tg.wait_call("getUpdates")
    assert await bot.get_updates() == ()
    with pytest.raises(Conflict, match="other getUpdates"):
        await first
    await bot.set_webhook("https://example.org/hook")
    with pytest.raises(Conflict, match="webhook is active"):
        await bot.get_updates()
    await bot.delete_webhook()
    await tg.allow("Conflict")


async def test_only_what_it_subscribes_to_reaches_the_bot(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    asked = await ann.say("hello")
    await ann.react(asked, "👍")
    assert len(await bot.get_updates(allowed_updates=EVERYTHING)) == 1
    await ann.react(asked, "🔥")
    changed = (await bot.get_updates())[-1].message_reaction
    assert changed is not None
    assert [getattr(r, "emoji", "") for r in (*changed.old_reaction, *changed.new_reaction)] == ["👍", "🔥"]


# ---------------------------------------------------------------------- people


async def test_privacy_hides_what_isn_t_meant_for_the_bot(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    group = await tg.group("Team", ann)
    sent = await bot.send_message(group.id, "here")
    posted = await tg.wait_message(chat=group)
    assert posted.id == sent.message_id
    heard = [
        await ann.say("just talk", group),
        await ann.say("look at this", group, mention=True),
        await ann.say("yes", group, reply_to=posted),
        await ann.say("/status", group),
        await ann.say("/status@laneway_bot", group),
        await ann.say("/status@other_bot", group),
        await ann.say("mail to x@laneway_bot.org", group),
    ]
    assert [message.update is not None for message in heard] == [False, True, True, True, True, False, False]
    await ann.add_bot(group, rights=["can_manage_topics"])
    assert (await ann.say("just talk", group)).update is not None


async def test_buttons_are_answered_once_and_in_time(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    await bot.send_message(ann.id, "1 running", reply_markup=STOP)
    card = await tg.wait_message(lambda m: m.buttons == (("Stop",),), chat=ann)
    query = await ann.press(card, "Stop")
    forged = await ann.press(card, data="s:2")
    pressed = [update.callback_query for update in await bot.get_updates()]
    assert [(p.id, p.data, p.from_user.id) for p in pressed if p] == [(query, "s:1", ann.id), (forged, "s:2", ann.id)]
    await bot.answer_callback_query(query, "Stopped")
    assert (await tg.wait_answer(query))["text"] == "Stopped"
    with pytest.raises(BadRequest, match="too old"):
        await bot.answer_callback_query(query, "Stopped")
    await tg.advance(16)
    with pytest.raises(BadRequest, match="too old"):
        await bot.answer_callback_query(forged)
    await tg.allow("too old")


async def test_edits_and_standing_are_told(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    group = await tg.group("Team", ann)
    await ann.kick_bot(group)
    await ann.add_bot(group)
    await ann.edit(await ann.say("helo"), "hello")
    await ann.block_bot()
    updates = await bot.get_updates()
    standing = [update.my_chat_member.new_chat_member.status for update in updates if update.my_chat_member]
    assert standing == ["kicked", "member", "kicked"]
    assert [u.edited_message.text for u in updates if u.edited_message] == ["hello"]
    assert [u.message.new_chat_members[0].id for u in updates if u.message and u.message.new_chat_members] == [bot.id]


async def test_a_draft_can_be_stopped(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    await bot.send_message_draft(ann.id, 5, "thin", api_kwargs={"can_stop": True})
    await ann.stop_draft()
    (update,) = await bot.get_updates()
    assert update.api_kwargs["stopped_message_generation"]["draft_id"] == 5


# ---------------------------------------------------------------------- webhook


@asynccontextmanager
async def hook(*statuses: int) -> AsyncGenerator[tuple[str, list[Any]]]:
    """A bot's own server that answers with these statuses, then with 200; and what it got."""
    got: list[Any] = []

    async def receive(request: web.Request) -> web.Response:
        body = await request.json()
        got.append((body["update_id"], request.headers.get("X-Telegram-Bot-Api-Secret-Token")))
        return web.Response(status=statuses[len(got) - 1] if len(got) <= len(statuses) else 200)

    app = web.Application()
    app.router.add_post("/hook", receive)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", got
    finally:
        await runner.cleanup()


async def test_the_webhook_sends_again_until_it_is_taken(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    async with hook(500, 403) as (url, got):
        await bot.set_webhook(url, secret_token="s3cret")  # noqa: S106 -- of a test
        first, second = await ann.say("one"), await ann.say("two")
        await tg.wait_taken(second.update)
        assert got == [(first.update, "s3cret")] * 3 + [(second.update, "s3cret")]
        assert [status for _, status in (await tg.webhook())["attempts"]] == [500, 403, 200, 200]
        assert second.update is not None
        await tg.redeliver(second.update)
        await tg.until(lambda: _length(got, 5))
    await ann.say("three")

    async def failing() -> bool:
        info = await bot.get_webhook_info()
        return info.last_error_message == "Connection refused" and info.pending_update_count == 1

    await tg.until(failing)
    with pytest.raises(BadRequest, match=r"(?i)https"):
        await bot.set_webhook("http://example.org/hook")
    await bot.delete_webhook(drop_pending_updates=True)
    assert await bot.get_updates() == ()
    await tg.allow("HTTPS")


async def _length(of: list[Any], wanted: int) -> bool:
    return len(of) == wanted
