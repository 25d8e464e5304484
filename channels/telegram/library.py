"""telegramify-markdown and its parser, in one place: imported when the first message is rendered, not before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyromark
from telegramify_markdown import MessageEntity, RenderConfig
from telegramify_markdown import convert as _convert
from telegramify_markdown.converter import STANDARD_OPTIONS

BROKEN = (ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What a library raises that has met a text it wasn't made for."""


def _symbols() -> RenderConfig:
    """Its symbols, but for those that say something else than the source: an open task had a tick."""
    config = RenderConfig.isolated()
    config.cite_expandable = False
    symbols = config.markdown_symbol
    symbols.heading_level_1 = symbols.heading_level_2 = symbols.heading_level_3 = symbols.heading_level_4 = ""
    symbols.unordered_list_item, symbols.horizontal_rule = "•", "———"
    symbols.task_completed, symbols.task_uncompleted, symbols.image = "☑", "☐", "🖼 "
    return config


_CONFIG = _symbols()


def parse(markdown: str) -> Iterator[tuple[Any, Any]]:
    """pyromark's events with their ranges in bytes, as the conversion sees them."""
    return pyromark.events_with_range(markdown, options=STANDARD_OPTIONS)


def convert(markdown: str) -> tuple[str, list[MessageEntity]]:
    """Text and entities. LaTeX in brackets is left alone: the library looks for it inside code, too.

    Raises:
        BROKEN: some of them.
    """
    return _convert(markdown, latex_escape=False, config=_CONFIG)
