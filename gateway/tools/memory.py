"""The memory tools: `memory_search` and `memory_get` over `MEMORY.md` and `memory/*.md` of the agent's workspace.

The files are the truth. The index lives in this process only, one for each workspace, and is brought up to date at
each search by the files' times and sizes.
"""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from gateway.tools.files import Refused, in_thread
from gateway.tools.paths import MEMORY_FOLDER, Folders, PathRefused, is_file, shown
from gateway.tools.tree import Limits, OutOfTime, walk

_SECONDS = 10.0
_MAX_FILE = 2_000_000
_MAX_FILES = 5_000
_CHUNK_LINES = 20
_MAX_INDEXES = 16
_MAX_SNIPPET = 700
_MAX_GET_LINES = 500
_MAX_GET_CHARS = 50_000
_WORD = re.compile(r"\w+")
_MAX_WORDS = 32
_MAIN = "MEMORY.md"


@dataclass(frozen=True, slots=True)
class _Stamp:
    """By what a changed file is known."""

    inode: int
    modified: int
    size: int


class _Index:
    """The full-text index of one workspace. Used by one thread at a time."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._stamps: dict[str, _Stamp] = {}
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        self._db.execute(
            "create virtual table chunks using fts5(path unindexed, line unindexed, text, tokenize='porter unicode61')"
        )

    def close(self) -> None:
        self._db.close()

    def refresh(self, folders: Folders, limits: Limits) -> None:
        """Reads what has changed since the last time.

        Raises:
            OutOfTime: what was read so far is kept.
        """
        current = dict(_files(folders, limits))
        for path in self._stamps.keys() - current.keys():
            self._drop(path)
        for path, stamp in current.items():
            if self._stamps.get(path) != stamp:
                _ = limits.left
                self._drop(path)
                text = _content(folders, path)
                self._db.executemany("insert into chunks values (?, ?, ?)", _chunks(path, text))
                self._stamps[path] = stamp

    def search(self, words: list[str], limit: int) -> list[tuple[str, int, str]]:
        """The best places: path, first line, text. Places with more of the words come first."""
        query = " OR ".join(f'"{word}"' for word in words)
        rows = self._db.execute(
            "select path, line, text from chunks where chunks match ? order by bm25(chunks), path, line limit ?",
            (query, limit),
        )
        return list(rows)

    def _drop(self, path: str) -> None:
        self._db.execute("delete from chunks where path = ?", (path,))
        self._stamps.pop(path, None)


_indexes: OrderedDict[Path, _Index] = OrderedDict()
_indexes_lock = threading.Lock()


def _index(workspace: Path) -> _Index:
    with _indexes_lock:
        index = _indexes.pop(workspace, None) or _Index()
        _indexes[workspace] = index
        if len(_indexes) > _MAX_INDEXES:
            _indexes.popitem(last=False)
        return index


def _files(folders: Folders, limits: Limits) -> Iterator[tuple[str, _Stamp]]:
    for path in (_MAIN, MEMORY_FOLDER):
        try:
            descriptor, place = folders.open(path)
        except (OSError, PathRefused):
            continue  # there is none
        try:
            info = os.fstat(descriptor)
            if is_file(info):
                yield path, _stamp(info)
                continue
            for number, entry in enumerate(walk(folders, descriptor, place, limits)):
                if number == _MAX_FILES:
                    break
                if is_file(entry.info) and entry.name.casefold().endswith(".md"):
                    yield "/".join((path, *entry.parts)), _stamp(entry.info)
        finally:
            os.close(descriptor)


def _stamp(info: os.stat_result) -> _Stamp:
    return _Stamp(info.st_ino, info.st_mtime_ns, info.st_size)


def _content(folders: Folders, path: str) -> str:
    try:
        descriptor, _ = folders.open(path)
    except (OSError, PathRefused):
        return ""  # it went away since it was listed
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_MAX_FILE).decode("utf-8", "replace").replace("\0", "\ufffd")


def _chunks(path: str, text: str) -> Iterator[tuple[str, int, str]]:
    """Pieces that begin at headings and are no longer than some lines."""
    lines = text.splitlines()
    start = 0
    for number in range(1, len(lines) + 1):
        ends = number == len(lines) or lines[number].startswith("#") or number - start >= _CHUNK_LINES
        if ends:
            piece = "\n".join(lines[start:number]).strip()
            if piece:
                yield path, start + 1, piece
            start = number


def _workspace(ctx: ToolContext) -> Folders:
    return Folders(ctx.agent.workspace, (ctx.agent.workspace,), ctx.state)


class SearchArguments(ToolArguments):
    query: Annotated[str, Field(min_length=1, max_length=1_000)]
    limit: Annotated[int, Field(ge=1, le=20)] = 6


async def _search(ctx: ToolContext, args: SearchArguments) -> ToolResult:
    words = _WORD.findall(args.query)[:_MAX_WORDS]
    folders = _workspace(ctx)
    limits = Limits(time.monotonic() + _SECONDS)

    def work() -> ToolResult:
        if not words:
            raise Refused("`query` holds no word to look for")
        index = _index(ctx.agent.workspace)
        with index.lock:
            late = ""
            try:
                index.refresh(folders, limits)
            except OutOfTime:
                late = "\n\n… not all files were read in time …"
            found = index.search(words, args.limit)
        places = [f"{shown(path)}:{line}\n{text[:_MAX_SNIPPET]}" for path, line, text in found]
        return ToolResult(("\n\n".join(places) or "nothing found") + late)

    try:
        return await in_thread(work)
    except asyncio.CancelledError:
        limits.cancelled.set()
        raise


class GetArguments(ToolArguments):
    path: Annotated[str, Field(description="as memory_search says it")]
    line: Annotated[int, Field(ge=1)] = 1
    lines: Annotated[int, Field(ge=1, le=_MAX_GET_LINES)] = 100


async def _get(ctx: ToolContext, args: GetArguments) -> ToolResult:
    folders = _workspace(ctx)

    def work() -> ToolResult:
        descriptor, place = folders.open(args.path)
        with os.fdopen(descriptor, "rb") as file:
            if not _is_memory(place.parts) or not is_file(os.fstat(descriptor)):
                raise Refused(f"only {_MAIN} and {MEMORY_FOLDER}/*.md can be read with memory_get; use `read`")
            text = file.read(_MAX_FILE).decode("utf-8", "replace").replace("\0", "\ufffd")
        taken = "\n".join(text.splitlines()[args.line - 1 : args.line - 1 + args.lines])
        cut = f"\n… {len(taken) - _MAX_GET_CHARS:,} characters cut …" if len(taken) > _MAX_GET_CHARS else ""
        return ToolResult((taken[:_MAX_GET_CHARS] or "(empty)") + cut)

    return await in_thread(work)


def _is_memory(parts: tuple[str, ...]) -> bool:
    return parts == (_MAIN,) or (len(parts) > 1 and parts[0] == MEMORY_FOLDER and parts[-1].casefold().endswith(".md"))


MEMORY_TOOLS = (
    Tool("memory_search", "Searches your memory files.", SearchArguments, _search, idempotent=True, owners_only=True),
    Tool("memory_get", "Reads a memory file.", GetArguments, _get, idempotent=True, owners_only=True),
)
