"""`laneway jobs smoke`: proves on this machine that a job survives the process that works on it.

It has a gateway of its own on a state folder that is thrown away, beside whatever else runs: a job is submitted over
HTTP, the process is killed with SIGKILL while it works on it, another one is started on the same folder, and the job
must end there, well, once, and in the attempt that it was in. What it doesn't prove: that of a power cut, and nothing
about your own gateway's configuration, database or providers.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from gateway.cli.context import FAILED, OK, TIMED_OUT, run
from gateway.client import ApiClient, Unreachable
from gateway.client.find import answering
from gateway.client.jobs import Connect, Job, Jobs, news
from gateway.config.paths import Paths

GROUP = "laneway.plugins"
COMMAND = (sys.executable, "-m", "gateway.cli", "start")
WORK_MS = 1_500
"""How long the job takes."""
GIVEN = {"proof": "of life"}


@dataclass
class Proof:
    """What was seen."""

    steps: list[str] = field(default_factory=list[str])
    faults: list[str] = field(default_factory=list[str])
    times: dict[str, float] = field(default_factory=dict[str, float])
    """Seconds."""
    code: int = FAILED

    def text(self) -> str:
        """For people."""
        lines = [f"✓ {step}" for step in self.steps] + [f"✗ {fault}" for fault in self.faults]
        if self.code == OK:
            lines.append(f"A job survives its process here. All of it took {self.times['all']:.1f} s.")
        return "\n".join(lines)

    def data(self) -> dict[str, Any]:
        """For programs."""
        return {"ok": self.code == OK, "steps": self.steps, "faults": self.faults, "seconds": self.times}


def smoke(timeout: float) -> Proof:
    """Does all of it, in at most so many seconds."""
    proof = Proof()
    began = time.monotonic()
    try:
        run(_limited(proof, timeout))
    except TimeoutError:
        proof.faults.append(f"it was not through after {timeout:g} s")
        proof.code = TIMED_OUT
    except (OSError, EOFError) as error:
        proof.faults.append(str(error))
    proof.times["all"] = time.monotonic() - began
    if not proof.faults:
        proof.code = OK
    return proof


async def _limited(proof: Proof, seconds: float) -> None:
    with tempfile.TemporaryDirectory(prefix="laneway-smoke-") as folder:
        async with asyncio.timeout(seconds), AsyncExitStack() as stack:
            await _prove(proof, Paths(Path(folder) / "state"), stack)


async def _prove(proof: Proof, paths: Paths, stack: AsyncExitStack) -> None:
    async def connect() -> ApiClient:
        client = await answering(paths)
        if client is None:
            raise Unreachable("the gateway of the test doesn't answer")
        return client

    paths.state.mkdir(mode=0o700)
    names = sorted(entry.name for entry in entry_points(group=GROUP))
    paths.config_file.write_text(json.dumps({"gateway": {"port": 0}, "plugins": {"disabled": names}}), "utf-8")
    first = await _start(paths, stack)
    async with await connect() as client:
        # One attempt only: a death that cost one would leave the job dead.
        job = await Jobs(client).submit({"name": "noop", "data": {"ms": WORK_MS, "give": GIVEN}, "maxAttempts": 1})
    await _until(connect, job, lambda now: now.progress.step is not None)
    proof.steps.append(f"process {first.pid} accepted job #{job.id} and works on it")
    killed = time.monotonic()
    first.kill()
    await first.wait()
    proof.steps.append(f"process {first.pid} was killed with SIGKILL")
    second = await _start(paths, stack)
    ended = await _until(connect, job, lambda now: not now.active)
    proof.times["rescue"] = time.monotonic() - killed
    async with await connect() as client:
        log = (await Jobs(client).log(job.run_id)).messages
    _judge(proof, ended, [message.text for message in log], (first.pid, second.pid))


def _judge(proof: Proof, job: Job, log: list[str], pids: tuple[int, int]) -> None:
    at_work = [f"attempt 1 is at work in process {pid}" for pid in pids]
    for fault, found in (
        (f"the job ended with {job.outcome}: {job.error}", job.outcome != "ok"),
        (f"the job returned {job.output!r} in the place of {GIVEN!r}", job.output != GIVEN),
        (f"the death cost attempts: it ended in attempt {job.attempt}", job.attempt != 1),
        (f"it should have been at work in both processes, once each: {log}", log != at_work),
    ):
        if found:
            proof.faults.append(fault)
    if not proof.faults:
        proof.steps.append(f"process {pids[1]} went on with it from what it had kept, in the same attempt")
        proof.steps.append(f"it ended well, once, {proof.times['rescue']:.1f} s after the kill")


async def _until(connect: Connect, job: Job, holds: Callable[[Job], bool]) -> Job:
    """The job once a condition holds, looked at whenever an event tells of it."""
    async with aclosing(news(connect, job.session_key)) as stream:
        async for client, _ in stream:
            with suppress(Unreachable):
                now = await Jobs(client).get(job.run_id)
                if holds(now):
                    return now
    raise EOFError("the events have ended")


async def _start(paths: Paths, stack: AsyncExitStack) -> asyncio.subprocess.Process:
    """A gateway that is ready; it is killed at the end if it is still there."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=_environ(os.environ, paths),
    )
    stack.push_async_callback(_end, process)
    if process.stdout is None or process.stderr is None:
        raise EOFError("a process without output")
    if not await process.stdout.readline():
        said = (await process.stderr.read()).decode("utf-8", "replace").strip()
        raise EOFError(f"the gateway doesn't start: {said[-500:]}")
    return process


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
        await process.wait()


def _environ(environ: Mapping[str, str], paths: Paths) -> dict[str, str]:
    """This process's environment without anything that is meant for the real gateway."""
    kept = {name: value for name, value in environ.items() if not name.startswith("LANEWAY")}
    return {**kept, "LANEWAY_HOME": str(paths.state), "LANEWAY_OFFLINE": "1"}
