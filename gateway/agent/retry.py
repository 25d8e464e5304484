"""When a failed model call is tried again. Pure functions; the loop is in `models.py`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

MAX_TRIES = 5
"""Tries of one model, the first included (issue part 6)."""
LONGEST_WAIT = 120.0
"""seconds; a provider that asks for more is asked again after this long all the same."""
_FIRST_WAIT = 1.0


def wait_before(attempt: int, retry_after: float | None, jitter: float) -> float:
    """Seconds to wait after a failed try.

    Args:
        attempt: the try that failed, from 1.
        retry_after: seconds that the provider asked for; never undercut (below `LONGEST_WAIT`).
        jitter: a random number from 0 to 1, so that many callers don't come back at once.
    """
    if retry_after is not None:
        return min(max(retry_after, 0.0), LONGEST_WAIT) * (1 + 0.1 * jitter)
    return _FIRST_WAIT * 2 ** (attempt - 1) * (0.75 + 0.5 * jitter)


def parse_retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Seconds that a response asks to wait: `retry-after-ms`, or `retry-after` as seconds or as an HTTP date.

    Args:
        headers: with names in lower case, or a mapping that ignores case.
        now: for tests.
    """
    if (milliseconds := _number(headers.get("retry-after-ms"))) is not None:
        return milliseconds / 1000
    text = headers.get("retry-after")
    if text is None:
        return None
    if (seconds := _number(text)) is not None:
        return seconds
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - (now or datetime.now(UTC))).total_seconds())


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return value if value is not None and 0 <= value < float("inf") else None
