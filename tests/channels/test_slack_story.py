"""The story that Slack is there for, told over the stand-in workspace with the real client libraries."""

from __future__ import annotations

import re
from pathlib import Path

from tests.standins.slack import Fault
from tests.support.model_script import Call, calls, say
from tests.support.pilot import REPORT
from tests.support.slack_gateway import GENERAL, slack_room
from tests.support.slack_picture import picture
from tests.support.whole_story import AT_WORK, LABELS, reports, whole_story

LOST = Fault(drop=True, applied=True)


async def test_a_mention_is_answered_in_its_thread(tmp_path: Path) -> None:
    """Channels, Slack: a mention at top level is answered in its thread, and that thread is the session."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say("It is **noon**."), role="main", user="what time")
        asked = await room.asks("what time is it?")
        answer = await room.ws.wait_message("noon", thread=asked)
        assert answer.thread_ts == asked
        await room.settled(asked)
        assert room.ann.sees(GENERAL, asked) == [
            "ann: @laneway what time is it?\n:white_check_mark:",
            "laneway: It is **noon**.",
        ]
        assert [each["key"] for each in await room.p.sessions()] == [room.key(asked)]


async def test_a_thread_goes_on_without_a_mention(tmp_path: Path) -> None:
    """Channels 2: a thread in which it takes part counts as a mention; another message does not."""
    async with slack_room(tmp_path) as room:
        room.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")
        asked = await room.asks("one")
        await room.ws.wait_message("heard: ann: one", thread=asked)
        await room.ann.says(GENERAL, "two", thread=asked)
        await room.ws.wait_message("heard: ann: two", thread=asked)
        other = await room.ann.says(GENERAL, "not for you")
        await room.ws.wait_delivered()
        await room.settled(asked)
        assert room.ws.posts(GENERAL, other) == []
        assert len(room.p.main_requests()) == 2


async def test_sub_agents_are_on_one_card_and_report_into_the_thread_that_asked(tmp_path: Path) -> None:
    """Issue: one live card in the thread that asked, Stop on one of them, results where they were asked."""
    async with slack_room(tmp_path) as room:
        p, ws = room.p, room.ws
        p.on(
            reply=calls(
                Call("sessions_spawn", {"task": "count files", "label": "count"}),
                Call("sessions_spawn", {"task": "hang for ever", "label": "hang"}),
            ),
            role="main",
            user="^ann: spawn",
            turn_step=1,
        )
        p.on(reply=say("Two are at work."), role="main", user="^ann: spawn", turn_step=2)
        p.on(reply=say("late", hold="count"), role="child", user="count files")
        p.on(reply=say("3 files", hold="hang"), role="child", user="hang for ever")
        p.on(lambda seen: say(f"done: {'count' if '3 files' in seen.last_user else 'stop'}"), role="main", user=REPORT)
        asked = await room.asks("spawn two")
        await ws.wait_message("Two are at work", thread=asked)
        card = await ws.wait_message(r"Sub-agents · 2 active", thread=asked)
        assert "count" in ws.view(card) and "hang" in ws.view(card)
        await room.ann.presses(GENERAL, card.ts, "Stop")
        whispered = await ws.wait_message("Stop requested for count", thread=asked)
        assert whispered.ephemeral_for == room.ann.id
        await ws.wait_message("done: stop", thread=asked)
        p.model.release("hang")
        await ws.wait_message("done: count", thread=asked)
        await ws.wait_message("all done", thread=asked)
        await room.settled(asked)
        assert [run["outcome"] for run in await p.runs()] == ["stopped", "ok"]
        assert len([each for each in ws.posts(GENERAL, asked) if "Sub-agents" in ws.view(each)]) == 1
        assert all(each.root == asked for each in ws.posts())


async def test_the_whole_story_while_everything_is_in_trouble(tmp_path: Path) -> None:
    """Issue: … in every trouble of Slack's: events that come again, 429, 502, lost answers, a socket that drops.

    `test_slack_crash` has the same with deaths.
    """
    async with slack_room(tmp_path) as room:
        ws = room.ws
        whole_story(room.p)
        ws.twist("duplicate", "deaf")
        ws.next("chat.postMessage", Fault(status=429, retry_after=1), Fault(status=502), LOST, Fault(status=502))
        asked = await room.asks("spawn")
        await ws.wait_message(AT_WORK, thread=asked)
        opened = await ws.wait_message("🧵 ")
        card = await ws.wait_message(r"Sub-agents · 3 active", thread=asked)
        await ws.drop_sockets()
        await ws.wait_connected(2)  # a press comes once
        await room.ann.presses(GENERAL, card.ts, 2)  # Stop and Log of `count`, then those of `hang`
        await ws.wait_message("Stop requested for hang", thread=asked)
        ws.twist("deaf")
        await room.ann.says(GENERAL, "to the left", thread=opened.ts)
        await ws.wait_delivered()
        ws.next("chat.postMessage", LOST, Fault(status=429, retry_after=1))
        for gate in LABELS:
            room.p.model.release(gate)
        await ws.wait_message("dug for ann: to the left", thread=opened.ts)
        await ws.wait_message("all done", thread=asked)
        await room.settled(asked)
        assert reports(ws.texts(GENERAL, asked)) == sorted(LABELS)
        assert {run["label"]: run["outcome"] for run in await room.p.runs()}["hang"] == "stopped"
        shown = [(each.root, ws.view(each)) for each in ws.posts()]
        assert len(shown) == len(set(shown)), shown
        assert {root for root, _ in shown} == {asked, opened.ts}
        assert len([view for _, view in shown if "Sub-agents" in view]) == 1


async def test_the_picture_of_the_docs_is_what_is_shown() -> None:
    """Issue: `docs/channels.md` with a rendering of the card."""
    page = Path(__file__).parents[2] / "docs" / "images" / "slack-thread.svg"
    kept, drawn = (re.sub(r" · \d+s · ", " · 0s · ", text) for text in (page.read_text("utf-8"), await picture()))
    assert kept == drawn, "draw it again: python -m tests.support.slack_picture docs/images/slack-thread.svg"
