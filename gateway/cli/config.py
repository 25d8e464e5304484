"""`laneway config`: looks at the configuration without starting anything. Changes nothing."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.config import Config, ConfigError, Paths, load_config
from gateway.config.show import Setting, settings

app = typer.Typer(name="config", help="Check and show the configuration.", no_args_is_help=True)

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", help="The file to look at.", show_default="LANEWAY_CONFIG, else config.json5"),
]


@app.command()
def check(config: ConfigOption = None) -> None:
    """Say whether the configuration is valid, and what is wrong with it."""
    loaded = _load(config)
    for warning in loaded.warnings:
        typer.echo(f"warning: {warning}", err=True)
    where = loaded.source or "no file, only defaults and the environment"
    count = len(loaded.warnings)
    remark = f", {count} warning{'' if count == 1 else 's'}" if count else ""
    typer.echo(f"The configuration is valid ({where}{remark}).")


@app.command()
def show(
    config: ConfigOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print every key with its value and where it came from; secrets are covered."""
    loaded = _load(config)
    rows = settings(loaded)
    if as_json:
        source = str(loaded.source) if loaded.source else None
        typer.echo(json.dumps({"file": source, "settings": [_row(row) for row in rows]}, indent=2))
        return
    width = max(len(row.key) for row in rows)
    for row in rows:
        origin = f"env {row.variable}" if row.variable else row.source
        typer.echo(f"{row.key:<{width}}  {json.dumps(row.value, ensure_ascii=False)}  [{origin}]")


@app.command()
def schema() -> None:
    """Print the JSON Schema of the configuration, for editors."""
    typer.echo(json.dumps(Config.model_json_schema(by_alias=True), indent=2))


def _row(row: Setting) -> dict[str, object]:
    extra: dict[str, object] = {"variable": row.variable} if row.variable else {}
    if row.line is not None:
        extra["line"] = row.line
    return {"key": row.key, "value": row.value, "source": row.source, **extra}


def _load(path: Path | None) -> Config:
    try:
        return load_config(path, paths=Paths.from_env(os.environ), environ=os.environ)
    except ConfigError as error:
        typer.echo(str(error), err=True)
        count = len(error.problems)
        typer.echo(f"{count} problem{'' if count == 1 else 's'}; nothing was changed.", err=True)
        raise typer.Exit(1) from error
