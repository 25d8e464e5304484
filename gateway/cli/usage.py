"""`laneway usage`: what was used, by whom and of what (the ledger of the running gateway)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from gateway.cli import format as fmt
from gateway.cli.context import CliContext
from gateway.cli.output import JsonFlag, print_json, print_table, print_text
from gateway.client.records import UsageRow


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    app.command("usage")(usage)


def usage(
    ctx: typer.Context,
    days: Annotated[int, typer.Option(min=1, max=3660, help="So many days, today (UTC) included.")] = 30,
    by: Annotated[
        str, typer.Option(metavar="NAMES", help="Any of day, agent, model, channel, person, kind; with commas.")
    ] = "day",
    as_json: JsonFlag = False,
) -> None:
    """Shows tokens and cost of the last days."""
    here: CliContext = ctx.obj
    since = (datetime.now(UTC).date() - timedelta(days=days - 1)).isoformat()
    page = here.ask(lambda client: client.usage(since=since, by=by))
    if as_json:
        print_json(page.data())
        return
    columns = (*(name.upper() for name in page.by), "CALLS", "IN", "OUT", "CACHED", "COST")
    print_table(columns, (_cells(page.by, row) for row in page.rows), empty="Nothing was used in these days.")
    if page.truncated:
        print_text("(There are more; group by less, or by fewer days.)")
    if page.rows:
        total = page.total
        print_text(
            f"Since {page.since}: {fmt.plural(total.calls, 'call')}, {fmt.count(total.tokens.input)} in / "
            f"{fmt.count(total.tokens.output)} out, {_cost(total)}"
        )


def _cells(by: list[str], row: UsageRow) -> tuple[str, ...]:
    used = (row.tokens.input, row.tokens.output, row.tokens.cache_read)
    return (*(row.key(name) or "–" for name in by), str(row.calls), *map(fmt.count, used), _cost(row))


def _cost(row: UsageRow) -> str:
    """The cost of what has a price, and how much hasn't."""
    if row.unpriced_calls == row.calls:
        return "–"
    known = fmt.money(row.cost_usd)
    return known if not row.unpriced_calls else f"{known} + {row.unpriced_calls} without a price"
