"""Answers that appear in Telegram while they are written: drafts in private, edits in groups (spec/channels.md 5)."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import replace
from pathlib import Path

import pytest

from channels.telegram import channel
from channels.telegram.timing import Limits as Paced
from gateway import delivery
from tests.standins.telegram import Fault, TelegramStandIn
from tests.support.model_script import Reply, call, say
from tests.support.pilot import KEY
from tests.support.telegram_gateway import HURRIED, TelegramRoom, telegram_room

WORDS = " ".join(f"word{number}" for number in range(40))


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery's first retry comes after a twentieth of its time."""
    monkeypatch.setattr(delivery, "FIRST_RETRY_SECONDS", 0.05)


def slowly(text: str = WORDS, seconds: float = 0.02) -> Reply:
    """A reply that is written word by word."""
    return say(text, chunk_delay=seconds)


# ---------------------------------------------------------------------- private chats


async def test_5_a_draft_grows_in_a_private_chat(tmp_path: Path) -> None:
    """Channels, Telegram: drafts in private chats; the answer is one new message, and no draft stays."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(), role="main")
        await room.ann.say("go")
        await room.reads(room.ann, "word39")
        await room.settled(KEY)
        drafts = await room.tg.drafts(room.ann)
        texts = [draft["text"] for draft in drafts]
        assert len(texts) > 2
        assert all(later.startswith(earlier) for earlier, later in itertools.pairwise(texts))
        assert len({draft["id"] for draft in drafts}) == 1
        assert not any(draft["live"] for draft in drafts)
        assert await room.texts(room.ann) == [WORDS]
        assert await room.tg.calls("editMessageText") == []


async def test_5_a_draft_keeps_to_its_topic(tmp_path: Path) -> None:
    """Channels, Telegram: private-chat topics keep their thread on every draft."""
    async with telegram_room(tmp_path, standin=TelegramStandIn(topics=True)) as room:
        room.p.on(reply=slowly(), role="main")
        topic = await room.ann.open_topic(None, "Plans")
        await room.ann.say("go", topic=topic)
        await room.reads(room.ann, "word39", topic=topic)
        await room.settled(f"{KEY}:topic:{topic}")
        assert {draft["thread"] for draft in await room.tg.drafts(room.ann)} == {topic}


async def test_5_a_long_draft_shows_its_end(tmp_path: Path) -> None:
    """A draft is no longer than a message: of a longer answer its last part is seen."""
    paragraphs = "\n\n".join(f"Part {number}. " + "word " * 300 for number in range(4))
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=say(paragraphs), role="main")
        await room.ann.say("go")
        await room.reads(room.ann, "Part 3.")
        await room.settled(KEY)
        assert all(len(draft["text"]) <= 4096 for draft in await room.tg.drafts(room.ann))


async def test_stop_beside_a_draft_ends_the_turn(tmp_path: Path) -> None:
    """Issue: native stop where the platform has it."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(seconds=0.2), role="main")
        await room.ann.say("go")
        await room.tg.wait_call("sendMessageDraft", count=2)
        await room.ann.stop_draft()
        await room.reads(room.ann, "topped")
        await room.settled(KEY)
        assert all("word39" not in text for text in await room.texts(room.ann))


async def test_a_draft_that_fails_costs_nothing(tmp_path: Path) -> None:
    """What a stream couldn't show is no loss: the answer is posted whole."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(), role="main")
        await room.tg.next("sendMessageDraft", Fault.refused("Bad Request: drafts aren't for you"))
        await room.ann.say("go")
        await room.reads(room.ann, "word39")
        await room.settled(KEY)
        assert await room.texts(room.ann) == [WORDS]


# ---------------------------------------------------------------------- groups


async def test_5_an_answer_grows_by_edits_in_a_group(tmp_path: Path) -> None:
    """Channels, Telegram: streaming by edits: one message, which is the answer in the end."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(), role="main")
        topic = await room.ann.open_topic(room.forum, "Research")
        await room.ann.say("go", room.forum, topic=topic, mention=True)
        await room.reads(room.forum, "word39", topic=topic)
        await room.settled(room.key(room.forum, topic))
        [shown] = await room.tg.messages(room.forum, bot=True)
        assert (shown.text, shown.topic) == (WORDS, topic)
        assert len(shown.history) > 1
        assert all(WORDS.startswith(earlier) for earlier in shown.history)


async def test_5_a_quick_answer_in_a_group_is_posted_whole(tmp_path: Path) -> None:
    """A message can be edited once a second: an answer that is written faster is one call."""
    async with telegram_room(tmp_path, timing=replace(HURRIED, quick=5.0)) as room:
        room.p.on(reply=slowly(), role="main")
        await room.ann.say("go", room.team, mention=True)
        await room.reads(room.team, "word39")
        await room.settled(room.key(room.team))
        assert len(await room.tg.calls("sendMessage")) == 1
        assert await room.tg.calls("editMessageText") == []


async def test_5_edits_of_one_chat_share_their_pace(tmp_path: Path) -> None:
    """Channels, Telegram: at most one edit a second per chat (here a fifth), however many topics stream at once."""
    paced = replace(Paced(), chat_seconds=0.25, group=1_000, fleeting=1_000)
    async with telegram_room(tmp_path, limits=paced) as room:
        room.p.on(reply=slowly(seconds=0.05), role="main")
        topics = [await room.ann.open_topic(room.forum, name) for name in ("One", "Two")]
        for topic in topics:
            await room.ann.say("go", room.forum, topic=topic, mention=True)
        await room.ann.say("go")
        for topic in topics:
            await room.reads(room.forum, "word39", topic=topic)
            await room.settled(room.key(room.forum, topic))
        assert await room.tg.busiest(room.forum, seconds=0.2) == 1
        shown = await room.tg.messages(room.forum, bot=True)
        assert [(message.text, bool(message.history)) for message in shown] == [(WORDS, True)] * 2


