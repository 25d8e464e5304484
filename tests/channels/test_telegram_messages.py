"""What people send in Telegram: commands, edits, files, albums, quotes, topics (spec/channels.md 1, Telegram)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.standins.telegram import TelegramStandIn
from tests.standins.telegram.people import PIXEL
from tests.support.model_script import say
from tests.support.pilot import KEY
from tests.support.telegram_gateway import TelegramRoom, telegram_room


def echo(room: TelegramRoom) -> None:
    """The assistant repeats what it heard."""
    room.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")


async def waiting(room: TelegramRoom) -> None:
    """Lets a turn of Ann's private conversation stand still until `release("turn")`."""
    room.p.on(reply=say("first", hold="turn"), role="main", user="^wait$")
    await room.ann.say("wait")
    await room.p.wait_asked(lambda seen: seen.last_user == "wait")


# ---------------------------------------------------------------------- commands


async def test_commands_are_answered_without_a_model(tmp_path: Path) -> None:
    """spec/subagents.md 28: answered without a model call; in groups the plain form and the one with the bot's name."""
    async with telegram_room(tmp_path) as room:
        await room.bob.say("/status", room.team)
        await room.bob.say("/status@laneway_bot", room.team)
        topic = await room.ann.open_topic(room.forum, "Research")
        await room.ann.say("/subagents list", room.forum, topic=topic, mention=True)
        await room.reads(room.forum, "Subagents", topic=topic)
        await room.tg.until(lambda: _count(room, 2))
        assert room.p.model.requests == []


async def _count(room: TelegramRoom, number: int) -> bool:
    return len(await room.texts(room.team)) == number


async def test_commands_of_other_bots_are_left_alone(tmp_path: Path) -> None:
    """Channels, Telegram: `/status@another_bot` is ignored, and so is a command in a group that nobody here has."""
    async with telegram_room(tmp_path, standin=TelegramStandIn(privacy=False)) as room:
        await room.ann.say("/status@other_bot", room.team)
        last = await room.ann.say("/weather", room.team)
        await room.tg.wait_taken(last.update)
        assert await room.texts(room.team) == []
        await room.ann.say("/weather")
        await room.reads(room.ann, "There is no command /weather")
        await room.delivered()


async def test_start_is_help(tmp_path: Path) -> None:
    """What Telegram's Start button says is answered with what can be typed here."""
    async with telegram_room(tmp_path) as room:
        await room.ann.say("/start")
        await room.reads(room.ann, "/subagents")
        await room.delivered()


async def test_commands_are_answered_while_a_turn_runs(tmp_path: Path) -> None:
    """spec/subagents.md 27, 28: /stop ends the turn that is under way."""
    async with telegram_room(tmp_path) as room:
        await waiting(room)
        await room.ann.say("/stop")
        await room.reads(room.ann, "topped")
        await room.settled(KEY)


async def test_only_owners_may_do_what_is_theirs(tmp_path: Path) -> None:
    """Channels 2: operator-only commands need `owners`."""
    async with telegram_room(tmp_path) as room:
        await room.bob.say("/approve x", room.team, mention=True)
        await room.reads(room.team, "/approve is for owners")
        await room.delivered()


# ---------------------------------------------------------------------- edits


async def test_1_an_edit_changes_what_hasn_t_been_read(tmp_path: Path) -> None:
    """Channels 1: an edited message updates its row while that is unconsumed; later it changes nothing."""
    async with telegram_room(tmp_path, config={"messages": {"queue": {"mode": "followup"}}}) as room:
        await waiting(room)
        echo(room)
        asked = await room.ann.say("helo")
        await room.tg.wait_taken(asked.update)
        edited = await room.ann.edit(asked, "hello")
        await room.tg.until(lambda: _taken(room, edited.id))
        room.p.model.release("turn")
        await room.reads(room.ann, "heard: hello")
        await room.settled(KEY)
        await room.ann.edit(asked, "too late")
        await room.tg.until(lambda: _taken(room, edited.id))
        assert [seen.last_user for seen in room.p.main_requests()] == ["wait", "hello"]


async def _taken(room: TelegramRoom, message: int) -> bool:
    """Whether every update about a message has been taken."""
    return not any(message in _numbers(update) for update in await room.tg.pending())


def _numbers(update: dict[str, Any]) -> list[int]:
    return [body["message_id"] for body in update.values() if isinstance(body, dict) and "message_id" in body]


# ---------------------------------------------------------------------- files


