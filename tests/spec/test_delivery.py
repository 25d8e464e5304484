"""Delivery: posts arrive in order, are tried again where that helps, and what can't arrive stays listed (rule 21)."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support import databases
from tests.support.chat_channel import ChatChannel, ChatPlatform, Verdict, chat_platform
from tests.support.model_script import say
from tests.support.pilot import Json, Pilot, pilot

ROOM = "agent:main:chat:room"


@dataclass(frozen=True, slots=True)
class Chat:
    """A gateway with a chat platform."""

    p: Pilot
    channel: ChatChannel
    platform: ChatPlatform

    async def outbox(self, state: str | None = None) -> list[Json]:
        """What is listed."""
        query = f"?state={state}" if state else ""
        return (await self.p.get(f"/api/outbox{query}"))["posts"]

    async def attempted(self) -> Json:
        """The listed post that has been tried and waits for its next try; no event tells of it."""
        async with asyncio.timeout(30):
            while not (tried := [post for post in await self.outbox() if post["attempts"]]):
                pass
        return tried[0]

    async def told(self, state: str, count: int = 1) -> list[Json]:
        """Waits for deliveries in a state."""

        def found() -> list[Json]:
            events = self.p.events
            return [dict(e.data) for e in events if e.type == "delivery" and e.data["state"] == state]

        await self.p.wait_until(lambda: len(found()) >= count, f"{count} {state}")
        return found()


@asynccontextmanager
async def chat(folder: Path, **config: Any) -> AsyncGenerator[Chat]:
    """Starts both."""
    async with chat_platform() as platform:
        channel = ChatChannel(platform.url)
        async with pilot(folder, config=config, plugins={"chat": channel}) as p:
            p.on(lambda seen: say(f"re: {seen.last_user}"), role="main")
            yield Chat(p, channel, platform)


async def test_21_an_answer_reaches_the_route_of_its_message(tmp_path: Path) -> None:
    """Channels: the answer goes to the route of the message that asked, chat and thread."""
    async with chat(tmp_path) as c:
        await c.channel.receive("hello", thread="t1")
        await c.platform.wait_posts(1)
        [post] = c.platform.posts
        assert post["route"] == {"chat": "room", "thread": "t1"}
        assert post["text"] == "re: hello"
        assert post["recovered"] is False
        await c.told("delivered")
        assert await c.outbox() == []


async def test_21_order_per_route_and_routes_don_t_wait_for_each_other(tmp_path: Path) -> None:
    """Channels 6: in order per route; a route that hangs holds up no other."""
    async with chat(tmp_path, messages={"queue": {"mode": "followup"}}) as c:
        stuck = asyncio.Event()
        c.platform.verdicts.append(Verdict(hold=stuck))
        await c.channel.receive("one", thread="a")
        await c.platform.wait_posts(1)
        for text, thread in (("two", "a"), ("three", "a"), ("elsewhere", "b")):
            await c.channel.receive(text, thread=thread)
        await c.platform.wait_posts(1, lambda post: post["route"]["thread"] == "b")
        await c.p.wait_idle(ROOM)
        assert sum(post["route"]["thread"] == "a" for post in c.platform.posts) == 1
        stuck.set()
        await c.told("delivered", 4)
        on_a = [post["text"] for post in c.platform.taken if post["route"]["thread"] == "a"]
        assert on_a == ["re: one", "re: two", "re: three"]


async def test_21_retry_after_is_honoured(tmp_path: Path) -> None:
    """spec/subagents.md 21: retried with backoff on transient errors, honouring Retry-After; what follows waits."""
    async with chat(tmp_path, messages={"queue": {"mode": "followup"}}) as c:
        c.platform.verdicts.append(Verdict(429, retry_after="0.3"))
        started = time.monotonic()
        await c.channel.receive("one")
        await c.channel.receive("two")
        await c.told("delivered", 2)
        assert time.monotonic() - started >= 0.3
        assert [post["status"] for post in c.platform.posts] == [429, 200, 200]
        assert c.platform.texts() == ["re: one", "re: two"]
        assert len({post["id"] for post in c.platform.posts}) == 2, "the id is stable over retries"


async def test_21_a_bad_gateway_is_tried_again(tmp_path: Path) -> None:
    """spec/subagents.md 21: … on transient errors; a post that waits for its next try is listed with the reason."""
    async with chat(tmp_path) as c:
        c.platform.verdicts.append(Verdict(502, reason="upstream"))
        await c.channel.receive("one")
        await c.platform.wait_posts(1)
        listed = await c.attempted()
        assert "502 upstream" in listed["error"]
        assert listed["nextAttemptAt"]
        await c.told("delivered")
        assert [post["status"] for post in c.platform.posts] == [502, 200]


async def test_21_permanent_errors_are_never_retried_and_stay_listed(tmp_path: Path) -> None:
    """spec/subagents.md 21: never on permanent ones; it stays listed with a reason, and others go on."""
    async with chat(tmp_path, messages={"queue": {"mode": "followup"}}) as c:
        c.platform.verdicts.append(Verdict(403, reason="kicked"))
        await c.channel.receive("one")
        await c.channel.receive("two")
        [failed] = await c.told("failed")
        assert "403 kicked" in failed["error"]
        await c.told("delivered")
        assert [post["status"] for post in c.platform.posts] == [403, 200]
        [listed] = await c.outbox()
        assert (listed["state"], listed["text"]) == ("failed", "re: one")


async def test_21_retry_and_drop_by_hand(tmp_path: Path) -> None:
    """spec/subagents.md 21: what could not be delivered stays listed with a reason and a retry command."""
    async with chat(tmp_path, messages={"queue": {"mode": "followup"}}) as c:
        c.platform.verdicts.extend([Verdict(403, reason="kicked")] * 2)
        await c.channel.receive("one")
        await c.channel.receive("two")
        await c.told("failed", 2)
        one, two = await c.outbox()
        assert (await c.p.post(f"/api/outbox/{one['id']}/retry")).status == 200
        await c.told("delivered")
        assert c.platform.texts() == ["re: one"]
        assert (await c.p.post(f"/api/outbox/{two['id']}/drop")).status == 200
        await c.told("dropped")
        assert await c.outbox() == []
        assert [post["id"] for post in await c.outbox("dropped")] == [two["id"]]
        for action in ("retry", "drop"):
            response = await c.p.post(f"/api/outbox/{one['id']}/{action}")
            assert response.status in (404, 409)
            assert "delivered" in response.text
        assert (await c.p.post("/api/outbox/999/retry")).status == 404


async def test_21_an_unreachable_platform_is_a_transient_error(tmp_path: Path) -> None:
    """spec/subagents.md 21: nothing is lost while a platform is away, also over a restart."""
    async with chat(tmp_path) as c:
        away = ChatChannel("http://127.0.0.1:9/post")
        c.p.plugins = {"chat": away}
        await c.p.restart()
        await away.receive("one")
        assert "can't reach the platform" in (await c.attempted())["error"]
        c.p.plugins = {"chat": c.channel}
        await c.p.restart()
        await c.told("delivered")
        assert c.platform.texts() == ["re: one"]


async def test_21_a_channel_that_is_gone_fails_with_what_to_do(tmp_path: Path) -> None:
    """spec/subagents.md 21: a post for a channel that isn't configured any more is listed, naming the channel."""
    async with chat(tmp_path) as c:
        c.platform.verdicts.append(Verdict(502, retry_after="3600"))
        await c.channel.receive("one")
        await c.platform.wait_posts(1)
        c.p.plugins = {}
        await c.p.restart()
        [waiting] = await c.outbox()
        assert (await c.p.post(f"/api/outbox/{waiting['id']}/retry")).status == 200
        [failed] = await c.told("failed")
        assert "no channel `chat`" in failed["error"]
        assert "laneway outbox retry" in failed["error"]


