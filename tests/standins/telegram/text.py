"""Formatted text as the server takes it: cleaned, trimmed, its entities checked, links and mentions found.

Offsets and lengths count UTF-16 units. What the server would silently drop or repair (a link to `javascript:`, bold
inside code, the 101st entity) is reported in `Formatted.ignored`, so that a test can fail on it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.standins.telegram.refusals import bad

Json = dict[str, Any]

TEXT_LIMIT = 4096
CAPTION_LIMIT = 1024
ENTITY_LIMIT = 100
INVISIBLE = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))
STYLES = frozenset({"bold", "italic", "underline", "strikethrough", "spoiler"})
QUOTES = frozenset({"blockquote", "expandable_blockquote"})
MONOSPACE = frozenset({"code", "pre"})
FOUND = frozenset({"mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number"})
"""Kinds that the server finds by itself, and ignores when a bot names them."""

_SPACES = re.compile(r"[\x00-\x08\x09\x0b\x0c\x0e-\x20]")
_REMOVED = re.compile(r"[\r\u2028-\u202e\u0333\u033f\u030a]")
_DETECT = (
    ("bot_command", re.compile(r"(?<![\w/])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/])")),
    ("url", re.compile(r"https?://[^\s<>\"']*[^\s<>\"'.,;:!?)\]}*_`]")),
    ("email", re.compile(r"(?<![\w@.])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){0,5}\.[A-Za-z]{2,12}(?!\w)")),
    ("mention", re.compile(r"(?<![\w@])@[A-Za-z][A-Za-z0-9_]{3,31}(?!\w)")),
    ("hashtag", re.compile(r"(?<![\w#])#\w*[^\W\d]\w*")),
)


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def part(text: str, offset: int, length: int) -> str:
    """The stretch of text that an entity covers."""
    return text.encode("utf-16-le")[2 * offset : 2 * (offset + length)].decode("utf-16-le", "replace")


@dataclass(frozen=True, slots=True)
class Formatted:
    """A text as it is stored and sent back."""

    text: str
    entities: tuple[Json, ...] = ()
    ignored: tuple[str, ...] = ()
    """What the server would have dropped or repaired without a word."""


def accept(text: str, entities: list[Json], *, limit: int = TEXT_LIMIT, may_be_empty: bool = False) -> Formatted:
    """What the server makes of a text.

    Raises:
        Refusal: for an entity outside the text or inside a character, an empty text, one that is too long.
    """
    _check_offsets(text, entities)
    cleaned, where = _clean(text)
    moved = [
        {**entity, "offset": where[entity["offset"]], "length": _length(entity, where)}
        for entity in entities
        if entity["length"] > 0
    ]
    cleaned, moved = _trim(cleaned, sorted(moved, key=_order))
    if not may_be_empty and all(unicodedata.category(character) in INVISIBLE for character in cleaned):
        raise bad("message text is empty" if not cleaned else "text must be non-empty")
    if units(cleaned) > limit:
        raise bad("message is too long" if limit == TEXT_LIMIT else "message caption is too long")
    ignored = [*_ignored(moved)]
    kept = [entity for entity in moved if entity["type"] not in FOUND and not _dead_link(entity)]
    return Formatted(cleaned, (*kept, *_detected(cleaned, kept)), tuple(ignored))


def plain(text: str) -> Formatted:
    """A person's message: as typed, with what the server finds in it."""
    return accept(text, [])


# ---------------------------------------------------------------------- cleaning


def _check_offsets(text: str, entities: list[Json]) -> None:
    borders = {0}
    total = 0
    for character in text:
        total += 2 if ord(character) > 0xFFFF else 1
        borders.add(total)
    for entity in entities:
        offset, length = entity["offset"], entity["length"]
        if offset < 0 or length < 0:
            raise bad(f"receive an entity with incorrect {'offset' if offset < 0 else 'length'} {min(offset, length)}")
        if offset > total:
            raise bad(f"entity begins after the end of the text at UTF-16 offset {offset}")
        if offset + length > total:
            end = offset + length
            raise bad(
                f"entity beginning at UTF-16 offset {offset} ends after the end of the text at UTF-16 offset {end}"
            )
        if offset not in borders:
            raise bad("entity begins in a middle of a UTF-16 symbol")
        if offset + length not in borders:
            raise bad(f"entity beginning at UTF-16 offset {offset} ends in a middle of a UTF-16 symbol")


