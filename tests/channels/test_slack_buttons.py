"""Buttons in Slack: what they may do, where, for whom, and when no longer (spec/channels.md 8)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.standins.slack.model import Message
from tests.support.model_script import Call, calls, say
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

EXEC = {"tools": {"exec": {"ask": "on-miss", "sandbox": "off"}}}


async def card_of_two(room: SlackRoom) -> tuple[str, Message]:
    """Two sub-agents at work that Ann has asked for; returns the thread and their card."""
    room.p.on(reply=say("late", hold="never"), role="child")
    spawn = [Call("sessions_spawn", {"task": f"dig {n}", "label": f"dig {n}"}) for n in (1, 2)]
    room.p.on(reply=calls(*spawn), role="main", user="ann: dig$", turn_step=1)
    room.p.on(reply=say("They are at it."), role="main")
    thread = await room.asks("dig")
    card = await room.ws.wait_message(r"2 active.*\[Stop\]", thread=thread)
    return thread, card


def token_of(card: Message, number: int = 0) -> str:
    """What a button carries."""
    elements = [element for block in card.blocks if block["type"] == "actions" for element in block["elements"]]
    return str(elements[number]["value"])


async def whispered(room: SlackRoom, who: str, pattern: str) -> Message:
    """What only one person reads."""
    found = await room.ws.wait_message(lambda one: one.ephemeral_for is not None and pattern in one.text)
    assert found.ephemeral_for == room.ws.user(who).id
    room.ws.ephemerals.clear()
    return found


async def test_8_stop_and_log_on_the_card(tmp_path: Path) -> None:
    """Channels 7: the card has buttons Stop / Log for each sub-agent; the answer is for who pressed alone."""
    async with slack_room(tmp_path) as room:
        thread, card = await card_of_two(room)
        assert (await room.bob.presses(GENERAL, card.ts, 1)).ok
        log = await whispered(room, "bob", "dig 1")
        assert log.thread_ts == thread and "dig 1" in log.text
        assert (await room.ann.presses(GENERAL, card.ts, 0)).ok
        await whispered(room, "ann", "Stop requested for dig 1")
        await room.ws.until(lambda: "⏹" in room.ws.view(card) or "stopped" in room.ws.view(card), "a stopped row")
        assert [run["outcome"] for run in await room.p.runs(status="done")] == ["stopped"]
        assert room.ws.view(card).count("[Stop]") == 1


async def test_8_forged_tokens_and_other_places_are_refused(tmp_path: Path) -> None:
    """Channels 8: an opaque id that is valid for that route; a forged one is refused with a short text."""
    async with slack_room(tmp_path) as room:
        _, card = await card_of_two(room)
        other = room.ws.channel("other", "ann")
        elsewhere = await room.ann.says("other", "look here")
        for channel, ts, value in (
            (GENERAL, card.ts, "forged"),
            (GENERAL, card.ts, ""),
            (GENERAL, card.ts, "/subagents stop all"),
            (other, elsewhere, token_of(card)),
        ):
            assert (await room.ann.forges(channel, ts, "laneway:0", value)).ok
            await whispered(room, "ann", "This button is no longer valid.")
        thread_of_bob = await room.asks("hello", who=room.bob)
        reply = await room.bob.says(GENERAL, "look here", thread=thread_of_bob)
        assert (await room.bob.forges(GENERAL, reply, "laneway:0", token_of(card))).ok
        await whispered(room, "bob", "This button is no longer valid.")
        assert [run["status"] for run in await room.p.runs()] == ["running", "running"]


async def test_8_who_may_not_speak_may_not_press(tmp_path: Path) -> None:
    """Channels 8: … and that user's rights."""
    async with slack_room(tmp_path) as room:
        carl = room.ws.user("carl")
        room.ws.join(room.ws.channels[room.ws.channel(GENERAL)], carl.id)
        room.p.configure({"channels": {"slack": {"groups": {room.ws.channel(GENERAL): {"allowFrom": [room.bob.id]}}}}})
        assert (await room.p.gateway.reload()).reloaded
        _, card = await card_of_two(room)
        assert (await carl.presses(GENERAL, card.ts, "Stop")).ok
        await whispered(room, "carl", "You may not do that here.")
        assert (await room.bob.presses(GENERAL, card.ts, "Stop")).ok
        await whispered(room, "bob", "Stop requested for dig 1")


async def test_8_buttons_of_a_finished_card_are_stale(tmp_path: Path) -> None:
    """Channels 8: a stale one is refused with a short text; a press that Slack sends twice is one press."""
    async with slack_room(tmp_path) as room:
        thread, card = await card_of_two(room)
        old = token_of(card)
        await room.ann.says(GENERAL, "/stop", thread=thread)
        await room.ws.until(lambda: "all done" in room.ws.view(card), "the end of the card")
        assert "[" not in room.ws.view(card)
        await room.ann.forges(GENERAL, card.ts, "laneway:0", old)
        await whispered(room, "ann", "This button is no longer valid.")


