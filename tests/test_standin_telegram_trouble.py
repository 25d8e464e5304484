"""Trouble on demand from the Telegram stand-in, and the stand-in as a process of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from telegram import InlineKeyboardButton, InlineKeyboardMarkup
from telegram.error import BadRequest, InvalidToken, NetworkError, RetryAfter, TimedOut
from telegram.ext import ExtBot

from tests.standins.telegram import Fault, TelegramStandIn, telegram_process
from tests.support.telegram import client, texts

STOP = InlineKeyboardMarkup([[InlineKeyboardButton("Stop", callback_data="s:1")]])


@pytest.fixture
async def tg() -> AsyncGenerator[TelegramStandIn]:
    """A stand-in; what a test has provoked it must allow."""
    async with TelegramStandIn() as standin:
        yield standin
        await standin.assert_clean()


@pytest.fixture
async def bot(tg: TelegramStandIn) -> AsyncGenerator[ExtBot[None]]:
    """The real client of it."""
    async with client(tg) as started:
        yield started


async def test_trouble_comes_when_it_is_asked_for(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    for fault, error in (
        (Fault.flood(3), RetryAfter),
        (Fault.server_error(502), NetworkError),
        (Fault.server_error(500), NetworkError),
        (Fault.dropped(), NetworkError),
        (Fault.unauthorized(), InvalidToken),
        (Fault.refused("Bad Request: can't parse entities"), BadRequest),
    ):
        await tg.next("sendMessage", fault)
        with pytest.raises(error):
            await bot.send_message(ann.id, "hello")
    assert await tg.messages(ann) == []
    for fault in (Fault.dropped(applied=True), Fault.server_error(applied=True)):
        await tg.next("sendMessage", fault, chat=ann)
        with pytest.raises(NetworkError):
            await bot.send_message(ann.id, "hello")
    assert len(await tg.messages(ann)) == 2
    await tg.next("sendMessage", Fault.flood())
    assert "never came" in (await tg.faults())[0]
    with pytest.raises(RetryAfter):
        await bot.send_message(ann.id, "hello")


async def test_a_repetition_after_a_lost_answer_is_no_fault(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    sent = await bot.send_message(ann.id, "1 running")
    await tg.next("editMessageText", Fault.dropped(applied=True))
    with pytest.raises(NetworkError):
        await bot.edit_message_text("2 running", ann.id, sent.message_id)
    with pytest.raises(BadRequest, match="not modified"):
        await bot.edit_message_text("2 running", ann.id, sent.message_id)


async def test_answers_are_held_until_released(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    await tg.next("sendMessage", Fault.held("send"))
    await tg.next("sendMessage", Fault.held("answer", applied=True))
    before, after = (asyncio.create_task(bot.send_message(ann.id, text)) for text in ("one", "two"))
    await tg.wait_call("sendMessage", count=2)
    await tg.wait_message(lambda m: m.text in ("one", "two"))
    assert len(await tg.messages(ann)) == 1
    await tg.release("send")
    await tg.release("answer")
    assert {(await before).text, (await after).text} == {"one", "two"}


async def test_a_poll_can_hang(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    await tg.next("getUpdates", Fault.hangs())
    await ann.say("hello")
    with pytest.raises(TimedOut):
        await bot.get_updates(read_timeout=0.1)
    assert texts(await bot.get_updates()) == ["hello"]


# ---------------------------------------------------------------------- a process of its own


async def test_a_process_remembers_what_clients_forget(tmp_path: Path) -> None:
    async with telegram_process(tmp_path / "calls.jsonl", "--topics") as tg:
        ann = await tg.person("Ann")
        async with client(tg) as bot:
            assert bot.bot.has_topics_enabled
            asked = await ann.say("hello")
            assert texts(await bot.get_updates()) == ["hello"]
        async with client(tg) as bot:
            assert texts(await bot.get_updates()) == ["hello"]
            waiting = asyncio.create_task(tg.wait_message(lambda m: m.text == "hi"))
            await bot.send_message(ann.id, "hi", reply_markup=STOP)
            card = await waiting
            await ann.press(card, "Stop")
            assert asked.update is not None
            assert (await bot.get_updates(offset=asked.update + 1))[0].callback_query is not None
        with pytest.raises(AssertionError, match="no button"):
            await ann.press(card, "Go")
        await tg.assert_clean()
    assert '"method": "sendMessage"' in (tmp_path / "calls.jsonl").read_text()
