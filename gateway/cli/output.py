"""What the command line prints: tables for people, JSON for scripts."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from gateway.cli.format import clean

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")]

out = Console(highlight=False, soft_wrap=True)
"""Standard output; lines are never broken, so that scripts and terminals of any width get whole ones."""


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")


def print_text(text: str) -> None:
    """Text as it is: nothing in it is taken for markup or for a command to the terminal."""
    out.print(Text(clean(text)))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], empty: str) -> None:
    """Columns aligned over all rows and never shortened, or the sentence `empty` where there are no rows."""
    table = [[clean(cell) for cell in row] for row in rows]
    if not table:
        print_text(empty)
        return
    widths = [max(cell_len(row[index]) for row in (columns, *table)) for index in range(len(columns))]
    out.print(_row(columns, widths, "bold"))
    for row in table:
        out.print(_row(row, widths, ""))


def _row(cells: Sequence[str], widths: Sequence[int], style: str) -> Text:
    padded = (set_cell_size(cell, width) for cell, width in zip(cells, widths, strict=True))
    return Text("  ".join(padded).rstrip(), style=style)


def print_fields(fields: Iterable[tuple[str, str]]) -> None:
    """`Name: value` lines, values aligned; fields with an empty value are left out."""
    shown = [(name, value) for name, value in fields if value]
    width = max((len(name) for name, _ in shown), default=0)
    for name, value in shown:
        out.print(Text.assemble((f"{name + ':':<{width + 1}} ", "bold"), clean(value)))
