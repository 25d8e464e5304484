"""Sub-agents in Telegram: live cards, buttons, topics of their own (spec/channels.md 7, 8, thread-bound)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from channels.telegram.content import SENT_AGAIN
from channels.telegram.timing import Limits as Paced
from tests.standins.telegram import Fault, Limits, Seen
from tests.support.model_script import Call, calls, say
from tests.support.pilot import KEY, REPORT, subagents
from tests.support.telegram_gateway import RIGHTS, TelegramRoom, telegram_room

STALE = "This button is no longer valid."


def spawns(room: TelegramRoom, *several: dict[str, Any], user: str = "spawn") -> None:
    """The assistant spawns these sub-agents when it is asked to."""
    made = calls(*(Call("sessions_spawn", each) for each in several))
    room.p.on(reply=made, role="main", user=user, turn_step=1)
    room.p.on(reply=say("They are at work."), role="main", user=user, turn_step=2)


async def carded(room: TelegramRoom, topic: int | None = None) -> Seen:
    """Waits for the card with its buttons."""
    found = await room.tg.wait_message(
        lambda m: "Sub-agents" in m.text and bool(m.buttons), chat=room.forum, topic=topic
    )
    return found


# ---------------------------------------------------------------------- buttons


async def test_8_forged_and_stale_buttons_are_refused(tmp_path: Path) -> None:
    """Channels 8: a button is valid on its own route; a forged or stale one is refused with a short text."""
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "hang", "label": "one"})
        room.p.on(reply=say("late", hold="child"), role="child")
        room.p.on(reply=say("reported"), role="main", user=REPORT)
        await room.ann.say("spawn", room.forum, mention=True)
        card = await carded(room)
        forged = await room.bob.press(card, data="forged")
        assert (await room.tg.wait_answer(forged))["text"] == STALE
        token = card.callback_data["Stop · one"]
        elsewhere = await room.bob.say("/status@laneway_bot", room.team)
        await room.tg.wait_taken(elsewhere.update)
        other = await room.reads(room.team, "main")
        carried = await room.bob.press(other, data=token)
        assert (await room.tg.wait_answer(carried))["text"] == STALE
        assert [run["status"] for run in await room.p.runs()] == ["running"]
        stopped = await room.bob.press(card, "Stop · one")
        assert "Stop requested" in (await room.tg.wait_answer(stopped))["text"]
        await room.reads(room.forum, "all done")
        late = await room.bob.press(card, data=token)
        assert (await room.tg.wait_answer(late))["text"] == STALE
        await room.settled(room.key(room.forum))


async def test_8_a_button_asks_for_the_rights_of_who_presses_it(tmp_path: Path) -> None:
    """Channels 8: … and for that user's rights: who may not speak there may not press there."""
    async with telegram_room(tmp_path) as room:
        groups = {str(room.forum.id): {"allowFrom": [str(room.ann.id)]}}
        await room.p.restart(channels={"telegram": {"groups": groups}})
        spawns(room, {"task": "hang", "label": "one"})
        room.p.on(reply=say("late", hold="child"), role="child")
        await room.ann.say("spawn", room.forum, mention=True)
        card = await carded(room)
        query = await room.bob.press(card, "Stop · one")
        assert (await room.tg.wait_answer(query))["text"] == "You may not do that here."
        assert [run["status"] for run in await room.p.runs()] == ["running"]
        room.p.model.release("child")
        await room.reads(room.forum, "all done")
        await room.settled(room.key(room.forum))


async def test_8_what_is_too_long_for_a_button_s_answer_is_posted_beside(tmp_path: Path) -> None:
    """An answer to a button has 200 characters: a log is longer, and comes into the card's topic."""
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "hang " * 80, "label": "one"})
        room.p.on(reply=say("late", hold="child"), role="child")
        topic = await room.ann.open_topic(room.forum, "Research")
        await room.ann.say("spawn", room.forum, topic=topic, mention=True)
        card = await carded(room, topic)
        query = await room.ann.press(card, "Log · one")
        assert (await room.tg.wait_answer(query))["text"] == "The answer is below."
        await room.reads(room.forum, "hang hang", topic=topic)
        room.p.model.release("child")
        await room.reads(room.forum, "all done", topic=topic)
        await room.settled(room.key(room.forum, topic))


