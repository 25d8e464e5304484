"""What the scripted model says in the benchmarks, and the clock that it is: when requests came and were answered.

What is to happen stands in the user's message, `spawn 50 x3 hold=late`: so many children of so many model calls each,
the last answer of which is held back until it is released.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from tests.support.model_script import Call, Reply, Seen, call, calls, say
from tests.support.model_server import ScriptedModelServer

REPORT = "[Report of a sub-agent"
_WISH = re.compile(r"spawn (\d+) x(\d+)(?: hold=(\S+))?")
_TASK = re.compile(r"work x(\d+)(?: hold=(\S+))?")


@dataclass(frozen=True, slots=True)
class Model:
    """The scripted model server as a clock."""

    server: ScriptedModelServer

    def requests(self, role: str, user: str = "") -> list[Seen]:
        """Requests of main sessions or children whose last user message holds a text, oldest first."""
        return [seen for seen in self.server.requests if seen.role == role and user in seen.last_user]

    def answered(self, seen: Seen) -> float:
        """When a request was answered, `time.monotonic()`."""
        return next(at for number, at in reversed(self.server.answered) if number == seen.number)

    def forget(self) -> None:
        """Begins anew."""
        self.server.requests.clear()
        self.server.answered.clear()

    def check(self) -> None:
        """Fails if a request was not what a provider would take."""
        assert not self.server.invalid, self.server.invalid[:3]
        assert not self.server.unexpected, self.server.unexpected[:3]


@asynccontextmanager
async def model() -> AsyncGenerator[Model]:
    """A running scripted model."""
    async with ScriptedModelServer() as server:
        server.on(_child, role="child")
        server.on(_main, role="main")
        found = Model(server)
        yield found
        found.check()


def config(scripted: Model, *, children: int = 50, **more: Any) -> dict[str, Any]:
    """The configuration file of a gateway that asks the scripted model.

    Args:
        scripted: the server.
        children: how many may run at once.
        more: further sections.
    """
    provider = {
        "baseUrl": scripted.server.base_url,
        "api": "openai-completions",
        "apiKey": "scripted-key",
        "models": [{"id": "scripted", "contextWindow": 4_000_000, "maxTokens": 4_096}],
    }
    return {
        "gateway": {"port": 0, "drainSeconds": 0},
        "models": {"providers": {"bench": provider}},
        "agents": {
            "defaults": {
                "model": {"primary": "bench/scripted"},
                "subagents": {"maxConcurrent": children, "maxChildrenPerAgent": 1_000},
            }
        },
        **more,
    }


def _main(seen: Seen) -> Reply:
    wish = _WISH.match(seen.last_user)
    if wish is None or seen.turn_step > 1:
        return say("All right.")
    hold = f" hold={wish[3]}" if wish[3] else ""
    task = f"work x{wish[2]}{hold}"
    return calls(
        *(Call("sessions_spawn", {"task": f"{task} ({n})", "label": f"child {n}"}) for n in range(int(wish[1])))
    )


def _child(seen: Seen) -> Reply:
    task = _TASK.match(seen.first_user)
    if task is None:
        return say("There was nothing to do.")
    if seen.step < int(task[1]):
        return call("ls", path=".")
    return say("The folder holds three files.", hold=task[2])
