"""Markdown as Telegram messages: texts with entities, each within the limits.

Nothing is lost: every letter and digit of the source stands in a text or behind a link, and a piece for which that
can't be had goes out as it was written. What a platform refuses all the same can be posted as `Rendered.source`.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from channels.chunks import split
from channels.telegram.entities import KNOWN, MOST, Entity, arranged, limited, trimmed, units
from channels.telegram.source import guards, has_formulas, openable, prepared

if TYPE_CHECKING:
    from telegram import MessageEntity

LIMIT = 4096
"""UTF-16 units of a message."""

_BROKEN = re.compile(r"[\x00\ud800-\udfff]")
_LINE_ENDS = re.compile(r"[\r\u2028\u2029]")
_CONTROLS = re.compile(r"[\x01-\x08\x0b\x0c\x0e-\x1f]")
_DROPPED = re.compile(r"[\u202a-\u202e\u0333\u033f\u030a]")
_INVISIBLE = frozenset(("Cc", "Cf", "Zs", "Zl", "Zp"))
_MARKUP = re.compile(
    r"^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+(?:\[[ xX]\][ \t])?)+"  # list marks
    r"|^[ \t>]*(?:(?:[-+*]|\d{1,9}[.)])[ \t]+)*(?:```+|~~~+)[\w+#.,:=-]*[ \t]*$",  # fences
    re.MULTILINE,
)
_COMMAND = re.compile(r"\\[A-Za-z]+")
_LABEL = re.compile(r"(?<=\])\[[^\]\n]{0,999}\]|^[ \t>]*\[[^\]\n]{1,999}\]:", re.MULTILINE)
_REFERENCE = re.compile(r"&(?:[A-Za-z][A-Za-z0-9]{1,31}|#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6});")


@dataclass(frozen=True, slots=True)
class Rendered:
    """One message."""

    text: str
    entities: tuple[Entity, ...]
    source: str
    """The Markdown that it was made from: the same content for a plain message, within the same limit."""

    def to_json(self) -> list[dict[str, Any]]:
        """The entities as the API takes them."""
        return [entity.to_json() for entity in self.entities]

    def message_entities(self) -> list[MessageEntity]:
        """The entities as python-telegram-bot takes them."""
        # Only a gateway with Telegram needs the library, and has it.
        from telegram import MessageEntity

        return [MessageEntity(e.type, e.offset, e.length, url=e.url, language=e.language) for e in self.entities]


def render(markdown: str) -> list[Rendered]:
    """Messages for a document; none if it shows nothing."""
    return [
        message
        for piece in split(cleaned(markdown), lambda part: units(part) <= LIMIT)
        for message in _messages(piece)
        if shows(message.text)
    ]


def cleaned(markdown: str) -> str:
    """A text as the server leaves it: it makes blanks of controls and drops some marks, which would move entities."""
    text = _BROKEN.sub("\ufffd", markdown.replace("\r\n", "\n"))
    text = _LINE_ENDS.sub("\n", text)
    if _DROPPED.search(text):
        # In one with its letter a mark is kept.
        text = _DROPPED.sub("", unicodedata.normalize("NFC", text))
    return _CONTROLS.sub(" ", text)


def shows(text: str) -> bool:
    """Whether there is anything to see; Telegram refuses a text of blanks and controls."""
    return any(unicodedata.category(character) not in _INVISIBLE for character in text)


def _messages(piece: str) -> Iterable[Rendered]:
    """A piece in one message; in several if what it renders to is too long, as wide tables are."""
    if (whole := _rendered(piece)) is not None:
        return [whole]
    parts = split(piece, lambda part: units(part) <= LIMIT and _rendered(part) is not None)
    return [_rendered(part) or _plain(part) for part in parts]


def _rendered(piece: str) -> Rendered | None:
    """A piece as one message; None if that exceeds a limit."""
    for math in (True, False) if has_formulas(piece) else (False,):
        message = _converted(piece, math=math)
        if message is None or not _survives(piece, message, math=math):
            continue
        links = sum(entity.type == "text_link" for entity in message.entities)
        if units(message.text) > LIMIT or links > MOST:
            return None
        return replace(message, entities=tuple(limited(message.entities)))
    return _plain(piece)


def _plain(piece: str) -> Rendered:
    text, _ = trimmed(piece, ())
    return Rendered(text, (), piece)


def _converted(piece: str, *, math: bool) -> Rendered | None:
    """What the library makes of a piece; None if it can't.

    Args:
        piece: Markdown.
        math: formulas are converted to Unicode.
    """
    guard = guards(piece)
    if guard is None:
        return None
    # Only a gateway with Telegram needs the library, and has it.
    from channels.telegram import library

    try:
        hidden = guard.hidden(piece, math=math)
        text, found = library.convert(prepared(hidden, guard, library.parse, math=math))
    except library.BROKEN:
        return None
    entities = [
        Entity(e.type, e.offset, e.length, guard.shown(e.url or "") or None, guard.shown(e.language or "") or None)
        for e in found
        if e.type in KNOWN and (e.type != "text_link" or openable(guard.shown(e.url or "")))
    ]
    text, entities = trimmed(guard.shown(text), entities)
    return Rendered(text, tuple(arranged(text, entities)), piece)


def _survives(piece: str, message: Rendered, *, math: bool) -> bool:
    """Whether every letter and digit of a piece is in its message, apart from what only marks something up."""
    if not shows(message.text):
        return False
    wanted = _REFERENCE.sub("", _MARKUP.sub("", piece))
    if "]:" in wanted:
        wanted = _LABEL.sub("", wanted)
    if math:
        wanted = _COMMAND.sub("", wanted)
    got = [message.text, *(f"{entity.url} {entity.language}" for entity in message.entities)]
    return not _characters(wanted) - _characters(" ".join(got))


def _characters(text: str) -> Counter[str]:
    return Counter(character for character in unicodedata.normalize("NFKC", text) if character.isalnum())
