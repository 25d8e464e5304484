"""Markdown made ready for telegramify-markdown, which drops or misreads some of what people write.

What it does without this (seen in version 1.4): HTML and `<placeholders>` vanish; `a || b || c` becomes a spoiler
without its bars; `$HOME/bin:$PATH` becomes code without its dollars; LaTeX is converted inside code blocks as well, and
a formula in a table lands before it; links and pictures in table cells, titles of links, links without a text and
unused reference definitions vanish; a link that Telegram can't open is dropped by the server, with its address.

Single characters are replaced by rare ones of the same width, so that offsets stay right, and put back afterwards;
links that would be lost are written out as `text (address)`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from channels.telegram.gaps import gaps, tag

GUARDS = "⟅⟆⦃⦄⦅⦆⦇⦈⦉⦊⦗⦘⧘⧙⧚⧛⧼⧽"
"""Punctuation that hardly anybody writes: one UTF-16 unit each, without a meaning in Markdown."""
_GUARDED = "<$|\n"
_ESCAPED = r"(?<!\\)(?:\\\\)*\\"
_MATH = re.compile(r"\$\$[^$|]*\\[A-Za-z][^$|]*\$\$|\$(?=\S)[^$\n|]*\\[A-Za-z][^$\n|]*(?<=\S)\$(?!\d)")
_BRACKETS = re.compile(rb"\\\[([^\\$|]*\\[A-Za-z][^$|]*?)\\\]|\\\(([^\\$|\n]*\\[A-Za-z][^$|\n]*?)\\\)")
_DEFINITION = re.compile(rb"^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*\[([^\]\n]+)\]:", re.MULTILINE)
_CELL_BAR = re.compile(rb"(?<!\\)\|")
_BARS = re.compile(rb"\|(?=\|)")
_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_OPENABLE = re.compile(r"(?:https?://(?:[\w-]+\.)+[\w-]+(?::\d{1,5})?(?:[/?#][^\s\x00-\x20]*)?|tg://\w[\w?=&%.-]*)")

_LINKS = frozenset(("Link", "Image"))

Edit = tuple[int, int, bytes]
Events = Iterable[tuple[Any, Any]]


def openable(url: str) -> bool:
    """Whether Telegram makes a link of an address: the web with a dot in the host's name, or `tg://`."""
    return _OPENABLE.fullmatch(url) is not None


@dataclass(frozen=True, slots=True)
class Guards:
    """Characters that stand for others while the library works."""

    table: dict[int, str]

    def hidden(self, text: str, *, math: bool) -> str:
        """With rare characters for `<`, and for `$` except (with `math`) around formulas.

        One that is escaped by a backslash stays: it means itself already, and the backslash goes.
        """
        less, dollar = self.table[ord("<")], self.table[ord("$")]
        text = re.sub(rf"({_ESCAPED})?<", lambda found: found.group() if found.group(1) else less, text)
        kept = [found.span() for found in _MATH.finditer(text) if not _barred(text, *found.span())] if math else []

        def guarded(found: re.Match[str]) -> str:
            at = found.end() - 1
            if found.group(1) or any(start <= at < end for start, end in kept):
                return found.group()
            return dollar

        return re.sub(rf"({_ESCAPED})?\$", guarded, text)

    @property
    def newline(self) -> bytes:
        """What stands for a line break."""
        return self.table[ord("\n")].encode()

    @property
    def bar(self) -> bytes:
        """What stands for `|`."""
        return self.table[ord("|")].encode()

    def shown(self, text: str) -> str:
        """The characters that were meant."""
        for code, rare in self.table.items():
            text = text.replace(rare, chr(code))
        return text


def _barred(text: str, start: int, end: int) -> bool:
    """Whether the lines of a stretch have bars, as a table's have."""
    first, last = text.rfind("\n", 0, start) + 1, text.find("\n", end)
    return "|" in text[first : last if last >= 0 else len(text)]


def has_formulas(text: str) -> bool:
    """Whether there is LaTeX between dollars or `\\(…\\)`."""
    return _MATH.search(text) is not None or _BRACKETS.search(text.encode()) is not None


def guards(text: str) -> Guards | None:
    """Guards that don't occur in a text; None if it uses nearly all of them."""
    free = [rare for rare in GUARDS if rare not in text]
    if len(free) < len(_GUARDED):
        return None
    return Guards({ord(plain): rare for plain, rare in zip(_GUARDED, free, strict=False)})


