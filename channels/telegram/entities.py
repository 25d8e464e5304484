"""Entities of a text as Telegram takes them: offsets in UTF-16 units, nested as its documentation allows.

The server repairs what breaks the rules by dropping entities without a word, among them links. Here it is decided what
gives way: code inside a link, marks around code, a quote inside a quote, and of more than a hundred the marks first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

MOST = 100
STYLES = frozenset(("bold", "italic", "underline", "strikethrough", "spoiler"))
MONOSPACE = frozenset(("code", "pre"))
QUOTES = frozenset(("blockquote", "expandable_blockquote"))
KNOWN = STYLES | MONOSPACE | QUOTES | {"text_link"}
"""What can be given: the rest is found by the server, or needs rights that bots don't have."""
_WEIGHT = {"text_link": 0, "pre": 1, "code": 2, "blockquote": 3, "expandable_blockquote": 3}


@dataclass(frozen=True, slots=True)
class Entity:
    """A stretch of a text that is shown in a special way."""

    type: str
    offset: int
    """In UTF-16 units, like `length`."""
    length: int
    url: str | None = None
    language: str | None = None

    @property
    def end(self) -> int:
        """One past its last unit."""
        return self.offset + self.length

    def to_json(self) -> dict[str, Any]:
        """As the API takes it."""
        body: dict[str, Any] = {"type": self.type, "offset": self.offset, "length": self.length}
        optional = {"url": self.url, "language": self.language}
        return body | {key: value for key, value in optional.items() if value}


def units(text: str) -> int:
    """Length of a text in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le", "surrogatepass")) // 2


def _covers(raw: bytes, entity: Entity) -> bool:
    """Whether there is more than blanks under an entity."""
    return bool(raw[2 * entity.offset : 2 * entity.end].decode("utf-16-le", "replace").strip())


def trimmed(text: str, entities: Iterable[Entity]) -> tuple[str, list[Entity]]:
    """A text without blank ends, and its entities on it."""
    tail = text.rstrip()
    lead = len(tail) - len(tail.lstrip("\n"))
    body = tail[lead:]
    end = units(body)
    kept: list[Entity] = []
    for entity in entities:
        start, stop = max(0, entity.offset - lead), min(entity.end - lead, end)
        if stop > start:
            kept.append(replace(entity, offset=start, length=stop - start))
    return body, kept


def arranged(text: str, entities: Iterable[Entity]) -> list[Entity]:
    """Entities of a text as the server would leave them alone, in order."""
    listed = list(entities)
    raw = text.encode("utf-16-le", "surrogatepass")
    solid = _solid([entity for entity in listed if entity.type not in STYLES])
    marks: list[Entity] = []
    for kind in sorted(STYLES):
        spans = _merged([(entity.offset, entity.end) for entity in listed if entity.type == kind])
        spans = _without(spans, [(entity.offset, entity.end) for entity in solid if entity.type in MONOSPACE])
        spans = _uncrossed(spans, [*solid, *marks])
        marks += [Entity(kind, start, end - start) for start, end in spans]
    return sorted((entity for entity in (*solid, *marks) if _covers(raw, entity)), key=_order)


def limited(entities: Sequence[Entity]) -> list[Entity]:
    """At most a hundred entities: links first, then code and quotes, then marks; in order."""
    return sorted(sorted(entities, key=_weight)[:MOST], key=_order)


def _weight(entity: Entity) -> int:
    return _WEIGHT.get(entity.type, len(_WEIGHT))


def _order(entity: Entity) -> tuple[int, int, bool, int]:
    return entity.offset, -entity.length, entity.type not in QUOTES, _weight(entity)


def _solid(entities: Sequence[Entity]) -> list[Entity]:
    """Links, code and quotes without those that can't stand where they are: a link wins, an outer quote wins."""
    order = ("blockquote", "expandable_blockquote", "text_link", "pre", "code")
    rank = {kind: number for number, kind in enumerate(order)}
    around: list[Entity] = []
    kept: list[Entity] = []
    for entity in sorted(entities, key=lambda e: (e.offset, -e.length, rank.get(e.type, len(rank)))):
        while around and around[-1].end <= entity.offset:
            around.pop()
        inside = around[-1] if around else None
        if inside is not None and (entity.end > inside.end or inside.type not in QUOTES or entity.type in QUOTES):
            continue
        around.append(entity)
        kept.append(entity)
    return kept


def _merged(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _without(spans: list[tuple[int, int]], holes: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans minus holes; both sorted and apart from each other."""
    left: list[tuple[int, int]] = []
    for start, end in spans:
        for hole_start, hole_end in holes:
            if hole_end <= start or hole_start >= end:
                continue
            if hole_start > start:
                left.append((start, hole_start))
            start = hole_end
        if start < end:
            left.append((start, end))
    return left


def _uncrossed(spans: list[tuple[int, int]], others: Sequence[Entity]) -> list[tuple[int, int]]:
    """Spans cut where another entity begins or ends inside and reaches out."""
    result: list[tuple[int, int]] = []
    for start, end in spans:
        cuts = {o.offset for o in others if start < o.offset < end < o.end}
        cuts |= {o.end for o in others if o.offset < start < o.end < end}
        borders = [start, *sorted(cuts), end]
        result += pairwise(borders)
    return result
