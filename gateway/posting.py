"""Posting: how an answer gets from a turn into the outbox, the event log and, if it streams, onto a screen.

Everything here happens in the transaction of the message that is posted. What a channel does with a row afterwards is
`delivery.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gateway.events import EventLog
from gateway.routes import Capabilities, Channel, Route
from gateway.store import outbox
from gateway.store.database import Transaction
from gateway.store.outbox import State
from gateway.store.sessions import Session
from gateway.store.transcript import Message
from gateway.views import iso, route_json

NOWHERE = Capabilities()
"""What is assumed of a channel that isn't configured (any more): its posts wait in the outbox."""


@dataclass(frozen=True, slots=True)
class Posting:
    """Writes posts."""

    channels: Mapping[str, Channel]
    events: EventLog
    wake: Callable[[], None]
    """Tells the delivery that there is something to send."""

    def capabilities(self, route: str | Route | None) -> Capabilities:
        """What the channel of a route can do."""
        if route is None:
            return NOWHERE
        name = (Route.from_json(route) if isinstance(route, str) else route).channel
        channel = self.channels.get(name)
        return channel.capabilities if channel else NOWHERE

    def placeholder(self, tx: Transaction, session_id: str) -> int | None:
        """The id of an answer whose streaming a crash has cut off."""
        post = outbox.streaming(tx, session_id)
        return post.id if post else None

    def open_stream(self, tx: Transaction, session: Session) -> int:
        """Writes the placeholder of an answer, before its first delta leaves (spec/architecture.md, protocol 8)."""
        open_post = outbox.streaming(tx, session.id) or outbox.add(
            tx,
            session_id=session.id,
            session_key=session.key,
            route=session.turn_route or "",
            text="",
            state=State.STREAMING,
        )
        return open_post.id

    def final(self, tx: Transaction, session: Session, message: Message, text: str) -> None:
        """Posts a final text on the turn's route: in the place of its placeholder if it was streamed."""
        route = session.turn_route or session.last_route
        post_id = self._deliver(tx, session, route, text, message.seq) if route else None
        self._tell(tx, session, route, text, "assistant", post_id, message.seq)

    def notice(self, tx: Transaction, session: Session, route: str | None, text: str) -> None:
        """Posts a text of the gateway itself."""
        post_id = None
        if route:
            post = outbox.add(
                tx,
                session_id=session.id,
                session_key=session.key,
                route=route,
                text=text,
                state=self._state(route),
            )
            tx.after_commit(self.wake)
            post_id = post.id
        self._tell(tx, session, route, text, "notice", post_id, None)

    def withdraw(self, tx: Transaction, session: Session) -> None:
        """Nothing is to be posted: takes the placeholder back."""
        post = outbox.streaming(tx, session.id)
        if post is not None:
            outbox.remove(tx, post.id)
        tx.after_commit(lambda: self.events.finish(session.key))

    def _deliver(self, tx: Transaction, session: Session, route: str, text: str, seq: int) -> int:
        state = self._state(route)
        post = outbox.streaming(tx, session.id)
        if post is None:
            post = outbox.add(
                tx,
                session_id=session.id,
                session_key=session.key,
                route=route,
                text=text,
                state=state,
                seq=seq,
            )
        else:
            delivered = tx.now if state is State.DELIVERED else None
            outbox.change(tx, post.id, route=route, text=text, state=state, seq=seq, delivered_at=delivered)
        if state is State.PENDING:
            tx.after_commit(self.wake)
        return post.id

    def _tell(
        self,
        tx: Transaction,
        session: Session,
        route: str | None,
        text: str,
        role: str,
        post_id: int | None,
        seq: int | None,
    ) -> None:
        self.events.append(
            tx,
            "message",
            {
                "sessionKey": session.key,
                "sessionId": session.id,
                "seq": seq,
                "inboxId": None,
                "messageId": str(post_id) if post_id else None,
                "role": role,
                "text": text,
                "route": route_json(route),
                "createdAt": iso(tx.now),
            },
            session_id=session.id,
            session_key=session.key,
        )
        tx.after_commit(lambda: self.events.finish(session.key))

    def _state(self, route: str) -> State:
        able = self.capabilities(route)
        if able.held:
            return State.HELD
        return State.DELIVERED if able.pull else State.PENDING
