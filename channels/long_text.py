"""Cutting a paragraph that is too long for one message: after a sentence, else a word, else a whole character."""

from __future__ import annotations

import re
from collections.abc import Callable

import regex

from channels.longest import longest

_SENTENCE = re.compile(r"(?:[.!?…][\"'”’)\]*_]*(?=\s)|[。！？])")
_WORD = re.compile(r"\s+")
_GRAPHEME = regex.compile(r"\X")
_TOGETHER = re.compile(
    r"(?<!`)(`{1,8}+)(?!`).{1,400}?(?<!`)\1(?!`)"  # code
    r"|!?\[[^\[\]\n]{1,200}\]\([^()\n]{1,1000}\)"  # a link
    r"|(\*\*|__|~~)(?=\S).{1,400}?(?<=\S)\2"  # strong, struck
)
"""What had better stay in one piece."""
_BLOCK_START = re.compile(r"\s*(?:#{1,6}\s|>|[-+*](?:\s|$)|\d{1,9}[.)](?:\s|$)|```|~~~|[-=*_]{3,}\s*$|\|)")
"""What would begin another kind of block at the beginning of a piece."""
_GUESS = 512


def cut(text: str, fits: Callable[[str], bool]) -> int:
    """Where to cut a text, in characters: what is before fits, and is the more the better. 0 if nothing fits.

    Args:
        text: too long for `fits`, or not.
        fits: asked about beginnings of the text.
    """
    most = longest(len(text), lambda count: fits(text[:count]), guess=_GUESS)
    if most in (0, len(text)):
        return most
    window = text[: most + 1]
    together = [
        match.span() for match in _TOGETHER.finditer(text, 0, min(len(text), most + 1000)) if match.start() < most
    ]
    for borders in (
        [match.end() for match in _SENTENCE.finditer(window)],
        [match.start() for match in _WORD.finditer(window)],
    ):
        good = [at for at in borders if most // 2 < at <= most and not _BLOCK_START.match(text, at)]
        whole = [at for at in good if not any(start < at < end for start, end in together)]
        if whole or good:
            return (whole or good)[-1]
    return _between_graphemes(text, most)


def cut_anywhere(text: str, fits: Callable[[str], bool]) -> int:
    """Like `cut`, for a line of code: after a blank near the end, else between characters as people see them."""
    most = longest(len(text), lambda count: fits(text[:count]), guess=_GUESS)
    if most in (0, len(text)):
        return most
    blank = text.rfind(" ", most * 3 // 4, most)
    return blank + 1 or _between_graphemes(text, most)


def _between_graphemes(text: str, most: int) -> int:
    """The last border of characters as people see them; inside one only if it is longer than a message."""
    end = 0
    for match in _GRAPHEME.finditer(text, 0, min(len(text), most + 64)):
        if match.end() > most:
            break
        end = match.end()
    return end or most
