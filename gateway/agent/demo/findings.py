"""What a sub-agent of the stand-in knows from its tools' results so far: names, lines, matches. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePosixPath

from gateway.agent.demo.step import Done

_ENTRY = re.compile(r"^(?P<name>.+?)(?P<folder>/)?(?: \((?P<about>link|[\d,]+ bytes)\))?$")
_MATCH = re.compile(r"^(?P<file>[^:\n]+):(?P<line>\d+): ?(?P<text>.*)$")
_MORE = re.compile(r"^… more lines follow; go on with offset (\d+) …$", re.MULTILINE)
_SKIPPED = frozenset({"node_modules", "__pycache__", "dist", "build"})


@dataclass(frozen=True, slots=True)
class Reading:
    """A file that was read."""

    path: str
    lines: int
    complete: bool
    heading: str
    """Its first heading, definition or other line that says something."""


@dataclass(frozen=True, slots=True)
class Match:
    """A line that a search found."""

    path: str
    line: int
    text: str


@dataclass(frozen=True)
class Findings:
    """The results of a sub-agent's calls."""

    done: Sequence[Done]

    @cached_property
    def folders(self) -> tuple[str, ...]:
        """Folders at the top, hidden ones left out."""
        return tuple(name for name, folder in self._entries if folder)

    @cached_property
    def top_files(self) -> tuple[str, ...]:
        """Files at the top, hidden ones left out."""
        return tuple(name for name, folder in self._entries if not folder)

    @cached_property
    def files(self) -> tuple[str, ...]:
        """Files that `glob` found, hidden and generated ones left out."""
        found = (line for one in self._of("glob") for line in one.result.splitlines())
        kept = dict.fromkeys(line for line in found if _is_path(line) and not line.endswith("/"))
        return tuple(kept)

    @cached_property
    def by_folder(self) -> Counter[str]:
        """How many of `files` are in each folder."""
        return Counter(str(PurePosixPath(name).parent) for name in self.files)

    @cached_property
    def matches(self) -> tuple[Match, ...]:
        """What `grep` found."""
        lines = (line for one in self._of("grep") for line in one.result.splitlines())
        found = (_MATCH.match(line) for line in lines)
        return tuple(
            Match(hit["file"], int(hit["line"]), hit["text"].strip()) for hit in found if hit and _is_path(hit["file"])
        )

    @cached_property
    def readings(self) -> tuple[Reading, ...]:
        """What `read` showed."""
        return tuple(_reading(one) for one in self._of("read") if not one.result.startswith("`"))

    def _of(self, tool: str) -> list[Done]:
        return [one for one in self.done if one.tool == tool]

    @cached_property
    def _entries(self) -> tuple[tuple[str, bool], ...]:
        lines = (line for one in self._of("ls") for line in one.result.splitlines())
        found = (_ENTRY.match(line) for line in lines)
        return tuple((hit["name"], bool(hit["folder"])) for hit in found if hit and _is_path(hit["name"]))


def _is_path(line: str) -> bool:
    if not line.strip() or line.startswith(("…", "(", "`", "nothing matches")):
        return False
    return not any(part.startswith(".") or part in _SKIPPED for part in PurePosixPath(line).parts)


def _reading(one: Done) -> Reading:
    more = _MORE.search(one.result)
    lines = one.result.splitlines()
    count = int(more[1]) - 1 if more else len(lines)
    return Reading(str(one.arguments.get("path", "")), count, more is None, _heading(lines))


def _heading(lines: Sequence[str]) -> str:
    stripped = [line.strip() for line in lines if line.strip()]
    signs = ("#", '"""', "class ", "def ", "async def ")
    telling = next((line for line in stripped[:80] if line.startswith(signs) and not line.startswith("#!")), None)
    text = (telling or (stripped[0] if stripped else "")).strip("#\"' ")
    return text if len(text) <= 90 else text[:89] + "…"
