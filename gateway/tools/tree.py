"""Walking a folder tree by descriptors, without following links, within limits."""

from __future__ import annotations

import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import translate

from gateway.tools.paths import FOLDER_FLAGS, Folders, Place

SKIPPED = frozenset({".git", ".hg", ".svn", "__pycache__", "node_modules", ".venv"})
"""Folders that are passed over unless they are named: they are large and seldom meant."""
_MAX_DEPTH = 64
_MAX_ALTERNATIVES = 64
_BRACES = re.compile(r"\{([^{}]*,[^{}]*)\}")


class OutOfTime(Exception):
    """The walk took longer than it may, or nobody waits for it any more."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one walk may cost."""

    deadline: float
    """By `time.monotonic`, seconds."""
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set when the caller has gone: a thread can't be cancelled from outside."""

    @property
    def left(self) -> float:
        """Seconds.

        Raises:
            OutOfTime: none are left.
        """
        left = self.deadline - time.monotonic()
        if left <= 0 or self.cancelled.is_set():
            raise OutOfTime
        return left


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or folder that the walk has come to."""

    parts: tuple[str, ...]
    """Names from the folder where the walk began."""
    info: os.stat_result
    folder: int
    """The open folder that holds it; valid until the walk goes on."""

    @property
    def name(self) -> str:
        """Its own name."""
        return self.parts[-1]

    @property
    def is_folder(self) -> bool:
        """Not so for a link to one."""
        return stat.S_ISDIR(self.info.st_mode)

    @property
    def is_link(self) -> bool:
        """A symbolic link, whatever it points to."""
        return stat.S_ISLNK(self.info.st_mode)


def walk(folders: Folders, start: int, place: Place, limits: Limits, *, deep: bool = True) -> Iterator[Entry]:
    """Everything below an open folder, each folder before what it holds, in the order of names.

    Raises:
        OutOfTime: between two entries.
    """
    yield from _walk(folders, start, place, limits, (), deep)


def _walk(
    folders: Folders, folder: int, place: Place, limits: Limits, above: tuple[str, ...], deep: bool
) -> Iterator[Entry]:
    with os.scandir(folder) as found:
        names = sorted(entry.name for entry in found)
    for name in names:
        _ = limits.left
        try:
            info = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            continue  # it went away between the listing and now
        if folders.hidden(place, info):
            continue
        entry = Entry((*above, name), info, folder)
        yield entry
        if not deep or not entry.is_folder or name in SKIPPED or len(entry.parts) > _MAX_DEPTH:
            continue
        try:
            inner = os.open(name, FOLDER_FLAGS, dir_fd=folder)
        except OSError:
            continue  # it may not be read, or is a link by now
        try:
            yield from _walk(folders, inner, place, limits, entry.parts, deep)
        finally:
            os.close(inner)


class GlobPattern:
    """`*` and `?` within a name, `**` for any number of folders, `{a,b}` for either. Without a slash it matches
    the name alone."""

    def __init__(self, pattern: str) -> None:
        self._ways = tuple(_Way(text) for text in _alternatives(pattern))

    def matches(self, parts: tuple[str, ...]) -> bool:
        """Whether the way from the start of the walk fits."""
        return any(way.matches(parts) for way in self._ways)


class _Way:
    def __init__(self, pattern: str) -> None:
        parts = [part for part in pattern.split("/") if part not in ("", ".")]
        if len(parts) == 1 and parts[0] != "**":
            parts = ["**", *parts]
        self._parts = tuple(None if part == "**" else re.compile(translate(part)) for part in parts)

    def matches(self, parts: tuple[str, ...]) -> bool:
        # The positions in the pattern that may come next, one name at a time: linear, whatever the pattern is.
        states = self._skip({0})
        for name in parts:
            after: set[int] = set()
            for state in states:
                if state == len(self._parts):
                    continue
                part = self._parts[state]
                if part is None:
                    after.add(state)
                elif part.match(name):
                    after.add(state + 1)
            states = self._skip(after)
        return len(self._parts) in states

    def _skip(self, states: set[int]) -> set[int]:
        for state in sorted(states):
            position = state
            while position < len(self._parts) and self._parts[position] is None:
                position += 1
                states.add(position)
        return states


def _alternatives(pattern: str) -> list[str]:
    done: list[str] = []
    waiting = [pattern]
    while waiting:
        text = waiting.pop()
        group = _BRACES.search(text)
        if group is None or len(done) + len(waiting) >= _MAX_ALTERNATIVES:
            done.append(text)
            continue
        waiting += [text[: group.start()] + choice + text[group.end() :] for choice in group[1].split(",")]
    return done
