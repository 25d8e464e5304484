"""The Telegram stand-in as python-telegram-bot sees it: what it takes, what it refuses, what a reader then sees."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from telegram import BotCommandScopeChat, InlineKeyboardButton, InlineKeyboardMarkup, MessageEntity
from telegram.error import BadRequest, ChatMigrated, Forbidden, InvalidToken, RetryAfter, TelegramError
from telegram.ext import ExtBot

from tests.standins.telegram import Limits, TelegramStandIn
from tests.support.telegram import PNG, client

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


async def test_a_text_with_entities_reads_as_it_was_meant(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    text = "👩‍👧 bold and code"
    entities = [MessageEntity("bold", 6, 4), MessageEntity("code", 15, 4)]
    sent = await bot.send_message(ann.id, text, entities=entities, reply_markup=STOP)
    assert (sent.chat_id, sent.text) == (ann.id, text)
    assert await tg.transcript(ann) == "Laneway: 👩‍👧 **bold** and `code` [Stop]"


@pytest.mark.parametrize(
    ("text", "entities", "reason"),
    [
        ("", (), "message text is empty"),
        ("  \n ", (), "message text is empty"),
        ("x" * 4097, (), "message is too long"),
        ("👍" * 2049, (), "message is too long"),
        ("abc", (MessageEntity("bold", 2, 5),), "ends after the end of the text"),
        ("👍", (MessageEntity("bold", 1, 1),), "in a middle of a utf-16 symbol"),
        ("👍👍", (MessageEntity("bold", 0, 3),), "in a middle of a utf-16 symbol"),
    ],
)
async def test_a_bad_text_is_refused(
    tg: TelegramStandIn, bot: ExtBot[None], text: str, entities: tuple[MessageEntity, ...], reason: str
) -> None:
    ann = await tg.person("Ann")
    with pytest.raises(BadRequest) as refused:
        await bot.send_message(ann.id, text, entities=entities)
    assert reason in str(refused.value).lower()
    assert len(await tg.faults()) == 1
    await tg.allow(".*")


async def test_4096_utf16_units_and_blank_ends_are_taken(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    assert (await bot.send_message(ann.id, "👍" * 2048)).text == "👍" * 2048
    sent = await bot.send_message(ann.id, "\n  x\t\x00y \n ", entities=[MessageEntity("bold", 3, 7)])
    assert (sent.text, sent.entities) == ("x  y", (MessageEntity("bold", 0, 4),))


async def test_what_the_server_would_drop_silently_is_a_fault(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    link = MessageEntity("text_link", 0, 4, url="javascript:alert(1)")
    assert (await bot.send_message(ann.id, "link", entities=[link])).entities == ()
    await bot.send_message(ann.id, "bold code", entities=[MessageEntity("bold", 0, 9), MessageEntity("code", 5, 4)])
    await bot.send_message(ann.id, "ab" * 101, entities=[MessageEntity("bold", 2 * n, 1) for n in range(101)])
    assert [fault.partition(": ")[2] for fault in await tg.faults()] == [
        "link dropped: 'javascript:alert(1)'",
        "code inside bold",
        "101 entities, only 100 would be kept",
    ]
    await tg.allow(".*")


@pytest.mark.filterwarnings("ignore:Please use")
async def test_a_call_that_breaks_the_description_is_refused(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    for method, params in (
        ("sendMessage", {"chat_id": ann.id}),
        ("sendMessage", {"chat_id": ann.id, "text": "x", "colour": "red"}),
        ("sendMessage", {"chat_id": ann.id, "text": "x", "message_thread_id": "main"}),
        ("sendMessage", {"chat_id": ann.id, "text": "x", "entities": [{"type": "huge", "offset": 0, "length": 1}]}),
        ("sendMessage", {"chat_id": ann.id, "text": "x", "entities": [{"type": "bold", "offset": 0}]}),
        ("sendMessage", {"chat_id": ann.id, "text": "x", "reply_markup": {"inline_keyboard": [[{"text": "a"}]]}}),
        ("sendChatAction", {"chat_id": ann.id, "action": "sleeping"}),
        ("setMyCommands", {"commands": [{"command": "Stop!", "description": "x"}]}),
        ("getUpdates", {"allowed_updates": ["messages"]}),
    ):
        with pytest.raises(BadRequest):
            await bot.do_api_request(method, api_kwargs=params)
    with pytest.raises(TelegramError, match=r"(?i)not found"):
        await bot.do_api_request("sendMassage", api_kwargs={})
    with pytest.raises(TelegramError, match=r"(?i)doesn't model"):
        await bot.do_api_request("sendDice", api_kwargs={"chat_id": ann.id})
    assert len(await tg.faults()) == 11
    await tg.allow(".*")


async def test_parse_modes_are_read_and_their_errors_named(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    await bot.send_message(ann.id, '<b>a &lt; b</b> <a href="https://x.org/">x</a>', parse_mode="HTML")
    await bot.send_message(ann.id, "*bold* `a\\`b` [x](https://x.org/) 1\\.", parse_mode="MarkdownV2")
    await bot.send_message(ann.id, "```py\nx = 1\n```", parse_mode="MarkdownV2")
    assert (await tg.transcript(ann)).splitlines() == [
        "Laneway: **a < b** [x](https://x.org/)",
        "Laneway: **bold** `a`b` [x](https://x.org/) 1.",
        "Laneway: ```py",
        "x = 1",
        "```",
    ]
    for text, mode, reason in (
        ("<b>a", "HTML", "can't find end tag"),
        ("a <x> b", "HTML", "unsupported start tag"),
        ("1. x", "MarkdownV2", "is reserved"),
        ("*a", "MarkdownV2", "can't find end of bold"),
    ):
        with pytest.raises(BadRequest) as refused:
            await bot.send_message(ann.id, text, parse_mode=mode)
        assert reason in str(refused.value).lower()
    await tg.allow("can't parse entities")


async def test_edits_change_the_message_or_are_refused(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    sent = await bot.send_message(ann.id, "1 running", reply_markup=STOP)
    await bot.edit_message_text("2 running", ann.id, sent.message_id, reply_markup=STOP)
    await bot.edit_message_reply_markup(ann.id, sent.message_id)
    (seen,) = await tg.messages(ann)
    assert (seen.text, seen.history, seen.buttons) == ("2 running", ("1 running", "2 running"), ())
    asked = await ann.say("hello")
    for message, reason in ((sent.message_id, "not modified"), (asked.id, "can't be edited"), (99, "edit not found")):
        with pytest.raises(BadRequest, match=reason):
            await bot.edit_message_text("2 running", ann.id, message)
    await bot.delete_message(ann.id, sent.message_id)
    with pytest.raises(BadRequest, match="edit not found"):
        await bot.edit_message_text("x", ann.id, sent.message_id)
    with pytest.raises(BadRequest, match=r"(?i)BUTTON_DATA_INVALID"):
        long = InlineKeyboardMarkup([[InlineKeyboardButton("x", callback_data="y" * 65)]])
        await bot.send_message(ann.id, "x", reply_markup=long)
    assert len(await tg.faults()) == 5
    await tg.allow(".*")


async def test_typing_lapses(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    await bot.send_chat_action(ann.id, "typing")
    assert await tg.typing(ann)
    await tg.advance(5.1)
    assert not await tg.typing(ann)
    group = await tg.group("Team", ann, forum=True)
    await bot.send_chat_action(group.id, "typing", message_thread_id=1)
    assert await tg.typing(group, topic=1)


async def test_reactions_take_one_of_the_allowed_emoji(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    asked = await ann.say("hello")
    await bot.set_message_reaction(ann.id, asked.id, "👀")
    assert (await tg.messages(ann))[0].reactions == {bot.id: "👀"}
    await bot.set_message_reaction(ann.id, asked.id, None)
    assert (await tg.messages(ann))[0].reactions == {}
    with pytest.raises(BadRequest, match=r"(?i)REACTION_INVALID"):
        await bot.set_message_reaction(ann.id, asked.id, "✅")
    await tg.allow("REACTION_INVALID")


async def test_people_shut_the_bot_out_which_is_no_fault_of_its(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann, bob = await tg.person("Ann"), await tg.person("Bob", started=False)
    small = await tg.group("Small", ann, kind="group")
    await ann.block_bot()
    with pytest.raises(Forbidden, match="blocked by the user"):
        await bot.send_message(ann.id, "x")
    with pytest.raises(Forbidden, match="can't initiate"):
        await bot.send_message(bob.id, "x")
    with pytest.raises(ChatMigrated) as moved:
        await ann.upgrade(small)
        await bot.send_message(small.id, "x")
    await bot.send_message(moved.value.new_chat_id, "here")
    group = await tg.group("Team", ann)
    await ann.kick_bot(group)
    with pytest.raises(Forbidden, match="kicked from the supergroup"):
        await bot.send_message(group.id, "x")
    await tg.assert_clean()
    with pytest.raises(BadRequest, match=r"(?i)chat not found"):
        await bot.send_message(424242, "x")
    await tg.allow("chat not found")


async def test_files_go_both_ways(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    await bot.send_document(ann.id, b"a,b\n", filename="t.csv", caption="a table")
    await bot.send_photo(ann.id, PNG)
    await bot.send_voice(ann.id, b"OggS")
    with pytest.raises(BadRequest, match=r"(?i)IMAGE_PROCESS_FAILED"):
        await bot.send_photo(ann.id, b"no picture")
    got = await ann.send_document("notes.txt", b"hello", caption="see")
    file = await bot.get_file(got.raw["document"]["file_id"])
    assert bytes(await file.download_as_bytearray()) == b"hello"
    photo = await ann.send_photo()
    assert [size["width"] for size in photo.raw["photo"]] == [90, 320, 800]
    big = await ann.send_document("big.bin", b"x", size=21 * 2**20)
    with pytest.raises(BadRequest, match=r"(?i)too big"):
        await bot.get_file(big.raw["document"]["file_id"])
    await tg.allow("IMAGE_PROCESS")


async def test_commands_are_kept_by_scope_and_language(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    await bot.set_my_commands([("stop", "Stop all")])
    await bot.set_my_commands([("stop", "Alles anhalten")], language_code="de")
    assert await tg.commands() == [{"command": "stop", "description": "Stop all"}]
    assert (await tg.commands(language="de"))[0]["description"] == "Alles anhalten"
    assert (await bot.get_my_commands())[0].command == "stop"
    ann = await tg.person("Ann")
    await bot.set_my_commands([("status", "How it is")], scope=BotCommandScopeChat(ann.id))
    assert (await tg.commands({"type": "chat", "chat_id": ann.id}))[0]["command"] == "status"
    await bot.delete_my_commands(scope=BotCommandScopeChat(ann.id))
    assert await bot.get_my_commands(scope=BotCommandScopeChat(ann.id)) == ()


async def test_flood_limits_are_counted_and_enforced(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann = await tg.person("Ann")
    for number in range(3):
        await bot.send_message(ann.id, f"{number}")
    assert await tg.busiest(ann) == 3
    await tg.enforce_limits(Limits(per_group=2))
    with pytest.raises(RetryAfter):
        await bot.send_message(ann.id, "x")
    await tg.advance(1)
    await bot.send_message(ann.id, "x")
    group = await tg.group("Team", ann)
    for _ in range(2):
        await bot.send_message(group.id, "x")
        await tg.advance(1)
    with pytest.raises(RetryAfter):
        await bot.send_message(group.id, "x")
    await tg.allow("Too Many Requests")


async def test_a_wrong_token_gets_nowhere(tg: TelegramStandIn) -> None:
    tg.token = "1:wrong"  # noqa: S105 -- of nobody
    with pytest.raises(InvalidToken):
        async with client(tg):
            pass


async def test_members_are_told(tg: TelegramStandIn, bot: ExtBot[None]) -> None:
    ann, bob = await tg.person("Ann"), await tg.person("Bob")
    group = await tg.group("Team", ann, bob, rights=["can_manage_topics"])
    assert (await bot.get_chat_member(group.id, ann.id)).status == "creator"
    me = await bot.get_chat_member(group.id, bot.id)
    assert (me.status, getattr(me, "can_manage_topics", None)) == ("administrator", True)
    assert {member.user.id for member in await bot.get_chat_administrators(group.id)} == {ann.id, bot.id}
    assert await bot.get_chat_member_count(group.id) == 3
    assert (await bot.get_chat(group.id)).title == "Team"
