"""What a command line is known to run: its words where they are certain, and patterns that allow them.

Only a plain command is understood: words and quotes. Whatever a shell would do more with — operators, substitution,
redirection, globs, `~`, assignments, escapes, reserved words — makes the command unknown, and an unknown command
matches no pattern. Pure functions.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")
_DANGEROUS_IN_DOUBLE_QUOTES = frozenset("$`\\!")
_COMMAND = re.compile(r"[A-Za-z0-9_./+-]+")
_RESERVED = frozenset(
    "case coproc do done elif else esac fi for function if in select then time until while".split()  # noqa: SIM905 - as people read it
)


@dataclass(frozen=True, slots=True)
class _Word:
    """One word; `globs` tells for each character whether a pattern may read it as `*` or `?`."""

    text: str
    globs: tuple[bool, ...]


def parse(command: str) -> tuple[str, ...] | None:
    """The words that a shell would run, or None where that isn't certain."""
    words = _words(command, globs=False)
    if not words or not _COMMAND.fullmatch(words[0].text) or words[0].text in _RESERVED:
        return None
    return tuple(word.text for word in words)


def allowed(command: str, patterns: Iterable[str]) -> tuple[str, ...] | None:
    """The words of a command that is plain and matches one of the patterns; None if it doesn't.

    They are to be executed as they are, without a shell, so that what was matched is what runs.
    A pattern is written like a command. In its unquoted words `*` stands for any characters and `?` for one, each
    within one argument and, in the command's name, not across `/`. A last word `*` stands for any further arguments.
    """
    argv = parse(command)
    return argv if argv is not None and any(_matches(argv, pattern) for pattern in patterns) else None


def fault(pattern: str) -> str | None:
    """What is wrong with a pattern that can never match, for warnings; None if it can."""
    if not _words(pattern, globs=True):
        return f"`{pattern}` matches no command: only words, quotes, `*` and `?` are understood"
    return None


def pattern_for(command: str) -> str | None:
    """The pattern that `always allow` would add: exactly this command, or None where it isn't plain.

    Nothing wider is offered: `git log *` would allow `--output=…` and `find *` would allow `-delete`.
    """
    argv = parse(command)
    return None if argv is None else shlex.join(argv)


def _matches(argv: tuple[str, ...], pattern: str) -> bool:
    words = _words(pattern, globs=True)
    if not words:
        return False
    if len(words) > 1 and words[-1] == _Word("*", (True,)):
        words = words[:-1]
        if len(argv) < len(words):
            return False
        argv = argv[: len(words)]
    if len(words) != len(argv):
        return False
    return all(_fits(word, argv[index], command=index == 0) for index, word in enumerate(words))


def _fits(word: _Word, text: str, *, command: bool) -> bool:
    """Wildcard matching that never takes longer than word times text, whatever the pattern."""
    place = at = 0
    star, resume = -1, 0
    while at < len(text):
        is_glob = place < len(word.text) and word.globs[place]
        if is_glob and word.text[place] == "*":
            star, resume = place, at
            place += 1
        elif place < len(word.text) and (
            (is_glob and not (command and text[at] == "/")) or (not is_glob and word.text[place] == text[at])
        ):
            place, at = place + 1, at + 1
        elif star >= 0 and not (command and text[resume] == "/"):
            resume += 1
            place, at = star + 1, resume
        else:
            return False
    return all(glob and mark == "*" for mark, glob in zip(word.text[place:], word.globs[place:], strict=True))


def _words(text: str, *, globs: bool) -> tuple[_Word, ...] | None:
    """Splits at spaces, takes off quotes; None at the first character whose meaning isn't plain."""
    words: list[_Word] = []
    letters: list[str] = []
    marks: list[bool] = []
    inside = False
    index = 0
    while index < len(text):
        character = text[index]
        if character in "'\"":
            end = text.find(character, index + 1)
            quoted = text[index + 1 : end]
            if end < 0 or not _is_quotable(quoted, double=character == '"'):
                return None
            letters += quoted
            marks += [False] * len(quoted)
            inside, index = True, end + 1
            continue
        if character in " \t":
            if inside:
                words.append(_Word("".join(letters), tuple(marks)))
            letters, marks, inside = [], [], False
        elif character in _PLAIN or (globs and character in "*?"):
            letters.append(character)
            marks.append(globs and character in "*?")
            inside = True
        else:
            return None
        index += 1
    if inside:
        words.append(_Word("".join(letters), tuple(marks)))
    return tuple(words)


def _is_quotable(text: str, *, double: bool) -> bool:
    if any(not character.isprintable() for character in text):
        return False
    return not (double and _DANGEROUS_IN_DOUBLE_QUOTES.intersection(text))
