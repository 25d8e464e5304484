"""Markdown documents as nobody would write them all at once, for the tests of renderers and chunkers.

Every word of a document is one of its own (`w12x`), so that a test can say which one is lost. Words stand in
paragraphs, nested lists, tables, quotes, code, HTML, links and titles, among emoji, right-to-left text, unbalanced
marks, platform syntax and control characters.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from hypothesis import strategies as st

Draw = Callable[[st.SearchStrategy[str]], str]


@dataclass(frozen=True)
class MarkdownDocument:
    """A document and what must be left of it."""

    markdown: str
    words: tuple[str, ...]
    """In the order of reading; each is unique and no part of another."""


NOISE = (
    *(
        "👩‍👩‍👧‍👦",
        "🏳️‍🌈",
        "é́",
        "A\u030a",
        "שלום",
        "\u202eمرحبا\u202c",
        "字",
        "ﷺ",
        "\u200b",
        "\ufeff",
        "\x00",
        "\x1b[31m",
    ),
    *(
        "<!channel>",
        "<!here>",
        "<@U123ABC>",
        "<#C1|x>",
        "<https://a.bc|t>",
        "@everyone",
        "&lt;",
        "&copy;",
        "&nope;",
        "&",
    ),
    *("**", "__", "*", "_", "~~", "~", "`", "``", "```", "||", "$", "$$", "[", "](", ")", "![", "<", ">", "<b", "</b>"),
    *(
        "\\",
        "\\<",
        "\\`",
        "\\$",
        "a || b || c",
        "$HOME/bin:$PATH",
        "$5 to $6",
        "\\(\\alpha\\)",
        "$\\beta^2$",
        "~5",
        "1.",
        "-",
    ),
    *(
        "#",
        "|",
        "+",
        "=",
        "---",
        "===",
        "&amp;lt;",
        "{{x}}",
        "{% y %}",
        "<!-- ",
        "-->",
        "<?",
        "C:\\new\\table",
        "%20",
        "\u2028",
    ),
)
FORMULAS = (
    "\\(x\\)",
    "\\(\\frac{1}{2}\\)",
    "\\[\\alpha\\]",
    "$\\sqrt{ab}$",
    "$$\\sum_{i=1}^n x_i$$",
    "$\\begin{matrix}a\\end{matrix}$",
)
INFO = ("", "python", "c++", "py,ignore", 'js title="a b"', "mermaid", "~", "text <x>")
HOSTS = (
    "https://example.org/",
    "http://localhost:8080/",
    "mailto:",
    "javascript:",
    "tg://user?id=",
    "/",
    "#",
    "http://é.fr/",
)
TAGS = ("b", "div", "details", "tg-spoiler", "span class='x'", "script", "p")


class _Writer:
    """Draws one document."""

    def __init__(self, draw: Callable[[st.SearchStrategy[int]], int]) -> None:
        self._draw = draw
        self._numbers = itertools.count(1)
        self.words: list[str] = []

    def upto(self, most: int) -> int:
        """A number from 0 to below `most`."""
        return self._draw(st.integers(0, most - 1))

    def pick(self, choices: tuple[str, ...]) -> str:
        """One of some strings."""
        return choices[self.upto(len(choices))]

    def word(self) -> str:
        """A new word."""
        number = next(self._numbers)
        word = f"w{number}x"
        self.words.append(word)
        return word

    # ------------------------------------------------------------------ inside a line

    def inline(self) -> str:
        """A few words with marks."""
        return " ".join(self.span() for _ in range(1 + self.upto(4)))

    def span(self) -> str:
        """One thing inside a line."""
        kind = self.upto(14)
        if kind < 4:
            return self.word()
        if kind < 6:
            return self.pick(NOISE)
        if kind == 6:
            mark = self.pick(("**", "*", "_", "__", "~~", "||", "***", "$", "$$", "~"))
            return f"{mark}{self.word()} {self.word()}{mark}"
        if kind == 7:
            return f"**{self.word()} `{self.word()}` *{self.word()}***"
        if kind == 8:
            return f"`{self.word()} {self.pick(('<x>', '||', '**', '$a$', '&lt;', '👍'))}`"
        if kind == 9:
            return self.link()
        if kind == 10:
            tag = self.pick(TAGS)
            return f"<{tag}>{self.word()}</{tag.split()[0]}>"
        if kind == 11:
            return f"<https://example.org/{self.word()}>"
        if kind == 12:
            return f"{self.pick(FORMULAS)} {self.word()}"
        return f"{self.word()}{self.pick(NOISE)}{self.word()}"

    def link(self) -> str:
        """A link or picture, with or without a title."""
        mark = "!" if self.upto(3) == 0 else ""
        text = f"`{self.word()}`" if self.upto(4) == 0 else f"{self.word()} {self.pick(('', '**b**', '👍'))}".strip()
        url = f"{self.pick(HOSTS)}{self.word()}"
        title = f' "{self.word()}"' if self.upto(4) == 0 else ""
        return f"{mark}[{text}]({url}{title})"

    # ------------------------------------------------------------------ blocks

    def blocks(self, depth: int) -> Iterator[list[str]]:
        """Some blocks, each as its lines."""
        for _ in range(1 + self.upto(4 if depth else 6)):
            yield self.block(depth)

    def block(self, depth: int) -> list[str]:
        """One block."""
        kind = self.upto(12)
        if kind < 3:
            return [self.inline() for _ in range(1 + self.upto(3))]
        if kind == 3:
            return [f"{'#' * (1 + self.upto(6))} {self.inline()}"]
        if kind == 4:
            return self.fence()
        if kind == 5:
            return self.table()
        if kind == 6:
            return [f"    {self.word()} {self.pick(NOISE)}" for _ in range(1 + self.upto(3))]
        if kind == 7:
            tag = self.pick(TAGS)
            return [f"<{tag}>", f"{self.word()} {self.inline()}", f"</{tag.split()[0]}>"]
        if kind == 8:
            line = self.pick(("---", "***", "<!-- {} -->", "[r]: https://example.org/{}", "[^1]: {}"))
            return [line.format(self.word()) if "{}" in line else line]
        if kind == 9 and depth < 3:
            return [f"> {line}".rstrip() for block in self.blocks(depth + 1) for line in (*block, "")]
        if kind < 12 and depth < 3:
            return self.listing(depth)
        return [f"{self.word()} {'many words to fill a line and more ' * self.upto(40)}{self.word()}."]

    def fence(self) -> list[str]:
        """A code block, sometimes never closed."""
        mark = self.pick(("```", "~~~", "`````"))
        code = [f"{self.pick(('', '  ', '    '))}{self.word()} {self.pick(NOISE)}" for _ in range(self.upto(12))]
        inner = ["```", self.word(), "```"] if mark == "`````" and self.upto(2) else []
        return [f"{mark}{self.pick(INFO) if mark != '~~~' else ''}", *code, *inner, *([mark] if self.upto(9) else [])]

    def table(self) -> list[str]:
        """A table whose rows have cells too many, too few or none."""
        columns = 1 + self.upto(4)
        rows = [self.row(columns), "|" + "---|" * columns]
        return rows + [self.row(max(1, columns + self.upto(2) - self.upto(2))) for _ in range(self.upto(8))]

    def row(self, columns: int) -> str:
        """A row; its cells hold no bars but escaped ones."""
        return f"|{'|'.join(f' {self.cell()} ' for _ in range(columns))}|"

    def cell(self) -> str:
        """A table's cell."""
        kind = self.upto(5)
        if kind == 0:
            return ""
        if kind == 1:
            return f"{self.word()} {self.link()}"
        return f"`{self.word()}`" if kind == 2 else self.word()

    def listing(self, depth: int) -> list[str]:
        """A list whose items hold blocks."""
        ordered, loose = self.upto(2) == 0, self.upto(3) == 0
        lines: list[str] = []
        for number in range(1 + self.upto(5)):
            mark = f"{number + 1}." if ordered else "-"
            task = self.pick(("", "", "[ ] ", "[x] "))
            lines.append(f"{mark} {task}{self.word()} {self.inline()}")
            if self.upto(3) == 0:
                lines += [f"{' ' * (len(mark) + 1)}{line}".rstrip() for line in ["", *self.block(depth + 1)]]
            if loose:
                lines.append("")
        return lines


