"""A run's timeline as a picture: rows of bars on one scale, made here, so that the page needs nothing to draw it.

Places and widths are shares of the row, which a browser stretches to its screen; texts stand beside the rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway import numbers
from gateway.store.runs import Run
from gateway.timeline import Bar, Kind
from gateway.views import capped, money

WORDS: Mapping[Kind, str] = {
    Kind.QUEUE: "waits for a slot",
    Kind.DELAY: "delayed",
    Kind.DEPENDENCY: "waits for other jobs",
    Kind.WORK: "at work",
    Kind.CHILDREN: "waits for children",
    Kind.PAUSED: "paused",
    Kind.MODEL: "model call",
    Kind.TOOL: "tool",
    Kind.RATE: "rate limit",
    Kind.RETRY: "error, then waits to try again",
    Kind.APPROVAL: "waits for an approval",
    Kind.CHILD: "sub-agent",
    Kind.DOWN: "gateway down",
}
ROWS: Mapping[str, tuple[Kind, ...]] = {
    "State": (Kind.QUEUE, Kind.DELAY, Kind.DEPENDENCY, Kind.WORK, Kind.CHILDREN, Kind.PAUSED),
    "Model": (Kind.MODEL,),
    "Tools": (Kind.TOOL,),
    "Waits": (Kind.RATE, Kind.RETRY, Kind.APPROVAL),
    "Children": (Kind.CHILD,),
    "Restarts": (Kind.DOWN,),
}
STEP = 18
"""Pixels from one lane of a row to the next."""
BAR = 14
MOST_LANES = 8
MOST_BARS = 600
MOST_LINES = 300
STEPS_SECONDS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 28_800, 86_400),
    *(2 * 86_400, 7 * 86_400),
)
TICKS = 6


@dataclass(frozen=True, slots=True)
class Drawn:
    """A bar in its place."""

    kind: str
    x: str
    width: str
    y: int
    title: str
    seq: int | None
    error: bool
    open: bool


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the picture."""

    name: str
    height: int
    bars: tuple[Drawn, ...]
    summary: str
    """What it shows, for who can't see it."""


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on the scale."""

    x: str
    text: str
    anchor: str


@dataclass(frozen=True, slots=True)
class Line:
    """A bar as a line of the table."""

    kind: str
    what: str
    label: str
    after: str
    """How long after the beginning."""
    took: str
    tokens: int | None
    cost: str | None
    seq: int | None
    error: bool
    open: bool
    estimated: bool


@dataclass(frozen=True, slots=True)
class Picture:
    """All of it."""

    rows: tuple[Row, ...]
    ticks: tuple[Tick, ...]
    legend: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    left_out: int
    """Lines that the table doesn't have."""
    span: str


def picture(run: Run, bars: Sequence[Bar], now: int) -> Picture:
    """Draws the bars of a run."""
    start = min([run.created_at, *(bar.start for bar in bars)])
    end = max(run.ended_at or now, start + 1)
    made = [_row(name, [bar for bar in bars if bar.kind in kinds], start, end) for name, kinds in ROWS.items()]
    shown = {bar.kind for bar in bars}
    ambiguous = [kind for kind in (*ROWS["State"], *ROWS["Waits"]) if kind in shown]
    return Picture(
        tuple(row for row in made if row.bars),
        tuple(_ticks(end - start)),
        tuple((kind.value, WORDS[kind]) for kind in ambiguous),
        tuple(_line(bar, start, end) for bar in bars[:MOST_LINES]),
        max(0, len(bars) - MOST_LINES),
        numbers.duration((end - start) / 1000),
    )


def _row(name: str, bars: Sequence[Bar], start: int, end: int) -> Row:
    drawn: list[Drawn] = []
    lanes: list[int] = []
    longest = sorted(bars, key=lambda bar: bar.start - (bar.end or end))[:MOST_BARS]
    for bar in sorted(longest, key=lambda bar: bar.start):
        until = max(bar.start, min(bar.end or end, end))
        lane = next((place for place, free in enumerate(lanes) if free <= bar.start), len(lanes))
        if lane == len(lanes):
            lanes.append(until)
        lanes[lane] = until
        drawn.append(_bar(bar, until, start, end, min(lane, MOST_LANES - 1)))
    total = sum(min(bar.end or end, end) - bar.start for bar in bars)
    noun = "bar" if len(bars) == 1 else "bars"
    summary = f"{name}: {len(bars)} {noun}, {numbers.duration(max(0, total) / 1000)} together"
    return Row(name, max(1, min(len(lanes), MOST_LANES)) * STEP + 2, tuple(drawn), summary)


def _bar(bar: Bar, until: int, start: int, end: int, lane: int) -> Drawn:
    span = end - start
    wide = max(0.25, 100 * (until - bar.start) / span)
    left = min(100 * (bar.start - start) / span, 100 - wide)
    title = ": ".join(filter(None, (WORDS[bar.kind], capped(bar.label, 80))))
    more = [numbers.tenths((until - bar.start) / 1000), *_used(bar)]
    return Drawn(
        bar.kind.value,
        f"{max(0.0, left):.3f}%",
        f"{wide:.3f}%",
        2 + lane * STEP,
        f"{title} · {' · '.join(more)}" + (" · failed" if bar.error else ""),
        bar.seq,
        bar.error,
        bar.end is None,
    )


def _used(bar: Bar) -> Iterable[str]:
    if bar.tokens_in is not None:
        yield f"{numbers.count(bar.tokens_in + (bar.tokens_out or 0))} tokens"
    if bar.cost_micro:
        yield money(bar.cost_micro) or ""


def _line(bar: Bar, start: int, end: int) -> Line:
    return Line(
        bar.kind.value,
        WORDS[bar.kind],
        capped(bar.label, 80),
        numbers.tenths((bar.start - start) / 1000),
        numbers.tenths(((bar.end or end) - bar.start) / 1000),
        None if bar.tokens_in is None else bar.tokens_in + (bar.tokens_out or 0),
        money(bar.cost_micro) if bar.cost_micro else None,
        bar.seq,
        bar.error,
        bar.end is None,
        bar.estimated,
    )


def _ticks(span_ms: int) -> Iterable[Tick]:
    seconds = span_ms / 1000
    step = next((each for each in STEPS_SECONDS if seconds / each <= TICKS), seconds / TICKS)
    number = int(seconds / step)
    for place in range(number + 1):
        share = 100 * place * step / seconds
        if place and share > 96:  # it would stand beside the edge
            continue
        moment = place * step
        text = f"{moment:.1f}s" if 0 < step < 1 and place else numbers.duration(moment)
        yield Tick(f"{share:.3f}%", text, "middle" if place else "start")
