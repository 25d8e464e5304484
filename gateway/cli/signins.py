"""`laneway open` and `laneway sessions web …`: the way into the page, and who has taken it."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from gateway.cli import format as fmt
from gateway.cli.context import USAGE, CliContext, CliError
from gateway.cli.output import JsonFlag, print_json, print_table, print_text

SCOPES = ("operator", "chat")
web = typer.Typer(name="web", no_args_is_help=True, help="Browsers that are signed in.")


def register(app: typer.Typer) -> None:
    """Adds `open`."""
    app.command("open")(open_page)


def open_page(
    ctx: typer.Context,
    print_only: Annotated[bool, typer.Option("--print", help="Print the link and start no browser.")] = False,
    scope: Annotated[
        str, typer.Option(help="What it may do: everything (operator), or only talk to the assistant (chat).")
    ] = "operator",
    name: Annotated[str | None, typer.Option(help="Who signs in; needed for the scope chat.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Opens the page, signed in. The link works once, within ten minutes."""
    here: CliContext = ctx.obj
    if scope not in SCOPES:
        raise CliError(f"`{scope}` is no scope; there are: {', '.join(SCOPES)}", USAGE)
    if scope != "operator" and not name:
        raise CliError(f"whose sign-in is it? laneway open --scope {scope} --name NAME", USAGE)
    link = here.ask(lambda client: client.signin_link(scope, name))
    if as_json:
        print_json(link.data())
        return
    typer.echo(link.url)
    if not print_only and not webbrowser.open(link.url):
        print_text("No browser could be started; open the link yourself. It works once, within ten minutes.")


@web.command("list")
def list_signins(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Lists the browsers that are signed in, the last used first."""
    here: CliContext = ctx.obj
    page = here.ask(lambda client: client.signins())
    if as_json:
        print_json(page.data())
        return
    print_table(
        ("SIGN-IN", "NAME", "MAY", "SINCE", "USED", "BROWSER"),
        (
            (
                one.id,
                one.name,
                one.scope,
                fmt.ago(one.created_at),
                fmt.ago(one.used_at),
                fmt.one_line(one.user_agent, 60),
            )
            for one in page.sign_ins
        ),
        empty="No browser is signed in. `laneway open` signs one in.",
    )


@web.command()
def revoke(
    ctx: typer.Context,
    signin: Annotated[str, typer.Argument(help="Its id, as `laneway sessions web list` shows it; or `all`.")],
) -> None:
    """Signs a browser out, wherever it is."""
    here: CliContext = ctx.obj
    ids = [one.id for one in here.ask(lambda client: client.signins()).sign_ins] if signin == "all" else [signin]
    for each in ids:
        ended = here.ask(lambda client, wanted=each: client.revoke_signin(wanted))
        print_text(f"{ended.name} is signed out ({ended.id}).")