async def ask_to_run(room: SlackRoom, command: str) -> Message:
    """Lets Ann's assistant want to run a command; returns the question."""
    room.p.on(reply=say("Yes?"), role="main", user="^listen$")
    room.p.on(lambda seen: say(f"Result: {' '.join(seen.results)}"), role="main", last_role="tool")
    room.p.on(reply=calls(Call("exec", {"command": command})), role="main", last_role="user")
    thread = await room.ann.says("dm", "listen")
    await room.ann.says("dm", "run it", thread=thread)
    return await room.ws.wait_message(r"May I run.*\[Allow\]", thread=thread)


async def test_2_a_command_waits_for_an_owner_s_button(tmp_path: Path) -> None:
    """Channels 2: approvals need `owners`; the question shows how it was answered, and its buttons are gone."""
    async with slack_room(tmp_path, config=EXEC) as room:
        question = await ask_to_run(room, "seq 3 4 && echo `whoami`")
        view = room.ws.view(question)
        assert "seq 3 4 && echo" in view and "[Allow] [Deny]" in view
        assert (await room.ann.presses("dm", question.ts, "Allow")).ok
        await whispered(room, "ann", "Allowed: seq 3 4")
        await room.ws.wait_message("Result: exit code 0.*3", thread=question.thread_ts)
        await room.delivered()
        assert room.ws.view(question).endswith(f"✅ allowed by ann (slack:{room.ann.id})")
        assert "[Allow]" not in room.ws.view(question) and question.blocks == []
        assert "/approve" not in room.ws.view(question)


async def test_2_denied_and_allowed_for_ever(tmp_path: Path) -> None:
    """Channels 2: Deny ends it; Always adds the pattern, so that the next time nobody is asked."""
    async with slack_room(tmp_path, config=EXEC) as room:
        question = await ask_to_run(room, "seq 3 4")
        await room.ann.presses("dm", question.ts, "Deny")
        await room.ws.wait_message("Result: .*not allowed: denied by ann", thread=question.thread_ts)
        await room.ws.until(lambda: "⛔ denied by ann" in room.ws.view(question), "the answered question")
        again = await room.ann.says("dm", "again", thread=question.thread_ts)
        second = await room.ws.wait_message(lambda one: one.ts > again and "[Allow]" in room.ws.view(one))
        await room.ann.presses("dm", second.ts, "Always allow")
        await room.ws.wait_message("Result: exit code 0", thread=question.thread_ts)
        room.ws.ephemerals.clear()
        last = await room.ann.says("dm", "once more", thread=question.thread_ts)
        await room.ws.wait_message(lambda one: one.ts > last and "Result: exit code 0" in one.text)
        await room.delivered()
        assert not any("[Allow]" in text for text in room.ws.texts())


async def test_2_a_question_of_a_stopped_turn_says_so(tmp_path: Path) -> None:
    """Channels 8: a question that nobody needs an answer to any more has no buttons."""
    async with slack_room(tmp_path, config=EXEC) as room:
        question = await ask_to_run(room, "seq 3 4")
        token = token_of(question)
        await room.ann.says("dm", "/stop", thread=question.thread_ts)
        await room.ws.until(lambda: "⚙️ whoever asked was stopped" in room.ws.view(question), "the withdrawn question")
        await room.ann.forges("dm", question.ts, "laneway:0", token)
        await whispered(room, "ann", "This button is no longer valid.")


async def test_2_an_owner_s_command_makes_no_shared_conversation_his(tmp_path: Path) -> None:
    """Channels 2: `exec` needs owners: a thread that others read too has no owner's rights, however it began."""
    async with slack_room(tmp_path, config=EXEC) as room:
        room.echo()
        for text in ("/status", "/subagents list", "hello"):
            thread = await room.asks(text)
            await room.ws.wait_message(".", thread=thread)
            await room.told("and now?", thread=thread, who=room.bob)
        tools: set[Any] = {tool for seen in room.p.main_requests() for tool in seen.tools}
        assert "exec" not in tools and "memory_search" not in tools, json.dumps(sorted(tools))


async def test_2_a_sub_agent_s_question_is_asked_where_it_was_spawned(tmp_path: Path) -> None:
    """Channels 2: a child's command is approved in the conversation that asked for the child."""
    async with slack_room(tmp_path, config=EXEC) as room:
        room.p.on(lambda seen: say(f"child: {seen.results[0]}"), role="child", last_role="tool")
        room.p.on(reply=calls(Call("exec", {"command": "seq 3 4"})), role="child")
        spawn = Call("sessions_spawn", {"task": "count", "label": "count"})
        room.p.on(reply=calls(spawn), role="main", user="^spawn$", turn_step=1)
        room.p.on(reply=say("It counts."), role="main", user="^spawn$")
        room.p.on(lambda seen: say(f"reported: {'exit code 0' in seen.last_user}"), role="main")
        await room.ann.says("dm", "spawn")
        question = await room.ws.wait_message(r"A sub-agent wants to run.*\[Allow\]", channel=room.ann.dm)
        await room.ann.presses("dm", question.ts, "Allow")
        await room.ws.wait_message("reported: True", channel=room.ann.dm)
        await room.ws.until(lambda: "✅ allowed by ann" in room.ws.view(question), "the answered question")