@st.composite
def documents(draw: st.DrawFn) -> MarkdownDocument:
    """A document of a few blocks."""
    writer = _Writer(draw)
    body = "\n\n".join("\n".join(block) for block in writer.blocks(0))
    return MarkdownDocument(body, tuple(writer.words))


@st.composite
def long_documents(draw: st.DrawFn) -> MarkdownDocument:
    """A document that is too long for one message: many blocks, or one that is endless."""
    writer = _Writer(draw)
    parts = ["\n".join(block) for _ in range(1 + writer.upto(4)) for block in writer.blocks(0)]
    endless = (
        lambda: " ".join(
            f"{writer.word()} and so on{writer.pick(('', ',', '.', '. ', '!', ' —'))}" for _ in range(400)
        ),
        lambda: "\n".join(["```py", *(f"{writer.word()} = {'x' * writer.upto(90)}" for _ in range(120)), "```"]),
        lambda: "\n".join(f"- {writer.word()} {'item ' * writer.upto(30)}" for _ in range(100)),
        lambda: "\n".join(
            ["| a | b |", "|---|---|", *(f"| {writer.word()} | {'c' * writer.upto(60)} |" for _ in range(100))]
        ),
        lambda: f"{writer.word()} {'x' * 5000} {'👩‍👩‍👧‍👦' * 600} {writer.word()}",
        lambda: " ".join(f"[{writer.word()}](https://example.org/{writer.word()})" for _ in range(130)),
        lambda: " ".join(f"**{writer.word()}** `{writer.word()}`" for _ in range(120)),
    )
    parts.append(endless[writer.upto(len(endless))]())
    parts += ["\n".join(block) for block in writer.blocks(0)]
    return MarkdownDocument("\n\n".join(parts), tuple(writer.words))


def any_document() -> st.SearchStrategy[MarkdownDocument]:
    """Short documents mostly, long ones among them."""
    return st.one_of(documents(), documents(), documents(), long_documents())
