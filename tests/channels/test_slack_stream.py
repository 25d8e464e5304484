"""Answers that appear in Slack while they are written (spec/channels.md 5; spec/architecture.md, protocol 8)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from tests.standins.slack import Fault, Options
from tests.standins.slack.model import Message
from tests.support.model_script import Call, Reply, calls, say
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

TEXT = "One two three four five, **six** seven `eight`.\n\n- nine\n- ten"
MIDWAY = 8
"""Pieces of the stream; its first ones hold no text."""


def slowly(reply: Reply) -> Reply:
    """So that it is worth a stream."""
    return replace(reply, chunk_delay=0.15)


async def streaming(room: SlackRoom, thread: str, pattern: str = "One two") -> Message:
    """The half answer, while it is being written."""
    half = await room.ws.wait_message(pattern, thread=thread)
    assert half.stream is not None and half.stream.state == "in_progress"
    assert "ten" not in half.text
    return half


async def test_5_deltas_appear_before_the_final_which_is_the_model_s_text(tmp_path: Path) -> None:
    """Channels 5: streaming where the platform can; the message that was shown becomes the answer."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say(TEXT, hold="rest", hold_after=MIDWAY), role="main")
        thread = await room.asks("count")
        half = await streaming(room, thread)
        room.p.model.release("rest")
        answer = await room.ws.wait_message("ten", thread=thread)
        await room.settled(thread)
        assert answer.ts == half.ts
        assert [post.text for post in room.ws.posts(GENERAL)] == [TEXT]
        assert not answer.stream or answer.stream.state == "completed"
        assert answer.metadata is not None, "it can be found again"


async def test_5_text_beside_tool_calls_is_progress(tmp_path: Path) -> None:
    """Sub-agents 19: text beside tool calls is shown live, never posted by itself; the final text takes its place."""
    async with slack_room(tmp_path) as room:
        looked = calls(Call("session_status"), text="Let me look at that first.")
        room.p.on(reply=slowly(looked), role="main", turn_step=1)
        room.p.on(reply=say(TEXT, hold="rest", hold_after=MIDWAY), role="main", turn_step=2)
        thread = await room.asks("count")
        await streaming(room, thread, "Let me look at that first.*One two")
        room.p.model.release("rest")
        await room.ws.wait_message("ten", thread=thread)
        await room.settled(thread)
        assert [post.text for post in room.ws.posts(GENERAL)] == [TEXT]


async def test_19_no_reply_leaves_nothing(tmp_path: Path) -> None:
    """Sub-agents 19: NO_REPLY: nothing is posted, also where something had been shown beside a call."""
    async with slack_room(tmp_path) as room:
        looked = calls(Call("session_status"), text="Hm.")
        room.p.on(reply=slowly(looked), role="main", user="ann: count$", turn_step=1)
        room.p.on(reply=say("NO_REPLY", hold="rest"), role="main", user="ann: count$", turn_step=2)
        room.p.on(reply=say("All right, here you are."), role="main")
        thread = await room.asks("count")
        await room.ws.wait_message("^Hm", thread=thread)
        room.p.model.release("rest")
        await room.ws.wait_message("here you are", thread=thread)
        await room.settled(thread)
        assert [post.text for post in room.ws.posts(GENERAL)] == ["All right, here you are."]


async def test_27_stop_in_the_middle_leaves_no_half_message(tmp_path: Path) -> None:
    """Sub-agents 27: `/stop` aborts the turn; Channels 5: what was half shown goes."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say(TEXT, hold="rest", hold_after=MIDWAY), role="main", user="count$")
        room.echo()
        thread = await room.asks("count")
        await streaming(room, thread)
        await room.ann.says(GENERAL, "/stop", thread=thread)
        await room.ws.wait_message("Turn stopped", thread=thread)
        await room.settled(thread)
        assert room.ws.texts(GENERAL) == ["⚙️ Turn stopped · 0 sub-agents stopped."]
        await room.told("still there?", thread=thread)


async def test_slack_s_own_stop_button_ends_the_turn(tmp_path: Path) -> None:
    """Slack: native stop: `agent_session_stopped` ends the turn and takes the half message away; sub-agents go on."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say(TEXT, hold="rest", hold_after=MIDWAY), role="main", user="count$")
        room.echo()
        thread = await room.asks("count")
        await streaming(room, thread)
        await room.ann.stops(GENERAL, thread)
        await room.ws.wait_message("Turn stopped; sub-agents go on", thread=thread)
        await room.settled(thread)
        assert room.ws.texts(GENERAL) == ["⚙️ Turn stopped; sub-agents go on."]
        session = room.ws.session(GENERAL, thread)
        assert session is not None and session.status == "active"
        await room.told("still there?", thread=thread)


