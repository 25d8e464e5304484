"""Secrets in the text of a configuration: found, covered by placeholders, and put back.

Works on texts, so that comments and formatting stay as they are. A placeholder stands for the characters between a
text's quotes, `•••3•••` for the third secret of the file; it is valid JSON5, and means nothing outside of that file.
What refers to the environment (`${VARIABLE}`) is no secret and stays readable.

In a file that can't be read as JSON5 nobody knows what is a secret: there every text is covered but the usual words.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, cast, get_args, get_origin

import pyjson5

from gateway.config.models import Config
from gateway.config.positions import is_blank, scan
from gateway.config.tree import keys_below

NEW = "•••new•••"
"""Stands in the place of a secret that somebody has just typed, where a change is shown."""

_STRING = re.compile(r"\"(?:[^\"\\\n]|\\.)*\"|'(?:[^'\\\n]|\\.)*'", re.DOTALL)
_COMMENT_OR_STRING = re.compile(rf"//[^\n\r]*|/\*(?:[^*]|\*(?!/))*(?:\*/|\Z)|(?P<string>{_STRING.pattern})", re.DOTALL)
_NAMED = re.compile(
    r"[\w-]{0,64}(?:key|token|secret|pass|credential|authorization)[\w-]{0,64}[\"']?\s*:\s*"
    r"(?P<quote>[\"'])(?P<inner>(?:(?!(?P=quote))[^\\\n]|\\.)+)(?P=quote)",
    re.IGNORECASE,
)
"""A key that sounds like a secret, with a text: also in a comment, or where it is no known key."""
_PASSWORD = re.compile(r"://[^\s:/@\"']*:(?P<inner>[^\s@/\"']+)@")
_REFERENCES = re.compile(r"\s*(?:[A-Za-z]+\s+)?(?:\$\{[A-Za-z_][A-Za-z0-9_]*(?::-)?\})+\s*")
"""Nothing but variables, perhaps after a word such as `Bearer`."""
_AFTER_A_KEY = re.compile(r"\s*:")


@dataclass(frozen=True, slots=True)
class Masked:
    """A text with its secrets covered."""

    text: str
    secrets: tuple[str, ...]
    """The characters that the placeholders stand for, the first one's first."""
    sure: frozenset[int]
    """Numbers of those that are surely secret; the others were covered because the text can't be read."""
    bullets: str
    """What a placeholder begins and ends with: longer than usual if the file itself holds the usual."""

    def placeholder(self, number: int) -> str:
        """What stands for a secret; the first is number 1."""
        return f"{self.bullets}{number}{self.bullets}"

    @property
    def pattern(self) -> re.Pattern[str]:
        """Finds placeholders."""
        return re.compile(rf"{self.bullets}(\d{{1,6}}){self.bullets}")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a secret was put back."""

    number: int
    start: int
    stop: int
    before: int
    """Where its placeholder stood."""


@dataclass(frozen=True, slots=True)
class Restored:
    """A text with its secrets in place."""

    text: str
    places: tuple[Place, ...]


def mask(text: str, known: Collection[str] = ()) -> Masked:
    """Covers every secret.

    Args:
        text: of a configuration, readable or not.
        known: values that are secret wherever they stand.
    """
    bullets = "•••"
    while bullets in text:
        bullets += "•"
    pieces: list[str] = []
    secrets: list[str] = []
    sure: set[int] = set()
    end = 0
    for start, stop, surely in _marked(text, known):
        secrets.append(text[start:stop])
        if surely:
            sure.add(len(secrets))
        pieces += [text[end:start], f"{bullets}{len(secrets)}{bullets}"]
        end = stop
    return Masked("".join([*pieces, text[end:]]), tuple(secrets), frozenset(sure), bullets)


def spans(text: str, known: Collection[str] = ()) -> list[tuple[int, int]]:
    """Where secrets stand, without their quotes; in order, and none within another."""
    return [(start, stop) for start, stop, _ in _marked(text, known)]


def readable(text: str) -> bool:
    """Whether a text is JSON5, so that it is known what in it is a secret."""
    try:
        return is_blank(text) or pyjson5.decode(text) is not None
    except pyjson5.Json5DecoderException:
        return False


def _marked(text: str, known: Collection[str]) -> list[tuple[int, int, bool]]:
    """Where secrets stand, and whether they surely are any."""
    sure = {*_by_name(text), *_passwords(text), *_known(text, known)}
    perhaps: set[tuple[int, int]] = set()
    if readable(text):
        sure |= {*_by_place(text)}
    else:
        perhaps |= {*_all_texts(text)}
    result: list[tuple[int, int, bool]] = []
    for start, stop in sorted(sure | perhaps, key=lambda span: (span[0], -span[1])):
        surely = (start, stop) in sure
        if result and start < result[-1][1]:
            begin, end, before = result[-1]
            result[-1] = (begin, max(stop, end), before or surely)
        elif start < stop:
            result.append((start, stop, surely))
    return result


def restore(text: str, masked: Masked) -> Restored:
    """Puts the secrets of a masked text back into one that was made from it.

    Raises:
        LookupError: it holds a placeholder that stands for nothing; the argument is its offset.
    """
    pieces: list[str] = []
    places: list[Place] = []
    end = length = 0
    for match in masked.pattern.finditer(text):
        number = int(match[1])
        if not 0 < number <= len(masked.secrets):
            raise LookupError(match.start())
        secret = masked.secrets[number - 1]
        pieces += [text[end : match.start()], secret]
        length += match.start() - end
        places.append(Place(number, length, length + len(secret), match.start()))
        length += len(secret)
        end = match.end()
    return Restored("".join([*pieces, text[end:]]), tuple(places))


def shown(text: str, masked: Masked) -> str:
    """A text that was made from a masked one, as it may be shown: what is secret and new in it is covered."""
    pieces: list[str] = []
    end = 0
    for start, stop in spans(text):
        if masked.pattern.fullmatch(text[start:stop]) is None:
            pieces += [text[end:start], NEW]
            end = stop
    return "".join([*pieces, text[end:]])


def _by_place(text: str) -> Iterator[tuple[int, int]]:
    """Texts that stand where the configuration takes a secret."""
    if is_blank(text):
        return
    for path, offset in scan(text).values.items():
        shape = Config.shape.at(path)
        if shape is not None and shape.secret and (match := _STRING.match(text, offset)) is not None:
            yield from _inner(text, match.start(), match.end())


def _all_texts(text: str) -> Iterator[tuple[int, int]]:
    """Texts that are neither keys nor words that the configuration knows."""
    for match in _COMMENT_OR_STRING.finditer(text):
        start, stop = match.span("string")
        if start < 0 or _AFTER_A_KEY.match(text, stop) or text[start + 1 : stop - 1] in _words():
            continue
        yield from _inner(text, start, stop)


def _inner(text: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
    """What stands between a text's quotes, unless it only refers to the environment."""
    if not _REFERENCES.fullmatch(text[start + 1 : stop - 1]):
        yield start + 1, stop - 1


def _by_name(text: str) -> Iterator[tuple[int, int]]:
    for match in _NAMED.finditer(text):
        if not _REFERENCES.fullmatch(match["inner"]):
            yield match.span("inner")


def _passwords(text: str) -> Iterator[tuple[int, int]]:
    for match in _PASSWORD.finditer(text):
        if not _REFERENCES.fullmatch(match["inner"]):
            yield match.span("inner")


def _known(text: str, known: Collection[str]) -> Iterator[tuple[int, int]]:
    for secret in known:
        for match in re.finditer(re.escape(secret), text):
            yield match.span()


@cache
def _words() -> frozenset[str]:
    """The texts that the configuration gives a choice of."""
    found: set[str] = set()
    for _, shape, _ in keys_below(Config.shape):
        plain: Any = shape.plain
        if get_origin(plain) is not None:
            found |= {value for value in cast("tuple[object, ...]", get_args(plain)) if isinstance(value, str)}
    return frozenset(found)
