"""`laneway agent …`: hands work to sub-agents from a shell, one task or a whole fan-out, and follows it.

A sub-agent that is started so is a job of the kind `subagent`; `laneway jobs` sees and steers it like any other.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.context import USAGE, CliError
from gateway.cli.durations import timeout_of
from gateway.cli.following import show_log, submitted
from gateway.cli.job_params import json_object, read_file, submission_of
from gateway.cli.jobs import Follow, JobId
from gateway.cli.output import JsonFlag
from gateway.jobs.manifest import ManifestError, read

app = typer.Typer(name="agent", no_args_is_help=True, help="Hand work to sub-agents and follow it.")


@app.command("run")
def run_agent(
    ctx: typer.Context,
    prompt: Annotated[str | None, typer.Argument(help="What it should do, with all that it needs to know.")] = None,
    tools: Annotated[str | None, typer.Option(metavar="A,B", help="Only these tools.")] = None,
    model: Annotated[str | None, typer.Option(help="provider/model or an alias.")] = None,
    thinking: Annotated[str | None, typer.Option(help="off, minimal, low, medium, high, xhigh or max.")] = None,
    agent: Annotated[str | None, typer.Option(metavar="ID", help="Agent to run as.")] = None,
    label: Annotated[str | None, typer.Option(help="A name for people.")] = None,
    max_turns: Annotated[int | None, typer.Option(min=1, help="Most model calls.")] = None,
    timeout: Annotated[str | None, typer.Option(metavar="SPAN", help="Active time: 30s, 5m.")] = None,
    timeout_ms: Annotated[int | None, typer.Option(min=1, help="The same in milliseconds.")] = None,
    subagent_def: Annotated[
        str | None, typer.Option(metavar="NAME", help="A definition of agents.subagentDefs.")
    ] = None,
    budget_usd: Annotated[float | None, typer.Option(help="Most that it may spend.")] = None,
    budget_tokens: Annotated[int | None, typer.Option(help="Most tokens that it may use.")] = None,
    fanout: Annotated[
        Path | None,
        typer.Option("--fanout", "--fanout-manifest", metavar="FILE", help="A manifest of several tasks, see docs."),
    ] = None,
    follow: Annotated[
        bool | None, typer.Option("--follow/--no-follow", help="Show it until it has ended; default on a terminal.")
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Submit and return at once.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Starts a sub-agent, or with --fanout several and one that joins their results."""
    if detach and follow:
        raise CliError("give either --follow or --detach", USAGE)
    limit_ms = timeout_of(timeout, timeout_ms)
    data = submission_of(
        task=prompt,
        tools=[word.strip() for word in tools.split(",") if word.strip()] if tools is not None else None,
        model=model,
        thinking=thinking,
        agentId=agent,
        maxTurns=max_turns,
        subagentDef=subagent_def,
        budgetUsd=budget_usd,
        budgetTokens=budget_tokens,
    )
    if fanout is not None:
        if data or limit_ms is not None:
            raise CliError(
                "with --fanout, tasks and how they run stand in the manifest; only --label goes with it", USAGE
            )
        body = _fan_out(fanout)
    elif prompt is None:
        raise CliError("what is it to do? laneway agent run PROMPT, or --fanout FILE", USAGE)
    else:
        body = submission_of(name="subagent", data=data, timeoutMs=limit_ms)
    if label is not None:
        body["label"] = label
    shown = follow if follow is not None else sys.stdout.isatty() and not detach
    submitted(ctx.obj, body, follow=shown, as_json=as_json)


@app.command()
def logs(
    ctx: typer.Context,
    job: JobId,
    follow: Follow = False,
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many messages at first, the last ones.")] = 100,
    as_json: JsonFlag = False,
) -> None:
    """Shows a sub-agent's transcript, tool calls included, and with --follow what it does until it has ended."""
    show_log(ctx.obj, job, limit=limit, follow=follow, as_json=as_json)


def _fan_out(file: Path) -> dict[str, Any]:
    value = json_object(read_file(file, "--fanout"), f"--fanout {file}")
    try:
        return read(value).submission()
    except ManifestError as error:
        lines = "".join(f"\n  {line}" for line in str(error).splitlines())
        raise CliError(f"{file} is no manifest:{lines}", USAGE) from None
