"""Where telegramify-markdown runs two blocks of a list item into each other: `- a`, code, `then` become "acodethen".

It writes no line break between an item's text and the block after it, nor between a block and the text after it, unless
the item is loose; so one is put there, as a character that stands for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, cast

_BLOCKS = frozenset(("CodeBlock", "Heading", "BlockQuote", "Table"))
_INLINE = frozenset(("Text", "Code", "InlineMath", "DisplayMath", "InlineHtml"))
_MARKS = frozenset(("Strong", "Emphasis", "Strikethrough", "Link", "Image"))


def tag(event: Any, side: str) -> str:
    """What begins (`Start`) or ends (`End`) with an event; nothing if it does neither."""
    found = cast("dict[str, Any]", event).get(side) if isinstance(event, dict) else None
    return next(iter(cast("dict[str, Any]", found)), "") if isinstance(found, dict) else str(found or "")


def gaps(events: Iterable[tuple[Any, Any]]) -> Iterator[int]:
    """Offsets in bytes at which a line break is missing.

    Args:
        events: pyromark's, with ranges.
    """
    lists = 0
    before = ""
    end_of_text = 0
    for event, where in events:
        started, ended = tag(event, "Start"), tag(event, "End")
        lists += (started == "List") - (ended == "List")
        rule = event == "Rule"
        if started in _BLOCKS or rule:
            if lists and before == "text":
                yield end_of_text
            before = "block" if rule else ""
        elif ended in _BLOCKS:
            before = "block"
        elif ended == "Paragraph":
            before = "paragraph"
        elif started == "Paragraph" or started in _MARKS or ended in _MARKS or _is_inline(event):
            if lists and before == "block":
                yield where["start"]
            before, end_of_text = "text", where["end"]
        elif started or ended:
            before = ""


def _is_inline(event: Any) -> bool:
    return isinstance(event, dict) and not _INLINE.isdisjoint(cast("dict[str, Any]", event))
