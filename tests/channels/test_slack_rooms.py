"""Sub-agents in threads of their own (spec/channels.md, thread-bound sub-agents)."""

from __future__ import annotations

import json
from pathlib import Path

from tests.standins.slack import Fault
from tests.standins.slack.model import Message
from tests.support.model_script import Call, Seen, calls, say
from tests.support.pilot import REPORT, Json, answers_to, subagents
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

HOUR_SECONDS = 3600


def script(room: SlackRoom, *spawns: Json) -> None:
    """`go` leads to these spawns; a child waits for the gate `child`, then repeats what it has heard last."""
    made = [Call("sessions_spawn", each, f"spawn{n}") for n, each in enumerate(spawns)]
    room.p.on(reply=calls(*made), role="main", user="ann: go$", turn_step=1)
    room.p.on(reply=say("They are at it."), role="main", user="ann: go$")
    room.p.on(reply=say("noted"), role="main", user=REPORT)
    room.p.on(lambda seen: say(f"child heard: {seen.last_user}", hold="child"), role="child", task="^dig")
    room.echo()


def results(room: SlackRoom, number: int = 1) -> list[Json]:
    """What the spawn calls returned to the requester's model."""
    seen = next(one for one in reversed(room.p.main_requests()) if answers_to(one, "spawn0"))
    return [json.loads(answers_to(seen, f"spawn{n}")) for n in range(number)]


async def room_of(room: SlackRoom, label: str) -> Message:
    """The first message of a sub-agent's own thread."""
    return await room.ws.wait_message(rf"🧵 \*\*{label}\*\*")


async def test_it_opens_a_thread_and_talks_there(tmp_path: Path) -> None:
    """Thread-bound: posts its task there and binds it; its answers go there, the parent gets the announcement."""
    async with slack_room(tmp_path) as room:
        script(room, {"task": "dig <!channel> deep", "label": "dig", "thread": True})
        asked = await room.asks("go")
        opened = await room_of(room, "dig")
        assert opened.thread_ts is None and "> dig <\u2060!channel> deep" in opened.text
        await room.ws.wait_message("They are at it", thread=asked)
        [accepted] = results(room)
        assert (accepted["status"], accepted["mode"]) == ("accepted", "session")
        await room.bob.says(GENERAL, "also to the left", thread=opened.ts)
        await room.ws.wait_delivered()
        room.p.model.release("child")
        await room.ws.wait_message("child heard: bob: also to the left", thread=opened.ts)
        await room.ws.wait_message("noted", thread=asked)
        [run] = await room.p.runs()
        assert (run["outcome"], run["archiveAt"]) == ("ok", None)
        requests = len(room.p.child_requests())
        await room.ann.says(GENERAL, "and to the right?", thread=opened.ts)
        await room.ws.wait_message("child heard: ann: and to the right", thread=opened.ts)
        await room.settled(asked)
        assert len(room.p.child_requests()) == requests + 1
        assert len(await room.p.runs()) == 1, "later messages are turns without a run"
        assert not any("to the right" in seen.everything for seen in room.p.main_requests())
        session = await room.p.session(run["sessionKey"])
        assert session["key"] == accepted["childSessionKey"]


async def test_unbind_gives_the_thread_back_and_starts_archive_time(tmp_path: Path) -> None:
    """Thread-bound: keeps it open until `/unbind`; archive time starts at the unbinding."""
    async with slack_room(tmp_path) as room:
        script(room, {"task": "dig deep", "label": "dig", "thread": True})
        room.p.model.release("child")
        asked = await room.asks("go")
        opened = await room_of(room, "dig")
        await room.ws.wait_message("noted", thread=asked)
        await room.ann.says(GENERAL, "/unbind", thread=opened.ts)
        await room.ws.wait_message("This thread is given back", thread=opened.ts)
        [run] = await room.p.runs()
        assert run["archiveAt"] is not None
        await room.ann.says(GENERAL, "who is there?", thread=opened.ts)
        await room.ws.wait_message("heard: ann: who is there", thread=opened.ts)
        await room.ann.says(GENERAL, "/unbind", thread=opened.ts)
        await room.ws.wait_message("belongs to no sub-agent", thread=opened.ts)


async def test_a_thread_that_is_idle_or_too_old_is_given_back(tmp_path: Path) -> None:
    """Thread-bound: … or `idleHours` (24); `session.threadBindings.maxAgeHours`."""
    for limits in ({"idleHours": 0.8 / HOUR_SECONDS}, {"idleHours": 0, "maxAgeHours": 0.8 / HOUR_SECONDS}):
        folder = tmp_path / str(len(limits))
        folder.mkdir()
        async with slack_room(folder, config={"session": {"threadBindings": limits}}) as room:
            script(room, {"task": "dig deep", "label": "dig", "thread": True})
            room.p.model.release("child")
            await room.asks("go")
            opened = await room_of(room, "dig")
            await room.ws.wait_message("This thread was quiet for long", thread=opened.ts)
            await room.ann.says(GENERAL, "who is there?", thread=opened.ts)
            await room.ws.wait_message("heard: ann: who is there", thread=opened.ts)
            await room.settled(opened.ts)


