"""The kind `shell`: a command that an operator submits (spec/jobs.md 27–29).

Off unless `jobs.shell.enabled`. A command gets an environment of allow-listed variables, and those with secrets that it
names in `inherit`; their values are never stored, and are taken out of what it prints. Everything that it has started
is in a process group of its own, which is recorded first: it is asked to end and killed after five seconds, and what
survives a crash of the gateway is killed at the next start, before the command begins again.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from gateway.config import Config
from gateway.jobs.kinds import AttemptFailed, JobContext, JobKind, Payload, Unrecoverable
from gateway.tools import command, sandbox
from gateway.tools.redact import Redactor

LANE = "shell"
FOR_EVER = 10.0 * 365 * 24 * 3600
"""Seconds: the attempt's own clock ends a command, not this."""


class ShellPayload(Payload):
    """What is to be run."""

    cmd: str | None = Field(default=None, min_length=1, max_length=100_000)
    """For a shell."""
    argv: tuple[str, ...] | None = Field(default=None, min_length=1, max_length=10_000)
    """A program and its arguments, without a shell."""
    cwd: str
    env: dict[str, str] = Field(default_factory=dict[str, str])
    inherit: tuple[str, ...] = ()
    """Names of variables with secrets (`jobs.shell.inheritable`)."""

    @field_validator("cwd")
    @classmethod
    def _absolute(cls, value: str) -> str:
        if not Path(value).is_absolute() or "\0" in value:
            raise ValueError("must be an absolute path")
        return value

    @model_validator(mode="after")
    def _one_command(self) -> Self:
        if (self.cmd is None) == (self.argv is None):
            raise ValueError("give either `cmd` (for a shell) or `argv` (a program and its arguments)")
        if any("\0" in word for word in (self.cmd or "", *(self.argv or ()), *self.env.values())):
            raise ValueError("a NUL character can't be part of a command")
        return self


def shell_kind() -> JobKind:
    """The kind, for the registry."""
    return JobKind(
        "shell",
        ShellPayload,
        run_shell,
        lane=LANE,
        protected=True,
        unavailable=_unavailable,
        check=_check,
        freezes=True,
    )


def _unavailable(config: Config) -> str | None:
    return None if config.jobs.shell.enabled else "shell jobs are off; jobs.shell.enabled: true allows them"


def _check(config: Config, payload: Any) -> str | None:
    known = config.jobs.shell.inheritable
    missing = [name for name in payload.inherit if name not in known]
    if not missing:
        return None
    return f"`data.inherit` names {', '.join(missing)}, which jobs.shell.inheritable doesn't have"


async def run_shell(job: JobContext, payload: ShellPayload) -> dict[str, Any]:
    """Runs the command; a code other than 0 is a failed attempt.

    Raises:
        AttemptFailed: with the same output as a success has.
        Unrecoverable: there is no such folder, or the program can't be started.
    """
    environ = job.gateway.options.environ
    secrets = {name: environ[name] for name in payload.inherit if name in environ}
    env = _environment(job.config, environ, secrets, payload)
    clean = Redactor(secrets.values()).clean
    words = payload.argv or (sandbox.shell(), "-c", payload.cmd or "")
    what = {"cmd": payload.cmd, "argv": payload.argv, "cwd": payload.cwd, "inherit": payload.inherit}
    try:
        folder = os.open(payload.cwd, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        await job.audit("shell.failed", **what, error=error.strerror)
        raise Unrecoverable(f"the folder {payload.cwd} can't be used: {error.strerror}") from None
    try:
        # Last before the effect: who was suspended past his lease must not begin what another one is running.
        await job.still_mine()
        await job.audit("shell.started", **what)
        async with _Freezer(job) as freezer:
            ended = await command.run(
                words,
                folder=folder,
                env=env,
                seconds=FOR_EVER,
                ledger=job.processes,
                started=freezer.started,
                gentle=True,
            )
    except OSError as error:
        raise Unrecoverable(f"the command can't be started: {error}") from None
    finally:
        os.close(folder)
    output = {
        "exitCode": ended.code,
        "durationSeconds": round(ended.seconds, 3),
        "pid": freezer.pid,
        "stdout": job.gateway.clean(clean(ended.stdout)),
        "stderr": job.gateway.clean(clean(ended.stderr)),
    }
    await job.audit("shell.ended", exitCode=ended.code, durationSeconds=output["durationSeconds"])
    if ended.code:
        last = (str(output["stderr"]).strip() or str(output["stdout"]).strip()).splitlines()[-1:]
        raise AttemptFailed(": ".join([f"exit code {ended.code}", *last]), output)
    return output


def _environment(
    config: Config, environ: Mapping[str, str], secrets: Mapping[str, str], payload: ShellPayload
) -> dict[str, str]:
    passed = {name: environ[name] for name in config.jobs.shell.pass_env if name in environ}
    return {**passed, **payload.env, **secrets}


class _Freezer:
    """Stops and continues a command's process group as its job is paused and resumed; its clock stands still then."""

    def __init__(self, job: JobContext) -> None:
        self.pid: int | None = None
        self._frozen = False
        self._job = job
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._follow(), name=f"freezer:{self._job.run.number}")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def started(self, pid: int) -> None:
        """The command is going, as the leader of this process group."""
        self.pid = pid
        if self._frozen:
            self._signal(signal.SIGSTOP)

    async def _follow(self) -> None:
        while True:
            await self._poke()
            if not await self._job.is_paused():
                continue
            with self._job.clock.held():
                self._frozen = True
                self._signal(signal.SIGSTOP)
                while await self._job.is_paused():
                    await self._poke()
                self._frozen = False
                self._signal(signal.SIGCONT)

    async def _poke(self) -> None:
        await self._job.poked.wait()
        self._job.poked.clear()

    def _signal(self, number: signal.Signals) -> None:
        if self.pid is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, number)
