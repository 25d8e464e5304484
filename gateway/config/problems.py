"""What is wrong with a configuration, told so that a person can mend it: where, what, and what to do."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gateway.config.positions import KeyPath, Lines, Positions


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or, as a warning, that looks wrong."""

    file: str
    """The file, or the environment variable that the value came from."""
    line: int | None
    """Counted from 1; None where no line can be named."""
    column: int | None
    """Counted from 1, in characters."""
    key_path: str
    """`agents.list[1].subagents.model`; empty for the whole file."""
    message: str
    hint: str = ""
    """What to do next; may be empty."""

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}:{self.column}"
        subject = f"{self.key_path} " if self.key_path else ""
        return f"{place}: {subject}{self.message}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(Exception):
    """The configuration can't be used; the text lists everything that is wrong with it."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def path_text(path: KeyPath) -> str:
    """A key path as people write it; keys that are no plain words stand in quotes."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif part.replace("_", "").replace("-", "").isalnum():
            text += f".{part}" if text else part
        else:
            text += f"[{_short(part)}]"
    return text


def _short(key: str) -> str:
    return ascii(key if len(key) <= 60 else key[:60] + "…").replace("\\u2026", "…")


@dataclass(frozen=True, slots=True)
class Locator:
    """Knows where each value of one configuration came from."""

    file: Path | None = None
    lines: Lines | None = None
    positions: Positions = field(default_factory=Positions)
    overrides: Mapping[KeyPath, str] = field(default_factory=dict[KeyPath, str])
    """Values that were set by an environment variable, with its name."""

    def problem(self, path: KeyPath, message: str, hint: str = "", *, at_key: bool = False) -> Problem:
        """A problem with the value at `path`, placed where it, or what is nearest around it, was given."""
        variable = self.variable(path)
        if variable:
            return Problem(variable, None, None, path_text(path), message, hint)
        offset = self._offset(path, at_key=at_key)
        line, column = (None, None) if self.lines is None or offset is None else self.lines.at(offset)
        return Problem(self.file_name, line, column, path_text(path), message, hint)

    def at(self, offset: int, message: str, hint: str = "", path: KeyPath = ()) -> Problem:
        """A problem at an offset of the file's text."""
        line, column = self.lines.at(offset) if self.lines else (None, None)
        return Problem(self.file_name, line, column, path_text(path), message, hint)

    @property
    def file_name(self) -> str:
        """The file as it is named to people."""
        return str(self.file) if self.file else "configuration"

    def variable(self, path: KeyPath) -> str | None:
        """The environment variable that set the value at `path`, if one did."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.overrides:
                return self.overrides[path[:length]]
        if path in self.positions.values:
            return None
        # Nothing in the file: what is wrong here was built by a variable for something further in.
        return next((name for deep, name in self.overrides.items() if path and deep[: len(path)] == path), None)

    def in_file(self, path: KeyPath) -> bool:
        """Whether the file gives the value at `path`."""
        return path in self.positions.values

    def _offset(self, path: KeyPath, *, at_key: bool) -> int | None:
        if at_key and path in self.positions.keys:
            return self.positions.keys[path]
        for length in range(len(path), -1, -1):
            if path[:length] in self.positions.values:
                return self.positions.values[path[:length]]
        return None