async def test_mode_run_ends_with_its_result(tmp_path: Path) -> None:
    """Thread-bound: `mode: "run"` with a thread: the result stands there, and the thread is nobody's afterwards."""
    async with slack_room(tmp_path) as room:
        script(room, {"task": "dig deep", "label": "dig", "thread": True, "mode": "run"})
        room.p.model.release("child")
        await room.asks("go")
        opened = await room_of(room, "dig")
        await room.ws.wait_message("child heard: dig deep", thread=opened.ts)
        await room.ann.says(GENERAL, "more?", thread=opened.ts)
        await room.ws.wait_message("heard: ann: more", thread=opened.ts)
        [run] = await room.p.runs()
        assert run["archiveAt"] is not None


async def test_what_can_t_be_bound_leaves_nothing_behind(tmp_path: Path) -> None:
    """Thread-bound: `mode: "session"` without `thread` is an error; on a channel that can't bind too."""
    async with slack_room(tmp_path) as room:
        script(room, {"task": "dig", "mode": "session"})
        asked = await room.asks("go")
        await room.ws.wait_message("They are at it", thread=asked)
        [refused] = results(room)
        assert refused["status"] == "error" and "needs `thread: true`" in refused["error"]
        elsewhere = await room.p.spawn(task="dig", thread=True)
        assert elsewhere["status"] == "error" and "`thread: true` needs a place" in elsewhere["error"]
        assert await room.p.runs() == []
        assert room.ws.texts() == ["They are at it."]


async def test_a_refused_spawn_takes_its_thread_back(tmp_path: Path) -> None:
    """Thread-bound: a parallel batch over the cap: the threads of those that were refused are gone again."""
    spawns: list[Json] = [{"task": f"dig {n}", "label": f"dig {n}", "thread": True} for n in range(4)]
    async with slack_room(tmp_path, config=subagents(maxChildrenPerAgent=2)) as room:
        script(room, *spawns, {"task": "dig", "agentId": "nobody", "thread": True})
        asked = await room.asks("go")
        await room.ws.wait_message("They are at it", thread=asked)
        statuses = sorted(each["status"] for each in results(room, 5))
        assert statuses == ["accepted", "accepted", "forbidden", "forbidden", "forbidden"]
        await room.delivered()
        opened = [post for post in room.ws.posts(GENERAL) if "🧵" in room.ws.view(post)]
        assert len(opened) == 2 == len(await room.p.runs())


async def test_a_thread_whose_opening_was_lost_is_found(tmp_path: Path) -> None:
    """Channels 6: what may have been done is looked up: one thread, not two, and none that nobody knows."""
    async with slack_room(tmp_path) as room:
        room.ws.next("chat.postMessage", Fault(drop=True, applied=True), Fault(status=429, retry_after=1))
        script(room, *({"task": f"dig {n}", "label": f"dig {n}", "thread": True} for n in range(2)))
        asked = await room.asks("go")
        await room.ws.wait_message("They are at it", thread=asked)
        assert [each["status"] for each in results(room, 2)] == ["accepted"] * 2
        assert len([post for post in room.ws.posts(GENERAL) if "🧵" in room.ws.view(post)]) == 2


async def test_where_no_thread_can_be_opened_the_reason_is_said(tmp_path: Path) -> None:
    """Thread-bound: Slack's refusal is the call's result, and nothing stays behind."""
    async with slack_room(tmp_path) as room:
        room.ws.next("chat.postMessage", Fault(error="restricted_action"))
        script(room, {"task": "dig", "thread": True})
        asked = await room.asks("go")
        await room.ws.wait_message("They are at it", thread=asked)
        [refused] = results(room)
        assert refused["status"] == "error" and "restricted_action" in refused["error"]
        assert await room.p.runs() == []


async def test_focus_and_unfocus_by_hand(tmp_path: Path) -> None:
    """Thread-bound: `/focus <target>` and `/unfocus` bind and unbind an existing child by hand."""
    async with slack_room(tmp_path) as room:
        script(room, {"task": "dig deep", "label": "dig"})
        asked = await room.asks("go")
        await room.ws.wait_message("They are at it", thread=asked)
        await room.ann.says(GENERAL, "/focus nothing", thread=asked)
        await room.ws.wait_message("nothing", thread=asked)
        await room.ann.says(GENERAL, "/focus dig", thread=asked)
        await room.ws.wait_message("This thread is dig's now", thread=asked)
        await room.ann.says(GENERAL, "look left", thread=asked)
        await room.ws.wait_delivered()
        room.p.model.release("child")
        await room.ws.wait_message("child heard: ann: look left", thread=asked)
        await room.ws.wait_message("noted", thread=asked)
        await room.ann.says(GENERAL, "look right", thread=asked)
        await room.ws.wait_message("child heard: .*ann: look right", thread=asked)
        await room.ann.says(GENERAL, "/unfocus", thread=asked)
        await room.ws.wait_message("This thread is given back", thread=asked)
        await room.told("and you?", thread=asked)


async def test_stop_in_its_thread_stops_it(tmp_path: Path) -> None:
    """Sub-agents 27: `/stop` in a sub-agent's own thread ends its run; the parent hears of it."""
    async with slack_room(tmp_path) as room:
        script(room, {"task": "dig deep", "label": "dig", "thread": True})
        asked = await room.asks("go")
        opened = await room_of(room, "dig")
        await room.ws.wait_message("They are at it", thread=asked)
        await room.ann.says(GENERAL, "/stop", thread=opened.ts)
        await room.ws.wait_message("1 sub-agent stopped", thread=opened.ts)
        await room.ws.wait_message("noted", thread=asked)
        [run] = await room.p.runs()
        assert run["outcome"] == "stopped"
        seen: Seen = next(one for one in room.p.main_requests() if "Report of a sub-agent" in one.last_user)
        assert "stopped" in seen.last_user
