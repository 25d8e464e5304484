"""Groups that have become supergroups: Telegram gives such a group another id, and its messages new numbers.

The gateway goes on knowing a group by the id that it had first: routes, sessions and threads that name it stay as they
are, and so may the settings. Here the ids are exchanged, on the way in and on the way out. A message of the supergroup
is known as `<chat>:<number>`, because the group that was may have had one of the same number. What has moved is kept by
the gateway, so that a restart knows it before anything is taken or sent.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping

from gateway.routes import Route

Keep = Callable[[int, int], Awaitable[None]]
"""Commits that a group (by the id that the gateway knows) has this id now."""

log = logging.getLogger(__name__)


class Moves:
    """The moves of one bot's groups."""

    def __init__(self, known: Mapping[int, int], keep: Keep) -> None:
        """
        Args:
            known: of before, the id that the gateway knows → the id now.
            keep: commits another one.
        """
        self._now = dict(known)
        self._known_as = {now: known_as for known_as, now in known.items()}
        self._keep = keep

    async def add(self, old: int, new: int) -> None:
        """A group has become a supergroup; when this returns it is committed."""
        if self._now.get(old) == new:
            return
        await self._keep(old, new)
        self._now[old], self._known_as[new] = new, old
        log.info("the Telegram group %s is a supergroup now, %s: its conversations go on", old, new)

    def has_left(self, chat: int) -> bool:
        """Whether this is the id of a group that has another one now."""
        return chat in self._now

    def now(self, chat: int) -> int:
        """The id that Telegram knows a chat by."""
        return self._now.get(chat, chat)

    def known_as(self, chat: int) -> int:
        """The id that the gateway knows a chat by."""
        return self._known_as.get(chat, chat)

    def name(self, chat: int, number: int) -> str:
        """The id of a message for the gateway.

        Args:
            chat: that Telegram says it stands in.
            number: its id there.
        """
        return f"{chat}:{number}" if chat in self._known_as else str(number)


def message_at(route: Route, message_id: str) -> dict[str, int]:
    """The two arguments by which Telegram finds a message; the inverse of `Moves.name`."""
    chat, _, number = message_id.rpartition(":")
    return {"chat_id": int(chat or route.chat), "message_id": int(number)}
