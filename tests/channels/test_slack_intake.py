"""What comes in from Slack: committed before it is acknowledged, once, in order, and only from people."""

from __future__ import annotations

from pathlib import Path

from tests.standins.slack import Fault, Options
from tests.support.model_script import call, say
from tests.support.slack_gateway import GENERAL, slack_room


async def test_1_redelivered_and_duplicated_events_are_one_message(tmp_path: Path) -> None:
    """Channels 1: a redelivered event is one message; a mention that comes as `message` and `app_mention` is one."""
    async with slack_room(tmp_path) as room:
        room.echo()
        room.ws.twist("duplicate", "deaf", "deaf", "duplicate")  # message, app_mention; message, app_mention
        for text in ("one", "two"):
            await room.told(text)
        await room.ws.wait_delivered()
        assert sum(delivery.attempts for delivery in room.ws.deliveries if not delivery.event.get("bot_id")) > 4
        await room.delivered()
        assert sorted(room.heard()) == ["ann: one", "ann: two"]
        assert len(room.ws.posts(GENERAL)) == 2


async def test_1_a_command_that_comes_twice_is_answered_once(tmp_path: Path) -> None:
    """Channels 1: … also as a command, in a mention and redelivered."""
    async with slack_room(tmp_path) as room:
        room.ws.twist("duplicate", "deaf")
        asked = await room.asks("/status")
        answer = await room.ws.wait_message("Session `agent:main:slack:channel", thread=asked)
        await room.ws.wait_delivered()
        await room.delivered()
        assert room.ws.posts(GENERAL) == [answer]
        assert room.p.main_requests() == []


async def test_1_nothing_is_acknowledged_before_it_is_committed(tmp_path: Path) -> None:
    """Channels 1: an event is acknowledged after its inbox row is committed, never before."""
    async with slack_room(tmp_path, options=Options(ack_seconds=0.3)) as room:
        room.echo()
        room.ws.next("users.info", Fault(hold="names"))  # the row can't be written yet: who speaks isn't known
        asked = await room.ann.says(GENERAL, "hello", mention=True)
        await room.ws.until(lambda: any(d.attempts > 1 for d in room.ws.deliveries), "a redelivery")
        assert not any(delivery.acknowledged for delivery in room.ws.deliveries)
        room.ws.release("names")
        await room.ws.wait_message("heard: ann: hello", thread=asked)
        await room.ws.wait_delivered()
        assert room.heard() == ["ann: hello"]


async def test_1_messages_of_a_thread_keep_their_order(tmp_path: Path) -> None:
    """Channels 1: what was said first is taken in first, also when a look-up takes long meanwhile."""
    async with slack_room(tmp_path, config={"messages": {"queue": {"mode": "followup"}}}) as room:
        room.echo()
        thread = await room.told("zero")
        room.ws.next("users.info", Fault(delay=0.2))  # who Bob is
        await room.bob.says(GENERAL, "one", thread=thread)
        await room.ann.says(GENERAL, "two", thread=thread)
        await room.ws.wait_message("heard: ann: two", thread=thread)
        assert room.heard() == ["ann: zero", "bob: one", "ann: two"]


async def test_1_unread_messages_follow_their_edits_and_deletions(tmp_path: Path) -> None:
    """Channels 1: an edited or deleted platform message updates or cancels its row while that is unconsumed."""
    async with slack_room(tmp_path, config={"messages": {"queue": {"mode": "followup"}}}) as room:
        room.p.on(reply=say("first", hold="first"), role="main", user="ann: wait")
        room.echo()
        thread = await room.asks("wait")
        await room.p.wait_asked(lambda seen: "ann: wait" in seen.last_user)
        edited = await room.ann.says(GENERAL, "thre", thread=thread)
        deleted = await room.ann.says(GENERAL, "never mind", thread=thread)
        await room.ann.edits(GENERAL, edited, "three")
        await room.ann.deletes(GENERAL, deleted)
        await room.ann.edits(GENERAL, thread, "@laneway too late")
        await room.ws.wait_delivered()
        room.p.model.release("first")
        await room.ws.wait_message("heard: ann: three", thread=thread)
        await room.settled(thread)
        assert room.heard() == ["ann: wait", "ann: three"]


