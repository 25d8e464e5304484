"""A streamed answer on its way to a screen, held back while it may still turn out to be `NO_REPLY`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gateway.agent.finals import holds_back
from gateway.events import EventLog
from gateway.relay import Relay
from gateway.store.outbox import Post


class Stream:
    """The partial text of one answer."""

    def __init__(self, events: EventLog, relay: Relay, session_key: str, opened: Callable[[], Awaitable[Post]]) -> None:
        """
        Args:
            events: shows the deltas to who watches.
            relay: shows them on the platform.
            session_key: whose answer.
            opened: commits the answer's placeholder and returns it. Is asked before the first delta leaves, not
                before the request: the model need not wait for it.
        """
        self._events = events
        self._relay = relay
        self._session_key = session_key
        self._opened = opened
        self._text = ""
        self._post: Post | None = None

    async def delta(self, text: str) -> None:
        """Shows the next piece, or keeps it back."""
        self._text += text
        if self._post is None:
            if holds_back(self._text):
                return
            self._post = await self._opened()
            self._events.restart(self._session_key, str(self._post.id))
            text = self._text
        self._events.delta(self._session_key, str(self._post.id), text)
        self._relay.show(self._post, self._text)

    def restart(self) -> None:
        """What was streamed so far is void: the answer begins anew."""
        if self._post is not None:
            self._events.restart(self._session_key, str(self._post.id))
        self._text, self._post = "", None
