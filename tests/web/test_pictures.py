"""Timelines and charts: every bar stands where its time is, none leaves the picture, none covers another."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, get_type_hints

from hypothesis import given
from hypothesis import strategies as st

from channels.web.room.charts import HEIGHT, Day, Part, chart, nice
from channels.web.room.picture import MOST_LANES, picture
from gateway.store.runs import Run, Status
from gateway.timeline import Bar, Kind

START, END = 1_000_000, 1_060_000


def a_run() -> Run:
    """A run of a minute; of all else it has nothing."""
    hints = get_type_hints(Run)
    empty: dict[Any, Any] = {str: "", int: 0, bool: False, Status: Status.DONE}
    blank = {each.name: empty.get(hints[each.name]) for each in fields(Run)}
    return replace(_made(**blank), created_at=START, ended_at=END)


def _made(**given: Any) -> Run:
    return Run(**given)


def percent(text: str) -> float:
    """A share of the width."""
    assert text.endswith("%")
    return float(text[:-1])


def a_bar(kind: Kind, start: int, long: int, under_way: bool) -> Bar:
    """Somewhere around the run."""
    return Bar(kind, START + start, None if under_way else START + start + long, "x", seq=1)


BARS = st.builds(a_bar, st.sampled_from(Kind), st.integers(-10_000, 60_000), st.integers(0, 90_000), st.booleans())


@given(st.lists(BARS, max_size=60))
def test_bars_stay_in_the_picture(bars: list[Bar]) -> None:
    drawn = picture(a_run(), bars, END)
    assert sum(len(row.bars) for row in drawn.rows) == len(bars)
    for row in drawn.rows:
        for bar in row.bars:
            assert percent(bar.x) >= 0 and percent(bar.x) + percent(bar.width) <= 100.01
            assert bar.y + 14 <= row.height
    assert all(percent(tick.x) <= 100 for tick in drawn.ticks)


@given(st.lists(st.tuples(st.integers(0, 50_000), st.integers(300, 5_000)), min_size=1, max_size=MOST_LANES))
def test_bars_at_one_time_stand_below_each_other(spans: list[tuple[int, int]]) -> None:
    bars = [Bar(Kind.TOOL, START + start, START + start + long) for start, long in spans]
    (row,) = picture(a_run(), bars, END).rows
    for place, one in enumerate(row.bars):
        for other in row.bars[place + 1 :]:
            apart = percent(other.x) + 0.02 >= percent(one.x) + percent(one.width)
            assert apart or one.y != other.y


def test_a_run_under_way_ends_now() -> None:
    run = replace(a_run(), ended_at=None, status=Status.RUNNING)
    drawn = picture(run, [Bar(Kind.WORK, START, None)], START + 5_000)
    (row,) = drawn.rows
    assert (row.bars[0].x, row.bars[0].width, row.bars[0].open) == ("0.000%", "100.000%", True)
    assert drawn.span == "5s" and drawn.lines[0].took == "5.0s"


@given(st.lists(st.lists(st.integers(0, 10**12), max_size=3), min_size=1, max_size=90))
def test_days_stay_in_the_chart(days: list[list[int]]) -> None:
    drawn = chart([Day("d", "t", tuple(Part("in", value) for value in each)) for each in days], str)
    for bar in drawn.bars:
        assert percent(bar.x) + percent(bar.width) <= 100.01
        for rect in bar.rects:
            assert float(rect.y) >= -4 and float(rect.y) + float(rect.height) <= HEIGHT + 0.11


@given(st.integers(1, 10**15))
def test_scales_end_at_round_numbers(value: int) -> None:
    end = nice(value)
    assert value <= end <= 10 * value and str(end).rstrip("0") in ("1", "2", "25", "5", "3")