async def test_1_a_deleted_message_with_replies_is_cancelled_too(tmp_path: Path) -> None:
    """Channels 1: Slack keeps a tombstone in the place of a parent; its row is cancelled all the same."""
    async with slack_room(tmp_path, account={"replyToMode": "channel"}) as room:
        room.p.on(reply=say("first", hold="first"), role="main", user="ann: wait")
        room.echo()
        await room.asks("wait")
        await room.p.wait_asked(lambda seen: "ann: wait" in seen.last_user)
        gone = await room.asks("never mind")
        await room.bob.says(GENERAL, "what?", thread=gone)
        await room.ann.deletes(GENERAL, gone)
        await room.ws.wait_delivered()
        room.p.model.release("first")
        await room.ws.wait_message("first")
        await room.p.wait_idle(room.key(None))
        assert room.heard() == ["ann: wait"]


async def test_1_the_assistant_and_other_bots_are_not_heard(tmp_path: Path) -> None:
    """Channels 1: events of the bot itself are dropped first."""
    async with slack_room(tmp_path, account={"requireMention": False, "groupPolicy": "open"}) as room:
        room.echo()
        thread = await room.told("hello")
        posted = next(one for one in room.ws.posts(GENERAL) if one.root == thread)
        await room.ws.until(
            lambda: any(d.event.get("ts") == posted.ts and d.acknowledged for d in room.ws.deliveries), "its own event"
        )
        robot = room.ws.user("robot")
        message = room.ws.typed_by(robot.id, room.ws.channel(GENERAL), "I am a bot")
        message.subtype = "bot_message"
        room.ws.post(message)
        await room.ws.wait_delivered()
        await room.settled(thread)
        assert room.heard() == ["ann: hello"]


async def test_4_two_threads_of_one_channel_never_mix(tmp_path: Path) -> None:
    """Issue: two threads of one channel at once never mix: each has its session, its tools, its answers."""
    async with slack_room(tmp_path) as room:
        room.p.on(lambda seen: say(f"{seen.results[0]} for {seen.users[-1]}"), role="main", last_role="tool")
        room.p.on(lambda seen: call("session_status"), role="main", turn_step=1)
        threads = {name: await room.asks(name) for name in ("red", "green", "blue")}
        for name, thread in threads.items():
            answer = await room.ws.wait_message(f"for ann: {name}", thread=thread)
            assert thread in answer.text
            assert not any(other in answer.text for other in threads.values() if other != thread)
            assert [post.root for post in room.ws.posts() if name in room.ws.view(post)] == [thread]
        assert {each["key"] for each in await room.p.sessions()} == {room.key(each) for each in threads.values()}


async def test_1_a_person_s_notation_is_read_as_markdown(tmp_path: Path) -> None:
    """Channels 1: mentions and links arrive as a person reads them, the assistant's own mention not at all."""
    async with slack_room(tmp_path) as room:
        room.echo()
        await room.asks("ask @bob about https://example.com/a?b=1&c=2 in #general & <b>")
        await room.ws.wait_message("heard: ann: ask")
        assert room.heard() == ["ann: ask @bob about https://example.com/a?b=1&c=2 in #general & <b>"]


async def test_1_a_bare_mention_is_a_message(tmp_path: Path) -> None:
    """Channels 1: who only calls the assistant gets an answer too."""
    async with slack_room(tmp_path) as room:
        room.echo()
        asked = await room.asks("")
        await room.ws.wait_message("heard: ann: .addressed you without saying anything", thread=asked)


async def test_4_a_message_that_is_dropped_is_told_to_its_sender(tmp_path: Path) -> None:
    """Channels 4: beyond `cap` the queue acts visibly: a dropped message's sender is told, in its thread."""
    queue = {"messages": {"queue": {"mode": "followup", "cap": 1, "drop": "new"}}}
    async with slack_room(tmp_path, config=queue) as room:
        room.p.on(reply=say("first", hold="first"), role="main", user="ann: wait")
        room.echo()
        thread = await room.asks("wait")
        await room.p.wait_asked(lambda seen: "ann: wait" in seen.last_user)
        await room.ann.says(GENERAL, "kept", thread=thread)
        await room.ws.wait_delivered()
        await room.bob.says(GENERAL, "dropped", thread=thread)
        await room.ws.wait_message("this one was not taken", thread=thread)
        room.p.model.release("first")
        await room.ws.wait_message("heard: ann: kept", thread=thread)
        await room.settled(thread)
        assert room.heard() == ["ann: wait", "ann: kept"]
