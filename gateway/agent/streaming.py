"""A streamed answer on its way to a screen, held back while it may still turn out to be `NO_REPLY`."""

from __future__ import annotations

from gateway.agent.finals import holds_back
from gateway.events import EventLog


class Stream:
    """The partial text of one answer."""

    def __init__(self, events: EventLog, session_key: str, message_id: str) -> None:
        """
        Args:
            events: shows the deltas.
            session_key: whose answer.
            message_id: the outbox id that the answer will have.
        """
        self._events = events
        self._session_key = session_key
        self._message_id = message_id
        self._held = ""
        self._shown = False

    async def delta(self, text: str) -> None:
        """Shows the next piece, or keeps it back."""
        if self._shown:
            self._events.delta(self._session_key, self._message_id, text)
            return
        self._held += text
        if not holds_back(self._held):
            self._shown = True
            self._events.delta(self._session_key, self._message_id, self._held)

    def restart(self) -> None:
        """What was streamed so far is void: the answer begins anew."""
        if self._shown:
            self._events.restart(self._session_key, self._message_id)
        self._held, self._shown = "", False