async def test_a_redelivered_press_is_one_press(tmp_path: Path) -> None:
    """Channels 1: a button that comes twice is pressed once, and answered once."""
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "hang", "label": "one"})
        room.p.on(reply=say("late", hold="child"), role="child")
        await room.ann.say("spawn", room.forum, mention=True)
        card = await carded(room)
        query = await room.ann.press(card, "Stop · one")
        await room.tg.wait_answer(query)
        update = max(room.tg.parts.world.updates.everything)
        await room.tg.redeliver(update)
        await room.reads(room.forum, "all done")
        await room.settled(room.key(room.forum))
        assert len(await room.tg.calls("answerCallbackQuery")) == 1


async def test_an_approval_can_be_given_by_a_button(tmp_path: Path) -> None:
    """Channels 2, 8: approvals need `owners`; the buttons below the question do what its commands do."""
    config = {"tools": {"exec": {"ask": "always"}}}
    async with telegram_room(tmp_path, config=config) as room:
        room.p.on(reply=calls(Call("exec", {"command": "echo hi"})), role="main", turn_step=1)
        room.p.on(lambda seen: say(f"it said {seen.results[-1]}"), role="main", turn_step=2)
        await room.ann.say("run it")
        asked = await room.tg.wait_message(lambda m: bool(m.buttons), chat=room.ann)
        query = await room.ann.press(asked, asked.buttons[0][0])
        assert (await room.tg.wait_answer(query))["text"]
        assert "hi" in (await room.reads(room.ann, "it said")).text
        await room.settled(KEY)


async def test_6_a_question_that_was_sent_again_stays_marked_when_it_is_answered(tmp_path: Path) -> None:
    """Channels 6: sent again once, marked as recovered; its other copy isn't edited."""
    config = {"tools": {"exec": {"ask": "always"}}}
    async with telegram_room(tmp_path, config=config) as room:
        room.p.on(reply=calls(Call("exec", {"command": "echo hi"})), role="main", turn_step=1)
        room.p.on(reply=say("done"), role="main", turn_step=2)
        await room.tg.next("sendMessage", Fault.dropped(applied=True))
        await room.ann.say("run it")
        asked = await room.tg.wait_message(lambda m: bool(m.buttons) and m.text.startswith(SENT_AGAIN), chat=room.ann)
        await room.ann.press(asked, asked.buttons[0][0])
        await room.reads(room.ann, "done")
        await room.settled(KEY)
        other, edited, _ = await room.tg.messages(room.ann, bot=True)
        assert other.buttons and not other.text.startswith(SENT_AGAIN)
        assert not edited.buttons and edited.text.startswith(SENT_AGAIN)


# ---------------------------------------------------------------------- cards


async def test_6_a_card_that_was_sent_again_stays_marked(tmp_path: Path) -> None:
    """Channels 6: sent again once, marked as recovered: through edits and a restart, as its other copy stays."""
    async with telegram_room(tmp_path) as room:
        room.p.on(reply=calls(Call("sessions_spawn", {"task": "hang"})), role="main", user="spawn", turn_step=1)
        room.p.on(reply=say("At work.", hold="answer"), role="main", user="spawn", turn_step=2)
        room.p.on(reply=say("late", hold="child"), role="child")
        room.p.on(reply=say("reported"), role="main", user=REPORT)
        await room.tg.next("sendMessage", Fault.dropped(applied=True))
        await room.ann.say("spawn", room.forum, mention=True)
        await room.tg.wait_message(lambda m: m.text.startswith(SENT_AGAIN) and bool(m.buttons), chat=room.forum)
        room.p.model.release("answer")
        await room.reads(room.forum, "At work.")
        await room.p.restart()
        room.p.model.release("child")
        await room.reads(room.forum, "all done")
        await room.settled(room.key(room.forum))
        cards = [text for text in await room.texts(room.forum) if "Sub-agents" in text]
        assert [text.startswith(SENT_AGAIN) for text in cards] == [False, True]
        assert "1 active" in cards[0] and "all done" in cards[1]