def _clean(text: str) -> tuple[str, dict[int, int]]:
    """Control characters become spaces, line separators and direction marks go; old offset → new offset."""
    spaced = _SPACES.sub(" ", text)
    where: dict[int, int] = {}
    old = new = 0
    kept: list[str] = []
    for character in spaced:
        where[old] = new
        width = 2 if ord(character) > 0xFFFF else 1
        old += width
        if not _REMOVED.match(character):
            kept.append(character)
            new += width
    where[old] = new
    return "".join(kept), where


def _order(entity: Json) -> tuple[int, int, bool]:
    """Outer entities first; a quote is outside of what covers the same stretch."""
    return entity["offset"], -entity["length"], entity["type"] not in QUOTES


def _length(entity: Json, where: dict[int, int]) -> int:
    return where[entity["offset"] + entity["length"]] - where[entity["offset"]]


def _trim(text: str, entities: list[Json]) -> tuple[str, list[Json]]:
    """Without blanks at the ends; those before the first entity only as far as it lets."""
    text = text.rstrip(" \n")
    end = units(text)
    first = entities[0]["offset"] if entities else end
    lead = min(len(text) - len(text.lstrip(" \n")), first)
    text = text[lead:]
    kept: list[Json] = []
    for entity in entities:
        start, stop = entity["offset"] - lead, min(entity["offset"] + entity["length"], end) - lead
        if stop > start and part(text, start, stop - start).strip(" \n"):
            kept.append({**entity, "offset": start, "length": stop - start})
    return text, kept


# ---------------------------------------------------------------------- entities


def _ignored(entities: list[Json]) -> list[str]:
    """What the documentation forbids and the server repairs silently."""
    notes = [f"entity {e['type']} can't be given" for e in entities if e["type"] in FOUND]
    notes += [f"link dropped: {e.get('url')!r}" for e in entities if _dead_link(e)]
    if len(entities) > ENTITY_LIMIT:
        notes.append(f"{len(entities)} entities, only {ENTITY_LIMIT} would be kept")
    around: list[Json] = []
    for entity in entities:
        while around and around[-1]["offset"] + around[-1]["length"] <= entity["offset"]:
            around.pop()
        notes += [note for outer in around if (note := _nesting(outer, entity))]
        around.append(entity)
    return notes


def _nesting(outer: Json, inner: Json) -> str | None:
    kinds = (str(outer["type"]), str(inner["type"]))
    if inner["offset"] + inner["length"] > outer["offset"] + outer["length"]:
        return f"{kinds[1]} crosses the end of {kinds[0]}"
    if kinds[0] == kinds[1]:
        return f"{kinds[1]} inside itself"
    if kinds[0] in MONOSPACE:
        return f"{kinds[1]} inside {kinds[0]}"
    if kinds[1] in MONOSPACE and kinds[0] not in QUOTES:
        return f"{kinds[1]} inside {kinds[0]}"
    if kinds[1] in QUOTES and kinds[0] not in STYLES:
        return f"{kinds[1]} inside {kinds[0]}"
    if kinds[0] not in STYLES | QUOTES and kinds[1] not in STYLES:
        return f"{kinds[1]} inside {kinds[0]}"
    return None


def _dead_link(entity: Json) -> bool:
    """Whether the server would drop a link: no web address, no `tg:` address, no dot in the host."""
    if entity["type"] != "text_link":
        return False
    url = str(entity.get("url", ""))
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        host, _ = parts.hostname or "", parts.port
    except ValueError:
        return True
    if parts.scheme.lower() in ("tg", "ton", "tonsite"):
        return not re.fullmatch(r"[A-Za-z0-9_.-]+", host)
    blank = re.search(r"[\s\x00-\x20]", url.strip())
    return bool(parts.scheme.lower() not in ("http", "https") or "." not in host.strip(".") or blank)


def _detected(text: str, given: list[Json]) -> list[Json]:
    """Commands, addresses, mentions and tags outside of given entities that can't hold them."""
    taken = [
        (e["offset"], e["offset"] + e["length"]) for e in given if e["type"] in MONOSPACE or e["type"] == "text_link"
    ]
    found: list[Json] = []
    for kind, pattern in _DETECT:
        for match in pattern.finditer(text):
            start = units(text[: match.start()])
            stop = start + units(match.group())
            if all(stop <= begin or start >= end for begin, end in taken):
                taken.append((start, stop))
                found.append({"type": kind, "offset": start, "length": stop - start})
    return sorted(found, key=lambda e: e["offset"])
