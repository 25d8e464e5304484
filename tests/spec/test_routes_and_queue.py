"""Routes, boundaries, and what becomes of messages that come while a session works (protocol 1, 2; channels 4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.store import inbox, sessions
from gateway.store.database import Transaction
from gateway.timers import SWEEP_SECONDS
from tests.support.model_script import Call, Reply, call, calls, say
from tests.support.pilot import KEY, REPORT, Json, Pilot, pilot
from tests.support.probes import Probes


def queue(**settings: Any) -> Json:
    """A configuration of `messages.queue`."""
    return {"messages": {"queue": settings}}


@asynccontextmanager
async def working(folder: Path, **settings: Any) -> AsyncGenerator[tuple[Pilot, Probes]]:
    """A session that stands at a gate `g` in the turn of its message `work`."""
    probes = Probes()
    async with pilot(folder, config=queue(**settings), plugins={"probes": probes}) as p:
        p.on(reply=call("gate", name="g"), user="^work$", turn_step=1)
        await p.say("work")
        await probes.wait_entered("g")
        yield p, probes


async def test_protocol_1_one_turn_one_route(tmp_path: Path) -> None:
    """Architecture protocol 1: rows of another route wait and start the next turn, oldest first."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(reply=call("gate", name="g"), user="^work$", turn_step=1)
        p.on(lambda seen: say(f"re: {seen.last_user}"))
        await p.say("work", thread="a")
        await probes.wait_entered("g")
        await p.say("for b", thread="b")
        await p.say("for a", thread="a")
        await p.say("for c", thread="c")
        await p.say("for b too", thread="b")
        probes.open("g")
        await p.wait_idle()
        assert [(post["text"], post["route"]["thread"]) for post in p.posts()] == [
            ("re: for a", "a"),
            ("re: for b too", "b"),
            ("re: for c", "c"),
        ]
        assert p.model.requests[1].users == ("work", "for a"), "only the same route enters the running turn"


async def test_protocol_1_never_two_turns_of_a_session_at_once(tmp_path: Path) -> None:
    """Architecture protocol 4, spec/subagents.md 18: per session at most one activation runs."""
    probes = Probes()
    async with pilot(tmp_path, plugins={"probes": probes}) as p:
        p.on(lambda seen: call("gate", name=seen.last_user) if seen.turn_step == 1 else None)
        await asyncio.gather(*(p.say(f"m{n}", thread=str(n)) for n in range(6)))
        for turn in range(6):
            await probes.wait_entered_count(turn + 1)
            await p.get("/api/status")
            assert len(probes.entered) == turn + 1
            probes.open(probes.entered[-1])
        await p.wait_idle()
        assert len(p.said()) == 6
        users = [m["text"] for m in await p.transcript() if m["kind"] == "user"]
        assert sorted(users) == sorted(f"m{n}" for n in range(6)), "each accepted once, consumed once"


async def test_protocol_1_what_is_spawned_in_a_turn_inherits_its_route(tmp_path: Path) -> None:
    """Architecture protocol 1: what is spawned in a turn inherits that turn's route, at every depth."""
    config = {"agents": {"defaults": {"subagents": {"maxSpawnDepth": 2}}}}
    async with pilot(tmp_path, config=config) as p:
        p.on(reply=call("sessions_spawn", task="inner"), task="^outer$", step=1)
        p.on(reply=say("all done"), user=REPORT, role="main")
        await p.spawn_many([{"task": "outer"}], thread="deep")
        await p.wait_idle()
        assert [(post["text"], post["route"]["thread"]) for post in p.posts()] == [("ok", "deep"), ("all done", "deep")]


async def test_protocol_1_a_row_without_a_route_enters_any_turn(tmp_path: Path) -> None:
    """Architecture protocol 1: rows with the same route, *or none*, may enter a running turn."""
    async with pilot(tmp_path) as p:
        p.on(lambda seen: Reply(calls=(Call("ls", {"path": "."}),), hold="h") if seen.step == 1 else None, role="child")
        await p.spawn_many([{"task": "t"}], thread="there")
        await p.wait_asked(lambda seen: seen.role == "child")
        await p.command("/subagents steer last turn left", thread="elsewhere")
        p.model.release("h")
        await p.wait_idle()
        assert p.child_requests()[-1].users == ("t", "turn left")