async def test_7_labels_mean_nothing_on_a_card(tmp_path: Path) -> None:
    """Architecture, protocol 9: a label may be a model's: it is shown as it is."""
    label = "**bold** <b>&amp; @ann [x](https://example.org)"
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "hang", "label": label})
        room.p.on(reply=say("late", hold="child"), role="child")
        await room.ann.say("spawn", room.forum, mention=True)
        card = await carded(room)
        assert label in card.text
        assert {entity["type"] for entity in card.entities if entity["type"] != "mention"} <= {"bold", "url"}
        room.p.model.release("child")
        await room.reads(room.forum, "all done")
        await room.settled(room.key(room.forum))


async def test_7_a_card_that_was_deleted_is_posted_once_more(tmp_path: Path) -> None:
    """Channels 7: one message in the thread, edited in place, also after somebody has deleted it."""
    async with telegram_room(tmp_path) as room:
        tasks = ("one", "two")
        spawns(room, *({"task": task, "label": task} for task in tasks))
        for task in tasks:
            room.p.on(reply=say("finished", hold=task), role="child", user=task)
        room.p.on(reply=say("reported"), role="main", user=REPORT)
        await room.ann.say("spawn", room.forum, mention=True)
        card = await carded(room)
        await room.p.wait_asked(lambda seen: seen.role == "child", count=2)
        await room.tg.allow("message to edit not found")
        await room.ann.delete(card)
        room.p.model.release("one")
        await room.reads(room.forum, "1 active")
        room.p.model.release("two")
        await room.reads(room.forum, "all done")
        await room.settled(room.key(room.forum))
        assert len([text for text in await room.texts(room.forum) if "Sub-agents" in text]) == 1


async def test_7_no_card_where_it_is_off(tmp_path: Path) -> None:
    """Channels 7: off with `liveCard: false`."""
    async with telegram_room(tmp_path, account={"liveCard": False}) as room:
        spawns(room, {"task": "count", "label": "one"})
        room.p.on(reply=say("reported"), role="main", user=REPORT)
        await room.ann.say("spawn", room.forum, mention=True)
        await room.reads(room.forum, "reported")
        await room.settled(room.key(room.forum))
        assert all("Sub-agents" not in text for text in await room.texts(room.forum))


async def test_7_thirty_sub_agents_that_finish_at_once_are_a_handful_of_posts(tmp_path: Path) -> None:
    """Issue: 30 sub-agents finishing within a second give at most a handful of posts and no flood error."""
    limits = Limits(chat_seconds=0.5)
    paced = replace(Paced(), chat_seconds=0.55)
    config = subagents(maxChildrenPerAgent=30, maxConcurrent=30)
    async with telegram_room(tmp_path, limits=paced, config=config) as room:
        await room.tg.enforce_limits(limits)
        tasks = [{"task": f"job {number}", "label": f"job-{number}"} for number in range(30)]
        spawns(room, *tasks)
        room.p.on(reply=say("finished", hold="children"), role="child")
        room.p.on(lambda seen: say(f"{seen.last_user.count('[Report')} reported"), role="main", user=REPORT)
        topic = await room.ann.open_topic(room.forum, "Research")
        await room.ann.say("spawn", room.forum, topic=topic, mention=True)
        await carded(room, topic)
        await room.p.wait_asked(lambda seen: seen.role == "child", count=30)
        room.p.model.release("children")
        await room.reads(room.forum, "all done", topic=topic)
        await room.settled(room.key(room.forum, topic))
        shown = await room.texts(room.forum, topic=topic)
        assert len(shown) <= 6, shown
        assert [call for call in await room.tg.calls() if call.status == 429] == []
        assert all(run["outcome"] == "ok" for run in await room.p.runs())


