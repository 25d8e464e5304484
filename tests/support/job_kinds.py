"""Kinds of jobs for tests, registered as a third party's plugin would."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from gateway.jobs.kinds import Bounce, JobContext, JobKind, Payload, Unrecoverable, WaitForChildren
from gateway.jobs.submission import OnChildFail, Submission
from gateway.plugins import Registry
from gateway.store.sessions import FenceLost


class WorkPayload(Payload):
    """What a job of kind `work` does, step by step."""

    bounce: int = 0
    """Calls that are put off before anything else."""
    save: bool = False
    """Counts its calls in what it keeps."""
    log: str = ""
    """Added to `WorkPlugin.effects` by every call that gets so far."""
    fail: int = 0
    """Attempts that fail."""
    unrecoverable: bool = False
    hold: str | None = None
    """Waits until the test releases it."""
    ms: int = 0
    """Takes so long, by the clock."""
    stubborn: bool = False
    """Goes on writing after it was cancelled."""
    children: int = 0
    """Adds so many and waits for them."""
    leave: int = 0
    """Adds so many and goes on at once."""
    child: dict[str, Any] = Field(default_factory=dict[str, Any])
    """What each of them is given; by default its number to return."""
    policy: OnChildFail = "fail_parent"
    """Theirs."""
    then: str | None = None
    """Waits once more, with the children added."""
    give: Any = None
    """What it returns."""


@dataclass(frozen=True, slots=True)
class Called:
    """One call of the handler."""

    number: int
    attempt: int
    state: dict[str, Any]
    at: float


class WorkPlugin:
    """The kinds `work`, and `guarded`, which is protected."""

    name = "work"

    def __init__(self) -> None:
        self.effects: list[str] = []
        self.letters: defaultdict[int, list[str]] = defaultdict(list)
        self.calls: list[Called] = []
        self.after_loss: list[str] = []
        """What stubborn handlers were told when they wrote."""
        self.running: set[int] = set()
        self.peak = 0
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)

    def register(self, registry: Registry) -> None:
        """Registers both."""
        registry.job_kind(JobKind("work", WorkPayload, self._work))
        registry.job_kind(JobKind("guarded", WorkPayload, self._work, protected=True))

    def release(self, name: str) -> None:
        """Lets go what is held under a name."""
        self._gates[name].set()

    def calls_of(self, number: int) -> list[Called]:
        """The calls for one job."""
        return [each for each in self.calls if each.number == number]

    async def _work(self, job: JobContext, payload: WorkPayload) -> Any:
        number = job.run.number
        assert number not in self.running, f"job #{number} has two owners"
        self.calls.append(Called(number, job.run.attempt, dict(job.state), time.monotonic()))
        self.running.add(number)
        self.peak = max(self.peak, len(self.running))
        try:
            return await self._steps(job, payload)
        except asyncio.CancelledError:
            if payload.stubborn:
                await self._write_all_the_same(job)
            raise
        finally:
            self.running.discard(number)

    async def _steps(self, job: JobContext, payload: WorkPayload) -> Any:
        if len(self.calls_of(job.run.number)) <= payload.bounce:
            raise Bounce(0.05, "the provider is busy")
        if payload.save:
            await job.save(calls=int(job.state.get("calls", 0)) + 1)
        await job.progress("at work", step=1, total=2)
        if payload.hold is not None:
            await self._gates[payload.hold].wait()
        if payload.ms:
            await asyncio.sleep(payload.ms / 1000)
        self.letters[job.run.number] += [letter.text for letter in await job.inbox() if letter.kind != "child_done"]
        if payload.log:
            await job.still_mine()
            self.effects.append(payload.log)
        if payload.unrecoverable:
            raise Unrecoverable("it can't be done")
        if job.run.attempt <= payload.fail:
            raise RuntimeError(f"attempt {job.run.attempt} failed")
        await self._add_children(job, payload)
        if payload.then is not None:
            await self._gates[payload.then].wait()
        if payload.children:
            return await self._outputs(job)
        return payload.give

    async def _add_children(self, job: JobContext, payload: WorkPayload) -> None:
        for number in range(payload.children + payload.leave - len(await job.children())):
            data = payload.child or {"give": number}
            child = Submission(name="work", label=f"child {number}", data=data, on_child_fail=payload.policy)
            await job.submit(child.model_copy(update={"max_attempts": 1}))

    async def _outputs(self, job: JobContext) -> list[Any]:
        children = await job.children()
        if any(child.outcome is None for child in children):
            raise WaitForChildren
        return [child.output if child.outcome == "ok" else child.outcome for child in children]

    async def _write_all_the_same(self, job: JobContext) -> None:
        writes: tuple[Callable[[], Awaitable[None]], ...] = (
            job.still_mine,
            lambda: job.log("from beyond"),
            lambda: job.progress("from beyond"),
            lambda: job.save(beyond=True),
        )
        for write in writes:
            try:
                await write()
                self.after_loss.append("written")
            except FenceLost:
                self.after_loss.append("refused")
