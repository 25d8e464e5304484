"""Who may speak to the assistant in Slack, and in which conversation he is then (spec/channels.md 2, 3)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.standins.slack import Person
from tests.support.laneway import Home
from tests.support.slack_gateway import GENERAL, SlackRoom, slack_room

CODE = re.compile(r"laneway pairing approve ([2-9A-HJ-NP-Z]{8})\b")


async def code_for(room: SlackRoom, stranger: Person, text: str = "hello") -> str:
    """What somebody is told who writes directly and isn't known."""
    said = await stranger.says("dm", text)
    told = await room.ws.wait_message(lambda one: one.by_app and one.ts > said, channel=stranger.dm)
    match = CODE.search(room.ws.view(told))
    assert match is not None
    return match[1]


async def ignored(room: SlackRoom) -> None:
    """Whatever was said so far has led to nothing."""
    await room.ws.wait_delivered()
    await room.delivered()
    assert (room.ws.texts(), room.heard()) == ([], [])


async def test_2_a_stranger_is_told_a_code_and_let_in_by_it(tmp_path: Path) -> None:
    """Channels 2: an unknown sender gets a code, his message isn't processed; `laneway pairing approve` lets him in."""
    async with slack_room(tmp_path) as room:
        room.echo()
        code = await code_for(room, room.bob)
        await room.bob.says("dm", "are you there?")
        await room.ws.wait_delivered()
        await room.delivered()
        assert len(room.ws.posts(room.bob.dm)) == 1, "the code is told once"
        assert room.heard() == []
        [waiting] = (await room.p.get("/api/pairing"))["people"]
        assert (waiting["peer"], waiting["name"], waiting["state"]) == (room.bob.id, "bob", "pending")
        done = await asyncio.to_thread(Home(tmp_path).run, "pairing", "approve", code.lower())
        assert done.out == f"bob (slack:{room.bob.id}) may write now.\n"
        await room.bob.says("dm", "and now?")
        await room.ws.wait_message("heard: and now", channel=room.bob.dm)
        assert [each["key"] for each in await room.p.sessions()] == [f"agent:main:slack:dm:{room.bob.id}"]
        who = {"channel": "slack", "peer": room.bob.id}
        assert (await room.p.post("/api/pairing/revoke", who)).json == {"revoked": 1}
        assert await code_for(room, room.bob, "once more") != code


async def test_2_three_strangers_may_wait_and_codes_can_t_be_guessed(tmp_path: Path) -> None:
    """Channels 2: 3 pending per account; attempts are rate-limited; a code is valid once."""
    async with slack_room(tmp_path) as room:
        codes = [await code_for(room, room.ws.user(name)) for name in ("carl", "dora", "emil")]
        assert len(set(codes)) == 3
        fourth = room.ws.user("frida")
        await fourth.says("dm", "me too")
        await room.ws.wait_delivered()
        await room.delivered()
        assert room.ws.posts(fourth.dm) == []
        assert (await room.p.post("/api/pairing/approve", {"code": codes[0]})).status == 200
        wrong = [await room.p.post("/api/pairing/approve", {"code": code}) for code in (codes[0], *["ABCDEFGH"] * 9)]
        assert {response.status for response in wrong} == {404}
        assert (await room.p.post("/api/pairing/approve", {"code": codes[1]})).status == 429
        assert await code_for(room, fourth)


@pytest.mark.parametrize(
    ("policy", "allowed", "heard"),
    [("allowlist", True, True), ("allowlist", False, False), ("open", False, True), ("disabled", True, False)],
)
async def test_2_direct_messages_by_policy(tmp_path: Path, policy: str, allowed: bool, heard: bool) -> None:
    """Channels 2: `dmPolicy: "allowlist" | "open" | "disabled"`."""
    async with slack_room(tmp_path, account={"dmPolicy": policy}) as room:
        room.echo()
        account = {"allowFrom": [room.bob.id] if allowed else ["USOMEBODY"]}
        await reload(room, account)
        await room.bob.says("dm", "hello")
        if heard:
            await room.ws.wait_message("heard: hello", channel=room.bob.dm)
        else:
            await ignored(room)


async def reload(room: SlackRoom, account: Mapping[str, Any]) -> None:
    """Other settings of the account, without a restart."""
    room.p.configure({"channels": {"slack": account}})
    assert (await room.p.gateway.reload()).reloaded


async def test_2_an_owner_writes_to_the_main_session(tmp_path: Path) -> None:
    """Channels 3: an owner's direct messages go to `agent:<id>:main`, anybody else's to a session of their own."""
    async with slack_room(tmp_path, account={"dmPolicy": "open"}) as room:
        room.echo()
        for person in (room.ann, room.bob):
            await person.says("dm", f"I am {person.name}")
            await room.ws.wait_message(f"heard: I am {person.name}", channel=person.dm)
        keys = {each["key"] for each in await room.p.sessions()}
        assert keys == {"agent:main:main", f"agent:main:slack:dm:{room.bob.id}"}
        anns, bobs = (set(seen.tools) for seen in room.p.main_requests())
        assert {"memory_search", "memory_get"} <= anns
        assert {"memory_search", "memory_get", "exec"}.isdisjoint(bobs)
        thread = await room.ann.says("dm", "in a thread", thread=room.ws.messages(room.ann.dm)[0].ts)
        answer = await room.ws.wait_message("heard: in a thread", channel=room.ann.dm)
        assert answer.thread_ts != thread
        assert f"agent:main:main:thread:{answer.thread_ts}" in {each["key"] for each in await room.p.sessions()}


