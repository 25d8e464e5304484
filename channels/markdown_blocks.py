"""Where a Markdown document may be cut: its smallest blocks, found by markdown-it.

A block here is a paragraph, a heading, a list item's first paragraph, a table row, a code block: whole lines. The
blocks of a document cover all of its lines. What a piece needs when it begins in the middle of something — a table's
header, a fence, less indentation — stands in the block.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

_NEWLINE = re.compile(r"\r\n?|\n")
_CONTAINER = re.compile(r"[ \t]*(?:>[ \t]?|(?:[-+*]|\d{1,9}[.)])(?:[ \t]+|$))")
_QUOTES = re.compile(r"(?:[ \t]{0,3}>[ \t]?)*")
_TAB = 4


def _parser() -> MarkdownIt:
    """Blocks alone; HTML and reference definitions are text, as they are for people on chat platforms."""
    parser = MarkdownIt("commonmark").enable("table").disable(["html_block", "reference"])
    parser.core.ruler.enableOnly(["normalize", "block"])
    return parser


_PARSER = _parser()
_LEAVES = frozenset(("paragraph_open", "heading_open", "fence", "code_block", "hr", "tr_open"))
_CONTAINERS = frozenset(("bullet_list_open", "ordered_list_open", "list_item_open", "blockquote_open", "table_open"))


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive lines of a document that belong together."""

    start: int
    """Number of its first line."""
    end: int
    """One past its last line; blank lines after it included."""
    kind: str = "paragraph"
    """`paragraph`, `heading`, `fence`, `code`, `rule`, `row`, or `table`: header, delimiter and first row."""
    level: int = 0
    """How deep it lies in lists and quotes; a cut at a low level reads better."""
    indent: int = 0
    """Columns to take from its lines when a piece begins with it, so that they don't become code."""
    header: tuple[int, int] | None = None
    """Lines of the header that a piece beginning with this table row must repeat."""
    fence: str = ""
    """What closes it, for a fence."""
    close: str = ""
    """The line that must close it where its container doesn't, for a fence that nothing closes."""


@dataclass(frozen=True, slots=True)
class Document:
    """The lines of a document and its blocks in order."""

    lines: tuple[str, ...]
    blocks: tuple[Block, ...]
    outermost: tuple[int, ...]
    """First lines of the blocks that lie in no container, in order."""

    def container_end(self, line: int) -> int:
        """Number of the first line after this one that lies in no container with it."""
        after = bisect_right(self.outermost, line)
        return self.outermost[after] if after < len(self.outermost) else len(self.lines)


def parse(markdown: str) -> Document:
    """Finds the blocks of a document."""
    lines = tuple(_NEWLINE.split(markdown))
    starts: dict[int, Block] = {}
    for block in _found(_PARSER.parse(markdown), lines):
        known = starts.get(block.start)
        # Of those that begin on one line the outermost gives the level, the innermost the kind.
        starts[block.start] = replace(block, level=known.level) if known else block
    starts.setdefault(0, Block(0, 0))
    ordered = [starts[start] for start in sorted(starts)]
    ends = [*(block.start for block in ordered[1:]), len(lines)]
    blocks = tuple(replace(block, end=end) for block, end in zip(ordered, ends, strict=True))
    return Document(lines, blocks, tuple(block.start for block in blocks if block.level == 0))


def _found(tokens: Sequence[Token], lines: Sequence[str]) -> Iterator[Block]:
    header: tuple[int, int] | None = None
    rows = 0
    for token in tokens:
        if token.map is None or token.type not in _LEAVES | _CONTAINERS:
            continue
        start, end = token.map
        if token.type == "table_open":
            header, rows = (start, start + 2), 0
            yield Block(start, end, "table", token.level, _indent(lines[start]))
        elif token.type == "tr_open":
            rows += 1
            if rows > 2:  # the header and the first row are the table's own block
                yield Block(start, end, "row", token.level, _indent(lines[start]), header)
        elif token.type == "code_block":
            own = len(token.content) - len(token.content.lstrip(" "))
            yield Block(start, end, "code", token.level, max(0, _indent(lines[start]) - _TAB - own))
        elif token.type == "fence":
            closed = end - start > 1 and _closes(lines[end - 1], token.markup)
            close = "" if closed else opening(lines[start]) + token.markup
            yield Block(start, end, "fence", token.level, _indent(lines[start]), fence=token.markup, close=close)
        else:
            kind = {"heading_open": "heading", "hr": "rule"}.get(token.type, "paragraph")
            yield Block(start, end, kind, token.level, _indent(lines[start]))


# ---------------------------------------------------------------------- lines


def quotes(line: str) -> str:
    """The quote marks that a line begins with."""
    found = _QUOTES.match(line)
    return found.group() if found else ""


def dedent(line: str, columns: int) -> str:
    """A line with that much less indentation, inside its quote marks."""
    if not columns:
        return line
    marks = quotes(line)
    rest = line[len(marks) :]
    text = rest.lstrip(" \t")
    blank = rest[: len(rest) - len(text)].expandtabs(_TAB)
    return marks + blank[columns:] + text


def continued(line: str) -> str:
    """A line that opens something, as it must read further down: list marks become blanks, quote marks stay."""
    at = 0
    parts: list[str] = []
    while (found := _CONTAINER.match(line, at)) and found.end() > at:
        mark = found.group()
        parts.append(mark if ">" in mark else " " * len(mark))
        at = found.end()
    return "".join(parts) + line[at:]


def opening(line: str) -> str:
    """What stands before the text of a line that opens something, as it must read further down."""
    whole = continued(line)
    return whole[: len(whole) - len(whole.lstrip(" \t>"))]


def _closes(line: str, fence: str) -> bool:
    """Whether a line closes a code block."""
    mark = line.lstrip(" \t>").rstrip()
    return len(mark) >= len(fence) and set(mark) == {fence[0]}


def _indent(line: str) -> int:
    rest = line[len(quotes(line)) :]
    return len(rest[: len(rest) - len(rest.lstrip(" \t"))].expandtabs(_TAB))
