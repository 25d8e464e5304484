"""Commands about the gateway as a whole: status, reload, init, version."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway import __version__
from gateway.cli import format as fmt
from gateway.cli.context import FAILED, CliContext, CliError
from gateway.cli.output import JsonFlag, print_fields, print_json, print_text
from gateway.client.records import Status, WorkerRecord
from gateway.config import ConfigError
from gateway.starter import Written, write_starter_files


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    for command in (status, reload, init, version):
        app.command(command.__name__)(command)
    # Typed as a command it never comes here (see `cli.dispatch`); this line is for the list of commands.
    app.command("start", add_help_option=False)(start)
    app.command("worker", add_help_option=False)(worker)


def start() -> None:
    """Runs the gateway in the foreground."""


def worker() -> None:
    """Works on some lanes beside the gateway, on the same PostgreSQL database."""


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


def init(
    ctx: typer.Context,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Writes starter files: a configuration and the assistant's workspace. Overwrites nothing."""
    here: CliContext = ctx.obj
    try:
        config = here.config()
    except ConfigError as error:
        raise CliError(f"correct the configuration first:\n{error}") from error
    done = write_starter_files(here.paths, config.agent(config.default_agent_id).workspace, config.source)
    if as_json:
        print_json({"written": [str(file) for file in done.written], "present": [str(file) for file in done.present]})
    elif not quiet:
        _print_written(done)


def _print_written(done: Written) -> None:
    for file in done.written:
        print_text(f"wrote  {file}")
    for file in done.present:
        print_text(f"kept   {file}")
    print_text("Ready: talk with `laneway chat`, or check with `laneway doctor`.")


def version(as_json: JsonFlag = False) -> None:
    """Shows the version."""
    if as_json:
        print_json({"version": __version__})
    else:
        print_text(f"laneway {__version__}")


def _worker(worker: WorkerRecord) -> str:
    lanes = ", ".join(worker.lanes)
    most = f", {worker.concurrency} at once" if worker.concurrency else ""
    return f"{worker.role} on {worker.host} (process {worker.pid}): {worker.running} running of {lanes}{most}"


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
        *(("Worker", _worker(each)) for each in status.workers),
        ("Sessions", str(status.sessions)),
        ("Sub-agents", f"{status.active_runs} active"),
        ("Outbox", outbox),
        ("Approvals", f"{status.approvals} waiting" if status.approvals else "none waiting"),
    ]