async def test_photos_are_stored_and_seen(tmp_path: Path) -> None:
    """Channels, Telegram: photos are stored and named to the model, as what they are; the caption is the text."""
    async with telegram_room(tmp_path) as room:
        room.p.on(lambda seen: say(f"seen: {seen.last_user}"), role="main")
        await room.ann.send_photo(caption="what is this?")
        await room.reads(room.ann, "seen: ")
        await room.settled(KEY)
        [seen] = room.p.main_requests()
        [kept] = (room.p.paths.state / "media").iterdir()
        assert seen.last_user == f"what is this?\n[attached file: photo.jpg, image/png, {kept}]"
        assert kept.read_bytes() == PIXEL


async def test_documents_and_voice_are_stored_and_named(tmp_path: Path) -> None:
    """Channels, Telegram: documents and voice are stored in the workspace and named to the model."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await room.ann.send_document("notes.txt", b"three things", caption="read this")
        await room.reads(room.ann, "notes.txt")
        await room.settled(KEY)
        await room.ann.send_voice(b"OggS\x00voice")
        await room.reads(room.ann, "voice.oga")
        await room.settled(KEY)
        kept = {path.name.partition("-")[2]: path.read_bytes() for path in (room.p.workspace / "incoming").iterdir()}
        assert kept == {"notes.txt": b"three things", "voice.oga": b"OggS\x00voice"}


async def test_a_file_that_can_t_be_had_is_named_with_the_reason(tmp_path: Path) -> None:
    """The Bot API gives files up to 20 MB; what can't be fetched is said instead of lost."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await room.ann.send_document("huge.bin", b"x", caption="look", size=21 * 2**20)
        await room.reads(room.ann, "heard: look")
        shown = await room.reads(room.ann, "larger than 20 MB")
        assert "huge.bin" in shown.text
        assert await room.tg.calls("getFile") == []
        await room.settled(KEY)


async def test_an_album_belongs_to_the_mention_in_its_first_caption(tmp_path: Path) -> None:
    """Albums come as single messages, of which one alone carries the mention."""
    async with telegram_room(tmp_path, standin=TelegramStandIn(privacy=False)) as room:
        echo(room)
        asked = await room.ann.send_photo(PIXEL, room.team, caption="@laneway_bot compare")
        await room.tg.wait_taken(asked.update)
        await room.settled(room.key(room.team))
        known = len(room.p.main_requests())
        first = await room.tells(asked, 900, media_group_id="album")
        second = await room.tells(asked, 901, media_group_id="album", caption=None, caption_entities=None)
        other = await room.tells(asked, 902, media_group_id="other", caption=None, caption_entities=None)
        for update in (first, second, other):
            await room.tg.wait_taken(update)
        await room.settled(room.key(room.team))
        rows = await room.p.transcript(room.key(room.team))
        assert len([row for row in rows if row["role"] == "user"]) == 3
        assert len(room.p.main_requests()) > known


# ---------------------------------------------------------------------- what is said around it


async def test_what_somebody_else_has_written_is_quoted(tmp_path: Path) -> None:
    """A mention in a reply to another person's message is about that message."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        said = await room.ann.say("the train leaves\nat nine", room.team)
        await room.bob.say("is that right?", room.team, reply_to=said, mention=True)
        await room.reads(room.team, "is that right?")
        await room.settled(room.key(room.team))
        [seen] = room.p.main_requests()
        assert seen.last_user == "Bob: > Ann: the train leaves\n> at nine\n\nis that right?"


async def test_a_mention_alone_is_a_message(tmp_path: Path) -> None:
    """A bare mention means: look here."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await room.bob.say("", room.team, mention=True)
        await room.reads(room.team, "heard: Bob: (addressed you")
        await room.settled(room.key(room.team))


async def test_links_behind_words_reach_the_model(tmp_path: Path) -> None:
    """An address that stands behind a word isn't lost."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        asked = await room.ann.say("see here")
        await room.reads(room.ann, "heard: see here")
        link = {"type": "text_link", "offset": 4, "length": 4, "url": "https://example.org/a"}
        await room.tells(asked, 900, entities=[link])
        await room.p.wait_asked(lambda seen: seen.last_user == "see [here](https://example.org/a)")
        await room.settled(KEY)


async def test_service_messages_are_no_messages(tmp_path: Path) -> None:
    """That somebody has joined, pinned or renamed something is nothing to answer."""
    async with telegram_room(tmp_path) as room:
        asked = await room.ann.say("/status")
        await room.reads(room.ann, "main")
        await room.delivered()
        pinned = await room.tells(asked, 900, text=None, entities=None, pinned_message=asked.raw)
        await room.tg.wait_taken(pinned)
        assert room.p.model.requests == []
        assert len(await room.texts(room.ann)) == 1
