"""Markdown for a terminal: rendered with rich, as calmly as a conversation needs it."""

from __future__ import annotations

import io
import re
from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown, MarkdownElement
from rich.text import Text
from rich.theme import Theme

CODE_THEME = "ansi_dark"
THEME = Theme(
    {
        "markdown.h1": "bold",
        "markdown.h2": "bold",
        "markdown.h3": "bold",
        "markdown.code": "cyan",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
        "markdown.link": "underline",
        "markdown.link_url": "dim",
    }
)
"""No background colours: they look wrong on half of all terminals."""
_SPANS = re.compile(r"(`[^`\n]+`|\*\*[^*\n]+\*\*)")
_CODES = re.compile("\x1b\\[[0-9;]*m")


class _LeftHeading(Heading):
    """A bold line where it stands, instead of a box in the middle."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        self.text.justify = "left"
        yield self.text


class ChatMarkdown(Markdown):
    """Markdown as answers show it."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {**Markdown.elements, "heading_open": _LeftHeading}


def markdown(text: str) -> ChatMarkdown:
    """A renderable. Links show their address: what a model wrote must not hide where it leads."""
    return ChatMarkdown(text.strip("\n"), code_theme=CODE_THEME, hyperlinks=False)


def to_ansi(text: str, like: Console, height: int | None = None) -> str:
    """Rendered Markdown with escape codes, without empty lines around it, as wide as the console `like`.

    Args:
        text: Markdown.
        like: the console that it is for.
        height: only the last so many lines; None: all.
    """
    if not text.strip():
        return ""
    buffer = io.StringIO()
    console = Console(
        file=buffer,
        force_terminal=True,
        color_system=like.color_system or "standard",  # pyright: ignore[reportArgumentType] - its own names
        width=like.width,
        highlight=False,
        theme=THEME,
        legacy_windows=False,
    )
    console.print(markdown(text))
    lines = [line.rstrip() for line in buffer.getvalue().split("\n")]
    while lines and _is_blank(lines[-1]):
        lines.pop()
    while lines and _is_blank(lines[0]):
        lines.pop(0)
    return "\n".join(lines[-height:] if height else lines)


def _is_blank(line: str) -> bool:
    return not _CODES.sub("", line).strip()


def notice(text: str, *, loud: bool) -> Text:
    """A sentence of the program or the answer to a command: line by line as it is, with `code` and **bold** drawn."""
    drawn = Text(style="" if loud else "dim")
    for piece in _SPANS.split(text):
        if piece.startswith("**") and len(piece) > 4:
            drawn.append(piece[2:-2], style="bold")
        elif piece.startswith("`") and len(piece) > 2:
            drawn.append(piece[1:-1], style="cyan")
        else:
            drawn.append(piece)
    return drawn