async def test_4_steer_is_the_default(tmp_path: Path) -> None:
    """Channels 4: `steer` (default): into the running turn at the next boundary."""
    async with working(tmp_path) as (p, probes):
        await p.say("more")
        probes.open("g")
        await p.wait_idle()
        assert p.said() == ["ok"]
        assert p.model.requests[-1].users == ("work", "more")


async def test_4_followup_gives_each_its_own_turn(tmp_path: Path) -> None:
    """Channels 4: `followup`: each its own turn later."""
    async with working(tmp_path, mode="followup") as (p, probes):
        p.on(lambda seen: say(f"re: {seen.last_user}"))
        for text in ("one", "two", "three"):
            await p.say(text)
        probes.open("g")
        await p.wait_idle()
        assert p.said() == ["re: work", "re: one", "re: two", "re: three"]


async def test_4_collect_takes_all_in_one_turn_after_quiet(tmp_path: Path) -> None:
    """Channels 4: `collect`: one turn with all, after `debounceMs` of quiet."""
    async with working(tmp_path, mode="collect", debounceMs=80) as (p, probes):
        p.on(lambda seen: say(f"re: {seen.last_user}"))
        probes.open("g")
        await p.wait_said("re: work")
        for text in ("one", "two", "three"):
            await p.say(text)
        await p.wait_idle()
        assert p.said() == ["re: work", "re: three"]
        assert p.model.requests[-1].users[-3:] == ("one", "two", "three")


def slow(look: Callable[..., Any], seconds: float) -> Callable[..., Any]:
    """A look at the database after which the machine is busy with something else."""

    def looked(tx: Transaction, *which: Any, **more: bool) -> Any:
        found = look(tx, *which, **more)
        time.sleep(seconds)  # in a thread of the database's
        return found

    return looked


async def test_4_what_becomes_due_while_the_inbox_is_looked_through_isn_t_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between that look and the one for the next time lies a moment, on a busy machine a long one; the sweep comes
    much later."""
    async with working(tmp_path, mode="collect", debounceMs=150) as (p, probes):
        probes.open("g")
        await p.wait_idle()
        for name in ("unfinished", "unfinished_ids"):
            monkeypatch.setattr(sessions, name, slow(getattr(sessions, name), 0.3))
        begun = time.monotonic()
        await p.say("one")
        await p.wait_idle()
        assert time.monotonic() - begun < SWEEP_SECONDS / 3


async def test_4_what_becomes_due_while_the_session_comes_to_rest_isn_t_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The turn's last look was too early; when the message is due the session is still at work, and then it rests."""
    async with working(tmp_path, mode="collect", debounceMs=300) as (p, probes):
        p.on(reply=say("ok", hold="h"), user="^work$", turn_step=2)
        probes.open("g")
        await p.wait_asked(lambda seen: seen.turn_step == 2)
        begun = time.monotonic()
        await p.say("one")
        monkeypatch.setattr(inbox, "pending", slow(inbox.pending, 0.5))
        p.model.release("h")
        await p.wait_said("ok")
        await p.wait_idle()
        assert p.model.requests[-1].users[-1] == "one"
        assert time.monotonic() - begun < SWEEP_SECONDS / 3


async def test_4_interrupt_stops_and_runs_the_newest(tmp_path: Path) -> None:
    """Channels 4: `interrupt`: stop and run the newest; it ends the turn, not the sub-agents."""
    probes = Probes()
    async with pilot(tmp_path, config=queue(mode="interrupt"), plugins={"probes": probes}) as p:
        made = calls(Call("sessions_spawn", {"task": "child"}), Call("gate", {"name": "g"}))
        p.on(reply=made, user="^work$", turn_step=1)
        p.on(reply=say("late", hold="child"), role="child")
        p.on(reply=say("at once"), user="^newer$")
        await p.say("work")
        await probes.wait_entered("g")
        await p.wait_asked(lambda seen: seen.role == "child")
        await p.say("newer")
        await p.wait_said("at once")
        assert [run["status"] for run in await p.runs()] == ["running"]
        p.model.release("child")
        await p.wait_idle()
        assert [run["outcome"] for run in await p.runs()] == ["ok"]
        assert p.said()[0] == "at once"


