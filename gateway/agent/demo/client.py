"""The stand-in as a model client: picks the script, keeps a pace that a person can follow, streams by words.

Owns nothing. `LANEWAY_DEMO_DELAY` sets the seconds of one step (0 in tests).
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable

from gateway.agent.demo import host, worker
from gateway.agent.demo.asks import spawn_tasks, wished_seconds
from gateway.agent.demo.step import Scene, Step
from gateway.agent.messages import ModelReply, ModelRequest, OnDelta, Usage
from gateway.agent.tokens import estimate_calls, estimate_request, estimate_text

DELAY_VARIABLE = "LANEWAY_DEMO_DELAY"
DEFAULT_DELAY = 0.15
"""seconds of one step in a conversation"""
_CHILD_STEPS = 10
"""A sub-agent's step takes so many times as long: its live line is there to be watched."""
_USUAL_STEPS = 5
"""Steps of a sub-agent, for tasks that say how long they should take."""
_WORDS_PER_STEP = 8


class OfflineClient:
    """Answers by script.

    Args:
        delay: seconds of one step; None: `LANEWAY_DEMO_DELAY`, else `DEFAULT_DELAY`.
        sleep: waits so many seconds.
    """

    def __init__(self, delay: float | None = None, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep) -> None:
        self._delay = _configured_delay() if delay is None else delay
        self._sleep = sleep

    async def complete(self, request: ModelRequest, on_delta: OnDelta | None = None) -> ModelReply:
        """Answers; see `ModelClient`. It never fails."""
        scene = Scene(request)
        step = next_step(scene)
        await self._pause(self._pace(scene))
        if on_delta is not None:
            for word in re.findall(r"\s*\S+\s*", step.text):
                await on_delta(word)
                await self._pause(self._delay / _WORDS_PER_STEP)
        calls = tuple(call.as_tool_call(index) for index, call in enumerate(step.calls))
        used = Usage(input=estimate_request(request), output=estimate_text(step.text) + estimate_calls(calls))
        finish = "tool_calls" if calls else "stop"
        return ModelReply(step.text, calls, used, usage_known=False, finish_reason=finish)

    def _pace(self, scene: Scene) -> float:
        if not scene.is_child or not self._delay:
            return self._delay
        task = next((m.text for m in scene.messages if m.role == "user"), "")
        if (seconds := wished_seconds(task)) is not None:
            return seconds / _USUAL_STEPS
        # Sub-agents that were spawned together shouldn't end in lock-step.
        return self._delay * (_CHILD_STEPS + sum(task.encode()) % 7)

    async def _pause(self, seconds: float) -> None:
        if seconds > 0:
            await self._sleep(seconds)


def next_step(scene: Scene) -> Step:
    """What the stand-in does next: as a sub-agent it works, unless its task is to delegate."""
    if scene.is_child and not _delegates(scene):
        return worker.step(scene)
    return host.step(scene)


def _delegates(scene: Scene) -> bool:
    task = next((m.text for m in scene.messages if m.role == "user"), "")
    return "sessions_spawn" in scene.tools and bool(spawn_tasks(task))


def _configured_delay() -> float:
    try:
        return max(0.0, float(os.environ.get(DELAY_VARIABLE, DEFAULT_DELAY)))
    except ValueError:
        return DEFAULT_DELAY
