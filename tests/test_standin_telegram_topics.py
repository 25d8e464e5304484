"""Topics and drafts of the Telegram stand-in, as python-telegram-bot sees them."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from telegram import ReplyParameters
from telegram.error import BadRequest
from telegram.ext import ExtBot

from tests.standins.telegram import TelegramStandIn
from tests.support.telegram import client


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


async def test_topics_keep_messages_apart(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    group = await tg.group("Team", ann, forum=True, rights=["can_manage_topics", "can_delete_messages"])
    topic = await ann.open_topic(group, "Research")
    asked = await ann.say("look", group, topic=topic)
    answer = ReplyParameters(asked.id)
    await bot.send_message(group.id, "found", message_thread_id=topic, reply_parameters=answer)
    await bot.send_message(group.id, "to everybody")
    own = await bot.create_forum_topic(group.id, "Child")
    await bot.send_message(group.id, "task", message_thread_id=own.message_thread_id)
    assert await tg.transcript(group, topic=topic) == "Ann: look\nLaneway: found"
    assert await tg.transcript(group, topic=None) == "Laneway: to everybody"
    assert await tg.transcript(group, topic=own.message_thread_id) == "Laneway: task"
    for thread in (1, 77, asked.id):
        with pytest.raises(BadRequest, match=r"(?i)thread not found"):
            await bot.send_message(group.id, "x", message_thread_id=thread)
    await bot.delete_forum_topic(group.id, own.message_thread_id)
    with pytest.raises(BadRequest, match=r"(?i)thread not found"):
        await bot.send_message(group.id, "x", message_thread_id=own.message_thread_id)
    assert len(await tg.faults()) == 4
    await tg.allow("thread not found")


async def test_topics_need_rights_and_can_be_closed(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    group = await tg.group("Team", ann, forum=True)
    topic = await ann.open_topic(group, "Research")
    with pytest.raises(BadRequest, match=r"(?i)rights"):
        await bot.create_forum_topic(group.id, "Child")
    await ann.close_topic(group, topic)
    with pytest.raises(BadRequest, match=r"(?i)TOPIC_CLOSED"):
        await bot.send_message(group.id, "x", message_thread_id=topic)
    await ann.add_bot(group, rights=["can_manage_topics"])
    await bot.send_message(group.id, "x", message_thread_id=topic)
    await bot.reopen_forum_topic(group.id, topic)
    assert [t["closed"] for t in await tg.topics(group)] == [False]
    await tg.allow("rights|TOPIC_CLOSED")


async def test_private_topics_and_drafts() -> None:
    async with TelegramStandIn(topics=True) as tg, client(tg) as bot:
        assert bot.bot.has_topics_enabled
        ann = await tg.person("Ann")
        topic = await bot.create_forum_topic(ann.id, "Research")
        thread = topic.message_thread_id
        await bot.send_message_draft(ann.id, 7, "thin", message_thread_id=thread)
        await bot.send_message_draft(ann.id, 7, "thinking", message_thread_id=thread)
        assert [(d["text"], d["live"]) for d in await tg.drafts(ann)] == [("thin", False), ("thinking", True)]
        await bot.send_message(ann.id, "thought", message_thread_id=thread)
        assert not any(draft["live"] for draft in await tg.drafts(ann))
        await bot.send_message_draft(ann.id, 8, "more")
        await tg.advance(31)
        assert not any(draft["live"] for draft in await tg.drafts(ann))
        await tg.assert_clean()
        group = await tg.group("Team", ann)
        with pytest.raises(BadRequest, match=r"(?i)private"):
            await bot.send_message_draft(group.id, 7, "x")


async def test_a_topic_s_message_replies_to_its_creation(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    group = await tg.group("Team", ann, forum=True, rights=["can_manage_topics"])
    topic = (await bot.create_forum_topic(group.id, "Child")).message_thread_id
    await ann.say("go on", group, topic=topic)
    await ann.say("in General", group)
    inside, outside = [update.effective_message for update in await bot.get_updates()]
    assert inside is not None and outside is not None
    assert (inside.message_thread_id, inside.is_topic_message) == (topic, True)
    assert inside.reply_to_message is not None and inside.reply_to_message.forum_topic_created is not None
    assert (outside.message_thread_id, outside.is_topic_message) == (None, None)


async def test_a_chain_of_replies_is_no_topic(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    group = await tg.group("Team", ann, rights=["can_pin_messages"])
    first = await ann.say("one", group)
    await ann.say("two", group, reply_to=first)
    reply = (await bot.get_updates())[-1].effective_message
    assert reply is not None and (reply.message_thread_id, reply.is_topic_message) == (first.id, None)
    with pytest.raises(BadRequest, match="thread not found"):
        await bot.send_message(group.id, "x", message_thread_id=first.id)
    await tg.allow("thread not found")
