"""A plugin for benchmarks: jobs that only tell, ten times a second, what they are doing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from gateway.jobs.kinds import JobContext, JobKind, Payload
from gateway.plugins import Registry

SECONDS = 0.1


class BeatPayload(Payload):
    """Nothing: it goes on until it is stopped."""


class BeatPlugin:
    """The kind `beat`."""

    name = "beat"

    def register(self, registry: Registry) -> None:
        """Registers it."""
        registry.job_kind(JobKind("beat", BeatPayload, _beat))


async def _beat(job: JobContext, _payload: BeatPayload) -> Any:
    key, number = job.run.session_key, 0
    while True:
        number += 1
        news = {"sessionKey": key, "runId": job.run.id, "text": f"looks at file {number}", "lastTool": "read"}
        job.gateway.events.publish("progress", news, session_key=key, run_id=job.run.id)
        await asyncio.sleep(SECONDS)


def install(folder: Path) -> None:
    """Puts the plugin where a process finds it that has `folder` on its path."""
    info = folder / "laneway_beat-0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: laneway-beat\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[laneway.plugins]\nbeat = tests.bench.beat:plugin\n")


plugin = BeatPlugin()
