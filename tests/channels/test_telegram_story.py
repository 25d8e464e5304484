"""The story that Telegram is there for, told over the stand-in with the real client library."""

from __future__ import annotations

from pathlib import Path

from channels.telegram.content import SENT_AGAIN
from tests.standins.telegram import Fault
from tests.support.model_script import Call, calls, say
from tests.support.pilot import REPORT
from tests.support.telegram_gateway import telegram_room
from tests.support.whole_story import AT_WORK, LABELS, reports, whole_story


async def test_a_mention_is_answered_in_its_topic(tmp_path: Path) -> None:
    """Channels, Telegram: a topic keeps its `message_thread_id`, and is a session of its own."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=say("It is **noon**."), role="main", user="what time")
        topic = await room.ann.open_topic(room.forum, "Research")
        asked = await room.ann.say("what time is it?", room.forum, topic=topic, mention=True)
        answer = await room.reads(room.forum, "noon", topic=topic)
        assert answer.marked == "It is **noon**."
        key = room.key(room.forum, topic)
        await room.settled(key)
        assert await room.tg.transcript(room.forum, topic=topic) == (
            "Ann: @laneway_bot what time is it?\nLaneway: It is **noon**."
        )
        assert [each["key"] for each in await room.p.sessions()] == [key]
        marked = next(each for each in await room.tg.messages(room.forum) if each.id == asked.id)
        assert list(marked.reactions.values()) == ["👍"]


async def test_sub_agents_are_on_one_card_and_report_into_the_topic_that_asked(tmp_path: Path) -> None:
    """Issue: spawn in a topic, one live card in that very topic, Stop on one of them, results where they were asked."""
    async with telegram_room(tmp_path) as room:
        p, tg = room.p, room.tg
        p.on(
            reply=calls(
                Call("sessions_spawn", {"task": "count files", "label": "count"}),
                Call("sessions_spawn", {"task": "hang for ever", "label": "hang"}),
            ),
            role="main",
            user="^Ann: spawn",
            turn_step=1,
        )
        p.on(reply=say("Two are at work."), role="main", user="^Ann: spawn", turn_step=2)
        p.on(reply=say("late", hold="count"), role="child", user="count files")
        p.on(reply=say("3 files", hold="hang"), role="child", user="hang for ever")
        p.on(lambda seen: say(f"done: {'count' if '3 files' in seen.last_user else 'stop'}"), role="main", user=REPORT)
        topic = await room.ann.open_topic(room.forum, "Research")
        await room.ann.say("spawn two", room.forum, topic=topic, mention=True)
        await room.reads(room.forum, "Two are at work", topic=topic)
        card = await tg.wait_message(lambda m: "2 active" in m.text and bool(m.buttons), chat=room.forum, topic=topic)
        assert "count" in card.text and "hang" in card.text
        assert card.buttons == (("Stop · count", "Log · count"), ("Stop · hang", "Log · hang"))
        query = await room.ann.press(card, "Stop · count")
        assert "Stop requested for count" in (await tg.wait_answer(query))["text"]
        await room.reads(room.forum, "done: stop", topic=topic)
        p.model.release("hang")
        await room.reads(room.forum, "done: count", topic=topic)
        await room.reads(room.forum, "all done", topic=topic)
        await room.settled(room.key(room.forum, topic))
        assert [run["outcome"] for run in await p.runs()] == ["stopped", "ok"]
        found = await tg.messages(room.forum, bot=True)
        assert len([each for each in found if "Sub-agents" in each.text]) == 1
        assert {each.topic for each in found} == {topic}


async def test_the_whole_story_while_everything_is_in_trouble(tmp_path: Path) -> None:
    """Issue: … in every trouble of Telegram's: updates that come again, 429, 502, lost answers, polls that break.

    What was in doubt is there once more at most, and marked. `test_telegram_crash` has the same with deaths.
    """
    async with telegram_room(tmp_path) as room:
        tg = room.tg
        whole_story(room.p)
        topic = await room.ann.open_topic(room.forum, "Research")
        for fault in (Fault.server_error(502), Fault.dropped(), Fault.flood(1)):
            await tg.next("getUpdates", fault)
        for fault in (Fault.flood(1), Fault.server_error(502, applied=True)):
            await tg.next("sendMessage", fault)
        asked = await room.ann.say("spawn", room.forum, topic=topic, mention=True)
        await tg.wait_taken(asked.update)
        assert asked.update is not None
        await tg.redeliver(asked.update)
        await room.reads(room.forum, AT_WORK, topic=topic)
        opened = await room.reads(room.forum, "dig it")
        card = await tg.wait_message(
            lambda m: "3 active" in m.text and len(m.buttons) == 3, chat=room.forum, topic=topic
        )
        await room.ann.press(card, "Stop · hang")
        await tg.next("getUpdates", Fault.dropped())
        told = await room.ann.say("to the left", room.forum, topic=opened.topic, mention=True)
        await tg.wait_taken(told.update)
        for fault in (Fault.dropped(applied=True), Fault.flood(1)):
            await tg.next("sendMessage", fault)
        for gate in LABELS:
            room.p.model.release(gate)
        await room.reads(room.forum, "dug for Ann: to the left", topic=opened.topic)
        await room.reads(room.forum, "all done", topic=topic)
        await room.settled(room.key(room.forum, topic))
        assert {run["label"]: run["outcome"] for run in await room.p.runs()}["hang"] == "stopped"
        shown = await tg.messages(room.forum, bot=True)
        first = [each for each in shown if not each.text.startswith(SENT_AGAIN)]
        again = [each.text.removeprefix(SENT_AGAIN).strip() for each in shown if each not in first]
        assert len(again) <= 2, again
        assert reports({each.text.removeprefix(SENT_AGAIN).strip() for each in shown}) == sorted(LABELS)
        assert len({(each.topic, each.text) for each in first}) == len(first)
        assert {each.topic for each in shown} == {topic, opened.topic}
