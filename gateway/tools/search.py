"""The search tools: `glob` for names and `grep` for text.

Both walk in a thread within a time limit and stop soon after their turn is cancelled. Each match of a regular
expression has a time limit of its own, since some expressions take for ever on some lines.
"""

from __future__ import annotations

import asyncio
import io
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Annotated, Protocol, cast

from pydantic import Field

from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from gateway.tools.files import Refused, in_thread, text_file
from gateway.tools.paths import Folders, Place, is_file, shown
from gateway.tools.tree import GlobPattern, Limits, OutOfTime, walk

_SECONDS = 20.0
_MAX_NAMES = 1_000
_MAX_MATCHES = 200
_MAX_CHARS = 40_000
_MAX_LINE = 400
_READ_LINE = 100_000
_MAX_PATTERN = 1_000
_LATE = "… it took too long; the rest is missing: narrow the path or the pattern …"


async def _searching(work: Callable[[Limits], ToolResult]) -> ToolResult:
    limits = Limits(time.monotonic() + _SECONDS)
    try:
        return await in_thread(lambda: work(limits))
    except asyncio.CancelledError:
        limits.cancelled.set()
        raise


class GlobArguments(ToolArguments):
    pattern: Annotated[str, Field(max_length=_MAX_PATTERN, description="such as **/*.py")]
    path: str = "."


async def _glob(ctx: ToolContext, args: GlobArguments) -> ToolResult:
    folders = Folders.of(ctx)
    pattern = GlobPattern(args.pattern)

    def work(limits: Limits) -> ToolResult:
        descriptor, place = folders.open(args.path, os.O_RDONLY | os.O_DIRECTORY)
        names: list[str] = []
        try:
            for entry in walk(folders, descriptor, place, limits):
                if not pattern.matches(entry.parts):
                    continue
                if len(names) == _MAX_NAMES:
                    names.append(f"… more than {_MAX_NAMES:,} match; narrow the pattern …")
                    break
                names.append(shown("/".join(entry.parts)) + ("/" if entry.is_folder else ""))
        except OutOfTime:
            names.append(_LATE)
        finally:
            os.close(descriptor)
        return ToolResult("\n".join(names) or "nothing matches")

    return await _searching(work)


class GrepArguments(ToolArguments):
    pattern: Annotated[str, Field(min_length=1, max_length=_MAX_PATTERN, description="regular expression")]
    path: str = "."
    glob: Annotated[str | None, Field(max_length=_MAX_PATTERN, description="only these files")] = None
    ignore_case: bool = False
    context: Annotated[int, Field(ge=0, le=20, description="lines around a match")] = 0


async def _grep(ctx: ToolContext, args: GrepArguments) -> ToolResult:
    folders = Folders.of(ctx)
    names = GlobPattern(args.glob) if args.glob else None

    def work(limits: Limits) -> ToolResult:
        search = _Search(_compiled(args), args.context, limits)
        descriptor, place = folders.open(args.path)
        try:
            for name, file in _texts(folders, descriptor, place, names, limits):
                search.file(name, file)
        except OutOfTime:
            search.lines.append(_LATE)
        except _Full:
            search.lines.append(f"… stopped after {search.matches} matches; narrow the search …")
        finally:
            os.close(descriptor)
        return ToolResult("\n".join(search.lines) or "nothing matches")

    return await _searching(work)


class _Expression(Protocol):
    def search(self, string: str, /, *, timeout: float) -> object | None: ...


def _compiled(args: GrepArguments) -> _Expression:
    # The only matcher with a time limit, which also lets other threads run while it matches. Few sessions grep.
    import regex

    try:
        found = regex.compile(args.pattern, regex.IGNORECASE if args.ignore_case else 0)  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    except (regex.error, OverflowError, RecursionError) as error:
        raise Refused(f"`pattern` is not a regular expression: {error}") from None
    return cast(_Expression, found)


def _texts(
    folders: Folders, descriptor: int, place: Place, names: GlobPattern | None, limits: Limits
) -> Iterator[tuple[str, io.TextIOWrapper]]:
    """The text files below an open folder, or the one that is open, with what to call them."""
    if is_file(os.fstat(descriptor)):
        with text_file(os.dup(descriptor), place) as file:
            yield shown(place.path.name), file
        return
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    for entry in walk(folders, descriptor, place, limits):
        if not is_file(entry.info) or (names is not None and not names.matches(entry.parts)):
            continue
        # What is no text, may not be read or has gone is passed over.
        with suppress(OSError, Refused), text_file(os.open(entry.name, flags, dir_fd=entry.folder), place) as file:
            yield shown("/".join(entry.parts)), file


class _Full(Exception):
    """As much was found as can be shown."""


class _Search:
    """One search over any number of files; remembers what it has found."""

    def __init__(self, expression: _Expression, context: int, limits: Limits) -> None:
        self.lines: list[str] = []
        self.matches = 0
        self._expression = expression
        self._context = context
        self._limits = limits
        self._chars = 0

    def file(self, name: str, file: io.TextIOWrapper) -> None:
        """Adds what one file holds.

        Raises:
            OutOfTime: the whole search took too long.
            _Full: the result can't take more.
        """
        before: deque[tuple[int, str]] = deque(maxlen=self._context)
        after = 0
        shown_upto = 0
        for number, line in enumerate(self._read(file), 1):
            if self._matches(line):
                if self._context and shown_upto and number - len(before) > shown_upto + 1:
                    self._add("--")
                for near, text in before:
                    self._add(f"{name}-{near}- {text}")
                self._add(f"{name}:{number}: {_short(line)}")
                self.matches += 1
                before.clear()
                after, shown_upto = self._context, number
            elif after:
                self._add(f"{name}-{number}- {_short(line)}")
                after, shown_upto = after - 1, number
            elif self._context:
                before.append((number, _short(line)))

    def _read(self, file: io.TextIOWrapper) -> Iterator[str]:
        while piece := file.readline(_READ_LINE):
            yield piece.rstrip("\r\n")
            while piece and not piece.endswith("\n"):  # the rest of a line that is too long to be looked at
                _ = self._limits.left
                piece = file.readline(_READ_LINE)

    def _matches(self, line: str) -> bool:
        try:
            return self._expression.search(line, timeout=self._limits.left) is not None
        except TimeoutError:
            raise OutOfTime from None

    def _add(self, line: str) -> None:
        if self.matches >= _MAX_MATCHES or self._chars > _MAX_CHARS:
            raise _Full
        self._chars += len(line) + 1
        self.lines.append(line)


def _short(line: str) -> str:
    return line if len(line) <= _MAX_LINE else line[:_MAX_LINE] + " …"


SEARCH_TOOLS = (
    Tool("glob", "Finds files by name.", GlobArguments, _glob, idempotent=True),
    Tool("grep", "Finds lines in files by a regular expression.", GrepArguments, _grep, idempotent=True),
)