async def test_21_a_channel_that_breaks_its_promise_blocks_nobody(tmp_path: Path) -> None:
    """spec/subagents.md 21: an error that a channel doesn't name fails that post; the route goes on."""

    class Broken(ChatChannel):
        broken = True

        async def post(self, post: Any) -> str | None:
            if self.broken:
                self.broken = False
                raise ValueError("a bug in the channel")
            return await super().post(post)

    async with chat_platform() as platform:
        channel = Broken(platform.url)
        config = {"messages": {"queue": {"mode": "followup"}}}
        async with pilot(tmp_path, config=config, plugins={"chat": channel}) as p:
            await channel.receive("one")
            await channel.receive("two")
            await platform.wait_posts(1)
            c = Chat(p, channel, platform)
            await c.told("delivered")
            assert all(post["state"] in ("failed", "pending") for post in await c.outbox())
            assert "a bug in the channel" in str(await c.outbox())


async def test_21_what_was_being_sent_at_a_crash_is_sent_once_more_and_marked(tmp_path: Path) -> None:
    """Channels 6, architecture: what may have been sent when the process died is sent again once, marked."""
    async with chat(tmp_path / "one") as c:
        stuck = asyncio.Event()
        c.platform.verdicts.append(Verdict(hold=stuck))
        await c.channel.receive("hello")
        await c.platform.wait_posts(1)
        # The state as a SIGKILL at this moment would leave it.
        await asyncio.to_thread(shutil.copytree, c.p.paths.state, tmp_path / "two" / "state")
        await asyncio.to_thread(databases.follow, c.p.paths.state, tmp_path / "two" / "state")
        after = ChatChannel(c.platform.url)
        async with pilot(tmp_path / "two", model=c.p.model, plugins={"chat": after}):
            await c.platform.wait_posts(2)
        first, second = c.platform.posts
        assert (first["recovered"], second["recovered"]) == (False, True)
        assert (first["id"], first["text"]) == (second["id"], second["text"])
        stuck.set()


