"""Charts as pictures: a bar for each day, made here. Places are shares of the width, so that every screen fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor, log10

HEIGHT = 132
"""Pixels from the lowest to the highest."""
GAP = 0.22
"""Share of a day's place that stays empty."""
LABELS = 6


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a bar."""

    kind: str
    value: int


@dataclass(frozen=True, slots=True)
class Day:
    """What a bar stands for."""

    name: str
    title: str
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Its height."""
        return sum(part.value for part in self.parts)


@dataclass(frozen=True, slots=True)
class Rect:
    """A part in its place."""

    kind: str
    x: str
    y: str
    width: str
    height: str


@dataclass(frozen=True, slots=True)
class Bar:
    """All parts of a day, and the place that shows its numbers."""

    rects: tuple[Rect, ...]
    title: str
    x: str
    width: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text beside the bars, with its line."""

    place: str
    text: str
    anchor: str = "middle"


@dataclass(frozen=True, slots=True)
class Chart:
    """All of it."""

    bars: tuple[Bar, ...]
    lines: tuple[Label, ...]
    days: tuple[Label, ...]
    height: int = HEIGHT


def chart(days: Sequence[Day], text: Callable[[int], str]) -> Chart:
    """Draws days, the first one left.

    Args:
        days: in order.
        text: how a value is written.
    """
    most = nice(max((day.total for day in days), default=0))
    wide = 100 / max(1, len(days))
    bars = tuple(_bar(day, place * wide, wide, most) for place, day in enumerate(days))
    lines = tuple(Label(_y(HEIGHT - HEIGHT * share), text(round(most * share))) for share in (0.5, 1.0)) if most else ()
    step = max(1, -(-len(days) // LABELS))
    shown = [(place, day) for place, day in enumerate(days) if (len(days) - 1 - place) % step == 0]
    labels = tuple(Label(f"{(place + 0.5) * wide:.3f}%", day.name, _anchor(place, len(days))) for place, day in shown)
    return Chart(bars, lines, labels)


def _anchor(place: int, number: int) -> str:
    if number > 1 and place == number - 1:
        return "end"
    return "start" if place == 0 and number > LABELS else "middle"


def _bar(day: Day, left: float, wide: float, most: int) -> Bar:
    rects: list[Rect] = []
    below = 0.0
    for part in day.parts:
        tall = HEIGHT * part.value / most if most else 0.0
        if part.value:
            tall = max(tall, 1.0)
            x, width = f"{left + wide * GAP / 2:.3f}%", f"{wide * (1 - GAP):.3f}%"
            rects.append(Rect(part.kind, x, _y(HEIGHT - below - tall), width, _y(tall)))
            below += tall
    return Bar(tuple(rects), day.title, f"{left:.3f}%", f"{wide:.3f}%")


def _y(pixels: float) -> str:
    return f"{pixels:.1f}"


def nice(value: int) -> int:
    """The end of a scale that a value fits into: 1, 2, 2.5 or 5 times a power of ten."""
    if value <= 0:
        return 0
    power = 10 ** floor(log10(value))
    return next(round(factor * power) for factor in (1, 2, 2.5, 5, 10) if factor * power >= value - 1e-9)
