"""`laneway subagents …`: sees and controls every sub-agent of the running gateway (spec/subagents.md, Control).

A target is a run id, a unique prefix of one, a session key, an exact label or `last`; indexes belong to chats, where a
list has been shown. The command line is an operator and sees all sessions (rule 26).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from gateway.cli import format as fmt
from gateway.cli.context import CliContext, fail
from gateway.cli.output import JsonFlag, print_fields, print_json, print_table, print_text
from gateway.cli.targets import resolve_target, runs_below
from gateway.cli.tree import tree_lines
from gateway.client import ApiClient
from gateway.client.records import ActionReply, Message, Run

app = typer.Typer(name="subagents", no_args_is_help=True, help="See and control sub-agents.")

Target = Annotated[str, typer.Argument(help="Run id or a prefix, session key, label, or `last`.")]
SessionOption = Annotated[str | None, typer.Option("--session", metavar="KEY", help="Only this session's sub-agents.")]
PAGE = 500


@app.command("list")
def list_runs(
    ctx: typer.Context,
    session: SessionOption = None,
    status: Annotated[str | None, typer.Option(help="open, queued, delayed, running, waiting, paused or done.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Lists sub-agents: active ones first, then the recent ones."""
    here: CliContext = ctx.obj

    async def asked(client: ApiClient) -> list[Run]:
        return (await client.runs(limit=limit, status=status, session=session)).runs

    runs = here.ask(asked)[:limit]
    runs.sort(key=lambda run: not run.active)
    if as_json:
        print_json({"runs": [run.data() for run in runs]})
        return
    print_table(
        ("", "LABEL", "STATE", "RUNTIME", "TOKENS", "RUN", "SESSION"),
        (
            (
                fmt.icon(run),
                fmt.one_line(run.label, 48),
                fmt.state_word(run),
                fmt.duration(run.runtime_seconds),
                fmt.count(run.tokens.total),
                run.run_id[:8],
                run.session_key,
            )
            for run in runs
        ),
        empty="No sub-agents yet.",
    )


@app.command()
def info(ctx: typer.Context, target: Target, session: SessionOption = None, as_json: JsonFlag = False) -> None:
    """Shows everything about one sub-agent."""
    here: CliContext = ctx.obj
    run = here.ask(lambda client: resolve_target(client, target, session))
    if as_json:
        print_json(run.data())
        return
    print_text("ℹ️ Subagent info")
    print_fields(_info_fields(run))