async def test_4_queue_mode_per_session(tmp_path: Path) -> None:
    """Channels 4: `/queue` per session."""
    async with working(tmp_path) as (p, probes):
        assert "steer" in await p.command("/queue")
        assert "followup" in await p.command("/queue followup")
        assert "no queue mode `sideways`" in await p.command("/queue sideways")
        assert (await p.session())["queueMode"] == "followup"
        await p.say("one")
        await p.say("two")
        probes.open("g")
        await p.wait_idle()
        assert len(p.said()) == 3
        await p.say("hi", "agent:main:api:other")
        await p.wait_idle("agent:main:api:other")
        assert (await p.session("agent:main:api:other"))["queueMode"] == "steer"


@pytest.mark.parametrize("drop", ["summarize", "old", "new"])
async def test_4_the_cap_acts_visibly(tmp_path: Path, drop: str) -> None:
    """Channels 4: beyond `cap` `drop` acts visibly: a dropped row is kept as dropped and its sender is told."""
    async with working(tmp_path, cap=2, drop=drop) as (p, probes):
        answers = [await p.say(f"m{n} with some words") for n in range(4)]
        assert [bool(answer["reply"]) for answer in answers] == [False, False, True, True]
        assert all("messages.queue.cap" in answer["reply"] for answer in answers[2:])
        probes.open("g")
        await p.wait_idle()
        users = [m["text"][:2] for m in await p.transcript() if m["kind"] == "user"]
        assert users == ["wo", *(["m0", "m1"] if drop == "new" else ["m2", "m3"])]
        told = [m["text"] for m in await p.transcript() if m["kind"] == "event"]
        assert len(told) == (2 if drop == "summarize" else 0)
        assert all("m0" in text or "m1" in text for text in told)


async def test_4_the_cap_counts_people_s_messages_only(tmp_path: Path) -> None:
    """Channels 4: `cap` counts users' messages only, never announcements or steers."""
    config = queue(cap=1) | {"agents": {"defaults": {"subagents": {"maxChildrenPerAgent": 9}}}}
    probes = Probes()
    async with pilot(tmp_path, config=config, plugins={"probes": probes}) as p:
        p.on(reply=call("gate", name="g"), user="^work$", turn_step=1)
        p.on(reply=say("late", hold="child"), role="child")
        await p.spawn_many([{"task": f"t{n}"} for n in range(5)])
        await p.wait_said("ok")
        await p.say("work")
        await probes.wait_entered("g")
        p.model.release("child")
        for run in await p.runs():
            await p.wait_run(run["runId"])
        assert not (await p.say("one more"))["reply"]
        probes.open("g")
        await p.wait_idle()
        assert [m["kind"] for m in await p.transcript()].count("announce") == 5


async def test_stop_drops_what_waits_and_says_how_many(tmp_path: Path) -> None:
    """Issue part 11: `/stop` also drops queued messages of the user and says how many."""
    async with working(tmp_path, mode="followup") as (p, _probes):
        await p.say("one")
        await p.say("two")
        answer = await p.command("/stop")
        assert answer == "⚙️ Turn stopped · 0 sub-agents stopped · 2 waiting messages dropped."
        await p.wait_idle()
        assert p.said() == []
        assert "No turn was running" in await p.command("/stop")


async def test_an_accepted_message_is_accepted_once(tmp_path: Path) -> None:
    """Architecture, inbox: a row is accepted once; another message under the same key is refused."""
    async with pilot(tmp_path) as p:
        path, key = f"/api/sessions/{KEY}/messages", {"Idempotency-Key": "k1"}
        bodies = [{"text": "hello"}] * 3
        answers = await asyncio.gather(*(p.post(path, body, headers=key) for body in bodies))
        assert sorted(answer.json["duplicate"] for answer in answers) == [False, True, True]
        assert len({answer.json["inboxId"] for answer in answers}) == 1
        assert (await p.post(path, {"text": "other"}, headers=key)).status == 409
        await p.wait_idle()
        assert p.said() == ["ok"]


async def test_messages_to_no_session_and_to_a_child_are_refused(tmp_path: Path) -> None:
    """Architecture, words: a key names a conversation of a configured agent; a child is written to by send or steer."""
    async with pilot(tmp_path) as p:
        accepted = await p.spawn(task="t")
        await p.wait_idle()
        for key, word in (("agent:ghost:main", "ghost"), (accepted["childSessionKey"], "steer"), ("nonsense", "key")):
            response = await p.post(f"/api/sessions/{key}/messages", {"text": "hi"})
            assert 400 <= response.status < 500
            assert word in response.text
