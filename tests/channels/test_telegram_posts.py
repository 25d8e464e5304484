"""What goes out to Telegram: rendered, whole, in order, and never twice without a mark (spec/channels.md 5, 6)."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from channels.telegram.timing import Limits as Paced
from gateway import delivery
from tests.standins.telegram import Fault, Group, Limits, Person
from tests.support.model_script import say
from tests.support.pilot import KEY
from tests.support.telegram_gateway import HURRIED, TelegramRoom, telegram_room

AGAIN = "(sent again after an interruption; you may have it already)\n\n"
FOLLOWUP = {"messages": {"queue": {"mode": "followup"}}}


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """The delivery's first retry comes after a twentieth of its time."""
    monkeypatch.setattr(delivery, "FIRST_RETRY_SECONDS", 0.05)


def echo(room: TelegramRoom) -> None:
    """The assistant repeats what it heard."""
    room.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")


async def sends(room: TelegramRoom, chat: Group | Person) -> list[int]:
    """The statuses of all sendMessage calls to a chat."""
    return [call.status for call in await room.tg.calls("sendMessage") if call.params["chat_id"] == chat.id]


# ---------------------------------------------------------------------- rendering


async def test_5_markdown_is_shown_natively(tmp_path: Path) -> None:
    """Channels 5: Markdown is rendered natively, as entities and without a parse mode; no link is previewed."""
    text = "# Plan\n\n1. **buy** `milk`\n2. see [the list](https://example.org/list)\n\n```python\nprint(1)\n```"
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=say(text), role="main")
        await room.ann.say("go")
        shown = await room.reads(room.ann, "milk")
        kinds = {entity["type"] for entity in shown.entities}
        assert {"bold", "code", "text_link", "pre"} <= kinds
        assert "**" not in shown.text and "```" not in shown.text
        for call in await room.tg.calls("sendMessage"):
            assert "parse_mode" not in call.params
            assert call.params["link_preview_options"] == {"is_disabled": True}
        await room.settled(KEY)


async def test_5_what_telegram_can_t_read_goes_out_as_it_was_written(tmp_path: Path) -> None:
    """Channels 5: a rejected rendering falls back to plain text, once, and loses nothing."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=say("**bold** words"), role="main")
        await room.tg.next("sendMessage", Fault.refused("Bad Request: can't parse entities: no such entity"))
        await room.ann.say("go")
        shown = await room.reads(room.ann, "words")
        assert (shown.text, shown.entities) == ("**bold** words", ())
        await room.settled(KEY)
        assert await sends(room, room.ann) == [400, 200]


async def test_5_a_long_answer_comes_whole_and_in_order(tmp_path: Path) -> None:
    """Channels 5: chunks at paragraph or code-fence borders; code is closed and opened again; nothing is lost."""
    code = "\n".join(f"line_{number} = {number}" for number in range(400))
    text = "\n\n".join([*(f"Paragraph {n} " + "word " * 150 for n in range(10)), f"```python\n{code}\n```", "The end."])
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=say(text), role="main")
        await room.ann.say("go")
        await room.reads(room.ann, "The end.")
        await room.settled(KEY)
        shown = await room.tg.messages(room.ann, bot=True)
        whole = "\n".join(message.text for message in shown)
        assert re.findall(r"Paragraph (\d+)", whole) == [str(n) for n in range(10)]
        assert re.findall(r"line_(\d+) =", whole) == [str(n) for n in range(400)]
        code_pieces = [message for message in shown if "line_" in message.text]
        assert len(code_pieces) > 1
        assert all("pre" in {entity["type"] for entity in message.entities} for message in code_pieces)
        rows = (await room.p.get("/api/outbox?state=delivered"))["posts"]
        assert len(rows) == len(shown) == len(await room.tg.calls("sendMessage"))


# ---------------------------------------------------------------------- trouble that passes


async def test_6_a_pause_is_kept_and_holds_up_no_other_chat(tmp_path: Path) -> None:
    """Channels 6: Retry-After is honoured; a 429 in one chat stops no other, and burns no try."""
    async with telegram_room(tmp_path, config=FOLLOWUP) as room:
        echo(room)
        await room.tg.next("sendMessage", Fault.flood(2), chat=room.ann)
        await room.ann.say("one")
        [flooded] = await room.tg.wait_call("sendMessage", lambda call: call.status == 429)
        await room.ann.say("two")
        await room.bob.say("elsewhere", room.team, mention=True)
        await room.reads(room.team, "heard: Bob: elsewhere")
        assert await sends(room, room.ann) == [429]
        [waiting] = [p for p in (await room.p.get("/api/outbox"))["posts"] if p["error"]]
        assert waiting["attempts"] == 0
        await room.reads(room.ann, "heard: two")
        await room.settled(KEY)
        assert await room.texts(room.ann) == ["heard: one", "heard: two"]
        again = [call for call in await room.tg.calls("sendMessage") if call.params["chat_id"] == room.ann.id][1]
        assert again.at - flooded.at >= 2


async def test_6_what_never_left_is_sent_again_without_a_mark(tmp_path: Path) -> None:
    """A connection that couldn't be made has sent nothing."""
    async with telegram_room(tmp_path) as room:
        port = int(room.tg.base_url.rsplit(":", 1)[1].partition("/")[0])
        room.p.on(reply=say("back", hold="model"), role="main", user="again")
        await room.ann.say("again")
        await room.p.wait_asked(lambda seen: seen.last_user == "again")
        await room.tg.stop()
        room.p.model.release("model")
        listed = await room.tried()
        assert "can't be reached" in listed["error"]
        await room.tg.start(port)
        await room.reads(room.ann, "back")
        await room.settled(KEY)
        assert await room.texts(room.ann) == ["back"]


