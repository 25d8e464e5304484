"""What a benchmark has found: samples with a unit and a target, and the table that people read."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

Unit = Literal["ms", "s", "MB", "KB", "×", "%", ""]
_HEAD = ("measurement", "target", "median", "min", "p99", "n", "met")


@dataclass(frozen=True, slots=True)
class Measurement:
    """One line of the table."""

    name: str
    unit: Unit
    samples: Sequence[float] = field(default_factory=list[float])
    target: float | None = None
    """The median must not be higher; None: for information."""
    target_high: float | None = None
    """Nor the 99th percentile than this."""

    @property
    def median(self) -> float:
        """Of the samples."""
        return statistics.median(self.samples)

    @property
    def high(self) -> float:
        """The 99th percentile; of few samples the highest."""
        ordered = sorted(self.samples)
        return ordered[min(len(ordered) - 1, int(len(ordered) * 0.99))]

    @property
    def met(self) -> bool:
        """Whether the targets are reached."""
        high = self.target_high is None or self.high <= self.target_high
        return high and (self.target is None or self.median <= self.target)


def table(found: Sequence[Measurement]) -> str:
    """The measurements as a table in Markdown."""
    rows = [_HEAD, *(_cells(each) for each in found)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _cells(each: Measurement) -> tuple[str, ...]:
    targets = [(each.target, ""), (each.target_high, "p99 ")]
    wanted = [f"{name}≤ {_number(value)} {each.unit}".strip() for value, name in targets if value is not None]
    target = ", ".join(wanted) or "–"
    met = "" if not wanted else "yes" if each.met else "NO"
    numbers = (_with_unit(each.median, each), _with_unit(min(each.samples), each), _with_unit(each.high, each))
    return (each.name, target, *numbers, str(len(each.samples)), met)


def _with_unit(value: float, each: Measurement) -> str:
    return f"{_number(value)} {each.unit}".strip()


def _number(value: float) -> str:
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
