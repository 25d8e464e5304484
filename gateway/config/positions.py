"""Where each key and value of a JSON5 document stands: `pyjson5` reads documents but tells no positions.

Works on documents that `pyjson5` has accepted, and so checks nothing but keys that occur twice.
"""

import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field

import pyjson5

KeyPath = tuple[str | int, ...]
"""The way from the root to a value: keys of objects, indexes of lists."""

_SPACE = re.compile(r"(?:[\s\ufeff]|//[^\n\r\u2028\u2029]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r"\"[^\"\\]*(?:\\.[^\"\\]*)*\"|'[^'\\]*(?:\\.[^'\\]*)*'", re.DOTALL)
_BARE = re.compile(r"[^\s\ufeff,:\[\]{}\"'/]+")
_LINE_END = re.compile(r"\r\n|\n|\r")


def is_blank(text: str) -> bool:
    """Whether a document holds nothing but space and comments."""
    return _SPACE.fullmatch(text) is not None


def skip_space(text: str, offset: int) -> int:
    """The offset of the first character at or after `offset` that is neither space nor comment."""
    match = _SPACE.match(text, offset)
    return match.end() if match else offset


class Lines:
    """Turns offsets into lines and columns, both counted from 1 and in characters."""

    def __init__(self, text: str) -> None:
        self._starts = [0, *(match.end() for match in _LINE_END.finditer(text))]

    def at(self, offset: int) -> tuple[int, int]:
        """Line and column of the character at `offset`."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1


@dataclass(frozen=True, slots=True)
class Positions:
    """Offsets of everything in one document."""

    values: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    """Where each value begins; the root is `()`."""
    keys: dict[KeyPath, int] = field(default_factory=dict[KeyPath, int])
    """Where the key of each value in an object begins."""
    duplicates: list[tuple[KeyPath, int]] = field(default_factory=list[tuple[KeyPath, int]])
    """Keys that stood in the same object before, with the offset of the later one."""


def scan(text: str) -> Positions:
    """The positions in a document that `pyjson5` accepts; for any other the result means nothing."""
    scanner = _Scanner(text)
    scanner.value((), 0)
    return scanner.found


class _Scanner:
    """One pass over the text; each method takes an offset and returns the one after what it has read."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.found = Positions()

    def value(self, path: KeyPath, offset: int) -> int:
        offset = skip_space(self.text, offset)
        self.found.values[path] = offset
        opening = self.text[offset : offset + 1]
        if opening == "{":
            return self._items(offset, "}", lambda at, _: self._member(path, at))
        if opening == "[":
            return self._items(offset, "]", lambda at, index: self.value((*path, index), at))
        return self._token(offset)

    def _items(self, offset: int, closing: str, item: Callable[[int, int], int]) -> int:
        index = 0
        offset = skip_space(self.text, offset + 1)
        while offset < len(self.text) and self.text[offset] != closing:
            offset = skip_space(self.text, item(offset, index))
            if self.text[offset : offset + 1] == ",":
                offset = skip_space(self.text, offset + 1)
            index += 1
        return offset + 1

    def _member(self, path: KeyPath, offset: int) -> int:
        end = self._token(offset)
        here = (*path, _key(self.text[offset:end]))
        if here in self.found.keys:
            self.found.duplicates.append((here, offset))
        self.found.keys[here] = offset
        return self.value(here, skip_space(self.text, end) + 1)

    def _token(self, offset: int) -> int:
        match = _STRING.match(self.text, offset) or _BARE.match(self.text, offset)
        # A text that pyjson5 refuses may have no token here; going on by one keeps the pass finite.
        return match.end() if match else offset + 1


def _key(token: str) -> str:
    if "\\" not in token:
        return token[1:-1] if token[:1] in ("'", '"') else token
    return next(iter(pyjson5.decode("{" + token + ":0}")))
