"""What a reader sees: a text with its entities shown as simple Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]

_MARKS = {"bold": "**", "italic": "_", "underline": "__", "strikethrough": "~~", "spoiler": "||", "code": "`"}
_ORDER = ("pre", "blockquote", "expandable_blockquote", "text_link", "bold", "underline", "italic")


def marked(text: str, entities: Sequence[Json]) -> str:
    """The text with marks: `**bold**`, `` `code` ``, fences, `[text](url)`, `> ` before quoted lines."""
    opened: dict[int, list[str]] = {}
    closed: dict[int, list[str]] = {}
    quoted: list[tuple[int, int]] = []
    for entity in sorted(entities, key=lambda e: (e["offset"], -e["length"], _rank(e["type"]))):
        start, stop = entity["offset"], entity["offset"] + entity["length"]
        if str(entity["type"]).endswith("blockquote"):
            quoted.append((start, stop))
            continue
        before, after = _marks(entity)
        opened.setdefault(start, []).append(before)
        closed.setdefault(stop, []).insert(0, after)
    parts: list[str] = []
    at = 0
    fresh_line = True
    for character in text:
        parts += closed.pop(at, [])
        if fresh_line and any(start <= at < stop for start, stop in quoted):
            parts.append("> ")
        parts += opened.pop(at, [])
        parts.append(character)
        fresh_line = character == "\n"
        at += 2 if ord(character) > 0xFFFF else 1
    return "".join([*parts, *closed.pop(at, [])])


def _rank(kind: str) -> int:
    return _ORDER.index(kind) if kind in _ORDER else len(_ORDER)


def _marks(entity: Json) -> tuple[str, str]:
    kind = str(entity["type"])
    if kind == "pre":
        return f"```{entity.get('language', '')}\n", "\n```"
    if kind == "text_link":
        return "[", f"]({entity['url']})"
    mark = _MARKS.get(kind, "")
    return mark, mark