async def test_5_a_stream_that_slack_ends_is_edited_from_then_on(tmp_path: Path) -> None:
    """Channels 5: a stream lives for some minutes; the answer goes on in the same message."""
    async with slack_room(tmp_path, options=Options(stream_seconds=0.0)) as room:
        room.p.on(reply=say(TEXT, hold="rest", hold_after=MIDWAY), role="main")
        thread = await room.asks("count")
        half = await room.ws.wait_message("One two", thread=thread)
        assert half.stream is None and "ten" not in half.text
        room.p.model.release("rest")
        await room.ws.wait_message("ten", thread=thread)
        await room.settled(thread)
        assert [post.text for post in room.ws.posts(GENERAL)] == [TEXT]


async def test_5_a_stream_whose_answers_are_lost_ends_as_the_model_s_text(tmp_path: Path) -> None:
    """Channels 5, 6: a lost answer may show a piece twice for a while; the final text stands there once."""
    lost = Fault(drop=True, applied=True)
    async with slack_room(tmp_path) as room:
        room.ws.next("chat.appendStream", lost)
        room.p.on(reply=say(TEXT, hold="rest", hold_after=MIDWAY), role="main")
        thread = await room.asks("count")
        await room.ws.wait_message("One two.*One two", thread=thread)
        room.p.model.release("rest")
        await room.settled(thread)
        assert [post.text for post in room.ws.posts(GENERAL)] == [TEXT]


async def test_5_a_stream_that_may_have_begun_is_found(tmp_path: Path) -> None:
    """Protocol 8: never a second independent post: a stream whose beginning was lost becomes the answer."""
    async with slack_room(tmp_path) as room:
        room.ws.next("chat.startStream", Fault(drop=True, applied=True))
        room.p.on(reply=say(TEXT, chunk_delay=0.05), role="main")
        thread = await room.asks("count")
        await room.ws.wait_message("ten", thread=thread)
        await room.settled(thread)
        assert [post.text for post in room.ws.posts(GENERAL)] == [TEXT]


async def test_5_where_slack_takes_no_stream_the_answer_comes_whole(tmp_path: Path) -> None:
    """Channels 5: streaming where the platform can; a refusal costs the answer nothing."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say(TEXT, chunk_delay=0.05), role="main")
        room.ws.next("chat.startStream", *(Fault(error=error) for error in ("internal_error", "not_in_channel")))
        room.ws.next("chat.startStream", Fault(status=429, retry_after=5))
        for _ in range(3):
            thread = await room.asks("count")
            await room.ws.wait_message("ten", thread=thread)
            await room.settled(thread)
        assert [post.text for post in room.ws.posts(GENERAL)] == [TEXT] * 3


async def test_5_tasks_stand_in_the_stream_while_the_turn_lasts_then_on_the_card(tmp_path: Path) -> None:
    """Slack: sub-agents as task chunks of the stream while the turn lasts, the live card after it."""
    async with slack_room(tmp_path) as room:
        spawn = [Call("sessions_spawn", {"task": f"dig {n}", "label": f"dig <!channel> {n}"}) for n in (1, 2)]
        room.p.on(reply=say("found it", hold="dig"), role="child")
        room.p.on(reply=calls(*spawn), role="main", user="ann: dig", turn_step=1)
        room.p.on(reply=say(TEXT, hold="rest"), role="main", user="ann: dig", turn_step=2)
        room.p.on(reply=say("Both have reported."), role="main")
        thread = await room.asks("dig")
        tasks = await room.ws.wait_message("◐ .*dig .*channel> 2 · ", thread=thread)
        assert tasks.stream is not None and len(tasks.stream.tasks) == 2
        assert not any("Sub-agents" in text for text in room.ws.texts())
        room.p.model.release("rest")
        answer = await room.ws.wait_message("ten", thread=thread)
        card = await room.ws.wait_message("Sub-agents · 2 active", thread=thread)
        assert room.ws.view(answer) == TEXT, "the tasks have gone to the card"
        room.p.model.release("dig")
        await room.ws.wait_message("all done", thread=thread)
        await room.settled(thread)
        assert "found it" not in room.ws.view(card)
        assert len(room.ws.posts()) == 3 or "Both have reported." in room.ws.texts()[-1]
