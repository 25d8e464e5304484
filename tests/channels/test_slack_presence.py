"""That the assistant is at work, as Slack shows it: reactions, the thread's status, the native Stop button."""

from __future__ import annotations

from pathlib import Path

from tests.standins.slack import Fault, Options
from tests.support.model_script import Call, calls, fail, say
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room


def reactions(room: SlackRoom, ts: str, channel: str | None = None) -> list[str]:
    """What the assistant has reacted to a message with."""
    return sorted(room.ws.find(channel or room.ws.channel(GENERAL), ts).reactions)


async def reacted(room: SlackRoom, ts: str, *expected: str, channel: str | None = None) -> None:
    """Waits until a message has these reactions."""
    await room.ws.until(lambda: reactions(room, ts, channel) == sorted(expected), f"reactions {expected} on {ts}")


def status(room: SlackRoom, thread: str) -> str:
    """How the thread's session stands."""
    session = room.ws.session(GENERAL, thread)
    return session.status if session else ""


async def test_5_work_is_shown_at_once_and_its_end_too(tmp_path: Path) -> None:
    """Channels 5, Slack: reactions `eyes` while working, then `white_check_mark`; a status with Slack's Stop button."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say("done", hold="rest"), role="main")
        thread = await room.asks("one")
        await reacted(room, thread, "eyes")
        await room.ws.until(lambda: status(room, thread) == "processing", "the status")
        more = await room.ann.says(GENERAL, "two", thread=thread)
        room.p.model.release("rest")
        await reacted(room, thread, "white_check_mark")
        await reacted(room, more, "white_check_mark")
        await room.ws.until(lambda: status(room, thread) == "active", "the end of the status")


async def test_5_a_failed_turn_and_a_stopped_one_are_marked_so(tmp_path: Path) -> None:
    """Slack: reaction `warning` where the turn has failed; where it was stopped, none stays."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=fail(401, "no such key"), role="main", user="ann: fail$")
        room.p.on(reply=say("late", hold="never"), role="main", user="ann: hang$")
        failed = await room.asks("fail")
        await reacted(room, failed, "warning")
        stopped = await room.asks("hang")
        await reacted(room, stopped, "eyes")
        await room.ann.says(GENERAL, "/stop", thread=stopped)
        await reacted(room, stopped)
        await room.ws.until(lambda: status(room, stopped) == "active", "the end of the status")


async def test_5_direct_messages_are_marked_too(tmp_path: Path) -> None:
    """Channels 5: where there is no thread, and so no status, the reaction shows it."""
    async with slack_room(tmp_path) as room:
        room.echo()
        said = await room.ann.says("dm", "hello")
        await reacted(room, said, "white_check_mark", channel=room.ann.dm)


async def test_5_a_mark_waits_for_the_pause_that_slack_asks_for(tmp_path: Path) -> None:
    """Channels 5: what is to stay is set after a 429, a 502, and is nothing to a message that has gone."""
    async with slack_room(tmp_path) as room:
        room.echo()
        room.ws.next("reactions.remove", Fault(status=429, retry_after=1))
        room.ws.next("reactions.add", Fault(), Fault(status=502))
        thread = await room.told("hello")
        await reacted(room, thread, "white_check_mark")
        gone = await room.ann.says(GENERAL, "wait", thread=thread)
        await room.ann.deletes(GENERAL, gone)
        await room.told("the next", thread=thread)


async def test_5_the_end_of_a_status_is_insisted_on(tmp_path: Path) -> None:
    """Slack: a thread doesn't seem to be at work for ever because Slack had a problem."""
    async with slack_room(tmp_path) as room:
        room.echo()
        room.ws.next("agents.sessions.setStatus", Fault(status=502), where={"status": "active"})
        thread = await room.told("hello")
        await room.ws.until(lambda: status(room, thread) == "active", "the end of the status")


async def test_many_streams_at_once_stay_below_slack_s_limit(tmp_path: Path) -> None:
    """Channels 5: many answers that stream at once are slower each, so that no limit is hit."""
    async with slack_room(tmp_path, options=Options(limits=True, burst=20)) as room:
        slow = say(" ".join(str(n) for n in range(40)), chunk_delay=0.05)
        room.p.on(reply=slow, role="main")
        threads = [await room.asks(f"count {n}") for n in range(6)]
        for thread in threads:
            await room.ws.wait_message("39", thread=thread)
            await room.settled(thread)
        assert room.ws.limited["chat.appendStream"] == 0
        assert len([call for call in room.ws.calls if call.method == "chat.appendStream"]) < 30


async def test_27_stop_says_how_many_sub_agents_it_has_stopped(tmp_path: Path) -> None:
    """Sub-agents 27: `/stop` in a thread aborts its turn and every active run under it, and says how many."""
    async with slack_room(tmp_path) as room:
        room.p.on(reply=say("late", hold="never"), role="child")
        spawn = [Call("sessions_spawn", {"task": f"dig {n}"}) for n in (1, 2)]
        room.p.on(reply=calls(*spawn), role="main", user="ann: dig$", turn_step=1)
        room.p.on(reply=say("They are at it."), role="main")
        thread = await room.asks("dig")
        await room.ws.wait_message("2 active", thread=thread)
        await room.ann.says(GENERAL, "/stop", thread=thread)
        await room.ws.wait_message("No turn was running · 2 sub-agents stopped", thread=thread)
        await room.ws.wait_message("all done", thread=thread)
        await room.settled(thread)