async def test_6_a_bad_gateway_may_have_sent_it(tmp_path: Path) -> None:
    """Channels 6: Telegram can't be asked: after a 502 with a page it is sent once more, marked."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await room.tg.next("sendMessage", Fault.server_error(502))
        await room.ann.say("hello")
        await room.reads(room.ann, "heard: hello")
        await room.settled(KEY)
        assert await room.texts(room.ann) == [f"{AGAIN}heard: hello"]
        assert await sends(room, room.ann) == [502, 200]


async def test_6_a_lost_answer_means_one_more_and_marked(tmp_path: Path) -> None:
    """Channels 6: applied, but the answer was lost: exactly one more, marked; later posts aren't marked."""
    async with telegram_room(tmp_path, config=FOLLOWUP) as room:
        echo(room)
        await room.tg.next("sendMessage", Fault.dropped(applied=True))
        await room.ann.say("one")
        await room.tg.wait_call("sendMessage")
        await room.ann.say("two")
        await room.reads(room.ann, "heard: two")
        await room.settled(KEY)
        assert await room.texts(room.ann) == ["heard: one", f"{AGAIN}heard: one", "heard: two"]


async def test_6_twice_in_doubt_is_for_a_person_to_decide(tmp_path: Path) -> None:
    """Architecture: at most once more. A copy whose answer is lost too stays listed; the route goes on."""
    async with telegram_room(tmp_path, config=FOLLOWUP) as room:
        echo(room)
        await room.tg.next("sendMessage", Fault.dropped(applied=True), times=2)
        await room.ann.say("one")
        await room.tg.wait_call("sendMessage")
        await room.ann.say("two")
        await room.reads(room.ann, "heard: two")
        await room.settled(KEY)
        assert await room.texts(room.ann) == ["heard: one", f"{AGAIN}heard: one", "heard: two"]
        [failed] = (await room.p.get("/api/outbox"))["posts"]
        assert "sent twice" in failed["error"]


