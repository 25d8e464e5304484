"""`laneway db migrate-to`: moves the state from SQLite to PostgreSQL."""

from __future__ import annotations

from typing import Annotated

import typer

from gateway.cli import format as fmt
from gateway.cli.context import CliContext, CliError
from gateway.cli.output import JsonFlag, print_json, print_text
from gateway.store.database import StoreError
from gateway.store.lock import LockHeld, StateLock
from gateway.store.open import POSTGRES, database_file, postgres_url, without_password

app = typer.Typer(name="db", help="The database as a whole.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """The database as a whole."""


@app.command("migrate-to")
def migrate_to(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="postgresql://user:password@host/name, an empty database.")],
    as_json: JsonFlag = False,
) -> None:
    """Copies the whole state from SQLite to PostgreSQL and checks it row by row. The gateway must be stopped."""
    here: CliContext = ctx.obj
    config = here.config()
    if url.partition("://")[0] not in POSTGRES:
        raise CliError(
            f"`{without_password(url)}` is no PostgreSQL address; one looks like postgresql://user@host/name"
        )
    if postgres_url(config) is not None:
        raise CliError("database.url names PostgreSQL already: there is nothing to move")
    lock = StateLock(here.paths.lock)
    try:
        file = database_file(config)
        if not file.exists():
            raise CliError(
                f"there is nothing to move: {file} doesn't exist; name the database in database.url and start"
            )
        lock.acquire()
    except LockHeld as error:
        raise CliError(f"stop the gateway first: {error}") from error
    except StoreError as error:
        raise CliError(str(error)) from error
    try:
        # Only now: without PostgreSQL its driver need not be installed.
        from gateway.store.transfer import transfer

        moved: dict[str, int] = {}
        total = transfer(file, url, moved.__setitem__)
    except ImportError as error:
        raise CliError(f"`{error.name}` isn't installed: pip install 'laneway[postgres]'") from error
    except StoreError as error:
        raise CliError(str(error)) from error
    finally:
        lock.release()
    source = config.source or here.paths.config_file
    line = f'database: {{ url: "{without_password(url)}" }}'
    if as_json:
        print_json({"rows": total, "tables": moved, "from": str(file), "to": without_password(url), "config": line})
        return
    for table, number in moved.items():
        if number:
            print_text(f"{table:<18} {fmt.plural(number, 'row')}, checked")
    print_text(f"Copied {fmt.plural(total, 'row')}; {file} is as it was.")
    print_text(f"Now write into {source}, with the password, and start the gateway:\n\n    {line}\n")
