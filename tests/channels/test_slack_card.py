"""Sub-agents in Slack: one live card in the thread, and results in the thread that asked (spec/channels.md 7)."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

from tests.standins.slack import Fault, Options
from tests.standins.slack.model import Message
from tests.support.model_script import Call, Reply, Seen, calls, say
from tests.support.pilot import REPORT, subagents
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room


def spawning(number: int) -> Reply:
    """The answer that asks for so many sub-agents."""
    return calls(*(Call("sessions_spawn", {"task": f"dig {n}", "label": f"dig {n}"}) for n in range(1, number + 1)))


def digging(room: SlackRoom, number: int, hold: str | None = "dig") -> None:
    """The script: `dig` leads to so many sub-agents; every report is answered with how many there were."""
    room.p.on(lambda seen: say(f"hole of {seen.first_user}", hold=hold), role="child")
    room.p.on(reply=spawning(number), role="main", user="ann: dig$", turn_step=1)
    room.p.on(reply=say("They are at it."), role="main", user="ann: dig$")

    def reported(seen: Seen) -> Reply:
        return say(f"{seen.everything.count('hole of dig')} have reported")

    room.p.on(reported, role="main", user=REPORT)
    room.echo()


async def card_in(room: SlackRoom, thread: str, pattern: str = r"Sub-agents · \d+ active") -> Message:
    """The card of a thread."""
    return await room.ws.wait_message(pattern, thread=thread)


async def test_7_one_card_edited_in_place_becomes_the_summary(tmp_path: Path) -> None:
    """Channels 7: icon, label, runtime, last action, tokens; edited at most every 3 s; finished it is the summary."""
    async with slack_room(tmp_path) as room:
        digging(room, 2)
        thread = await room.asks("dig")
        card = await card_in(room, thread, r"Sub-agents · 2 active.*dig 1.*\[Stop\] \[Log\].*dig 2")
        room.p.model.release("dig")
        await room.ws.until(lambda: "all done" in room.ws.view(card), "the summary")
        await room.ws.wait_message("have reported", thread=thread)
        await room.settled(thread)
        summary = room.ws.view(card)
        assert re.search(r"✅ \*dig 1\* · .*\d+ tokens", summary) and re.search(r"240 tokens · \$0", summary)
        assert "[" not in summary, "the summary has no buttons"
        edits = [call for call in room.ws.calls if call.method == "chat.update" and call.args["ts"] == card.ts]
        gaps = [after.at - before.at for before, after in pairwise(edits[:-1])]
        assert all(gap >= 2.9 for gap in gaps), "all but the last one are spaced"
        assert len([post for post in room.ws.posts() if "Sub-agents" in room.ws.view(post)]) == 1


async def test_7_a_card_that_ends_while_it_is_being_posted_is_the_summary(tmp_path: Path) -> None:
    """Channels 7: finished, it becomes the summary, also if that was before Slack had taken the first one."""
    async with slack_room(tmp_path) as room:
        digging(room, 1)
        room.ws.next("chat.postMessage", Fault(hold="card"), where=lambda args: "blocks" in args)
        thread = await room.asks("dig")
        await room.ws.until(lambda: any("blocks" in call.args for call in room.ws.calls), "the card's call")
        room.p.model.release("dig")
        await room.p.wait_said("1 have reported", room.key(thread))
        room.ws.release("card")
        await card_in(room, thread, "all done")
        await room.settled(thread)


async def test_7_off_by_configuration(tmp_path: Path) -> None:
    """Channels 7: off with `channels.<name>.liveCard: false`; the results come all the same."""
    async with slack_room(tmp_path, account={"liveCard": False}) as room:
        digging(room, 1)
        thread = await room.asks("dig")
        await room.ws.wait_message("They are at it", thread=thread)
        room.p.model.release("dig")
        await room.ws.wait_message("1 have reported", thread=thread)
        await room.settled(thread)
        assert room.ws.texts() == ["They are at it.", "1 have reported"]


async def test_18_results_come_to_the_thread_that_asked(tmp_path: Path) -> None:
    """Sub-agents 18: the answer goes to the route of the spawning message, even if the user wrote from elsewhere."""
    async with slack_room(tmp_path, account={"replyToMode": "channel"}) as room:
        digging(room, 1)
        root = await room.ann.says(GENERAL, "a thread")
        await room.ann.says(GENERAL, "dig", thread=root, mention=True)
        await room.ws.wait_message("They are at it", thread=root)
        await room.asks("elsewhere")
        await room.ws.wait_message("heard: .*elsewhere")
        await room.ann.says("dm", "and here")
        await room.ws.wait_message("heard: and here", channel=room.ann.dm)
        room.p.model.release("dig")
        answer = await room.ws.wait_message("1 have reported")
        assert (answer.channel, answer.thread_ts) == (room.ws.channel(GENERAL), root)
        assert {post.root for post in room.ws.posts() if "Sub-agents" in room.ws.view(post)} <= {root}


async def test_18_in_one_session_each_place_gets_its_own_results(tmp_path: Path) -> None:
    """Sub-agents 18: direct messages and the terminal share the main session; results go where they were asked for."""
    async with slack_room(tmp_path) as room:
        room.p.on(lambda seen: say(f"hole of {seen.first_user}", hold="dig"), role="child")
        spawn = Call("sessions_spawn", {"task": "dig 1"})
        room.p.on(reply=calls(spawn), role="main", user="^dig$", turn_step=1)
        room.p.on(reply=say("reported"), role="main", user=REPORT)
        room.echo()
        await room.ann.says("dm", "dig")
        await room.ws.wait_message("heard: dig", channel=room.ann.dm)
        await room.p.say("hello from the terminal")
        await room.p.wait_said("heard: hello from the terminal")
        room.p.model.release("dig")
        await room.ws.wait_message("reported", channel=room.ann.dm)
        await room.p.wait_idle()
        assert not any("terminal" in text for text in room.ws.texts())


async def test_thirty_ends_at_once_are_a_handful_of_posts(tmp_path: Path) -> None:
    """Issue: 30 sub-agents finishing within a second give at most a handful of posts and no rate-limit error."""
    many = subagents(maxChildrenPerAgent=30, maxConcurrent=30)
    async with slack_room(tmp_path, options=Options(limits=True), config=many) as room:
        digging(room, 30)
        thread = await room.asks("dig")
        card = await card_in(room, thread, r"30 active.*and 18 more")
        assert len(card.blocks) <= 50
        room.p.model.release("dig")
        await room.ws.until(lambda: "all done" in room.ws.view(card), "the summary")
        await room.settled(thread)
        assert {run["outcome"] for run in await room.p.runs()} == {"ok"}
        assert room.ws.texts()[-1] == "30 have reported"
        assert len(room.ws.posts()) <= 8
        assert room.ws.limited == {}
