"""One set of promises, kept by every channel (issue, part 1): Slack, Telegram, terminal, by each of their ways in."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from gateway import delivery
from tests.support.harness import Harness, Place
from tests.support.harnesses import HARNESSES
from tests.support.model_script import Call, calls, say
from tests.support.pilot import PATIENCE

LONG = "\n\n".join(f"Paragraph {number}. " + "words and more words " * 40 for number in range(30))


@pytest.fixture(params=HARNESSES)
async def h(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Harness]:
    """A gateway with one channel."""
    monkeypatch.setattr(delivery, "FIRST_RETRY_SECONDS", 0.05)
    async with HARNESSES[str(request.param)](tmp_path) as opened:
        yield opened


def echo(h: Harness) -> None:
    """The assistant repeats what it heard."""
    h.p.on(lambda seen: say(f"heard {seen.last_user.rpartition(' ')[2]}."), role="main")


async def test_an_answer_goes_to_where_it_was_asked(h: Harness) -> None:
    """Channels: the answer goes to the route of the message that asked, always, also while another place is busy."""
    h.p.on(lambda seen: say("heard first.", hold="first") if seen.last_user.endswith("first") else None, role="main")
    echo(h)
    await h.say("one", "say first")
    await h.p.wait_asked(lambda seen: seen.last_user.endswith("first"))
    await h.say("two", "say second")
    await h.say("private", "say third")
    await h.reads("private", "heard third.")
    h.p.model.release("first")
    await h.reads("one", "heard first.")
    await h.reads("two", "heard second.")
    await h.settled("one", "two", "private")
    assert await _heard(h, "one") == ["first"]
    assert await _heard(h, "two") == ["second"]
    assert await _heard(h, "private") == ["third"]


async def test_answers_come_in_the_order_of_their_questions(h: Harness) -> None:
    """Channels 6: in order per route."""
    echo(h)
    names = [f"n{number}" for number in range(5)]
    await h.say("one", f"say {names[0]}")
    await h.reads("one", f"heard {names[0]}.")
    for name in names[1:]:
        await h.say("one", f"say {name}")
    await h.reads("one", f"heard {names[-1]}.")
    await h.settled("one")
    assert await _heard(h, "one") == names


async def test_what_is_delivered_twice_is_one_message(h: Harness) -> None:
    """Channels 1: a redelivered event is one message, however late it comes."""
    echo(h)
    await h.say("one", "say once")
    await h.reads("one", "heard once.")
    await h.settled("one")
    await h.again()
    await h.say("one", "say after")
    await h.reads("one", "heard after.")
    await h.settled("one")
    assert await _heard(h, "one") == ["once", "after"]
    assert len(h.p.main_requests()) == 2


async def test_a_command_is_answered_once_and_without_a_model(h: Harness) -> None:
    """spec/subagents.md 28: without a model call and while a turn runs; Channels 1: once, though it comes twice."""
    h.p.on(lambda seen: say("heard busy.", hold="busy") if seen.last_user.endswith("busy") else None, role="main")
    await h.say("one", "say busy")
    await h.p.wait_asked(lambda seen: seen.last_user.endswith("busy"))
    await h.say("one", "/queue")
    await h.reads("one", "Queue mode")
    await h.again()
    h.p.model.release("busy")
    await h.reads("one", "heard busy.")
    await h.settled("one")
    assert sum("Queue mode" in text for text in await h.texts("one")) == 1
    assert len(h.p.main_requests()) == 1


async def test_a_long_answer_comes_whole_and_in_order(h: Harness) -> None:
    """Channels 5: nothing is lost, whatever fits into one message."""
    h.p.on(reply=say(LONG), role="main")
    await h.say("one", "go on")
    await h.reads("one", "Paragraph 29.")
    await h.settled("one")
    whole = " ".join(await h.texts("one"))
    assert re.findall(r"Paragraph (\d+)\.", whole) == [str(number) for number in range(30)]
    assert whole.count("words and more words") == 30 * 40


async def test_what_can_t_be_posted_is_listed_and_the_route_goes_on(h: Harness) -> None:
    """Channels 6: never again on permanent errors; it stays listed with the reason, and what follows goes out."""
    if not h.refuses:
        pytest.skip("a stored post is a delivered one")
    echo(h)
    await h.refuse()
    await h.say("private", "say one")
    await h.say("private", "say two")
    await h.reads("private", "heard two.")
    await h.settled("private")
    assert await _heard(h, "private") == ["two"]
    [failed] = (await h.p.get("/api/outbox"))["posts"]
    assert (failed["state"], failed["text"], bool(failed["error"])) == ("failed", "heard one.", True)


async def test_what_fails_for_now_is_tried_again(h: Harness) -> None:
    """Channels 6: retried with backoff, and what follows waits for it."""
    if not h.refuses:
        pytest.skip("a stored post is a delivered one")
    echo(h)
    await h.fail()
    await h.say("private", "say one")
    await h.say("private", "say two")
    await h.reads("private", "heard two.")
    await h.settled("private")
    assert await _heard(h, "private") == ["one", "two"]
    assert (await h.p.get("/api/outbox"))["posts"] == []


async def test_a_restart_loses_nothing(h: Harness) -> None:
    """Architecture: what was accepted is answered after a restart, once; what was said meanwhile as well."""
    h.p.on(lambda seen: say("heard under-way.", hold="model"), role="main", user="under-way$")
    echo(h)
    await h.say("one", "say before")
    await h.reads("one", "heard before.")
    await h.say("one", "say under-way")
    await h.p.wait_asked(lambda seen: seen.last_user.endswith("under-way"))
    await h.p.stop()
    if h.keeps:
        await h.say("two", "say meanwhile")
    h.p.model.release("model")
    await h.p.start()
    await h.reads("one", "heard under-way.")
    if h.keeps:
        await h.reads("two", "heard meanwhile.")
        await h.settled("two")
    await h.settled("one")
    assert await _heard(h, "one") == ["before", "under-way"]


async def test_capabilities_are_what_the_channel_does(h: Harness) -> None:
    """Issue, part 1: capabilities are asked before something is promised: streaming, cards, buttons, threads."""
    long = "first words, " * 30 + "the end."
    h.p.on(reply=say(long, hold="rest", hold_after=10), role="main", user="stream$")
    spawn = calls(
        Call("sessions_spawn", {"task": "dig", "label": "dig"}),
        Call("sessions_spawn", {"task": "dig there", "label": "there", "thread": True}),
    )
    h.p.on(reply=spawn, role="main", user="spawn$", turn_step=1)
    h.p.on(lambda seen: say("\n".join(seen.results)), role="main", user="spawn$", turn_step=2)
    h.p.on(reply=say("late", hold="child"), role="child")
    await h.say("one", "please stream")
    await _seen(h, h.able.streaming)
    h.p.model.release("rest")
    await h.reads("one", "the end.")
    await h.settled("one")
    await h.say("one", "please spawn")
    told = "\n".join(await h.reads("one", "childSessionKey"))
    able = h.able
    assert ("needs a place where a thread can be opened" in told) == (not able.threads)
    assert len(await h.p.runs()) == 1 + able.threads
    if able.cards and able.buttons:
        assert "Stop requested" in await h.press("one", "Stop")
    else:
        assert all("Sub-agents" not in text for text in await h.texts("one"))
    h.p.model.release("child")
    await h.settled("one")


async def _seen(h: Harness, streams: bool) -> None:
    """Waits until the beginning of an answer is seen, where the channel says that it streams."""
    if streams:
        async with asyncio.timeout(PATIENCE):
            while "first words" not in await h.glimpse("one"):
                await h.changed()


async def test_files_reach_the_model_where_the_channel_takes_them(h: Harness) -> None:
    """Channels: files sent to the bot are stored and named to the model."""
    echo(h)
    await h.say("one", "say hello")
    await h.reads("one", "heard hello.")
    if not h.able.files:
        pytest.skip("this channel takes no files")
    await h.send_file("one", "notes.txt", b"three things")
    await h.p.wait_asked(lambda seen: "notes.txt" in seen.last_user)
    await h.settled("one")
    [kept] = (h.p.workspace / "incoming").iterdir()
    assert kept.read_bytes() == b"three things"


async def _heard(h: Harness, place: Place) -> list[str]:
    """What the assistant has repeated there, in order."""
    return re.findall(r"heard ([\w-]+)\.", "\n".join(await h.texts(place)))
