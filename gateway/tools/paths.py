"""Which files a tool may touch, and how it opens them so that nothing can move them away underneath.

A path is looked at component by component: each folder is opened relative to the one before it and never through a
link. A link is read, its target is checked like any other path, and the walk begins again there. So `..`, absolute
paths, links and folders that are swapped during the walk all end inside the roots or in a refusal.
The state folder is refused, except for roots that lie inside it (an agent's workspace).

Owns nothing and keeps nothing; everything here blocks and belongs into a thread.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.tools.base import ToolContext

BOOTSTRAP_FILES = (
    "AGENTS.md",
    "SOUL.md",
    "TOOLS.md",
    "IDENTITY.md",
    "USER.md",
    "HEARTBEAT.md",
    "BOOTSTRAP.md",
    "MEMORY.md",
)
MEMORY_FOLDER = "memory"

FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 40
_PROTECTED = frozenset(name.casefold() for name in BOOTSTRAP_FILES)


class PathRefused(Exception):
    """The path leads where this session may not go. The text names the path and what is allowed."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a path leads: a root and the way from there. No component is a link, `.` or `..`."""

    root: Path
    parts: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The whole path."""
        return self.root.joinpath(*self.parts)

    @property
    def protected(self) -> bool:
        """A bootstrap or memory file, or the folder of the latter (spec/architecture.md, protocol 9)."""
        if not self.parts:
            return False
        first = self.parts[0].casefold()
        return first == MEMORY_FOLDER or (len(self.parts) == 1 and first in _PROTECTED)


@dataclass(frozen=True, slots=True)
class Spot:
    """A place whose parent folder is open."""

    place: Place
    folder: int
    """Descriptor of the folder that holds it; of the root itself if the place is a root."""
    name: str
    """What it is called there; `.` for a root."""


class Folders:
    """The roots of a session and the rules for what lies in them."""

    def __init__(self, cwd: Path, roots: tuple[Path, ...], state: Path) -> None:
        """
        Args:
            cwd: where relative paths start.
            roots: folders that paths may lie in; links on the way to a root are followed.
            state: refused, unless a root inside it is meant.
        """
        self.cwd = cwd
        self.state = Path(os.path.realpath(state))
        real = [(root, Path(os.path.realpath(root))) for root in roots]
        known = {(alias, target) for root, target in real for alias in (_normal(root), target)}
        # The deepest root decides, so that a workspace inside the state folder wins over a home folder around both.
        self._roots = sorted(known, key=lambda pair: len(pair[0].parts), reverse=True)
        self._state_id = _identity(self.state)

    @classmethod
    def of(cls, ctx: ToolContext) -> Folders:
        """The folders that a tool call may use."""
        return cls(ctx.cwd, ctx.roots, ctx.state)

    @property
    def roots(self) -> tuple[Path, ...]:
        """The roots themselves, without links."""
        return tuple(dict.fromkeys(root for _, root in self._roots))

    def open(self, text: str, flags: int = os.O_RDONLY) -> tuple[int, Place]:
        """Opens what a path leads to, following links only inside the roots.

        Returns:
            A descriptor, which the caller closes, and where it stands.

        Raises:
            PathRefused: it leads elsewhere.
            OSError: it can't be opened.
        """
        with self.parent(text) as spot:
            # Without O_NONBLOCK a named pipe would hold the thread for ever.
            kept = flags | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            return os.open(spot.name, kept, 0o666, dir_fd=spot.folder), spot.place

    @contextmanager
    def parent(self, text: str, *, create: bool = False) -> Generator[Spot]:
        """Opens the folder that holds what `text` names; that itself need not exist.

        Args:
            text: absolute, or relative to `cwd`.
            create: makes the folders on the way.

        Raises:
            PathRefused: it leads out of the roots or into the state folder.
            OSError: a folder on the way is missing or can't be entered.
        """
        target = self._absolute(text)
        for _ in range(_MAX_LINKS):
            place = self._locate(target, text)
            found = self._descend(place, text, create=create)
            if isinstance(found, Path):
                target = found
                continue
            try:
                yield Spot(place, found, place.parts[-1] if place.parts else ".")
            finally:
                os.close(found)
            return
        raise PathRefused(f"`{shown(text)}` leads through more than {_MAX_LINKS} links")

    def hidden(self, place: Place, info: os.stat_result) -> bool:
        """Whether this is the state folder, seen from a root outside it."""
        return (info.st_dev, info.st_ino) == self._state_id and not self._inside_state(place.root)

    def _absolute(self, text: str) -> Path:
        if not text or "\0" in text:
            raise PathRefused("a path must not be empty or hold a NUL character")
        return _normal(self.cwd / text)

    def _locate(self, target: Path, text: str) -> Place:
        for alias, root in self._roots:
            if target.is_relative_to(alias):
                place = Place(root, target.relative_to(alias).parts)
                if place.path.is_relative_to(self.state) and not self._inside_state(root):
                    raise _of_state(text)
                return place
        allowed = ", ".join(shown(str(root)) for root in self.roots) or "none"
        raise PathRefused(f"`{shown(text)}` is outside the folders that this session may use: {allowed}")

    def _check_open(self, place: Place, folder: int, text: str) -> None:
        if self.hidden(place, os.fstat(folder)):
            raise _of_state(text)

    def _inside_state(self, root: Path) -> bool:
        return root != self.state and root.is_relative_to(self.state)

    def _descend(self, place: Place, text: str, *, create: bool) -> int | Path:
        """The open parent folder, or where a link on the way points to."""
        folder = os.open(place.root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            for index, name in enumerate(place.parts):
                link = _link(name, folder)
                if link is not None:
                    way = _normal(place.root.joinpath(*place.parts[:index], link, *place.parts[index + 1 :]))
                    os.close(folder)
                    return way
                if index == len(place.parts) - 1:
                    break
                inner = _enter(name, folder, create=create)
                os.close(folder)
                folder = inner
                self._check_open(place, folder, text)
        except BaseException:
            os.close(folder)
            raise
        return folder


def shown(text: str) -> str:
    """A file name or other text as it may be stored and read: undecodable bytes become visible marks."""
    return text.encode("utf-8", "surrogateescape" if _escaped(text) else "replace").decode("utf-8", "replace")


def _escaped(text: str) -> bool:
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def is_file(info: os.stat_result) -> bool:
    """An ordinary file: no folder, pipe, socket or device."""
    return stat.S_ISREG(info.st_mode)


def _of_state(text: str) -> PathRefused:
    return PathRefused(f"`{shown(text)}` is in Laneway's own state folder, which no tool may touch")


def _normal(path: Path) -> Path:
    return Path(os.path.normpath(path))


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        info = path.stat()
    except OSError:
        return None
    return info.st_dev, info.st_ino


def _link(name: str, folder: int) -> str | None:
    try:
        info = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return os.readlink(name, dir_fd=folder) if stat.S_ISLNK(info.st_mode) else None


def _enter(name: str, folder: int, *, create: bool) -> int:
    if create:
        with suppress(FileExistsError):
            os.mkdir(name, dir_fd=folder)
    return os.open(name, FOLDER_FLAGS, dir_fd=folder)
