"""`laneway chat`: its options, and which of the three ways of chatting they ask for."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from channels.terminal import once, plain
from channels.terminal.host import HostFailed
from gateway.cli.context import USAGE, CliContext, CliError, run
from gateway.cli.logging import configure, level_from_environment
from gateway.http.server import ListenError
from gateway.plugins import PluginError
from gateway.store.database import StoreError
from gateway.store.lock import LockHeld

LOG_FILE = "chat.log"


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command("chat")(chat)


def chat(
    ctx: typer.Context,
    message: Annotated[
        str | None, typer.Option("--message", "-m", help="Send this, print the answer and leave; `-` reads stdin.")
    ] = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="With -m: until sub-agents are done and their results were answered.")
    ] = False,
    session: Annotated[
        str | None, typer.Option("--session", metavar="KEY", help="Conversation; default: the main one.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="With -m: print JSON for scripts.")] = False,
    timeout: Annotated[
        float | None, typer.Option("--timeout", min=0.1, metavar="SECONDS", help="With -m: give up with exit code 3.")
    ] = None,
) -> None:
    """Talk with the assistant. Joins the running gateway, or runs one inside."""
    here: CliContext = ctx.obj
    if message is None and (wait or as_json or timeout is not None):
        raise CliError('--wait, --json and --timeout need a message: laneway chat -m "…"', USAGE)
    key = session or here.default_session()
    _log_to_file(here)
    try:
        if message is not None:
            text = sys.stdin.read() if message == "-" else message
            if not text.strip():
                raise CliError("the message is empty", USAGE)
            code = run(once.run(here, once.OnceOptions(text.strip(), key, wait, as_json, timeout)))
        else:
            code = _converse(here, key)
    except (HostFailed, ListenError, LockHeld, PluginError, StoreError) as error:
        raise CliError(str(error)) from error
    raise typer.Exit(code)


def _converse(here: CliContext, key: str) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()) or os.environ.get("TERM", "dumb") == "dumb":
        return run(plain.run(here, key))
    from channels.terminal.interactive import Interactive  # prompt_toolkit takes 0.2 s that scripts need not wait for

    async def interactive() -> int:
        return await Interactive(here, key).run()

    return run(interactive())


def _log_to_file(here: CliContext) -> None:
    """A gateway inside the chat must not write over what is drawn."""
    file: Path = here.paths.state / LOG_FILE
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    configure(level_from_environment(), file)