def prepared(text: str, guard: Guards, parse: Callable[[str], Events], *, math: bool) -> str:
    """The text with lost links written out, formulas in brackets as `$…$`, and no bars that make a spoiler.

    Args:
        text: with hidden characters.
        guard: what hid them.
        parse: pyromark's, which gives events with ranges.
        math: formulas are wanted.
    """
    source, events = text.encode(), [*parse(text)]
    found = _Found.among(events)
    if wider := [*_overfull(source, guard, found)]:
        source = _edited(source, wider)
        events = [*parse(source.decode())]
        found = _Found.among(events)
    breaks = ((at, at, guard.newline) for at in gaps(events))
    formulas = _formulas(source, found) if math else ()
    edits = [*breaks, *found.links(source), *formulas, *_definitions(source, found), *_bars(source, guard, found)]
    return _edited(source, edits).decode()


def _edited(source: bytes, edits: Iterable[Edit]) -> bytes:
    parts: list[bytes] = []
    at = 0
    for start, end, new in sorted(edits):
        if start >= at:
            parts += [source[at:start], new]
            at = end
    return b"".join([*parts, source[at:]])


@dataclass(frozen=True, slots=True)
class _Link:
    start: int
    end: int
    url: str
    title: str
    label: str
    inner: tuple[int, int] | None
    """Range of its text; None if there is none."""
    lost: bool
    """The library or the server would drop the address."""


@dataclass(frozen=True, slots=True)
class _Found:
    """What the parser found, as ranges of bytes."""

    code: list[tuple[int, int]]
    tables: list[tuple[int, int]]
    rows: list[tuple[int, int, int]]
    """Rows of tables with the number of columns that their table has."""
    found: list[_Link]

    @classmethod
    def among(cls, events: Events) -> _Found:
        """Reads the parser's events."""
        result = cls([], [], [], [])
        columns = 0
        around: list[tuple[dict[str, str], int, int, list[int]]] = []
        for event, where in events:
            span = where["start"], where["end"]
            if tag(event, "End") in _LINKS:
                result.found.append(result.read(*around.pop(), nested=bool(around)))
                continue
            if around:
                around[-1][3].extend(span)
            kind = tag(event, "Start")
            if kind in _LINKS:
                around.append((event["Start"][kind], *span, []))
            elif kind == "CodeBlock" or "Code" in event:
                result.code.append(span)
            elif kind == "Table":
                result.tables.append(span)
                columns = len(event["Start"][kind])
            elif kind == "TableRow":
                result.rows.append((*span, columns))
        return result

    def read(self, link: dict[str, str], start: int, end: int, inner: list[int], *, nested: bool) -> _Link:
        """A link that has ended."""
        lost = nested or _in(self.tables, start) or not inner or bool(link["title"]) or not openable(link["dest_url"])
        span = (min(inner), max(inner)) if inner else None
        return _Link(start, end, link["dest_url"], link["title"], link["id"], span, lost)

    def links(self, source: bytes) -> Iterator[Edit]:
        """Lost links as `text (address)`."""
        for link in self.found:
            if not link.lost:
                continue
            words = " ".join(filter(None, (link.url, link.title)))
            address = _PUNCTUATION.sub(r"\\\1", words).encode()
            if link.inner is None:
                yield link.start, link.end, address
            else:
                yield link.start, link.inner[0], b""
                yield link.inner[1], link.end, b" \\(" + address + b"\\)" if address else b""


def _in(ranges: list[tuple[int, int]], at: int) -> bool:
    return any(start <= at < end for start, end in ranges)


def _formulas(source: bytes, found: _Found) -> Iterator[Edit]:
    for match in _BRACKETS.finditer(source):
        if not _in(found.code, match.start()) and not _in(found.tables, match.start()):
            yield (
                match.start(),
                match.end(),
                b"$$%s$$" % match[1] if match[1] is not None else b"$%s$" % match[2].strip(),
            )


def _definitions(source: bytes, found: _Found) -> Iterator[Edit]:
    """Reference definitions that no link uses, as text."""
    used = {link.label.casefold() for link in found.found if link.label}
    for match in _DEFINITION.finditer(source):
        if match[1].decode().casefold() not in used and not _in(found.code, match.start()):
            at = match.start(1) - 1
            yield at, at, b"\\"


def _overfull(source: bytes, guard: Guards, found: _Found) -> Iterator[Edit]:
    """Bars of a row beyond its table's columns, whose cells would vanish, as text of the last cell."""
    for start, end, columns in found.rows:
        row = source[start:end].rstrip()
        bars = [start + match.start() for match in _CELL_BAR.finditer(row)]
        if row.lstrip().startswith(b"|"):
            bars = bars[1:]
        if row.endswith(b"|") and bars:
            bars = bars[:-1]
        for at in bars[columns - 1 :]:
            yield at, at + 1, guard.bar


def _bars(source: bytes, guard: Guards, found: _Found) -> Iterator[Edit]:
    """Two bars: an empty cell in a table, elsewhere an or."""
    for match in _BARS.finditer(source):
        at = match.start()
        yield (at + 1, at + 1, b" ") if _in(found.tables, at) else (at, at + 1, guard.bar)
