"""What every database does with a unit of work: calling it, and waiting for it through a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.store.database import Transaction

T = TypeVar("T")


def call(unit: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any], tx: Transaction) -> T:
    """Executes a unit whose arguments were given before its transaction."""
    return unit(tx, *args, **kwargs)


def name_of(unit: Callable[..., Any]) -> str:
    """What a unit is called, for failpoints and logs."""
    return getattr(unit, "__name__", "unit")


async def settled(future: asyncio.Future[T]) -> T:
    """What a unit came to. A cancelled caller still waits for it, and is cancelled then."""
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.shield(future)
        except asyncio.CancelledError as error:
            if future.cancelled():
                raise
            cancelled = error
        except BaseException:
            if not future.done():
                raise
    if cancelled is not None:
        future.exception()  # marks it as seen: the caller is cancelled either way
        raise cancelled
    return future.result()
