"""What people do in the crash tests, and how it must end.

`DAY` is the issue's: two conversations, six sub-agents, some nested, a steer, a stop, a time limit, an announcement
that is answered with silence. `EVENING` has the commits that it lacks: approvals, pausing, sending to a finished
session, a refusing provider with a budget, compaction, an interrupted turn, a fresh session.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.crash.scene import Person

ALPHA = "agent:main:alpha"
BETA = "agent:main:beta"
GAMMA = "agent:main:gamma"
LONG = "word " * 5_000
"""A message of a good part of the evening's small window."""


@dataclass(frozen=True, slots=True)
class Plot:
    """One story."""

    name: str
    act: Callable[[Person], Awaitable[None]]
    outcomes: Mapping[str, tuple[str, ...]]
    """Of all runs, by label, oldest first."""
    said: Mapping[str, str]
    """What was said, and the session that must have it."""
    steers: int = 0
    """Messages that were sent to sub-agents at work."""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    window: int = 200_000
    """Tokens."""


async def _day(person: Person) -> None:
    await person.say(ALPHA, "DO survey", "survey")
    await person.say_to_sink(BETA, "DO watch", "watch")
    await person.say_to_sink(BETA, "DO note", "note")
    await person.until("survey is answered", lambda: person.heard(ALPHA, "survey"))
    await person.until("watch and note are answered", lambda: person.heard(BETA, "watch", "note"))
    await person.say(ALPHA, "DO check", "check", thread="side")
    await person.until("check is answered", lambda: person.heard(ALPHA, "check"))
    await person.stop("four")
    await person.say(ALPHA, "/subagents steer two GO ON", "steer")
    await person.until("everything is idle", person.idle)


async def _evening(person: Person) -> None:
    await person.say(GAMMA, "DO ask", "ask")
    await person.until("ask is answered", lambda: _allowed(person))
    await person.say(GAMMA, "DO family", "family")
    await person.until("family is answered", lambda: person.heard(GAMMA, "family"))
    await person.until("the broken one is heard of", lambda: person.heard(GAMMA, "broken"))
    await person.say(GAMMA, "/subagents pause frail", "pause")
    await person.until("frail is paused", lambda: person.is_run("frail", "paused"))
    await person.say(GAMMA, "/subagents resume frail", "resume")
    await person.say(GAMMA, "/subagents steer frail GO ON", "steer")
    await person.until("frail is done", lambda: person.is_run("frail", "done"))
    await person.until("frail is heard of", lambda: person.heard(GAMMA, "frail"))
    await person.say(GAMMA, "/subagents send frail AGAIN", "send")
    await person.until("all is idle", person.idle)
    for name in ("long-1", "long-2", "long-3"):
        await person.say(GAMMA, f"DO {name} {LONG}", name)
        await person.until(f"{name} is answered", lambda name=name: person.heard(GAMMA, name))
    await person.say(GAMMA, "DO dawdle", "dawdle")
    await person.until("the turn has begun", lambda: person.is_busy(GAMMA))
    await person.say(GAMMA, "/stop turn", "stop")
    await person.until("all is idle again", person.idle)
    await person.say(GAMMA, "/new", "new")
    await person.say(GAMMA, "DO look", "look")
    await person.until("look is answered", lambda: person.heard(GAMMA, "look"))
    await person.until("all is idle at last", person.idle)


async def _allowed(person: Person) -> bool:
    await person.allow()
    return await person.heard(GAMMA, "ask")


DAY = Plot(
    "day",
    _day,
    outcomes={
        "one": ("ok",),
        "two": ("ok",),
        "two-a": ("ok",),
        "two-b": ("ok",),
        "three": ("timeout",),
        "four": ("stopped",),
    },
    said={"DO survey": ALPHA, "DO check": ALPHA, "DO watch": BETA, "DO note": BETA},
    steers=1,
)
EVENING = Plot(
    "evening",
    _evening,
    outcomes={"broken": ("error",), "frail": ("ok", "ok")},
    said={"DO ask": GAMMA, "DO family": GAMMA, "DO dawdle": GAMMA, "DO look": GAMMA},
    steers=1,
    config={"tools": {"exec": {"ask": "on-miss", "sandbox": "off"}}},
    window=30_000,
)
