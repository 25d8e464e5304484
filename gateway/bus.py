"""The bus between the processes of one Laneway: short words that wake somebody, never truth.

What a word is about stands in the tables; whoever hears it looks there. A word may be lost with the connection that
carries it, so that everybody looks at everything once he can hear again (`on_return`). With one process there is
nobody to talk to: `LocalBus` says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from gateway.store.database import Transaction

Words = Mapping[str, Any]
"""JSON."""
Heard = Callable[[Words], None]
"""Is called on the event loop."""


class Bus(Protocol):
    """Talks to all other processes of this database."""

    @property
    def others(self) -> bool:
        """There may be somebody to talk to."""
        ...

    def send(self, tx: Transaction, kind: str, **words: Any) -> None:
        """Says something to all others once this unit is committed, and only then."""
        ...

    def say(self, kind: str, **words: Any) -> None:
        """Says something that is of interest now or never; for the event loop's thread."""
        ...

    def on(self, kind: str, heard: Heard) -> None:
        """What is to be done with words of a kind. With words that were too long to be carried it gets none."""
        ...

    def on_return(self, callback: Callable[[], None]) -> None:
        """Is called when words may have been missed."""
        ...

    async def start(self) -> None:
        """Begins to listen."""
        ...

    async def stop(self) -> None:
        """Ends it."""
        ...


class LocalBus:
    """`Bus` of a process that is alone."""

    @property
    def others(self) -> bool:
        """See `Bus.others`."""
        return False

    def send(self, tx: Transaction, kind: str, **words: Any) -> None:
        """See `Bus.send`."""

    def say(self, kind: str, **words: Any) -> None:
        """See `Bus.say`."""

    def on(self, kind: str, heard: Heard) -> None:
        """See `Bus.on`."""

    def on_return(self, callback: Callable[[], None]) -> None:
        """See `Bus.on_return`."""

    async def start(self) -> None:
        """See `Bus.start`."""

    async def stop(self) -> None:
        """See `Bus.stop`."""
