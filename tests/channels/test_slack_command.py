"""Slack's native slash command, and commands as message text."""

from __future__ import annotations

from pathlib import Path

from tests.support.model_script import Call, calls, say
from tests.support.slack_gateway import GENERAL, slack_room


async def test_the_native_command_is_for_the_newest_thread_and_says_which(tmp_path: Path) -> None:
    """Slack: a native command carries no thread: it acts on the newest thread session of that user and says which."""
    async with slack_room(tmp_path) as room:
        room.echo()
        nowhere = await room.ann.commands("/laneway", "status", GENERAL)
        assert room.key(None) in nowhere.text.replace("`", "") and "About the channel itself" in nowhere.text
        first = await room.told("one")
        second = await room.told("two")
        bobs = await room.told("bob's", who=room.bob)
        for who, thread in ((room.ann, second), (room.bob, bobs)):
            ack = await who.commands("/laneway", "status", GENERAL)
            assert ack.ok and ack.said is not None
            assert ack.said["response_type"] == "ephemeral"
            assert room.key(thread) in ack.text.replace("`", "")
            assert f"/archives/{room.ws.channel(GENERAL)}/p{thread.replace('.', '')}" in str(ack.said["blocks"])
        await room.told("one again", thread=first)
        assert room.key(first) in (await room.ann.commands("/laneway", "/status", GENERAL)).text.replace("`", "")
        assert len(room.ws.posts(GENERAL)) == 4, "what only one person asked for is posted to nobody else"


async def test_what_a_native_command_can_do(tmp_path: Path) -> None:
    """Slack: `/subagents`, `/stop`, `/status`, by the native command and as message text."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say("late", hold="never"), role="child")
        spawn = [Call("sessions_spawn", {"task": f"dig {n}", "label": f"dig {n}"}) for n in (1, 2, 3)]
        room.p.on(reply=calls(*spawn), role="main", user="ann: dig$", turn_step=1)
        room.p.on(reply=say("They are at it."), role="main")
        thread = await room.asks("dig")
        await room.ws.wait_message("They are at it", thread=thread)
        listed = await room.ann.commands("/laneway", "subagents list", GENERAL)
        assert "Subagents (current session)" in listed.text and "dig 3" in listed.text
        stopped = await room.ann.commands("/laneway", "subagents stop 3", GENERAL)
        assert "Stop requested for dig 1" in stopped.text, "numbered as just shown: newest first"
        await room.ann.says(GENERAL, "/subagents list", thread=thread)
        await room.ws.wait_message("dig 3.*dig 2.*dig 1", thread=thread)
        assert (await room.ann.commands("/laneway", "stop", GENERAL)).text.startswith("⚙️ No turn was running · 2 sub")
        helped = await room.ann.commands("/laneway", "", GENERAL)
        assert "/subagents" in helped.text
        unknown = await room.ann.commands("/laneway", "nonsense", GENERAL)
        assert "There is no command /nonsense" in unknown.text


async def test_who_may_not_speak_may_not_command(tmp_path: Path) -> None:
    """Channels 2: commands obey the same rules; a stranger's direct command leads to his code."""
    async with slack_room(tmp_path) as room:
        other = room.ws.channel("other", "ann")
        assert (await room.ann.commands("/laneway", "status", other)).text == "You may not do that here."
        assert (await room.bob.commands("/laneway", "status", "dm")).text == "You may not do that here."
        await room.ws.wait_message("pairing approve", channel=room.bob.dm)
        direct = await room.ann.commands("/laneway", "status", "dm")
        assert "agent:main:main" in direct.text and "About" not in direct.text
        assert await room.p.sessions() == [] or [each["key"] for each in await room.p.sessions()] == ["agent:main:main"]


async def test_8_what_a_model_wrote_wakes_nobody_in_a_private_answer(tmp_path: Path) -> None:
    """Channels 8: labels and errors are a model's: in a log they call nobody together, and long ones are cut."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say("<!channel> " + "long " * 4000), role="child")
        spawn = Call("sessions_spawn", {"task": "shout", "label": "<!here> & <b>"})
        room.p.on(reply=calls(spawn), role="main", user="ann: shout$", turn_step=1)
        room.p.on(reply=say("It has shouted."), role="main")
        thread = await room.asks("shout")
        await room.ws.wait_message("It has shouted", thread=thread)
        await room.settled(thread)
        log = await room.ann.commands("/laneway", "subagents log last", GENERAL)
        assert log.said is not None and "long long" in str(log.said["blocks"])
        listed = await room.ann.commands("/laneway", "subagents list", GENERAL)
        assert "here> & <b>" in str((listed.said or {})["blocks"])
