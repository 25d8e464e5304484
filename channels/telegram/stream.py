"""Answers that appear in Telegram while they are written: as a draft in a private chat, as edits in a group."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from channels.telegram import markdown
from channels.telegram.markdown import Rendered
from gateway.cards import CardRow
from gateway.channel import DeliveryError

Show = Callable[[Rendered], Awaitable[None]]


class Draft:
    """A draft: its last part, where it is long. Nothing of it stays."""

    platform_id = None

    def __init__(self, show: Show) -> None:
        self._show = show
        self._shown: Rendered | None = None

    async def show(self, text: str, tasks: Sequence[CardRow]) -> None:
        """See `Live.show`."""
        pieces = markdown.render(text)
        if pieces and pieces[-1] != self._shown:
            await self._show(pieces[-1])
            self._shown = pieces[-1]


class Edits:
    """A message that is edited as its text grows, until it is full; what doesn't fit comes with the final text."""

    def __init__(self, platform_id: str, show: Show, room: Callable[[], float], shown: Rendered | None) -> None:
        """
        Args:
            platform_id: the message.
            show: edits it.
            room: in how many seconds there is room for an edit; 0: now, and this one is counted.
            shown: what it shows already.
        """
        self.platform_id = platform_id
        self._shown = shown
        self._show = show
        self._room = room

    async def show(self, text: str, tasks: Sequence[CardRow]) -> None:
        """See `Live.show`."""
        pieces = markdown.render(text)
        if not pieces or pieces[0] == self._shown:
            return
        wait = self._room()
        if wait > 0:
            raise DeliveryError("the chat has no room for an edit", retry_after=wait)
        await self._show(pieces[0])
        self._shown = pieces[0]
