"""Kinds of jobs for tests, registered as a third party's plugin would."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from gateway.jobs.kinds import JobContext, JobKind, Payload, Unrecoverable
from gateway.jobs.submission import Submission
from gateway.plugins import Registry


class WorkPayload(Payload):
    """What a job of kind `work` does, step by step."""

    log: str = ""
    """Added to `WorkPlugin.effects` by every call that gets so far."""
    fail: int = 0
    """Attempts that fail."""
    unrecoverable: bool = False
    hold: str | None = None
    """Waits until the test releases it."""
    children: int = 0
    """Adds so many and waits for them."""
    leave: int = 0
    """Adds so many and returns at once."""
    give: Any = None
    """What it returns."""


class WorkPlugin:
    """The kinds `work`, and `guarded`, which is protected."""

    name = "work"

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.letters: defaultdict[int, list[str]] = defaultdict(list)
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def register(self, registry: Registry) -> None:
        """Registers both."""
        registry.job_kind(JobKind("work", WorkPayload, self._work))
        registry.job_kind(JobKind("guarded", WorkPayload, self._work, protected=True))

    def release(self, name: str) -> None:
        """Lets go what is held under a name."""
        self._gates[name].set()

    async def _work(self, job: JobContext, payload: WorkPayload) -> Any:
        await job.progress("at work", step=1, total=2)
        if payload.hold is not None:
            await self._gates[payload.hold].wait()
        self.letters[job.run.number] += [letter.text for letter in await job.inbox()]
        if payload.log:
            await job.still_mine()
            self.effects.append(payload.log)
        if payload.unrecoverable:
            raise Unrecoverable("it can't be done")
        if job.run.attempt <= payload.fail:
            raise RuntimeError(f"attempt {job.run.attempt} failed")
        for number in range(payload.children + payload.leave - len(await job.children())):
            await job.submit(Submission(name="work", label=f"child {number}", data={"give": number}))
        if payload.children and any(child.outcome is None for child in await job.children()):
            from gateway.jobs.kinds import WaitForChildren  # a test's handler

            raise WaitForChildren
        if payload.children:
            return [child.output for child in await job.children()]
        return payload.give
