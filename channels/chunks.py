"""Cutting a Markdown document into messages.

Pieces end at borders of blocks: paragraphs, list items, table rows (whose header the next piece repeats). A code block
that doesn't fit is closed and opened again with the same info string, a paragraph is cut after a sentence, a word, a
character. Nothing is lost: every character but blanks comes in its order; only fences, table headers and quote marks
come again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from channels.long_text import cut, cut_anywhere
from channels.longest import longest
from channels.markdown_blocks import Block, Document, continued, dedent, opening, parse, quotes

Fits = Callable[[str], bool]

_CODE = "    "
_MARKS = 16
"""Longest run of quote marks that is repeated."""
_ENOUGH = 0.6
"""A piece may end so early, as a share of what fits, for the sake of a better border."""


def split(markdown: str, fits: Fits) -> list[str]:
    """Pieces of a document, each of which fits; none if there is nothing but blanks.

    Args:
        markdown: the document.
        fits: whether a piece can be posted. A part of what fits must fit, and so must any single character.
    """
    if not markdown.strip():
        return []
    if fits(markdown):
        return [markdown]
    return [piece for piece in _Cutter(parse(markdown), fits).pieces() if piece.strip()]


class _Cutter:
    """Goes through the blocks of a document, taking as many for a piece as fit."""

    def __init__(self, document: Document, fits: Fits) -> None:
        self._document = document
        self._fits = fits
        self._ends = [0]
        for block in document.blocks:
            self._ends.append(self._ends[-1] + sum(len(line) + 1 for line in self._lines(block)))

    def pieces(self) -> Iterator[str]:
        """All pieces in order."""
        blocks = self._document.blocks
        carry, first, guess = "", 0, 1
        while first < len(blocks):
            count = self._most(carry, first, guess)
            guess = max(1, count // 2)
            last = first + count
            if last == len(blocks):
                break
            if self._fits(self._piece("", last, last + 1)):
                last = self._good_end(first, last) if count else first
                yield self._piece(carry, first, last)
                carry, first = "", last
                continue
            # What comes next is too long for any piece: its first part stands behind the headings before it.
            led = self._leads_from(first, last)
            if led > first:
                yield self._piece(carry, first, led)
                carry = ""
            *whole, carry = self._parts(self._piece(carry, led, last), blocks[last])
            yield from whole
            first = last + 1
        yield self._piece(carry, first, len(blocks))

    # ------------------------------------------------------------------ whole blocks

    def _most(self, carry: str, first: int, guess: int) -> int:
        """How many blocks fit behind what is carried over."""
        most = len(self._document.blocks) - first
        return longest(most, lambda count: self._fits(self._piece(carry, first, first + count)), guess=guess)

    def _good_end(self, first: int, last: int) -> int:
        """Where a piece ends that could hold the blocks from `first` to `last`: not behind a heading, not too deep."""
        blocks = self._document.blocks
        enough = self._ends[first] + (self._ends[last] - self._ends[first]) * _ENOUGH
        ends = [end for end in range(first + 1, last + 1) if not self._leads(blocks[end - 1])]
        good = [end for end in ends if self._ends[end] >= enough]
        return min(good, key=lambda end: (blocks[end].level, -end), default=ends[-1] if ends else last)

    def _leads_from(self, first: int, last: int) -> int:
        """Where the headings begin that end some blocks."""
        while last > first and self._leads(self._document.blocks[last - 1]):
            last -= 1
        return last

    def _leads(self, block: Block) -> bool:
        """Whether a block belongs to the one behind it: a heading, a line that announces something."""
        if block.kind == "heading":
            return True
        return block.kind == "paragraph" and "".join(self._lines(block)).rstrip().endswith(":")

    def _piece(self, carry: str, first: int, last: int) -> str:
        """The text of some blocks behind what is carried over."""
        blocks, lines = self._document.blocks, self._document.lines
        if first == last:
            return carry
        start, end = blocks[first].start, blocks[last - 1].end
        head: list[str] = []
        if not carry and (header := blocks[first].header):
            head = [continued(lines[header[0]]), lines[header[1] - 1]]
        # What stood in a container must not keep its indentation behind a beginning that has lost it.
        columns = blocks[first].indent
        inside = min(end, self._document.container_end(start)) if columns else start
        body = [*head]
        for block in blocks[first:last]:
            if block.start >= inside:
                break
            body += [*self._lines(block), *([block.close] if block.close else [])]
        text = "\n".join([*(dedent(line, columns) for line in body), *lines[inside:end]]).strip("\n").rstrip()
        return _behind(carry, text)

    def _lines(self, block: Block) -> tuple[str, ...]:
        return self._document.lines[block.start : block.end]

    # ------------------------------------------------------------------ parts of a block

    def _parts(self, carry: str, block: Block) -> list[str]:
        """A block that doesn't fit, in parts that do; the first stands behind what is carried over."""
        lines = [dedent(line, block.indent) for line in self._lines(block)]
        while not lines[-1].strip():
            lines.pop()
        if block.kind == "code":
            return list(self._line_parts(carry, lines, _Frame("", "", "", _CODE)))
        if block.kind == "fence":
            indent = opening(lines[0])
            closed = not block.close
            # What closes it may be longer than what opened it.
            close = indent + (lines[-1].strip(" \t>") if closed else block.fence)
            frame = _Frame(lines[0], continued(lines[0]), close, indent)
            if self._fits(frame.around([indent + "x"], lines[0])) and self._fits(frame.around([indent + "x"])):
                return list(self._line_parts(carry, lines[1:-1] if closed else lines[1:], frame))
        marks = quotes(lines[0])
        return list(self._text_parts(carry, "\n".join(lines), marks if len(marks) <= _MARKS else ""))

    def _text_parts(self, carry: str, text: str, marks: str) -> Iterator[str]:
        """A paragraph in parts; each but the first begins with the quote marks, if there is room for them."""
        before = ""
        while text:
            at = cut(text, lambda part, c=carry, b=before: self._fits(_behind(c, b + part)))
            if at or not (carry or before):
                yield _behind(carry, before + text[: at or 1].rstrip())
                text = text[at or 1 :].lstrip()
                before = "" if text.startswith(marks.strip() or "\n") else marks
            elif carry:
                yield carry
            else:
                before = marks = ""
            carry = ""

    def _fit_lines(self, carry: str, frame: _Frame, opener: str, code: list[str], count: int) -> bool:
        return self._fits(_behind(carry, frame.around(code[:count], opener)))

    def _line_parts(self, carry: str, code: list[str], frame: _Frame) -> Iterator[str]:
        """Lines of code in parts, each in its frame."""
        opener = frame.first
        while code:
            most = longest(len(code), partial(self._fit_lines, carry, frame, opener, code))
            if most:
                yield _behind(carry, frame.around(code[:most], opener))
                code, opener = code[most:], frame.again
            elif carry:
                yield carry
            else:
                at = cut_anywhere(code[0], lambda part, o=opener: self._fits(frame.around([part], o))) or 1
                yield frame.around([code[0][:at]], opener)
                code, opener = [frame.indent + code[0][at:], *code[1:]], frame.again
            carry = ""


@dataclass(frozen=True, slots=True)
class _Frame:
    """What stands around each part of a code block."""

    first: str
    """The line that opens the block; nothing for indented code."""
    again: str
    """The line that opens it again."""
    close: str
    indent: str
    """What a line of code begins with there."""

    def around(self, code: list[str], opener: str | None = None) -> str:
        """A part in its frame."""
        opener = self.again if opener is None else opener
        return "\n".join([*([opener] if opener else []), *code, *([self.close] if self.close else [])])


def _behind(carry: str, text: str) -> str:
    return f"{carry}\n\n{text}" if carry else text
