"""The `exec` tool: whether a command may run (allow-list, or a person's yes), with which environment, confined how.

For sessions of owners only. Nothing is kept here: processes are in the ledger, answers in `gateway/approvals.py`.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from gateway.tools import argv as command_line
from gateway.tools import command, sandbox
from gateway.tools.base import Question, Tool, ToolArguments, ToolContext, ToolResult
from gateway.tools.paths import Folders, PathRefused, Place

PASSED = ("PATH", "HOME", "LANG", "TERM", "TZ", "USER", "SHELL", "TMPDIR")
"""What a command gets of the gateway's own environment, which may hold keys."""
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# These make a program load or run something else before it begins.
_DANGEROUS = re.compile(
    r"LD_.*|DYLD_.*|BASH_ENV|ENV|BASH_FUNC_.*|BASHOPTS|SHELLOPTS|PROMPT_COMMAND|PS4|IFS|PATH|PYTHON(STARTUP|PATH|HOME)"
    r"|PERL5(LIB|OPT)|RUBYOPT|NODE_OPTIONS",
    re.IGNORECASE,
)
_MAX_COMMAND = 50_000


class ExecArguments(ToolArguments):
    command: Annotated[str, Field(min_length=1, max_length=_MAX_COMMAND, description="for bash")]
    cwd: str = "."
    timeout_seconds: Annotated[float | None, Field(gt=0)] = None
    env: dict[str, str] | None = None


class _Refused(Exception):
    """The command doesn't run; the text says why."""


async def _exec(ctx: ToolContext, args: ExecArguments) -> ToolResult:
    folders = Folders.of(ctx)
    descriptor: int | None = None
    try:
        env = _environment(ctx, args)
        # A few system calls; made in a thread, a cancelled call would lose the descriptor.
        descriptor, place = folders.open(args.cwd, os.O_RDONLY | os.O_DIRECTORY)
        words = await _permitted(ctx, args, place)
        words = await asyncio.to_thread(_confined, ctx, words, place, folders)
        ctx.progress(f"$ {args.command[:200]}")
        ended = await command.run(words, folder=descriptor, env=env, seconds=_seconds(ctx, args), ledger=ctx.processes)
    except (_Refused, PathRefused, sandbox.SandboxMissing) as error:
        return ToolResult(str(error), error=True)
    except (OSError, ValueError) as error:
        return ToolResult(f"the command can't be started: {error}", error=True)
    finally:
        if descriptor is not None:
            os.close(descriptor)
    return _told(ended, _seconds(ctx, args))


def _seconds(ctx: ToolContext, args: ExecArguments) -> float:
    most = ctx.config.tools.exec.timeout_seconds
    return min(args.timeout_seconds or most, most)


def _environment(ctx: ToolContext, args: ExecArguments) -> dict[str, str]:
    env = {name: os.environ[name] for name in PASSED if name in os.environ}
    env |= {name: value.get_secret_value() for name, value in ctx.config.tools.exec.env.items()}
    for name, value in (args.env or {}).items():
        if not _NAME.fullmatch(name) or "\0" in value:
            raise _Refused(f"`{name[:80]}` is not a name for an environment variable, or its value holds a NUL")
        if _DANGEROUS.fullmatch(name):
            raise _Refused(f"`env` may not set {name}: it makes programs load code; set it inside the command")
        env[name] = value
    return env


async def _permitted(ctx: ToolContext, args: ExecArguments, place: Place) -> tuple[str, ...]:
    """The words to execute.

    Raises:
        _Refused: nobody allowed it.
    """
    if "\0" in args.command:
        raise _Refused("the command holds a NUL character")
    settings = ctx.config.tools.exec
    whole = (sandbox.shell(), "-c", args.command)
    if settings.ask == "off":
        return whole
    # Variables can change what a harmless command does, so that such a call is never covered by the list.
    known: tuple[str, ...] = settings.allow
    if settings.ask == "on-miss" and not args.env:
        if ctx.approver is not None:
            known += await ctx.approver.allowed_patterns()
        words = command_line.allowed(args.command, known)
        if words is not None:
            return words
    if ctx.approver is None:
        raise _Refused(
            "this command needs a person's approval and nobody can be asked here; "
            "it can be allowed beforehand in tools.exec.allow"
        )
    ctx.progress("waiting for approval")
    decision = await ctx.approver.ask(_question(args, place, offer=settings.ask == "on-miss"))
    if not decision.allowed:
        raise _Refused(f"the command was not allowed: {decision.reason or 'a person said no'}")
    return whole


def _question(args: ExecArguments, place: Place, *, offer: bool) -> Question:
    lines = [args.command]
    if args.cwd != ".":
        lines.append(f"in {place.path}")
    lines += [f"with {name}={value}" for name, value in (args.env or {}).items()]
    pattern = command_line.pattern_for(args.command) if offer and not args.env else None
    if pattern is not None and shutil.which((command_line.parse(args.command) or ("",))[0]) is None:
        pattern = None  # a word of the shell itself, or a path: it could not be run without the shell
    return Question("exec", "\n".join(lines), pattern)


def _confined(ctx: ToolContext, words: tuple[str, ...], place: Place, folders: Folders) -> tuple[str, ...]:
    setting = ctx.config.tools.exec.sandbox
    if setting == "off":
        return words
    program = sandbox.chosen(setting, sandbox.available())
    if program is None:
        return words
    return sandbox.confined(program, words, folder=place.path, folders=folders, protect=ctx.depth > 0)


@dataclass(frozen=True, slots=True)
class _Part:
    title: str
    text: str


def _told(ended: command.Ended, limit: float) -> ToolResult:
    if ended.timed_out:
        head = f"timed out after {limit:g} s and was killed, with everything it had started"
    else:
        head = f"exit code {ended.code} after {ended.seconds:.1f} s"
    parts = [_Part("stdout", ended.stdout), _Part("stderr", ended.stderr)]
    body = "".join(f"\n--- {part.title} ---\n{part.text.rstrip()}" for part in parts if part.text)
    return ToolResult(head + body, error=ended.timed_out or ended.code != 0)


EXEC_TOOL = Tool(
    "exec",
    "Runs a command. Background processes end with it.",
    ExecArguments,
    _exec,
    timeout_seconds=None,
    owners_only=True,
)