async def test_2_groups_are_open_only_where_an_owner_has_said_so(tmp_path: Path) -> None:
    """Channels 2: default allowlist by chat id and mentions only; pairing never opens a group; commands likewise."""
    async with slack_room(tmp_path) as room:
        room.echo()
        other = room.ws.channel("other", "ann", "bob")
        code = await code_for(room, room.bob)
        await room.p.post("/api/pairing/approve", {"code": code})
        room.ws.delete(room.ws.posts(room.bob.dm)[0])
        await room.bob.says(other, "hello", mention=True)
        await room.ann.says(other, "/status", mention=True)
        await room.ann.says(GENERAL, "to nobody")
        await room.ann.says(GENERAL, "/status")
        await ignored(room)
        await reload(room, {"groups": {room.ws.channel(GENERAL): {"requireMention": False}, other: {}}})
        await room.ann.says(GENERAL, "to everybody")
        await room.ws.wait_message("heard: ann: to everybody", channel=GENERAL)
        await room.bob.says(other, "hello", mention=True)
        await room.ws.wait_message("heard: bob: hello", channel=other)
        await reload(room, {"groupPolicy": "disabled"})
        await room.ann.says(other, "and now?", mention=True)
        await room.ws.wait_delivered()
        await reload(room, {"groupPolicy": "open", "requireMention": False})
        third = room.ws.channel("third", "ann")
        await room.ann.says(third, "anywhere")
        await room.ws.wait_message("heard: ann: anywhere", channel=third)
        assert "ann: and now?" not in room.heard()


async def test_2_a_group_may_be_for_some_people(tmp_path: Path) -> None:
    """Channels 2: `groups.<id>.allowFrom`; owners may speak in any group that is open."""
    async with slack_room(tmp_path) as room:
        room.echo()
        carl = room.ws.user("carl")
        await reload(room, {"groups": {room.ws.channel(GENERAL): {"allowFrom": [carl.id]}}})
        await room.asks("from bob", who=room.bob)
        await ignored(room)
        await room.told("from carl", who=carl)
        thread = await room.told("from ann")
        await room.bob.says(GENERAL, "let me in", thread=thread)
        await room.ws.wait_delivered()
        await room.settled(thread)
        assert room.heard() == ["carl: from carl", "ann: from ann"]


async def test_2_operator_commands_need_an_owner(tmp_path: Path) -> None:
    """Channels 2: operator-only commands and approvals need `owners`."""
    async with slack_room(tmp_path) as room:
        thread = await room.asks("/approve 1", who=room.bob)
        await room.ws.wait_message("/approve is for owners", thread=thread)
        thread = await room.asks("/approve 1", who=room.ann)
        await room.ws.wait_message("there is no question 1", thread=thread)


async def test_3_a_direct_conversation_of_several_is_a_group(tmp_path: Path) -> None:
    """Channels 3: group → `agent:<id>:<channel>:group:<chat>`; the policy of groups holds there."""
    async with slack_room(tmp_path) as room:
        room.echo()
        trio = room.ws.channel("trio", "ann", "bob", group=True)
        await room.ann.says(trio, "hello", mention=True)
        await ignored(room)
        await reload(room, {"groups": {trio: {}}})
        asked = await room.ann.says(trio, "hello again", mention=True)
        await room.ws.wait_message("heard: ann: hello again", thread=asked)
        await room.ann.commands("/laneway", "status", trio)
        await room.ws.wait_message(f"agent:main:slack:group:{trio}:thread:{asked}")


async def test_3_replies_in_the_channel_itself(tmp_path: Path) -> None:
    """Slack: `replyToMode: "channel"`: a mention at top level is answered beside it, and the channel is the session."""
    async with slack_room(tmp_path, account={"replyToMode": "channel"}) as room:
        room.echo()
        for text in ("one", "two"):
            await room.asks(text)
            answer = await room.ws.wait_message(f"heard: ann: {text}")
            assert answer.thread_ts is None
        await room.ann.says(GENERAL, "three", thread=answer.ts)
        reply = await room.ws.wait_message("heard: ann: three")
        assert reply.thread_ts == answer.ts, "a reply to the assistant counts as a mention"
        keys = {each["key"] for each in await room.p.sessions()}
        assert keys == {room.key(None), room.key(answer.ts)}
        await reload(room, {"replyToMode": "thread"})
        asked = await room.asks("four")
        await room.ws.wait_message("heard: ann: four", thread=asked)


async def test_3_bindings_choose_the_agent(tmp_path: Path) -> None:
    """Channels 3: `bindings` choose the agent: peer > chat > account > channel > default."""
    agents = [{"id": name} for name in ("main", "channelwide", "forchat", "forpeer")]
    async with slack_room(tmp_path, account={"dmPolicy": "open", "groupPolicy": "open"}) as room:
        room.echo()
        bindings = [
            {"agentId": "channelwide", "match": {"channel": "slack"}},
            {"agentId": "forchat", "match": {"channel": "slack", "chat": room.ws.channel(GENERAL)}},
            {"agentId": "forpeer", "match": {"channel": "slack", "peer": room.bob.id}},
        ]
        room.p.configure({"agents": {"list": agents}, "bindings": bindings})
        assert (await room.p.gateway.reload()).reloaded
        carl = room.ws.user("carl")
        for person, place in ((carl, "dm"), (carl, GENERAL), (room.bob, GENERAL)):
            await person.says(place, "hello", mention=place != "dm")
        for _ in range(3):
            await room.p.wait_asked(lambda seen: "hello" in seen.last_user, 3)
        agents_heard = sorted(each["key"].split(":")[1] for each in await room.p.sessions())
        assert agents_heard == ["channelwide", "forchat", "forpeer"]
