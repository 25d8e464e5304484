"""Who may speak to the assistant in Telegram, and which conversation that is (spec/channels.md 2, 3)."""

from __future__ import annotations

import re
from pathlib import Path

from tests.standins.telegram import Seen, TelegramStandIn
from tests.support.model_script import say
from tests.support.pilot import KEY
from tests.support.telegram_gateway import TelegramRoom, telegram_room


def echo(room: TelegramRoom) -> None:
    """The assistant repeats what it heard."""
    room.p.on(lambda seen: say(f"heard: {seen.last_user}"), role="main")


async def unheard(room: TelegramRoom, message: Seen) -> None:
    """Waits until the bot has taken a message, and finds that nobody was asked."""
    await room.tg.wait_taken(message.update)
    assert room.p.model.requests == []
    assert await room.p.sessions() == []


async def test_2_an_owner_writes_privately_into_the_main_session(tmp_path: Path) -> None:
    """Channels 2, 3: an owner needs no pairing; his messages go to `agent:<id>:main`."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await room.ann.say("hello")
        await room.reads(room.ann, "heard: hello")
        await room.settled(KEY)
        assert [each["key"] for each in await room.p.sessions()] == [KEY]


async def test_2_a_stranger_gets_a_code_and_is_heard_once_he_is_let_in(tmp_path: Path) -> None:
    """Channels 2: an unknown sender gets a code and isn't processed; an owner lets him in; then he is heard."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        asked = await room.bob.say("let me in")
        told = await room.reads(room.bob, "laneway pairing approve")
        await room.tg.wait_taken(asked.update)
        found = re.search(r"approve ([A-HJ-NP-Z2-9]{8})\b", told.text)
        assert found is not None
        assert room.p.model.requests == []
        approved = await room.p.post("/api/pairing/approve", {"code": found[1]})
        assert (approved.status, approved.json["name"]) == (200, "Bob")
        await room.bob.say("again")
        await room.reads(room.bob, "heard: again")
        await room.delivered()
        assert [each["key"] for each in await room.p.sessions()] == [f"agent:main:telegram:dm:{room.bob.id}"]


async def test_2_dm_policies(tmp_path: Path) -> None:
    """Channels 2: `allowlist` lets in who is listed and says nothing to others; `disabled` answers nobody."""
    async with telegram_room(tmp_path, account={"dmPolicy": "allowlist"}) as room:
        await unheard(room, await room.bob.say("hello"))
        assert await room.texts(room.bob) == []
    async with telegram_room(tmp_path / "off", account={"dmPolicy": "disabled"}) as room:
        await unheard(room, await room.ann.say("hello"))


async def test_2_in_a_group_it_answers_when_it_is_meant(tmp_path: Path) -> None:
    """Channels 2: `requireMention`; a reply to the bot counts as a mention; who speaks is named to the model."""
    async with telegram_room(tmp_path, standin=TelegramStandIn(privacy=False)) as room:
        echo(room)
        await unheard(room, await room.bob.say("nobody means you", room.team))
        await room.bob.say("what is this?", room.team, mention=True)
        answer = await room.reads(room.team, "heard: Bob: what is this?")
        await room.delivered()
        await room.bob.say("and that?", room.team, reply_to=answer)
        await room.reads(room.team, "heard: Bob: and that?")
        await room.settled(room.key(room.team))


async def test_2_a_mention_may_stand_anywhere_and_in_any_case(tmp_path: Path) -> None:
    """Channels 2: the text is what its writer meant, without the mention; offsets count UTF-16 units."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        await room.bob.say("🎉 so, @LaneWay_Bot – what now?", room.team)
        await room.reads(room.team, "heard: Bob: 🎉 so,  – what now?")
        await room.settled(room.key(room.team))


async def test_2_without_the_need_of_a_mention(tmp_path: Path) -> None:
    """Channels 2: `requireMention: false`, here for one group."""
    standin = TelegramStandIn(privacy=False)
    async with telegram_room(tmp_path, standin=standin) as room:
        echo(room)
        groups = {str(room.team.id): {"requireMention": False}}
        await room.p.restart(channels={"telegram": {"groups": groups}})
        await room.bob.say("to everybody", room.team)
        await room.reads(room.team, "heard: Bob: to everybody")
        await room.settled(room.key(room.team))


async def test_2_a_group_that_isn_t_listed_is_silent(tmp_path: Path) -> None:
    """Channels 2: `groupPolicy` is an allowlist by chat id; pairing never opens a group, not even for an owner."""
    async with telegram_room(tmp_path) as room:
        other = await room.tg.group("Other", room.ann, room.bob)
        await unheard(room, await room.ann.say("hello", other, mention=True))
        assert await room.texts(other) == []


async def test_2_people_of_a_group_can_be_listed(tmp_path: Path) -> None:
    """Channels 2: `groups.<id>.allowFrom`."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        groups = {str(room.team.id): {"allowFrom": ["1"]}}
        await room.p.restart(channels={"telegram": {"groups": groups}})
        await unheard(room, await room.bob.say("hello", room.team, mention=True))
        await room.ann.say("hello", room.team, mention=True)
        await room.reads(room.team, "heard: Ann: hello")
        await room.settled(room.key(room.team))