# ---------------------------------------------------------------------- topics of their own


async def test_a_sub_agent_has_a_topic_of_its_own(tmp_path: Path) -> None:
    """Thread-bound: a topic is opened, the task is posted there; what people write there goes to the child."""
    async with telegram_room(tmp_path) as room:
        task = "look into it"
        spawns(room, {"task": task, "label": "scout", "thread": True})
        room.p.on(lambda seen: say("first findings") if seen.last_user == task else None, role="child")
        room.p.on(lambda seen: say(f"child heard: {seen.last_user}"), role="child")
        room.p.on(reply=say("scout has reported"), role="main", user=REPORT)
        await room.ann.say("spawn", room.forum, mention=True)
        opening = await room.reads(room.forum, task)
        assert opening.topic is not None
        await room.reads(room.forum, "first findings", topic=opening.topic)
        await room.reads(room.forum, "scout has reported", topic=None)
        [topic] = await room.tg.topics(room.forum)
        assert (topic["name"], topic["id"]) == ("scout", opening.topic)
        await room.bob.say("and the rest?", room.forum, topic=opening.topic)
        await room.reads(room.forum, "child heard", topic=opening.topic)
        await room.bob.say("/unbind", room.forum, topic=opening.topic)
        await room.reads(room.forum, "given back", topic=opening.topic)
        await room.delivered()
        asked = [seen.last_user for seen in room.p.child_requests()]
        assert (len(asked), "and the rest?" in asked[-1]) == (2, True)


async def test_a_topic_can_be_given_to_a_sub_agent_by_hand(tmp_path: Path) -> None:
    """Thread-bound: `/focus <target>` binds an existing child to the topic that it is typed in."""
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "look", "label": "scout"})
        room.p.on(lambda seen: say(f"child heard: {seen.last_user}"), role="child")
        room.p.on(reply=say("reported"), role="main", user=REPORT)
        topic = await room.ann.open_topic(room.forum, "Research")
        await room.ann.say("spawn", room.forum, topic=topic, mention=True)
        await room.reads(room.forum, "reported", topic=topic)
        await room.ann.say("/focus scout", room.forum, topic=topic)
        await room.reads(room.forum, "is scout's now", topic=topic)
        await room.ann.say("for you", room.forum, topic=topic)
        await room.reads(room.forum, "child heard: Ann: for you", topic=topic)
        await room.delivered()


async def test_where_no_topic_can_be_opened_the_spawn_says_so(tmp_path: Path) -> None:
    """Thread-bound: on a channel that can't bind it is an error, and nothing stays behind."""
    async with telegram_room(tmp_path) as room:
        bare = await room.tg.group("Bare", room.ann, forum=True)
        groups: dict[str, Any] = {str(group.id): {} for group in (room.forum, room.team, bare)}
        await room.p.restart(channels={"telegram": {"groups": groups}})
        thread = calls(Call("sessions_spawn", {"task": "look", "thread": True}))
        room.p.on(reply=thread, role="main", user="spawn", turn_step=1)
        room.p.on(lambda seen: say(f"it said: {seen.results[-1]}"), role="main", user="spawn", turn_step=2)
        await room.ann.say("spawn", room.team, mention=True)
        await room.reads(room.team, "needs a place where a thread can be opened")
        await room.ann.say("spawn", bare, mention=True)
        await room.reads(bare, "may not manage topics here")
        await room.ann.say("spawn")
        await room.reads(room.ann, "needs a place where a thread can be opened")
        await room.ann.add_bot(bare, rights=RIGHTS)
        await room.ann.say("spawn", bare, mention=True)
        await room.reads(bare, "accepted")
        await room.delivered()
        assert len(await room.tg.topics(bare)) == 1
        assert len(await room.p.runs()) == 1