async def test_21_a_stop_lets_what_is_being_sent_finish(tmp_path: Path) -> None:
    """spec/subagents.md 24: a graceful stop leaves nothing half sent; nothing is sent twice after the start."""
    async with chat(tmp_path) as c:
        stuck = asyncio.Event()
        c.platform.verdicts.append(Verdict(hold=stuck))
        await c.channel.receive("hello")
        await c.platform.wait_posts(1)
        stopping = asyncio.create_task(c.p.stop())
        stuck.set()
        await stopping
        await c.p.start()
        await c.channel.receive("again")
        await c.platform.wait_posts(2)
        assert c.platform.texts() == ["re: hello", "re: again"]
        assert not any(post["recovered"] for post in c.platform.posts)


async def test_1_a_redelivered_event_is_one_message(tmp_path: Path) -> None:
    """Channels 1: the dedupe key is channel, account and the platform's id: a redelivered event is one message."""
    async with chat(tmp_path) as c:
        answers = await asyncio.gather(*(c.channel.receive("hello", message_id="m1") for _ in range(4)))
        assert sorted(answer.duplicate for answer in answers) == [False, True, True, True]
        await c.platform.wait_posts(1)
        await c.p.wait_idle(ROOM)
        assert len(c.platform.posts) == 1


@pytest.mark.parametrize("command", ["/approve 1", "/deny 1"])
async def test_2_operator_commands_need_an_owner(tmp_path: Path, command: str) -> None:
    """Channels 2: operator-only commands need `owners`."""
    async with chat(tmp_path) as c:
        refused = await c.channel.receive(command, owner=False)
        assert "owners" in (refused.reply or "")


async def test_19_a_no_reply_answer_sends_nothing_to_the_platform(tmp_path: Path) -> None:
    """spec/subagents.md 19: nothing is posted, and it counts as delivered."""
    async with chat(tmp_path) as c:
        c.p.on(say_nothing := (lambda seen: say("NO_REPLY") if "Report of a" in seen.last_user else None))
        c.p.model.rules.insert(0, next(rule for rule in c.p.model.rules if rule.answer is say_nothing))
        await c.channel.receive("/subagents spawn main do it")
        await c.p.wait_idle(ROOM)
        assert [run["outcome"] for run in await c.p.runs()] == ["ok"]
        assert c.platform.posts == []
