"""Live cards: one message in a thread that shows its sub-agents at work, edited in place (spec/channels.md 7).

What a card shows is made from the tables; that it is there, and as which message, stands in the tables too, so that a
restart goes on editing the same one. Edits are shown as well as may be and at most every three seconds; the first card
and the last one, which is the summary, go through the outbox. While a turn streams on a platform that shows tasks
beside its text, the sub-agents are shown there instead, and the card comes after it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass

from gateway import failpoints
from gateway.cards import Card
from gateway.channel import DeliveryError
from gateway.delivery import outgoing
from gateway.plugins import Registry
from gateway.routes import Route
from gateway.store import buttons, cards, outbox, sessions
from gateway.store.cards import Shown
from gateway.store.database import Transaction
from gateway.store.outbox import State
from gateway.store.runs import Run
from gateway.store.sessions import Session
from gateway.tasks import TaskSet
from gateway.waiting import rung
from subagents import scope
from subagents.card_view import card_of

EDIT_SECONDS = 3.0
"""The shortest time between two edits of one card (spec/channels.md 7)."""
TICK_SECONDS = 15.0
"""A card whose sub-agents say nothing is edited so often, for the runtime."""
LOOK_SECONDS = 0.25
"""The shortest time between two looks at the tables."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Edit:
    """A card that is to be edited on its platform."""

    post: outbox.Post
    card: Card


@dataclass(slots=True)
class _Pace:
    """When a card was edited, and with what."""

    next_at: float = -math.inf
    card: Card | None = None


class Board:
    """Keeps all cards up to date."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._tasks = TaskSet()
        self._changed = asyncio.Event()
        self._paces: dict[int, _Pace] = {}

    async def open(self) -> None:
        """At start-up: goes on with the cards of before."""
        able = (channel.capabilities for channel in self._registry.gateway.registry.channels.values())
        if any(each.cards for each in able):
            self._changed.set()
            self._tasks.spawn(self._watch(), "cards:watch")
            self._tasks.spawn(self._work(), "cards")

    async def close(self) -> None:
        """When the gateway stops."""
        await self._tasks.stop()

    async def _watch(self) -> None:
        async with self._registry.gateway.events.subscribe(last_id=None) as stream:
            async for event in stream:
                if event.run_id is not None or event.type in ("message", "delivery", "reset"):
                    self._changed.set()

    async def _work(self) -> None:
        wait: float | None = None
        while True:
            await rung(self._changed, wait)
            self._changed.clear()
            edits = await self._registry.gateway.database.run(self._look)
            waits = [seconds for edit in edits if (seconds := await self._edit(edit))]
            wait = min(waits, default=TICK_SECONDS if edits else None)
            await asyncio.sleep(LOOK_SECONDS)  # a burst of events is one look

    async def _edit(self, edit: Edit) -> float:
        """Edits a card unless it was just edited; returns in how many seconds it is to be looked at again, 0: never."""
        pace = self._paces.setdefault(edit.post.id, _Pace())
        now = asyncio.get_running_loop().time()
        if pace.card == edit.card:
            return 0.0
        if now < pace.next_at:
            return pace.next_at - now
        route = Route.from_json(edit.post.route)
        gateway = self._registry.gateway
        failpoints.hit("effect:edit_card")
        try:
            platform_id = await gateway.registry.channels[route.channel].post(outgoing(edit.post, route))
        except DeliveryError as error:
            log.info("card %s isn't edited: %s", edit.post.id, error)
            if error.permanent:
                await gateway.database.run(cards.finish, edit.post.id)
                return 0.0
            pace.next_at = now + max(EDIT_SECONDS, error.retry_after or 0.0)
            return pace.next_at - now
        if platform_id != edit.post.platform_id:  # somebody has deleted it, and it was posted anew
            await gateway.database.run(_stands_as, edit.post.id, platform_id)
        pace.next_at, pace.card = now + EDIT_SECONDS, edit.card
        return 0.0

    def _posted_as(self, post_id: int, card: Card) -> None:
        """A card that isn't sent yet will be sent like this."""
        self._paces.setdefault(post_id, _Pace()).card = card

    # ---- units of work ----

    def _look(self, tx: Transaction) -> list[Edit]:
        """Opens the cards that are missing, ends those that are over, and returns what is to be edited."""
        shown = {each.route: each for each in cards.unfinished(tx)}
        for route in scope.active_routes(tx):
            if route not in shown and self._wanted(route) and (begun := self._begin(tx, route)) is not None:
                shown[route] = begun
        return [edit for each in shown.values() if (edit := self._refresh(tx, each)) is not None]

    def _begin(self, tx: Transaction, route: str) -> Shown | None:
        active, _ = scope.on_route(tx, route, tx.now)
        session = self._conversation(tx, active[0])
        if session is None or self._beside_answer(tx, session, route, active):
            return None
        gateway = self._registry.gateway
        post = gateway.posting.card(tx, session, route, card_of(active, 0, tx.now, gateway.events.live, None))
        since = min((run.created_at for run in active), default=tx.now)
        return cards.add(tx, post.id, route, session.id, session.key, since)

    def _refresh(self, tx: Transaction, shown: Shown) -> Edit | None:
        """Keeps what a card shows now; returns it where it stands on its platform already."""
        post = outbox.find(tx, shown.post_id)
        if post is None or post.state in (State.FAILED, State.DROPPED):
            cards.finish(tx, shown.post_id)
            return None
        found, more = scope.on_route(tx, shown.route, shown.since)
        over = not any(run.open for run in found)
        if over:
            buttons.void(tx, post.id)
            cards.finish(tx, post.id)
            self._paces.pop(post.id, None)

        def press(run: Run, action: str) -> str:
            command = f"/subagents {action} {run.id}"
            return buttons.issue(tx, post_id=post.id, route=shown.route, session_key=shown.session_key, command=command)

        gateway = self._registry.gateway
        card = card_of(found, more, tx.now, gateway.events.live, press)
        gateway.posting.recard(tx, post.id, card, send=over)
        if not over and post.state is State.PENDING:
            tx.after_commit(lambda: self._posted_as(post.id, card))
        if over or post.state is not State.DELIVERED or post.platform_id is None:
            return None
        return Edit(outbox.get(tx, post.id), card)

    def _wanted(self, route: str) -> bool:
        return self._registry.gateway.posting.capabilities(route).cards

    def _beside_answer(self, tx: Transaction, session: Session, route: str, active: list[Run]) -> bool:
        """Shows the sub-agents beside the answer that is being written on the route, if the platform can."""
        gateway = self._registry.gateway
        able = gateway.posting.capabilities(route)
        if not (able.tasks and able.streaming) or session.turn_seq is None or session.turn_route != route:
            return False
        placeholder = gateway.posting.open_stream(tx, session)
        rows = card_of(active, 0, tx.now, gateway.events.live, None).rows
        tx.after_commit(lambda: gateway.relay.show_tasks(placeholder, rows))
        return True

    def _conversation(self, tx: Transaction, run: Run) -> Session | None:
        """The conversation with people that a run was asked for in."""
        session = sessions.find(tx, run.requester_id)
        while session is not None and session.kind != "main" and session.parent_id:
            session = sessions.find(tx, session.parent_id)
        return sessions.by_key(tx, session.key) if session else None


def _stands_as(tx: Transaction, post_id: int, platform_id: str | None) -> None:
    outbox.change(tx, post_id, platform_id=platform_id)