async def test_2_bots_aren_t_heard(tmp_path: Path) -> None:
    """Channels 1: events of the bot itself are dropped first, and so are those of others."""
    async with telegram_room(tmp_path) as room:
        asked = await room.bob.say("hello", room.team, mention=True)
        bot = {"id": 5_000, "is_bot": True, "first_name": "Other", "username": "other_bot"}
        await room.tg.wait_taken(await room.tells(asked, 900, **{"from": bot}))
        await room.settled(room.key(room.team))
        assert len(room.p.main_requests()) == 1


async def test_2_an_anonymous_administrator_speaks_as_his_group(tmp_path: Path) -> None:
    """Channels 2: who writes as a chat is known by that chat's id, and is no owner; forwarded posts aren't heard."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        asked = await room.bob.say("hello", room.team, mention=True)
        await room.reads(room.team, "heard: Bob: hello")
        group_bot = {"id": 1_087_968_824, "is_bot": True, "first_name": "Group", "username": "GroupAnonymousBot"}
        await room.tells(asked, 900, **{"from": group_bot}, sender_chat=asked.raw["chat"])
        await room.reads(room.team, "heard: Team (anonymous): hello")
        news = {"id": -1_001, "type": "channel", "title": "News"}
        telegram = {"id": 777_000, "is_bot": False, "first_name": "Telegram"}
        forwarded = {"from": telegram, "sender_chat": news, "is_automatic_forward": True}
        await room.tg.wait_taken(await room.tells(asked, 901, **forwarded))
        await room.settled(room.key(room.team))
        assert len(room.p.main_requests()) == 2


async def test_3_topics_and_general_are_sessions_of_their_own(tmp_path: Path) -> None:
    """Channels 3, Telegram: two topics at once never mix; General has no thread and no suffix."""
    async with telegram_room(tmp_path) as room:
        echo(room)
        one, two = await room.ann.open_topic(room.forum, "One"), await room.ann.open_topic(room.forum, "Two")
        for topic in (one, two, None):
            await room.ann.say(f"in {topic}", room.forum, topic=topic, mention=True)
        for topic in (one, two, None):
            await room.reads(room.forum, f"heard: Ann: in {topic}", topic=topic)
            await room.settled(room.key(room.forum, topic))
        assert {each["key"] for each in await room.p.sessions()} == {
            room.key(room.forum),
            room.key(room.forum, one),
            room.key(room.forum, two),
        }
        threads = {call.params.get("message_thread_id") for call in await room.tg.calls("sendChatAction")}
        assert threads == {one, two, None}
        assert all(each.topic in (one, two, None) for each in await room.tg.messages(room.forum, bot=True))


async def test_3_topics_of_a_private_chat(tmp_path: Path) -> None:
    """Channels 3, Telegram: private-chat topics keep their thread on every post, draft and typing action."""
    async with telegram_room(tmp_path, standin=TelegramStandIn(topics=True)) as room:
        echo(room)
        topic = await room.ann.open_topic(None, "Plans")
        await room.ann.say("in the topic", topic=topic)
        await room.reads(room.ann, "heard: in the topic", topic=topic)
        await room.ann.say("outside")
        await room.reads(room.ann, "heard: outside", topic=None)
        await room.settled(KEY)
        await room.settled(f"{KEY}:topic:{topic}")
        assert {each["key"] for each in await room.p.sessions()} == {KEY, f"{KEY}:topic:{topic}"}
        assert {each["thread"] for each in await room.tg.drafts(room.ann)} <= {topic, None}


async def test_3_bindings_choose_the_agent(tmp_path: Path) -> None:
    """Channels 3: `bindings`, by chat."""
    agents = {"list": [{"id": "main"}, {"id": "team"}]}
    async with telegram_room(tmp_path, config={"agents": agents}) as room:
        echo(room)
        binding = {"agentId": "team", "match": {"channel": "telegram", "chat": str(room.team.id)}}
        await room.p.restart(bindings=[binding])
        await room.bob.say("hello", room.team, mention=True)
        await room.reads(room.team, "heard: Bob: hello")
        key = room.key(room.team).replace("agent:main", "agent:team")
        await room.settled(key)
        assert [each["key"] for each in await room.p.sessions()] == [key]


async def test_two_accounts_are_two_bots(tmp_path: Path) -> None:
    """Issue, access: several accounts per channel; each answers for itself."""
    second = "700000002:AAFakeTokenOfTheSecondBot"
    async with TelegramStandIn(token=second, username="second_bot") as other, telegram_room(tmp_path) as room:
        echo(room)
        accounts = {"second": {"botToken": second, "apiRoot": other.api_root, "dmPolicy": "open"}}
        await room.p.restart(channels={"telegram": {"accounts": accounts}})
        await other.wait_call("setMyCommands")
        eve = await other.person("Eve")
        await eve.say("hello")
        await other.wait_message(lambda m: m.text == "heard: hello", chat=eve)
        await room.ann.say("hi")
        await room.reads(room.ann, "heard: hi")
        await room.delivered()
        await other.assert_clean()
