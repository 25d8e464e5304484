"""Commands about the gateway as a whole: status, reload, doctor, init, backup, restore, version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway import __version__, backup, doctor
from gateway import cli_format as fmt
from gateway.cli_context import FAILED, CliContext, CliError, run
from gateway.cli_output import JsonFlag, out, print_fields, print_json, print_text
from gateway.client_records import Status
from gateway.config import ConfigError
from gateway.doctor_online import online as ask_providers
from gateway.starter import write_starter_files
from gateway.store.database import StoreError
from gateway.store.lock import LockHeld

_MARKS = {
    doctor.Level.OK: ("✓", "green"),
    doctor.Level.WARN: ("!", "yellow"),
    doctor.Level.FAIL: ("✗", "red"),
}


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    for command in (status, reload, doctor_command, init, backup_command, restore_command, version):
        app.command(command.__name__.removesuffix("_command"))(command)
    # Typed as a command it never comes here (see `cli.dispatch`); this line is for the list of commands.
    app.command("start", add_help_option=False)(start)


def start() -> None:
    """Runs the gateway in the foreground."""


def status(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Shows what the running gateway is doing."""
    here: CliContext = ctx.obj
    answer = here.ask(lambda client: client.status())
    if as_json:
        print_json(answer.data())
    else:
        print_fields(_status_fields(answer))


def reload(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Makes the running gateway read its configuration again."""
    here: CliContext = ctx.obj
    answer = here.ask(lambda client: client.reload())
    if as_json:
        print_json(answer.data())
    else:
        for problem in answer.problems:
            print_text(str(problem))
        for name in answer.restart_needed:
            print_text(f"{name}: takes effect at the next start")
        print_text("The configuration is in use." if answer.reloaded else "Nothing was changed.")
    if not answer.reloaded:
        raise typer.Exit(FAILED)


def doctor_command(
    ctx: typer.Context,
    online: Annotated[bool, typer.Option("--online", help="Also make one tiny call to each provider.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Checks everything that must be right, and says what to do about the rest."""
    here: CliContext = ctx.obj
    findings, config = doctor.examine(here.config_path, here.paths, here.environ)
    if online and config is not None:
        findings += run(ask_providers(config))
    failed = any(finding.level is doctor.Level.FAIL for finding in findings)
    if as_json:
        print_json({"ok": not failed, "findings": [finding.data() for finding in findings]})
    else:
        _print_findings(findings)
    if failed:
        raise typer.Exit(FAILED)


def init(ctx: typer.Context, as_json: JsonFlag = False) -> None:
    """Writes starter files: a configuration and the assistant's workspace. Overwrites nothing."""
    here: CliContext = ctx.obj
    try:
        config = here.config()
    except ConfigError as error:
        raise CliError(f"correct the configuration first:\n{error}") from error
    done = write_starter_files(here.paths, config.agent(config.default_agent_id).workspace, config.source)
    if as_json:
        print_json({"written": [str(file) for file in done.written], "present": [str(file) for file in done.present]})
        return
    for file in done.written:
        print_text(f"wrote  {file}")
    for file in done.present:
        print_text(f"kept   {file}")
    print_text("Ready: talk with `laneway chat`, or check with `laneway doctor`.")


def backup_command(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="Archive to write, or a folder to put it into.")],
    as_json: JsonFlag = False,
) -> None:
    """Writes the whole state into one archive, while the gateway runs or not."""
    here: CliContext = ctx.obj
    try:
        done = backup.create_backup(here.paths, path, _config_file(here))
    except backup.BackupError as error:
        raise CliError(str(error)) from error
    if as_json:
        print_json({"path": str(done.path), "bytes": done.bytes, "files": done.files})
    else:
        print_text(f"Wrote {done.path} ({fmt.plural(done.files, 'file')}, {done.bytes / 1e6:.1f} MB)")


def restore_command(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="Archive that `laneway backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the state that is there; it is kept beside.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Puts a backup into the state folder. The gateway must be stopped."""
    here: CliContext = ctx.obj
    try:
        done = backup.restore_backup(here.paths, path, force=force)
    except LockHeld as error:
        raise CliError(f"stop the gateway first: {error}") from error
    except (backup.BackupError, StoreError) as error:
        raise CliError(str(error)) from error
    if as_json:
        kept = str(done.kept) if done.kept else None
        print_json({"files": done.files, "createdAt": done.created_at, "kept": kept})
        return
    print_text(f"Restored {fmt.plural(done.files, 'file')} of {done.created_at} into {here.paths.state}")
    if done.kept:
        print_text(f"What was there before is in {done.kept}")


def version(as_json: JsonFlag = False) -> None:
    """Shows the version."""
    if as_json:
        print_json({"version": __version__})
    else:
        print_text(f"laneway {__version__}")


def _config_file(here: CliContext) -> Path | None:
    try:
        return here.config().source
    except ConfigError:
        return None  # a broken configuration must not keep anybody from saving his state


def _print_findings(findings: list[doctor.Finding]) -> None:
    width = max(len(finding.part) for finding in findings)
    for finding in findings:
        mark, colour = _MARKS[finding.level]
        out.print(Text(f"{mark} ", style=colour) + Text(f"{finding.part:<{width}}  ", style="dim") + Text(finding.text))
        if finding.fix and finding.level is not doctor.Level.OK:
            out.print(Text(f"  {'':<{width}}  → {finding.fix}", style="dim"))
    failed = sum(finding.level is doctor.Level.FAIL for finding in findings)
    warned = sum(finding.level is doctor.Level.WARN for finding in findings)
    summary = [fmt.plural(failed, "problem")] * bool(failed) + [fmt.plural(warned, "remark")] * bool(warned)
    print_text(f"{', '.join(summary)}." if summary else "Everything is in order.")


def _status_fields(status: Status) -> list[tuple[str, str]]:
    lanes = (
        f"{name} {lane.running}/{lane.cap}" + (f" (+{lane.waiting} waiting)" if lane.waiting else "")
        for name, lane in status.lanes.items()
    )
    outbox = f"{status.outbox.pending} pending, {status.outbox.failed} failed"
    return [
        ("Gateway", f"{status.url} (process {status.pid}, version {status.version})"),
        ("Running", fmt.duration(status.uptime_seconds)),
        ("Model", status.model + (" (scripted stand-in: no provider has a key)" if status.offline else "")),
        ("State", status.state),
        ("Lanes", ", ".join(lanes)),
        ("Sessions", str(status.sessions)),
        ("Sub-agents", f"{status.active_runs} active"),
        ("Outbox", outbox),
        ("Approvals", f"{status.approvals} waiting" if status.approvals else "none waiting"),
    ]
