"""`laneway doctor`: prints what `doctor` and `doctor_online` find."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from gateway import doctor
from gateway.cli import format as fmt
from gateway.cli.context import FAILED, CliContext, run
from gateway.cli.output import JsonFlag, out, print_json, print_text
from gateway.doctor.online import channels as ask_channels
from gateway.doctor.online import online as ask_providers

_MARKS = {doctor.Level.OK: ("✓", "green"), doctor.Level.WARN: ("!", "yellow"), doctor.Level.FAIL: ("✗", "red")}


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("doctor")(doctor_command)


def doctor_command(
    ctx: typer.Context,
    online: Annotated[bool, typer.Option("--online", help="Also call each provider and platform.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Checks everything that must be right, and says what to do about the rest."""
    here: CliContext = ctx.obj
    findings, config = doctor.examine(here.config_path, here.paths, here.environ)
    if online and config is not None:
        findings += run(ask_providers(config))
        findings += run(ask_channels(config))
    failed = any(finding.level is doctor.Level.FAIL for finding in findings)
    if as_json:
        print_json({"ok": not failed, "findings": [finding.data() for finding in findings]})
    else:
        print_findings(findings)
    if failed:
        raise typer.Exit(FAILED)


def print_findings(findings: list[doctor.Finding]) -> None:
    """Prints findings with what to do about each, and a summary."""
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        out.print(Text.assemble((f"{mark} ", colour), (f"{finding.part:<{width}}  ", "dim"), finding.text))
        if finding.fix and finding.level is not doctor.Level.OK:
            out.print(Text(f"  {'':<{width}}  → {finding.fix}", style="dim"))
    failed = sum(finding.level is doctor.Level.FAIL for finding in findings)
    warned = sum(finding.level is doctor.Level.WARN for finding in findings)
    summary = [fmt.plural(failed, "problem")] * bool(failed) + [fmt.plural(warned, "remark")] * bool(warned)
    print_text(f"{', '.join(summary)}." if summary else "Everything is in order.")
