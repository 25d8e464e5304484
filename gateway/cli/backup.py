"""`laneway backup` and `laneway restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway import backup, restore
from gateway.cli import format as fmt
from gateway.cli.context import CliContext, CliError
from gateway.cli.output import JsonFlag, print_json, print_text
from gateway.config import Config, ConfigError
from gateway.store.database import StoreError
from gateway.store.lock import LockHeld


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command("backup")(backup_command)
    app.command("restore")(restore_command)


def backup_command(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="Archive to write, or a folder to put it into.")],
    as_json: JsonFlag = False,
) -> None:
    """Writes the whole state into one archive, while the gateway runs or not."""
    here: CliContext = ctx.obj
    try:
        done = backup.create_backup(backup.Sources.of(here.paths, _config(here)), path)
    except (backup.BackupError, StoreError) as error:
        raise CliError(str(error)) from error
    if as_json:
        print_json({"path": str(done.path), "bytes": done.bytes, "files": done.files, "databaseServer": done.server})
    else:
        print_text(f"Wrote {done.path} ({fmt.plural(done.files, 'file')}, {done.bytes / 1e6:.1f} MB)")
        if done.server is not None:
            print_text(
                f"The database isn't in it: copy it with pg_dump before the files, from {done.server} (docs/scaling.md)"
            )


def restore_command(
    ctx: typer.Context,
    path: Annotated[Path, typer.Argument(help="Archive that `laneway backup` wrote.")],
    force: Annotated[bool, typer.Option("--force", help="Replace the state that is there; it is kept beside.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Puts a backup into the state folder. The gateway must be stopped."""
    here: CliContext = ctx.obj
    try:
        done = restore.restore_backup(here.paths, path, environ=here.environ, config_file=here.config_path, force=force)
    except LockHeld as error:
        raise CliError(f"stop the gateway first: {error}") from error
    except (backup.BackupError, StoreError) as error:
        raise CliError(str(error)) from error
    if as_json:
        kept = str(done.kept) if done.kept else None
        database = str(done.database)
        print_json({"files": done.files, "createdAt": done.created_at, "database": database, "kept": kept})
        return
    print_text(f"Restored {fmt.plural(done.files, 'file')} of {done.created_at} into {here.paths.state}")
    if done.server is not None:
        print_text(f"Its database isn't in it: restore the dump of {done.server} with pg_restore or psql")
    elif done.database != here.paths.database:
        print_text(f"The database is {done.database} (database.url)")
    if done.kept:
        print_text(f"What was there before is in {done.kept}")


def _config(here: CliContext) -> Config | None:
    try:
        return here.config()
    except ConfigError:
        # It must not keep anybody from saving his state.
        text = f"warning: the configuration is wrong, so that the database is taken to be {here.paths.database}"
        typer.echo(f"{text} (see `laneway config check`)", err=True)
        return None
