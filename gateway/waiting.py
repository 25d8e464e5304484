"""Waiting for an event, so long and no longer."""

from __future__ import annotations

import asyncio
import contextlib


async def rung(event: asyncio.Event, seconds: float | None) -> None:
    """Returns once an event is set, or after so many seconds (None: however long it takes); `is_set` tells which.

    Not `asyncio.wait_for`: that loses a cancellation which comes in the moment in which the event is set (Python 3.11).
    """
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def never() -> None:
    """A due time that doesn't come: for work that the slow sweep does often enough."""
    return
