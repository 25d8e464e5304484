"""The longest beginning that fits: the search under every cut."""

from __future__ import annotations

from collections.abc import Callable


def longest(most: int, fits: Callable[[int], bool], *, guess: int = 1) -> int:
    """The largest count up to `most` that fits, 0 if not even one does.

    `fits` is taken to hold for all counts below one that it holds for. It is asked about twice as often as the answer
    has digits, and never about counts much beyond the answer, so that a long document isn't measured again and again.

    Args:
        most: what there is.
        fits: asked about counts from 1 to `most`.
        guess: where to begin.
    """
    low, high, step = 0, most + 1, max(1, guess)
    while step < high:
        if not fits(step):
            high = step
            break
        low, step = step, step * 2
    while high - low > 1:
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return low