async def test_a_topic_that_was_opened_in_vain_is_taken_away(tmp_path: Path) -> None:
    """Thread-bound: a spawn that is refused after all leaves no topic behind."""
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "look", "thread": True}, {"task": "look", "thread": True, "model": "no/such"})
        await room.ann.say("spawn", room.forum, mention=True)
        await room.reads(room.forum, "at work")
        await room.settled(room.key(room.forum))
        assert len(await room.tg.topics(room.forum)) == len(await room.p.runs()) == 1


@pytest.mark.parametrize(
    ("fault", "name"),
    [(Fault.flood(1), "scout"), (Fault.server_error(502), "scout (opened again)")],
    ids=["429", "502"],
)
async def test_6_a_topic_that_can_t_be_opened_at_once_is_waited_for(tmp_path: Path, fault: Fault, name: str) -> None:
    """Channels 6: Retry-After and backoff; what may have been done is done once more, marked."""
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "look", "label": "scout", "thread": True})
        room.p.on(reply=say("found it"), role="child")
        room.p.on(reply=say("reported"), role="main", user=REPORT)
        await room.tg.next("createForumTopic", fault)
        await room.ann.say("spawn", room.forum, mention=True)
        await room.reads(room.forum, "found it")
        await room.settled(room.key(room.forum))
        assert [topic["name"] for topic in await room.tg.topics(room.forum)] == [name]


async def test_6_a_topic_that_was_in_doubt_twice_is_opened_no_third_time(tmp_path: Path) -> None:
    """Architecture: at most once more; the spawn says so."""
    async with telegram_room(tmp_path) as room:
        thread = calls(Call("sessions_spawn", {"task": "look", "label": "scout", "thread": True}))
        room.p.on(reply=thread, role="main", user="spawn", turn_step=1)
        room.p.on(lambda seen: say(f"it said: {seen.results[-1]}"), role="main", user="spawn", turn_step=2)
        await room.tg.next("createForumTopic", Fault.dropped(applied=True), times=2)
        await room.ann.say("spawn", room.forum, mention=True)
        await room.reads(room.forum, "may have been opened twice")
        await room.settled(room.key(room.forum))
        names = [topic["name"] for topic in await room.tg.topics(room.forum)]
        assert names == ["scout", "scout (opened again)"]
        assert await room.p.runs() == []


async def test_a_topic_whose_task_can_t_be_posted_is_taken_away(tmp_path: Path) -> None:
    """Thread-bound: nothing stays behind of an opening that failed midway."""
    async with telegram_room(tmp_path) as room:
        thread = calls(Call("sessions_spawn", {"task": "look", "thread": True}))
        room.p.on(reply=thread, role="main", user="spawn", turn_step=1)
        room.p.on(lambda seen: say(f"it said: {seen.results[-1]}"), role="main", user="spawn", turn_step=2)
        await room.tg.next("sendMessage", Fault.refused("Bad Request: TOPIC_CLOSED"))
        await room.ann.say("spawn", room.forum, mention=True)
        await room.reads(room.forum, "couldn't be opened")
        await room.settled(room.key(room.forum))
        assert await room.tg.topics(room.forum) == []
        assert await room.p.runs() == []


async def test_a_topic_that_may_have_been_opened_says_so_when_it_is_opened_again(tmp_path: Path) -> None:
    """Telegram can't be asked whether a topic was opened: after a crash in between there is one more, marked."""
    async with telegram_room(tmp_path) as room:
        spawns(room, {"task": "look", "label": "scout", "thread": True})
        room.p.on(reply=say("found it"), role="child")
        await room.tg.next("createForumTopic", Fault.held("open", applied=True))
        await room.ann.say("spawn", room.forum, mention=True)
        await room.tg.wait_call("createForumTopic")
        await room.p.stop()
        await room.p.start()
        found = await room.reads(room.forum, "found it")
        await room.settled(room.key(room.forum))
        names = {topic["id"]: topic["name"] for topic in await room.tg.topics(room.forum)}
        assert list(names.values()) == ["scout", "scout (opened again)"]
        assert names[found.topic or 0] == "scout (opened again)"
        assert len(await room.p.runs()) == 1
