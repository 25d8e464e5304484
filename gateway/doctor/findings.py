"""What `laneway doctor` finds, one line each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Level(StrEnum):
    """How a finding counts."""

    OK = "ok"
    WARN = "warn"
    """Works, but someone should know."""
    FAIL = "fail"
    """Doesn't work; the exit code is 1."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report."""

    part: str
    level: Level
    text: str
    fix: str = ""
    """What to do; empty where nothing is to be done."""

    def data(self) -> dict[str, Any]:
        """As JSON."""
        return asdict(self)