async def test_6_a_copy_waits_until_telegram_answers(tmp_path: Path) -> None:
    """While Telegram is in trouble nothing is sent on the chance; the copy goes when it is over."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await room.tg.next("sendMessage", Fault.server_error(502))
        await room.tg.next("getMe", Fault.server_error(502), times=2)
        await room.ann.say("hello")
        await room.reads(room.ann, "heard: hello")
        await room.settled(KEY)
        assert await sends(room, room.ann) == [502, 200]


# ---------------------------------------------------------------------- trouble that stays


async def test_6_who_blocks_the_bot_is_listed_with_the_reason(tmp_path: Path) -> None:
    """Channels 6: never tried again on permanent errors; it stays listed with a reason, and can be sent by hand."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=say("bye", hold="model"), role="main", user="hello")
        await room.ann.say("hello")
        await room.p.wait_asked(lambda seen: seen.last_user == "hello")
        await room.ann.block_bot()
        room.p.model.release("model")
        await room.settled(KEY)
        [failed] = (await room.p.get("/api/outbox"))["posts"]
        assert (failed["state"], "blocked by the user" in failed["error"]) == ("failed", True)
        assert await sends(room, room.ann) == [403]
        await room.ann.unblock_bot()
        assert (await room.p.post(f"/api/outbox/{failed['id']}/retry")).status == 200
        await room.reads(room.ann, "bye")
        await room.delivered()


async def test_6_out_of_a_group_and_out_of_a_topic(tmp_path: Path) -> None:
    """Channels 6: kicked, or the topic is gone: listed with the reason; other routes go on."""
    async with telegram_room(tmp_path) as room:
        room.p.on(lambda seen: say("late", hold="model") if "wait" in seen.last_user else None, role="main")
        echo(room)
        topic = await room.ann.open_topic(room.forum, "Research")
        await room.ann.say("wait", room.forum, topic=topic, mention=True)
        await room.ann.say("wait", room.team, mention=True)
        await room.p.wait_asked(lambda seen: "wait" in seen.last_user, count=2)
        await room.ann.delete_topic(room.forum, topic)
        await room.ann.kick_bot(room.team)
        room.p.model.release("model")
        await room.p.wait_idle(room.key(room.forum, topic))
        await room.p.wait_idle(room.key(room.team))
        await room.delivered()
        reasons = {p["error"] for p in (await room.p.get("/api/outbox"))["posts"]}
        assert any("thread not found (the topic was deleted)" in reason for reason in reasons)
        assert any("kicked" in reason for reason in reasons)
        assert len(reasons) == 2
        await room.ann.say("and here?", room.forum, mention=True)
        await room.reads(room.forum, "heard: Ann: and here?")
        await room.delivered()
        await room.tg.allow("(thread|message to react) not found")


# ---------------------------------------------------------------------- flood limits


async def test_flood_limits_are_kept(tmp_path: Path) -> None:
    """Issue: flood limits on: a message a second in a chat, so many a minute in a group, and no 429 at all."""
    limits = Limits(chat_seconds=0.2, per_group=4, group_seconds=1.5)
    paced = replace(Paced(), chat_seconds=0.25, group=4, group_seconds=1.6)
    async with telegram_room(tmp_path, limits=paced, timing=replace(HURRIED, quick=0.0)) as room:
        echo(room)
        await room.tg.enforce_limits(limits)
        one, two = await room.ann.open_topic(room.forum, "One"), await room.ann.open_topic(room.forum, "Two")
        for number in range(3):
            for topic in (one, two):
                await room.ann.say(f"/queue {number}", room.forum, topic=topic)
            await room.ann.say(f"/queue {number}")
        await room.tg.until(lambda: _count(room, 6))
        await room.delivered()
        assert [call for call in await room.tg.calls() if call.status == 429] == []
        assert await room.tg.busiest(room.forum, seconds=1.5) <= 4


async def test_what_waits_its_turn_is_in_no_doubt_after_a_stop(tmp_path: Path) -> None:
    """A post waits for its chat's pace before it counts as being sent: a stop neither waits for it nor marks it."""
    async with telegram_room(tmp_path, limits=replace(Paced(), chat_seconds=60.0)) as room:
        await room.ann.say("/status")
        await room.ann.say("/queue")
        await room.reads(room.ann, "main")
        began = time.monotonic()
        await room.p.stop()
        assert time.monotonic() - began < 5
        await room.p.start()
        await room.reads(room.ann, "Queue mode")
        await room.delivered()
        assert not any(text.startswith(AGAIN) for text in await room.texts(room.ann))


async def _count(room: TelegramRoom, number: int) -> bool:
    return len(await room.texts(room.forum)) == number
