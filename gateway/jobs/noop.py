"""The kind `noop`: does nothing for a while, and says so in its log. For trying things out, and for `jobs smoke`."""

from __future__ import annotations

import asyncio
import os
import time
from typing import Any

from pydantic import Field

from gateway.jobs.kinds import AttemptFailed, JobContext, JobKind, Payload

LONGEST_MS = 86_400_000


class NoopPayload(Payload):
    """How long, how often it fails, and what it returns."""

    ms: int = Field(default=0, ge=0, le=LONGEST_MS)
    """Milliseconds from its first beginning on, whatever process goes on with it."""
    fail: int = Field(default=0, ge=0, le=1000)
    """Attempts that fail."""
    give: Any = None


def noop_kind() -> JobKind:
    """The kind, for the registry."""
    return JobKind("noop", NoopPayload, _noop)


async def _noop(job: JobContext, payload: NoopPayload) -> Any:
    if payload.ms:
        await job.log(f"attempt {job.run.attempt} is at work in process {os.getpid()}")
        until = float(job.state.get("until") or time.time() + payload.ms / 1000)
        await job.save(until=until)
        await job.progress("waiting", step=0, total=1)
        await asyncio.sleep(max(0.0, until - time.time()))
    if job.run.attempt <= payload.fail:
        await job.save(until=None)
        raise AttemptFailed(f"attempt {job.run.attempt} of {payload.fail} that fail")
    return payload.give
