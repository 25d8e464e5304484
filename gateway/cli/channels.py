"""`laneway channels …` and `laneway pairing …`: connections to platforms, and who may write there."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway import doctor
from gateway.cli import format as fmt
from gateway.cli.context import FAILED, CliContext, CliError, run
from gateway.cli.doctor import print_findings
from gateway.cli.output import JsonFlag, print_json, print_table, print_text
from gateway.doctor.online import channels as examine_channels
from gateway.plugins import ExplainsSetup, installed

channels = typer.Typer(no_args_is_help=True, help="Connections to the platforms that people write on.")
pairing = typer.Typer(no_args_is_help=True, help="Who may write directly.")


def register(app: typer.Typer) -> None:
    """Adds both groups to the application."""
    app.add_typer(channels, name="channels")
    app.add_typer(pairing, name="pairing")


@channels.command("list")
def list_channels(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Lists the channels of the running gateway and how each account is connected."""
    here: CliContext = ctx.obj
    page = here.ask(lambda client: client.channels())
    if as_json:
        print_json(page.data())
        return
    rows = [
        (channel.name, account, state, ", ".join(name for name, able in channel.capabilities.items() if able))
        for channel in page.channels
        for account, state in (channel.accounts or {"": "connected"}).items()
    ]
    print_table(("CHANNEL", "ACCOUNT", "STATE", "CAN"), rows, empty="There is no channel.")


@channels.command("test")
def test_channels(
    ctx: typer.Context,
    name: Annotated[str | None, typer.Argument(help="slack or telegram; all if left out.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Asks each platform whether the configured tokens work and may do what is needed."""
    here: CliContext = ctx.obj
    findings = run(examine_channels(here.config(), name))
    failed = any(finding.level is doctor.Level.FAIL for finding in findings)
    if as_json:
        print_json({"ok": not failed, "findings": [finding.data() for finding in findings]})
    elif findings:
        print_findings(findings)
    else:
        print_text(f"No {name or 'platform'} is configured. `laneway channels setup slack|telegram` says how.")
    if failed:
        raise typer.Exit(FAILED)


@channels.command("setup")
def setup(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="slack or telegram.")],
    part: Annotated[str | None, typer.Option("--only", help="Print one part alone, e.g. `manifest`.")] = None,
) -> None:
    """Prints how to connect a platform, step by step, with all that is to be pasted."""
    here: CliContext = ctx.obj
    known = {key: plugin for key, plugin in installed().items() if isinstance(plugin, ExplainsSetup)}
    if name not in known:
        raise CliError(f"there is no set-up for `{name}`; there is one for: {', '.join(sorted(known))}")
    parts = known[name].setup(here.config())
    if part is not None and part not in parts:
        raise CliError(f"there is no part `{part}`; there are: {', '.join(parts)}")
    print_text(parts[part] if part else "\n\n".join(parts.values()))


@pairing.command("list")
def list_people(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Lists who waits to be let in, and who was."""
    here: CliContext = ctx.obj
    page = here.ask(lambda client: client.people())
    if as_json:
        print_json(page.data())
        return
    print_table(
        ("WHO", "NAME", "STATE", "CODE", "SINCE"),
        (
            (
                f"{person.channel}:{person.peer}" + (f" ({person.account})" if person.account != "default" else ""),
                person.name,
                person.state,
                person.code or "",
                fmt.ago(person.approved_at or person.created_at),
            )
            for person in page.people
        ),
        empty="Nobody waits, and nobody was let in by pairing.",
    )


@pairing.command()
def approve(ctx: typer.Context, code: Annotated[str, typer.Argument(help="The code that was told.")]) -> None:
    """Lets somebody in."""
    here: CliContext = ctx.obj
    person = here.ask(lambda client: client.approve_person(code))
    print_text(f"{person.name or person.peer} ({person.channel}:{person.peer}) may write now.")


@pairing.command()
def revoke(
    ctx: typer.Context,
    who: Annotated[str, typer.Argument(help="channel:id, as `laneway pairing list` shows it.")],
    account: Annotated[str | None, typer.Option(help="Only on this account.")] = None,
) -> None:
    """Takes the permission back; requests that wait are refused."""
    here: CliContext = ctx.obj
    channel, _, peer = who.partition(":")
    if not peer:
        raise CliError(f"`{who}` is nobody; write channel:id, as in telegram:123456")
    here.ask(lambda client: client.revoke_person(channel, peer, account))
    print_text(f"{who} may no longer write.")
