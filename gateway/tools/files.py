"""The file tools: `read`, `write`, `edit` and `ls`.

They own nothing: what is written is on disk under its own name or not at all (a temporary file that is renamed), so
that a crash leaves the old content or the new one.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Annotated

from pydantic import Field

from gateway import failpoints
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from gateway.tools.paths import Folders, PathRefused, Place, Spot, is_file, shown
from gateway.tools.tree import Entry, Limits, OutOfTime, walk

MAX_LINES = 2_000
MAX_CHARS = 99_000
"""Of one `read`, so that the mark below the text fits into a result as well."""
_MAX_EDIT_BYTES = 10_000_000
_MAX_ENTRIES = 1_000
_LS_SECONDS = 10.0
_SAMPLE = 8_192

_IMAGES = {
    b"\x89PNG": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
}

# Two edits of one file in the same reply run at once; without a lock the second rename would undo the first.
_locks = tuple(threading.Lock() for _ in range(64))


class Refused(Exception):
    """The call can't be done; the text is the model's answer."""


async def in_thread(work: Callable[[], ToolResult]) -> ToolResult:
    """Does blocking file work in a thread and turns what can go wrong with a file into a result."""
    try:
        return await asyncio.to_thread(work)
    except (PathRefused, Refused) as error:
        return ToolResult(str(error), error=True)
    except (OSError, UnicodeError) as error:
        return ToolResult(_explain(error), error=True)


def _explain(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):
        return "the path holds characters that no file name can have"
    place = f"`{shown(str(error.filename))}`" if isinstance(error.filename, str) else "the path"
    if error.errno == errno.ELOOP:
        return f"{place} became a link while it was being opened; try again"
    if error.errno == errno.ENXIO:
        return f"{place} is a pipe or socket, not a file"
    return f"{place}: {(error.strerror or 'it cannot be used').lower()}"


class ReadArguments(ToolArguments):
    path: str
    offset: Annotated[int, Field(ge=1, description="first line, from 1")] = 1
    limit: Annotated[int, Field(ge=1, le=MAX_LINES, description="lines")] = MAX_LINES


async def _read(ctx: ToolContext, args: ReadArguments) -> ToolResult:
    folders = Folders.of(ctx)

    def work() -> ToolResult:
        with text_file(*folders.open(args.path)) as file:
            return ToolResult(_lines(file, args.offset, args.limit))

    return await in_thread(work)


@contextmanager
def text_file(descriptor: int, place: Place) -> Generator[io.TextIOWrapper]:
    """An open file as text, with its line ends as they are; closed at the end.

    Raises:
        Refused: it is a folder, a picture or otherwise no text.
    """
    try:
        _check_text(descriptor, place)
        file = os.fdopen(descriptor, "r", encoding="utf-8", errors="replace", newline="")
    except BaseException:
        os.close(descriptor)
        raise
    with file:
        yield file


def _check_text(descriptor: int, place: Place) -> None:
    info = os.fstat(descriptor)
    name = shown(str(place.path))
    if stat.S_ISDIR(info.st_mode):
        raise Refused(f"`{name}` is a folder; list it with `ls`")
    if not is_file(info):
        raise Refused(f"`{name}` is not an ordinary file")
    sample = os.pread(descriptor, _SAMPLE, 0)
    kind = next((kind for magic, kind in _IMAGES.items() if sample.startswith(magic)), None)
    if kind is None and sample[:4] == b"RIFF" and sample[8:12] == b"WEBP":
        kind = "WebP"
    if kind is not None and b"\0" in sample:
        raise Refused(f"`{name}` is a {kind} picture; pictures are seen only if a person sends them in the chat")
    if b"\0" in sample:
        raise Refused(f"`{name}` is a binary file of {info.st_size:,} bytes; only text can be read")


def _lines(text: io.TextIOWrapper, offset: int, limit: int) -> str:
    number = 1
    while number < offset:
        if not (piece := text.readline(MAX_CHARS)):
            raise Refused(f"the file has only {number - 1} lines")
        number += piece.endswith("\n")
    taken: list[str] = []
    room = MAX_CHARS
    while len(taken) < limit:
        piece = text.readline(room + 1)
        if not piece:
            return "".join(taken) or "(empty)"
        if len(piece) > room:
            return _cut(taken, piece[:room], number)
        taken.append(piece)
        room -= len(piece)
        number += 1
    more = bool(text.read(1))
    return "".join(taken) + (f"\n… more lines follow; go on with offset {number} …" if more else "")


def _cut(taken: list[str], piece: str, number: int) -> str:
    if taken:
        return "".join(taken) + f"\n… more lines follow; go on with offset {number} …"
    return f"{piece}\n… line {number} is longer than {MAX_CHARS:,} characters; the rest of it is cut …"


class WriteArguments(ToolArguments):
    path: str
    content: str


async def _write(ctx: ToolContext, args: WriteArguments) -> ToolResult:
    folders = Folders.of(ctx)

    def work() -> ToolResult:
        with folders.parent(args.path, create=True) as spot:
            _check_writable(ctx, spot)
            data = args.content.encode()
            with _lock(spot.place):
                existed = _replace(spot, data)
        verb = "replaced" if existed else "created"
        return ToolResult(f"{verb} {shown(str(spot.place.path))} ({len(data):,} bytes)")

    return await in_thread(work)


class EditArguments(ToolArguments):
    path: str
    old: Annotated[str, Field(min_length=1, description="exact text, unique in the file")]
    new: str
    replace_all: bool = False


async def _edit(ctx: ToolContext, args: EditArguments) -> ToolResult:
    folders = Folders.of(ctx)

    def work() -> ToolResult:
        with folders.parent(args.path) as spot:
            _check_writable(ctx, spot)
            with _lock(spot.place):
                text, line, count = _edited(_whole(spot), args)
                _replace(spot, text.encode())
        where = f"line {line}" if count == 1 else f"{count} places, the first in line {line}"
        return ToolResult(f"edited {shown(str(spot.place.path))}: {where}")

    return await in_thread(work)


def _edited(text: str, args: EditArguments) -> tuple[str, int, int]:
    """The new text, the first line that changed and the number of places."""
    old, new = args.old, args.new
    if old not in text and "\r\n" in text and "\r" not in old:
        old, new = old.replace("\n", "\r\n"), new.replace("\n", "\r\n")
    count = text.count(old)
    if count == 0:
        raise Refused("`old` is not in the file; read the file again and copy the text exactly, with its spaces")
    if count > 1 and not args.replace_all:
        found = ", ".join(str(line) for line in _places(text, old, 5))
        raise Refused(
            f"`old` is there {count} times (lines {found}{', …' if count > 5 else ''}); "
            "add the lines around it, or set replaceAll"
        )
    return text.replace(old, new), _places(text, old, 1)[0], count


def _places(text: str, part: str, most: int) -> list[int]:
    lines: list[int] = []
    start = 0
    while len(lines) < most and (at := text.find(part, start)) >= 0:
        lines.append(text.count("\n", 0, at) + 1)
        start = at + len(part)
    return lines


def _whole(spot: Spot) -> str:
    descriptor = os.open(spot.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=spot.folder)
    with text_file(descriptor, spot.place) as file:
        data = bytes(file.buffer.read(_MAX_EDIT_BYTES + 1))
    if len(data) > _MAX_EDIT_BYTES:
        raise Refused(f"the file is longer than {_MAX_EDIT_BYTES:,} bytes; that is too much to edit")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise Refused("the file is not UTF-8 text, so an edit would damage it") from None


def _check_writable(ctx: ToolContext, spot: Spot) -> None:
    if ctx.depth > 0 and spot.place.protected:
        raise Refused(
            f"`{shown(str(spot.place.path))}` is read-only to sub-agents; report the change instead of making it"
        )
    if not spot.place.parts:
        raise Refused("the path is a folder, not a file")


def _lock(place: Place) -> threading.Lock:
    return _locks[hash(place.path) % len(_locks)]


def _replace(spot: Spot, data: bytes) -> bool:
    """Puts a whole file in its place at once; whether there was one."""
    try:
        before = os.stat(spot.name, dir_fd=spot.folder, follow_symlinks=False)
    except FileNotFoundError:
        before = None
    if before is not None and not is_file(before):
        raise Refused(f"`{shown(str(spot.place.path))}` is not an ordinary file")
    name = f".{secrets.token_hex(8)}.tmp"
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666, dir_fd=spot.folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            if before is not None:
                os.fchmod(file.fileno(), stat.S_IMODE(before.st_mode))
            file.flush()
            os.fsync(file.fileno())
        failpoints.hit("file:written")
        os.rename(name, spot.name, src_dir_fd=spot.folder, dst_dir_fd=spot.folder)
    except BaseException:
        os.unlink(name, dir_fd=spot.folder)
        raise
    failpoints.hit("file:renamed")
    return before is not None


class LsArguments(ToolArguments):
    path: str = "."


async def _ls(ctx: ToolContext, args: LsArguments) -> ToolResult:
    folders = Folders.of(ctx)

    def work() -> ToolResult:
        descriptor, place = folders.open(args.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return ToolResult(_listing(folders, descriptor, place))
        finally:
            os.close(descriptor)

    return await in_thread(work)


def _listing(folders: Folders, descriptor: int, place: Place) -> str:
    lines: list[str] = []
    try:
        for entry in walk(folders, descriptor, place, Limits(time.monotonic() + _LS_SECONDS), deep=False):
            if len(lines) == _MAX_ENTRIES:
                return "\n".join(lines) + f"\n… only the first {_MAX_ENTRIES:,} are shown …"
            lines.append(_described(entry))
    except OutOfTime:
        lines.append("… it took too long; the rest is missing …")
    return "\n".join(lines) or "(empty)"


def _described(entry: Entry) -> str:
    name = shown(entry.name)
    if entry.is_folder:
        return f"{name}/"
    return f"{name} (link)" if entry.is_link else f"{name} ({entry.info.st_size:,} bytes)"


FILE_TOOLS = (
    Tool("read", "Reads a text file.", ReadArguments, _read, idempotent=True),
    Tool("write", "Writes a whole file; makes missing folders.", WriteArguments, _write, idempotent=True),
    Tool("edit", "Replaces text in a file.", EditArguments, _edit),
    Tool("ls", "Lists a folder.", LsArguments, _ls, idempotent=True),
)
