"""Updates on their way to the bot: the queue that getUpdates reads and the webhook empties."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tests.standins.telegram.changes import Changes
from tests.standins.telegram.refusals import OTHER_POLL, conflict

Json = dict[str, Any]

NOT_BY_DEFAULT = frozenset(("chat_member", "message_reaction", "message_reaction_count"))
FIRST_ID = 870_000_001


@dataclass(frozen=True)
class Update:
    """One update."""

    id: int
    kind: str
    body: Json
    order: int
    """Updates of the same order (chat) reach a webhook one after the other."""

    def to_json(self) -> Json:
        """As `Update`."""
        return {"update_id": self.id, self.kind: self.body}


class Updates:
    """Unconfirmed updates, oldest first."""

    def __init__(self, changes: Changes) -> None:
        self.pending: list[Update] = []
        self.confirmed: set[int] = set()
        """Ids that the bot has taken: a higher offset, or a 2xx of its webhook."""
        self.allowed: tuple[str, ...] = ()
        """Kinds that it subscribed to; empty is the default set."""
        self.everything: dict[int, Update] = {}
        self._changes = changes
        self._next_id = FIRST_ID
        self._poll = 0
        self._forced: set[int] = set()

    def wants(self, kind: str) -> bool:
        """Whether the bot is told of this kind now."""
        return kind in self.allowed if self.allowed else kind not in NOT_BY_DEFAULT

    def add(self, kind: str, body: Json, order: int) -> int | None:
        """Queues an update; returns its id, None if the bot doesn't subscribe to its kind."""
        if not self.wants(kind):
            return None
        update = Update(self._next_id, kind, body, order)
        self._next_id += 1
        self.everything[update.id] = update
        self.pending.append(update)
        self._changes.mark()
        return update.id

    def again(self, update_id: int) -> None:
        """Delivers an update once more, even though the bot has confirmed it."""
        self.pending.insert(0, self.everything[update_id])
        self._forced.add(update_id)
        self._changes.mark()

    def confirm(self, ids: Iterable[int]) -> None:
        """Forgets updates that the bot has taken."""
        gone = set(ids)
        self.confirmed |= gone
        self.pending = [update for update in self.pending if update.id not in gone]
        self._changes.mark()

    def drop(self) -> None:
        """Forgets all that is pending."""
        self.pending.clear()

    async def poll(self, offset: int, limit: int, seconds: float) -> list[Update]:
        """One getUpdates: confirms what lies below the offset, waits for something above.

        Raises:
            Refusal: another poll has begun meanwhile.
        """
        self._poll += 1
        mine = self._poll
        below = self.pending[:offset] if offset < 0 else [update for update in self.pending if update.id < offset]
        self.confirm(update.id for update in below if update.id not in self._forced)
        until = time.monotonic() + seconds
        while not self.pending and (left := until - time.monotonic()) > 0:
            await self._changes.after(self._changes.version, left)
            if self._poll != mine:
                raise conflict(OTHER_POLL)
        batch = self.pending[:limit]
        self._forced -= {update.id for update in batch}
        return batch
