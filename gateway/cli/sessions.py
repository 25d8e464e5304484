"""`laneway sessions …`: lists, shows and exports the conversations of the running gateway."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli import format as fmt
from gateway.cli.context import CliContext
from gateway.cli.output import JsonFlag, print_fields, print_json, print_table, print_text
from gateway.cli.runs import message_text
from gateway.cli.signins import web
from gateway.client import ApiClient
from gateway.client.records import Message, Session

app = typer.Typer(name="sessions", no_args_is_help=True, help="See and export conversations.")
app.add_typer(web)

Key = Annotated[str | None, typer.Argument(help="Session key; default: the main session.", metavar="[KEY]")]
PAGE = 200


@app.command("list")
def list_sessions(
    ctx: typer.Context,
    kind: Annotated[str | None, typer.Option(help="Only sessions of this kind, main or subagent.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500)] = 50,
    as_json: JsonFlag = False,
) -> None:
    """Lists conversations, the latest first."""
    here: CliContext = ctx.obj
    page = here.ask(lambda client: client.sessions(kind, limit))
    if as_json:
        print_json(page.data())
        return
    print_table(
        ("SESSION", "KIND", "STATE", "SUB-AGENTS", "TOKENS", "COST", "UPDATED"),
        (
            (
                one.key,
                one.kind,
                "busy" if one.busy else "waiting" if not one.idle else "idle",
                str(one.active_runs),
                fmt.count(one.tokens.total),
                fmt.money(one.cost_usd),
                fmt.ago(one.updated_at),
            )
            for one in page.sessions
        ),
        empty="No conversations yet.",
    )


@app.command()
def show(
    ctx: typer.Context,
    key: Key = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="Messages to show.")] = 20,
    tools: Annotated[bool, typer.Option("--tools", help="Show tool calls and results too.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Shows a conversation's state and its last messages."""
    here: CliContext = ctx.obj
    wanted = key or here.default_session()

    async def asked(client: ApiClient) -> tuple[Session, list[Message]]:
        session = await client.session(wanted)
        return session, (await client.transcript(wanted, limit=limit, tools=tools)).messages

    session, messages = here.ask(asked)
    if as_json:
        print_json({"session": session.data(), "messages": [message.data() for message in messages]})
        return
    print_fields(_fields(session))
    for message in messages:
        print_text(message_text(message))


@app.command()
def export(
    ctx: typer.Context,
    key: Key = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")] = None,
) -> None:
    """Writes a whole conversation as JSON Lines, one message a line, tools included."""
    here: CliContext = ctx.obj
    wanted = key or here.default_session()
    messages = here.ask(lambda client: _whole(client, wanted))
    text = "".join(json.dumps(message.data(), ensure_ascii=False) + "\n" for message in messages)
    if output is None:
        typer.echo(text, nl=False)
        return
    output.write_text(text, "utf-8")
    print_text(f"Wrote {fmt.plural(len(messages), 'message')} to {output}")


async def _whole(client: ApiClient, key: str) -> list[Message]:
    found: list[Message] = []
    after = 0
    while batch := (await client.transcript(key, limit=PAGE, after=after, tools=True)).messages:
        found += batch
        after = batch[-1].seq
    return found


def _fields(session: Session) -> list[tuple[str, str]]:
    state = "busy" if session.busy else "idle" if session.idle else "waiting"
    return [
        ("Session", session.key),
        ("State", f"{state}, {fmt.plural(session.active_runs, 'active sub-agent')}"),
        ("Model", session.model or "default"),
        ("Thinking", session.thinking or "default"),
        ("Tokens", fmt.count(session.tokens.total)),
        ("Cost", fmt.money(session.cost_usd)),
        ("Updated", fmt.ago(session.updated_at)),
    ]
