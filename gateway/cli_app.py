"""The command line's application: everything but `laneway start`. Needs typer and rich, so no gateway imports it.

Core commands are registered here; a plugin adds its own by a method `cli(app)` (the terminal's is `chat`). Plugins are
imported only when the command isn't one of the core's, or when the list of commands is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer
from typer.main import get_command

from gateway import cli_config, cli_outbox, cli_runs, cli_service, cli_sessions
from gateway.cli import command_of
from gateway.cli_context import KNOWN_ERRORS, CliContext
from gateway.cli_errors import exit_code
from gateway.config.load import CONFIG_VARIABLE
from gateway.plugins import GROUP


@runtime_checkable
class AddsCommands(Protocol):
    """A plugin with commands of its own."""

    def cli(self, app: typer.Typer) -> None:
        """Adds them. `ctx.obj` of a command is a `CliContext`."""
        ...


def main(arguments: Sequence[str]) -> int:
    """Runs one command; returns its exit code."""
    app = build(command_of(arguments))
    return exit_code(lambda: _run(app, list(arguments)), KNOWN_ERRORS)


def build(command: str | None) -> typer.Typer:
    """The application, with the plugins' commands if `command` isn't a core one."""
    app = typer.Typer(
        name="laneway",
        help="A self-hosted chat gateway whose sub-agents survive anything.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    cli_service.register(app)
    groups = {
        "config": cli_config.app,
        "sessions": cli_sessions.app,
        "subagents": cli_runs.app,
        "outbox": cli_outbox.app,
    }
    for name, group in groups.items():
        app.add_typer(group, name=name)
    core = {*groups, *(info.name for info in app.registered_commands)}
    if command not in core:
        _add_plugin_commands(app)
    return app


def _root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Configuration; else LANEWAY_CONFIG, else config.json5."),
    ] = None,
) -> None:
    if config is not None:
        # The one way that every part below, `laneway config` included, learns of it.
        os.environ[CONFIG_VARIABLE] = str(config.absolute())
    ctx.obj = CliContext.here(config.absolute() if config else None)


def _add_plugin_commands(app: typer.Typer) -> None:
    for entry in sorted(entry_points(group=GROUP), key=lambda item: item.name):
        try:
            plugin = entry.load()
        except (ImportError, AttributeError) as error:
            typer.echo(f"laneway: plugin `{entry.name}` can't be loaded: {error}", err=True)
            continue
        if isinstance(plugin, AddsCommands):
            plugin.cli(app)


def _run(app: typer.Typer, arguments: list[str]) -> int:
    # Not `app(…)`: that puts typer's own report in the place of ours for whatever goes wrong.
    command = get_command(app)
    try:
        command.main(args=arguments, prog_name="laneway")
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    return 0
