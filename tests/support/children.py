"""Sub-agents for tests of their control: some that hang until they are released, some that have ended."""

from __future__ import annotations

from typing import Any

from tests.support.model_script import say
from tests.support.pilot import Pilot

OTHER = "agent:main:other"
"""A second conversation."""


def hanging(p: Pilot) -> None:
    """Children whose task begins with “hang” think until the test releases them."""
    p.on(reply=say("let go", hold="hang"), role="child", task="^hang", step=1)


async def several(p: Pilot, *labels: str, task: str = "hang on") -> list[dict[str, Any]]:
    """Spawns children one after the other, so that their order is known; all are at work."""
    found: list[dict[str, Any]] = []
    for label in labels:
        found.append(await p.spawn(task=task, label=label))
        await p.wait_run(found[-1]["runId"], "started")
    return found


async def ended(p: Pilot, label: str, **more: Any) -> dict[str, Any]:
    """Spawns a child that has ended, and been announced, when this returns."""
    spawned = await p.spawn(task=f"quick {label}", label=label, **more)
    await p.wait_run(spawned["runId"])
    await p.wait_idle()
    return spawned
