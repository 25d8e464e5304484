"""A small terminal: turns what a program writes into the lines that a person sees.

Knows what prompt_toolkit and rich use: relative cursor moves, erasing, colours (ignored). Lines that scroll off the top
are kept.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from prompt_toolkit.utils import get_cwidth

_TOKEN = re.compile(
    r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[=>]|\x1b\([A-Z0-9]|[\r\n\b\x07]|[^\x00-\x1f\x7f]"
)
_UNFINISHED = re.compile(r"\x1b(\[[0-9;?]*|\][^\x07]*)?$")


class Screen:
    """Lines of characters and a cursor.

    Args:
        columns: its width.
        rows: its height.
        answer: gets what the terminal itself says: where the cursor is, when the program asks.
    """

    def __init__(self, columns: int, rows: int, answer: Callable[[str], None]) -> None:
        self._columns = columns
        self._rows = rows
        self._answer = answer
        self._cells: list[list[str]] = [[]]
        self._row = self._column = 0
        self._rest = ""

    @property
    def lines(self) -> list[str]:
        """What is visible, and what has scrolled away above it."""
        return ["".join(row).rstrip() for row in self._cells]

    def feed(self, text: str) -> None:
        """Takes what the program wrote."""
        text = self._rest + text
        cut = _UNFINISHED.search(text)
        self._rest = text[cut.start() :] if cut else ""
        for match in _TOKEN.finditer(text[: cut.start()] if cut else text):
            if match[2]:
                self._control(match[2], match[1])
            elif len(match[0]) == 1:
                self._character(match[0])

    def _character(self, char: str) -> None:
        if char == "\r":
            self._column = 0
        elif char == "\n":
            self._down(1)
        elif char == "\b":
            self._column = max(0, self._column - 1)
        elif char != "\x07":
            self._put(char, get_cwidth(char))

    def _put(self, char: str, width: int) -> None:
        if self._column + width > self._columns:
            self._down(1)
            self._column = 0
        row = self._cells[self._row]
        row.extend(" " * (self._column + width - len(row)))
        if width == 0 and self._column:
            row[self._column - 1] += char
        elif width:
            row[self._column : self._column + width] = [char, *[""] * (width - 1)]
        self._column += width

    def _down(self, count: int) -> None:
        self._row += count
        self._cells.extend([] for _ in range(self._row + 1 - len(self._cells)))

    def _control(self, command: str, arguments: str) -> None:
        number = int(arguments) if arguments.isdecimal() else 0
        if command == "A":
            self._row = max(0, self._row - max(1, number))
        elif command == "B":
            self._down(max(1, number))
        elif command == "C":
            self._column = min(self._columns - 1, self._column + max(1, number))
        elif command == "D":
            self._column = max(0, self._column - max(1, number))
        elif command == "n" and number == 6:
            top = max(0, len(self._cells) - self._rows)
            self._answer(f"\x1b[{self._row - top + 1};{self._column + 1}R")
        elif command == "K":
            del self._cells[self._row][self._column :]
        elif command == "J" and number == 0:
            del self._cells[self._row][self._column :]
            del self._cells[self._row + 1 :]
