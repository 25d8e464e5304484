"""A streamed answer on its way to a screen, held back while it may still turn out to be `NO_REPLY`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.agent.finals import holds_back
from gateway.events import EventLog


class Stream:
    """The partial text of one answer."""

    def __init__(self, events: EventLog, session_key: str, opened: Callable[[], Awaitable[str]]) -> None:
        """
        Args:
            events: shows the deltas.
            session_key: whose answer.
            opened: commits the answer's placeholder and returns the outbox id that the answer will have. Is asked
                before the first delta leaves, not before the request: the model need not wait for it.
        """
        self._events = events
        self._session_key = session_key
        self._opened = opened
        self._held = ""
        self._message_id: str | None = None

    async def delta(self, text: str) -> None:
        """Shows the next piece, or keeps it back."""
        if self._message_id is not None:
            self._events.delta(self._session_key, self._message_id, text)
            return
        self._held += text
        if not holds_back(self._held):
            self._message_id = await self._opened()
            self._events.restart(self._session_key, self._message_id)
            self._events.delta(self._session_key, self._message_id, self._held)

    def restart(self) -> None:
        """What was streamed so far is void: the answer begins anew."""
        if self._message_id is not None:
            self._events.restart(self._session_key, self._message_id)
        self._held, self._message_id = "", None