@app.command()
def log(
    ctx: typer.Context,
    target: Target,
    limit: Annotated[int, typer.Argument(min=1, max=200)] = 20,
    tools: Annotated[bool, typer.Option("--tools", help="Show tool calls and results too.")] = False,
    session: SessionOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Shows the last messages of one sub-agent."""
    here: CliContext = ctx.obj

    async def asked(client: ApiClient) -> list[Message]:
        run = await resolve_target(client, target, session)
        return (await client.run_log(run.run_id, limit, tools=tools)).messages

    messages = here.ask(asked)
    if as_json:
        print_json({"messages": [message.data() for message in messages]})
        return
    for message in messages:
        print_text(message_text(message))


@app.command()
def send(ctx: typer.Context, target: Target, message: str, session: SessionOption = None) -> None:
    """Puts a message into a sub-agent's inbox and waits up to 30 seconds for its reply."""
    _act(ctx, target, "send", session, {"message": message, "waitSeconds": 30})


@app.command()
def steer(ctx: typer.Context, target: Target, message: str, session: SessionOption = None) -> None:
    """Gives a sub-agent a message at its next step, without waiting for a reply."""
    _act(ctx, target, "steer", session, {"message": message})


@app.command()
def stop(
    ctx: typer.Context,
    target: Annotated[str, typer.Argument(help="A target, or `all`.")],
    session: SessionOption = None,
) -> None:
    """Stops a sub-agent and everything below it; `all` stops every active one."""
    if target != "all":
        _act(ctx, target, "stop", session)
        return
    here: CliContext = ctx.obj

    async def stopped(client: ApiClient) -> list[str]:
        runs = await runs_below(client, session) if session else await _active(client)
        ids = {run.run_id for run in runs}
        # A child is stopped with its parent: only the topmost ones have to be told.
        tops = [run for run in runs if run.active and run.parent_run_id not in ids]
        return [(await client.run_action(run.run_id, "stop")).text for run in tops]

    texts = here.ask(stopped)
    print_text("\n".join(texts) if texts else "No sub-agent is active.")


@app.command()
def pause(ctx: typer.Context, target: Target, session: SessionOption = None) -> None:
    """Freezes a sub-agent without losing anything."""
    _act(ctx, target, "pause", session)


@app.command()
def resume(ctx: typer.Context, target: Target, session: SessionOption = None) -> None:
    """Lets a paused sub-agent go on."""
    _act(ctx, target, "resume", session)


@app.command()
def retry(ctx: typer.Context, target: Target, session: SessionOption = None) -> None:
    """Runs a sub-agent's task again as a new run."""
    _act(ctx, target, "retry", session)


@app.command()
def spawn(
    ctx: typer.Context,
    agent: Annotated[str, typer.Argument(help="Id of the agent to run as.")],
    task: Annotated[str, typer.Argument(help="What it should do.")],
    session: Annotated[
        str | None, typer.Option("--session", metavar="KEY", help="Session that gets the result.")
    ] = None,
    label: Annotated[str | None, typer.Option(help="Short name for people.")] = None,
    model: Annotated[str | None, typer.Option(help="provider/model or an alias.")] = None,
    thinking: Annotated[str | None, typer.Option(help="off, minimal, low, medium, high, xhigh or max.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Starts a sub-agent as a user; its result is announced in the session."""
    here: CliContext = ctx.obj
    body: dict[str, Any] = {
        "sessionKey": session or here.default_session(),
        "agentId": agent,
        "task": task,
        "label": label,
        "model": model,
        "thinking": thinking,
    }
    answer = here.ask(lambda client: client.spawn({name: value for name, value in body.items() if value is not None}))
    if as_json:
        print_json(answer)
    else:
        print_text(str(answer.get("text") or f"Spawned run {str(answer.get('runId', '?'))[:8]}."))


@app.command()
def tree(ctx: typer.Context, session: SessionOption = None, as_json: JsonFlag = False) -> None:
    """Shows who spawned whom, with status, runtime, tokens and cost."""
    here: CliContext = ctx.obj

    async def asked(client: ApiClient) -> list[Run]:
        return await runs_below(client, session) if session else (await client.runs(limit=PAGE)).runs

    runs = here.ask(asked)
    if as_json:
        print_json({"runs": [run.data() for run in runs]})
    else:
        print_text("\n".join(tree_lines(runs)) or "No sub-agents yet.")


def message_text(message: Message) -> str:
    """One message of a transcript as lines for people."""
    who = message.tool or message.role
    lines = [f"[{message.seq}] {who}: {message.text}".rstrip()]
    lines += [f"      → {call.name} {fmt.one_line(str(call.arguments or ''), 200)}" for call in message.calls]
    return "\n".join(lines)


def _act(
    ctx: typer.Context, target: str, action: str, session: str | None, body: Mapping[str, Any] | None = None
) -> None:
    here: CliContext = ctx.obj

    async def acted(client: ApiClient) -> ActionReply:
        run = await resolve_target(client, target, session)
        return await client.run_action(run.run_id, action, body)

    text = here.ask(acted).text
    if not text:
        fail(f"the gateway gave no answer to `{action}`")
    print_text(text)


async def _active(client: ApiClient) -> list[Run]:
    return (await client.runs(status="open", limit=PAGE)).runs


def _info_fields(run: Run) -> list[tuple[str, str]]:
    tokens = run.tokens
    return [
        ("Status", f"{fmt.icon(run)} {fmt.state_word(run)}"),
        ("Label", run.label),
        ("Task", run.task),
        ("Run", run.run_id),
        ("Session", run.session_key),
        ("Requester", run.requester_key),
        ("Agent", run.agent_id),
        ("Model", run.model or ""),
        ("Thinking", run.thinking or "default"),
        ("Depth", str(run.depth)),
        ("Runtime", fmt.duration(run.runtime_seconds)),
        (
            "Tokens",
            f"{tokens.input} in, {tokens.output} out, {tokens.total} total ({tokens.cache_read} cached)",
        ),
        ("Cost", fmt.money(run.cost_usd)),
        ("Last tool", run.last_tool or ""),
        ("Created", run.created_at or ""),
        ("Started", run.started_at or ""),
        ("Ended", run.ended_at or ""),
        ("Archive", run.archive_at or ""),
        ("Outcome", run.outcome or ""),
        ("Error", run.error or ""),
        ("Result", run.result or ""),
    ]