async def test_5_a_flood_error_in_one_chat_stops_no_other(tmp_path: Path) -> None:
    """facts.md: a pause that is asked for in one chat holds up that chat alone; its answer comes whole all the same."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(), role="main")
        await room.tg.next("editMessageText", Fault.flood(2), chat=room.forum)
        await room.ann.say("go", room.forum, mention=True)
        await room.tg.wait_call("editMessageText", lambda call: call.status == 429)
        began = asyncio.get_running_loop().time()
        await room.ann.say("go", room.team, mention=True)
        await room.reads(room.team, "word39")
        assert asyncio.get_running_loop().time() - began < 2
        await room.reads(room.forum, "word39")
        await room.settled(room.key(room.forum))
        assert await room.texts(room.forum) == [WORDS]


async def test_5_what_is_stopped_while_it_is_written_is_taken_away(tmp_path: Path) -> None:
    """An answer that isn't finished leaves nothing behind."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(seconds=0.2), role="main")
        await room.ann.say("go", room.team, mention=True)
        await room.reads(room.team, "word1")
        await room.ann.say("/stop@laneway_bot", room.team)
        await room.reads(room.team, "topped")
        await room.settled(room.key(room.team))
        assert all("word" not in text for text in await room.texts(room.team))


async def test_6_a_stream_that_may_have_begun_is_marked(tmp_path: Path) -> None:
    """Architecture, protocol 8: never a second independent post: the whole answer says that one was cut off."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(), role="main")
        await room.tg.next("sendMessage", Fault.dropped(applied=True))
        await room.ann.say("go", room.team, mention=True)
        await room.reads(room.team, "word39")
        await room.settled(room.key(room.team))
        cut, whole = await room.texts(room.team)
        assert WORDS.startswith(cut)
        assert whole == f"(this answer may have been cut off; here it is whole)\n\n{WORDS}"


async def test_6_an_edit_whose_answer_is_lost_is_done_again_without_a_mark(tmp_path: Path) -> None:
    """The same edit twice comes to the same; “not modified” is done."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(seconds=0.05), role="main")
        await room.tg.next("editMessageText", Fault.dropped(applied=True), times=2)
        await room.tg.next("editMessageText", Fault.server_error(502, applied=True), times=2)
        await room.ann.say("go", room.team, mention=True)
        await room.reads(room.team, "word39")
        await room.settled(room.key(room.team))
        assert await room.texts(room.team) == [WORDS]


async def test_a_message_that_people_delete_while_it_grows_comes_anew(tmp_path: Path) -> None:
    """The answer arrives whole in any case."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=slowly(seconds=0.05), role="main")
        await room.ann.say("go", room.team, mention=True)
        growing = await room.reads(room.team, "word1")
        await room.ann.delete(growing)
        await room.reads(room.team, "word39")
        await room.settled(room.key(room.team))
        assert await room.texts(room.team) == [WORDS]
        await room.tg.allow("message to edit not found")


async def test_a_turn_with_tools_streams_into_one_message(tmp_path: Path) -> None:
    """Text beside tool calls is progress, shown live, never posted by itself (spec/subagents.md 19)."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=replace(call("ls"), text="let me look ", chunk_delay=0.05), role="main", turn_step=1)
        room.p.on(reply=slowly(), role="main", turn_step=2)
        await room.ann.say("go", room.team, mention=True)
        await room.reads(room.team, "word39")
        await room.settled(room.key(room.team))
        assert await room.texts(room.team) == [WORDS]


async def test_typing_lasts_as_long_as_the_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Channels, Telegram: typing every 4–5 s while a turn lasts, in its topic; the message is marked meanwhile."""
    capabilities = replace(channel.CAPABILITIES, typing_seconds=0.1)
    monkeypatch.setattr(channel.TelegramChannel, "capabilities", capabilities)
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=say("done", hold="model"), role="main")
        topic = await room.ann.open_topic(room.forum, "Research")
        asked = await room.ann.say("go", room.forum, topic=topic, mention=True)
        await room.tg.wait_typing(room.forum, topic=topic)
        await room.tg.wait_call("sendChatAction", count=3)
        assert await _reaction(room, asked.id) == "👀"
        room.p.model.release("model")
        await room.reads(room.forum, "done", topic=topic)
        await room.settled(room.key(room.forum, topic))
        await room.tg.until(lambda: _is_done(room, asked.id))
        calls = len(await room.tg.calls("sendChatAction"))
        assert not await room.tg.typing(room.forum, topic=topic)
        assert len(await room.tg.calls("sendChatAction")) == calls
        assert {each["thread"] for each in await room.tg.actions(room.forum)} == {topic}


async def _reaction(room: TelegramRoom, message: int) -> str:
    found = next(each for each in await room.tg.messages(room.forum) if each.id == message)
    return "".join(found.reactions.values())


async def _is_done(room: TelegramRoom, message: int) -> bool:
    return await _reaction(room, message) == "👍"
