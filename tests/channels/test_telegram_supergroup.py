"""A group becomes a supergroup: another id, other numbers, and the same conversation (spec/channels.md 1, 6, 7)."""

from __future__ import annotations

from pathlib import Path

from tests.support.model_script import Call, calls, say
from tests.support.telegram_gateway import TelegramRoom, telegram_room


def echo(room: TelegramRoom) -> None:
    """The assistant repeats what it heard."""
    room.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")


async def test_a_group_that_has_become_a_supergroup_is_followed(tmp_path: Path) -> None:
    """`migrate_to_chat_id`: what is on its way to a group goes to the supergroup that it has become."""
    async with telegram_room(tmp_path) as room:
        group = await room.tg.group("Small", room.ann, room.bob, kind="group")
        await room.p.restart(channels={"telegram": {"groups": {str(group.id): {}}}})
        room.p.on(reply=say("here I am", hold="model"), role="main", user="where")
        await room.ann.say("where are you?", group, mention=True)
        await room.p.wait_asked(lambda seen: "where" in seen.last_user)
        big = await room.ann.upgrade(group)
        room.p.model.release("model")
        await room.reads(big, "here I am")
        await room.settled(room.key(group))


async def test_what_a_group_was_to_the_assistant_its_supergroup_is_after_a_restart(tmp_path: Path) -> None:
    """Channels: the answer goes to the chat that asked, under whatever id Telegram knows it; the conversation goes on.

    What was under way (a sub-agent and its card), and what is said in the supergroup, which counts its messages anew.
    Settings may name it by the id that it has now.
    """
    async with telegram_room(tmp_path) as room:
        group = await room.tg.group("Small", room.ann, room.bob, kind="group")
        await room.p.restart(channels={"telegram": {"groupPolicy": "open"}})
        room.p.on(reply=calls(Call("sessions_spawn", {"task": "hang", "label": "one"})), user="spawn", turn_step=1)
        room.p.on(reply=say("finished", hold="child"), role="child")
        echo(room)
        await room.ann.say("spawn", group, mention=True)
        await room.tg.wait_message(lambda m: "1 active" in m.text and bool(m.buttons), chat=group)
        await room.reads(group, "heard: Ann: spawn")
        big = await room.ann.upgrade(group)
        await room.tg.until(lambda: _nothing_pending(room))
        await room.p.restart()
        room.p.model.release("child")
        await room.reads(big, "all done")
        await room.reads(big, "heard: [Report")
        await room.settled(room.key(group))
        await room.p.restart(channels={"telegram": {"groupPolicy": "allowlist", "groups": {str(big.id): {}}}})
        asked = await room.ann.say("still there?", big, mention=True)
        await room.reads(big, "heard: Ann: still there?")
        await room.settled(room.key(group))
        assert "spawn" in room.p.main_requests()[-1].everything
        assert not any(session["key"] == room.key(big) for session in await room.p.sessions())
        reactions = [call.params for call in await room.tg.calls("setMessageReaction") if call.status == 200]
        assert (reactions[-1]["chat_id"], reactions[-1]["message_id"]) == (big.id, asked.id)
        cards = [text for text in await room.texts(big) if "Sub-agents" in text]
        assert len(cards) == 1


async def test_a_move_that_telegram_tells_of_only_when_a_post_is_tried_is_kept(tmp_path: Path) -> None:
    """`migrate_to_chat_id` in the answer to a post: what the supergroup says after a restart belongs to it too."""
    async with telegram_room(tmp_path) as room:
        group = await room.tg.group("Small", room.ann, kind="group")
        await room.p.restart(channels={"telegram": {"groups": {str(group.id): {}}}})
        room.p.on(reply=say("here I am", hold="model"), role="main", user="where")
        echo(room)
        await room.ann.say("where are you?", group, mention=True)
        await room.p.wait_asked(lambda seen: "where" in seen.last_user)
        await room.p.stop()
        big = await room.ann.upgrade(group)
        room.tg.parts.world.updates.drop()
        await room.p.start()
        room.p.model.release("model")
        await room.reads(big, "here I am")
        await room.settled(room.key(group))
        await room.p.restart()
        await room.ann.say("and now?", big, mention=True)
        await room.reads(big, "heard: Ann: and now?")
        await room.settled(room.key(group))
        assert "where are you?" in room.p.main_requests()[-1].everything


async def _nothing_pending(room: TelegramRoom) -> bool:
    return not await room.tg.pending()
