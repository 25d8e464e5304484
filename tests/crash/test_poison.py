"""Whoever kills the process again and again is found out, and the others go on (spec/subagents.md 23)."""

from __future__ import annotations

import json
from itertools import groupby

import pytest

from tests.crash.checks import Left
from tests.crash.plots import ALPHA, BETA
from tests.crash.scene import ByModel, Person, Point
from tests.crash.stage import Stage

THREE_TIMES = (ByModel(), ByModel(), ByModel())

pytestmark = pytest.mark.asyncio(loop_scope="session")


def run_of(left: Left, label: str) -> dict[str, object]:
    (found,) = [run for run in left.runs if run["label"] == label]
    return found


def announced(left: Left, label: str) -> list[str]:
    return [row["text"] for rows in left.messages.values() for row in rows if f"Sub-agent “{label}”" in row["text"]]


async def test_23_a_sub_agent_whose_answer_kills(crash: Stage) -> None:
    """Two deaths, then resumed alone; the third ends its run, announced, and the others never noticed."""

    async def act(person: Person) -> None:
        await person.say(ALPHA, "DO doom", "doom")
        await person.until("both are heard of", lambda: person.heard(ALPHA, "poison", "two-b"))
        await person.until("all is idle", person.idle)

    left = await crash.act(act, THREE_TIMES)
    doomed, other = run_of(left, "poison"), run_of(left, "two-b")
    assert (doomed["status"], doomed["outcome"], doomed["cause"]) == ("done", "error", "poison")
    assert (other["status"], other["outcome"]) == ("done", "ok")
    (text,) = announced(left, "poison")
    assert "failed: the process died three times" in text
    assert len(announced(left, "two-b")) == 1
    # Who was active at both deaths is a suspect as well; each is resumed after the one before it.
    alone = [key for key, _ in left.asked[left.deaths[1].requests : left.deaths[2].requests]]
    assert alone[-1] == doomed["session_key"]
    in_turns = [key for key, _ in groupby(alone)]
    assert len(in_turns) == len(set(in_turns)), "somebody was at work beside a suspect"


async def test_23_an_idempotent_tool_that_kills(crash: Stage) -> None:
    """A call that may run again does, until the third death."""

    async def act(person: Person) -> None:
        await person.say(ALPHA, "DO search", "search")
        await person.until("both are heard of", lambda: person.heard(ALPHA, "one", "two-b"))
        await person.until("all is idle", person.idle)

    left = await crash.act(act, [Point("effect:grep")] * 3)
    doomed = run_of(left, "two-b")
    assert (doomed["outcome"], doomed["cause"]) == ("error", "poison")
    assert run_of(left, "one")["outcome"] == "ok"
    assert len(announced(left, "two-b")) == len(announced(left, "one")) == 1


async def test_23_a_main_session_that_kills_waits_for_its_user(crash: Stage) -> None:
    """Its person is told, another conversation goes on, and the next message is answered."""

    async def act(person: Person) -> None:
        await person.say(BETA, "DO note", "note")
        await person.until("beta is answered", lambda: person.heard(BETA, "note"))
        await person.say(ALPHA, "DO poison", "poison")
        await person.say(BETA, "DO check", "check")
        await person.until("beta is answered again", lambda: person.heard(BETA, "check"))
        await person.until("all is idle", person.idle)
        await person.say(ALPHA, "DO look", "look")
        await person.until("alpha is answered", lambda: person.heard(ALPHA, "look"))

    left = await crash.act(act, THREE_TIMES)
    notices = [row["text"] for row in left.outbox if "set aside" in row["text"]]
    assert len(notices) == 1
    (alpha,) = [row for row in left.sessions.values() if row["key"] == ALPHA]
    assert not alpha["needs_user"]


async def test_23_on_restart_fail(crash: Stage) -> None:
    """With `onRestart: "fail"` what was at work ends with the restart; it is announced like any other end."""

    async def act(person: Person) -> None:
        await person.say(ALPHA, "DO hang", "hang")
        await person.until("both are heard of", lambda: person.heard(ALPHA, "three", "one"))
        await person.until("all is idle", person.idle)

    left = await crash.act(act, [Point("after:reply", 3)], onRestart="fail")
    ended = [run for run in left.runs if run["cause"] == "restart"]
    assert ended, json.dumps(left.runs, indent=1, default=str)
    for run in ended:
        assert run["outcome"] == "error"
        (text,) = announced(left, str(run["label"]))
        assert "restarted" in text
