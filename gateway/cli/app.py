"""The command line's application: everything but `laneway start`. Needs typer and rich, so no gateway imports it.

A plugin adds commands of its own by a method `cli(app)` (the terminal adds `chat`). Only what the typed command needs
is imported; plugins and everything else only when it isn't a core command, or when the list of commands is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer
from typer.main import get_command

from gateway import __version__
from gateway.cli.context import KNOWN_ERRORS, CliContext
from gateway.cli.errors import exit_code
from gateway.cli.words import command_of
from gateway.config.load import CONFIG_VARIABLE

CORE: Mapping[str | None, str] = {
    "start": "gateway.cli.service",
    "worker": "gateway.cli.service",
    "status": "gateway.cli.service",
    "reload": "gateway.cli.service",
    "init": "gateway.cli.service",
    "version": "gateway.cli.service",
    "config": "gateway.cli.config",
    "doctor": "gateway.cli.doctor",
    "sessions": "gateway.cli.sessions",
    "open": "gateway.cli.signins",
    "subagents": "gateway.cli.runs",
    "jobs": "gateway.cli.jobs",
    "agent": "gateway.cli.agent",
    "outbox": "gateway.cli.outbox",
    "channels": "gateway.cli.channels",
    "pairing": "gateway.cli.channels",
    "usage": "gateway.cli.usage",
    "backup": "gateway.cli.backup",
    "db": "gateway.cli.db",
    "restore": "gateway.cli.backup",
    "mcp": "gateway.cli.mcp",
}
"""Core commands and the modules that hold them: only what was typed is imported, since some need the database's
library. A module either registers its commands or is one group, `app`."""


@runtime_checkable
class Registers(Protocol):
    """A module with single commands."""

    def register(self, app: typer.Typer) -> None:
        """Adds them."""
        ...


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
    """The application with this one command; with all of them, the plugins' included, if it isn't one of the core's."""
    app = typer.Typer(
        name="laneway",
        help="A self-hosted chat gateway whose sub-agents survive anything.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    if command not in CORE:
        _add_plugin_commands(app)
    for module in [CORE[command]] if command in CORE else dict.fromkeys(CORE.values()):
        loaded = import_module(module)
        if isinstance(loaded, Registers):
            loaded.register(app)
        else:
            app.add_typer(loaded.app)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"laneway {__version__}")
        raise typer.Exit


def _root(
    ctx: typer.Context,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Configuration; else LANEWAY_CONFIG, else config.json5."),
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_version)
    ] = False,
) -> None:
    if config is not None:
        # The one way that every part below, `laneway config` included, learns of it.
        os.environ[CONFIG_VARIABLE] = str(config.absolute())
    ctx.obj = CliContext.here(config.absolute() if config else None)


def _add_plugin_commands(app: typer.Typer) -> None:
    from gateway.plugins import GROUP  # loads half of the gateway, as the plugins themselves do

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
