"""Posting: how an answer gets from a turn into the outbox, the event log and, if it streams, onto a screen.

Everything here happens in the transaction of the message that is posted. What a channel does with a row afterwards is
`delivery.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from gateway.cards import Button, Card, Style
from gateway.channel import Capabilities, Channel, Mark
from gateway.events import EventLog
from gateway.presence import Presence
from gateway.routes import Route
from gateway.store import buttons, inbox, outbox
from gateway.store.database import Transaction
from gateway.store.outbox import Post, State
from gateway.store.schema import sessions as sessions_table
from gateway.store.sessions import Session
from gateway.store.transcript import Message
from gateway.views import iso, route_json

NOWHERE = Capabilities()
"""What is assumed of a channel that isn't configured (any more): its posts wait in the outbox."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A button that is to be: what it says, and the slash command that it stands for."""

    text: str
    command: str
    style: Style = ""


@dataclass(frozen=True, slots=True)
class Posting:
    """Writes posts."""

    channels: Mapping[str, Channel]
    events: EventLog
    presence: Presence
    wake: Callable[[Transaction], None]
    """Tells the delivery that there is something to send, once a unit of work is committed."""

    def capabilities(self, route: str | Route | None) -> Capabilities:
        """What can be done on a route."""
        if route is None:
            return NOWHERE
        place = Route.from_json(route) if isinstance(route, str) else route
        channel = self.channels.get(place.channel)
        return channel.able(place) if channel else NOWHERE

    # ---- that a turn is under way ----

    def working(self, tx: Transaction, session: Session, rows: Sequence[inbox.Row]) -> None:
        """A turn has begun, goes on after a crash, or has taken these messages in."""
        message_ids = [row.message_id for row in rows if row.message_id]
        tx.after_commit(lambda: self.presence.working(session.key, session.turn_route, message_ids))

    def rested(self, tx: Transaction, session: Session, mark: Mark) -> None:
        """The turn of `session` has ended. Must be told what the session was before its end."""
        message_ids: list[str] = []
        if self.capabilities(session.turn_route).marks and session.turn_seq is not None:
            message_ids = inbox.message_ids(tx, session.id, session.turn_seq)
        tx.after_commit(lambda: self.presence.rested(session.key, session.turn_route, message_ids, mark))

    # ---- what is posted ----

    def placeholder(self, tx: Transaction, session_id: str) -> Post | None:
        """The row of an answer whose streaming a crash has cut off."""
        return outbox.streaming(tx, session_id)

    def open_stream(self, tx: Transaction, session: Session) -> Post:
        """Writes the placeholder of an answer, before its first delta leaves (spec/architecture.md, protocol 8)."""
        tx.lock(sessions_table, session.id)
        return outbox.streaming(tx, session.id) or outbox.add(
            tx,
            session_id=session.id,
            session_key=session.key,
            route=session.turn_route or "",
            text="",
            state=State.STREAMING,
        )

    def final(self, tx: Transaction, session: Session, message: Message, text: str) -> None:
        """Posts a final text on the turn's route: in the place of its placeholder if it was streamed."""
        route = session.turn_route or session.last_route
        post_id = self._deliver(tx, session, route, text, message.seq) if route else None
        self._tell(tx, session, route, text, "assistant", post_id, message.seq)

    def elsewhere(self, tx: Transaction, session: Session, route: str, text: str, seq: int | None) -> None:
        """Posts a text of the assistant on another route than the turn's: in a thread that belongs to the session."""
        post_ids = [self._add(tx, session, route, piece, seq).id for piece in self._pieces(route, text)]
        self._tell(tx, session, route, text, "assistant", post_ids[0], seq)

    def notice(
        self, tx: Transaction, session: Session, route: str | None, text: str, choices: Sequence[Choice] = ()
    ) -> None:
        """Posts a text of the gateway itself, with buttons where the channel has them."""
        post_id = self._notice(tx, session, route, text, choices) if route else None
        self._tell(tx, session, route, text, "notice", post_id, None)

    def reply(self, tx: Transaction, session: Session | None, route: str, text: str) -> None:
        """Posts a command's answer, or a word to somebody who has no conversation yet."""
        for piece in self._pieces(route, text):
            self._add(tx, session, route, piece, None)

    def card(self, tx: Transaction, session: Session, route: str, card: Card) -> Post:
        """Posts a card for the first time. Its buttons, which need the post's id, come with `recard`."""
        return self._add(tx, session, route, card.text(), None, card=card)

    def recard(self, tx: Transaction, post_id: int, card: Card, *, send: bool) -> None:
        """Keeps what a card shows now.

        Args:
            tx: the unit of work.
            post_id: its outbox row.
            card: what it shows.
            send: sends it through the outbox: it is the last one, and must arrive.
        """
        fields = {"text": card.text(), "card": card.to_json()}
        if send:
            outbox.change(tx, post_id, **fields, state=State.PENDING, attempts=0, next_at=None)
            self.wake(tx)
        else:
            outbox.change(tx, post_id, **fields)

    def amend(self, tx: Transaction, post_id: int, text: str) -> None:
        """Puts a text in the place of another one and its buttons, where it can still be changed."""
        post = outbox.get(tx, post_id)
        buttons.void(tx, post_id)
        waits = post.state in (State.PENDING, State.SENDING)
        if waits or (post.state is State.DELIVERED and self.capabilities(post.route).edits):
            outbox.change(tx, post_id, text=text, buttons=None, state=State.PENDING, attempts=0, next_at=None)
            self.wake(tx)

    def withdraw(self, tx: Transaction, session: Session) -> None:
        """Nothing is to be posted: takes the placeholder back, and what has been shown in its place."""
        post = outbox.streaming(tx, session.id)
        if post is not None and (post.streamed or self._relays(post.route)):
            outbox.change(tx, post.id, kind="retract", state=State.PENDING)
            self.wake(tx)
        elif post is not None:
            outbox.remove(tx, post.id)
        tx.after_commit(lambda: self.events.finish(session.key))

    # ---- rows ----

    def _deliver(self, tx: Transaction, session: Session, route: str, text: str, seq: int) -> int:
        """Writes the rows of a text, one for each piece; returns the first one's id."""
        first, *more = self._pieces(route, text)
        post = outbox.streaming(tx, session.id)
        if post is None:
            post = self._add(tx, session, route, first, seq)
        else:
            state = self._state(route)
            delivered = tx.now if state is State.DELIVERED else None
            outbox.change(tx, post.id, route=route, text=first, state=state, seq=seq, delivered_at=delivered)
            if state is State.PENDING:
                self.wake(tx)
        for piece in more:
            self._add(tx, session, route, piece, seq)
        return post.id

    def _notice(self, tx: Transaction, session: Session, route: str, text: str, choices: Sequence[Choice]) -> int:
        first, *more = self._pieces(route, text)
        post = self._add(tx, session, route, first, None)
        for piece in more:
            self._add(tx, session, route, piece, None)
        if choices and self.capabilities(route).buttons:
            made = [
                Button(
                    each.text,
                    buttons.issue(tx, post_id=post.id, route=route, session_key=session.key, command=each.command),
                    each.style,
                )
                for each in choices
            ]
            outbox.change(tx, post.id, buttons=[asdict(button) for button in made])
        return post.id

    def _add(
        self,
        tx: Transaction,
        session: Session | None,
        route: str,
        text: str,
        seq: int | None,
        *,
        card: Card | None = None,
    ) -> Post:
        state = self._state(route)
        if state is State.PENDING:
            self.wake(tx)
        return outbox.add(
            tx,
            session_id=session.id if session else "",
            session_key=session.key if session else "",
            route=route,
            text=text,
            state=state,
            seq=seq,
            kind="card" if card else "text",
            card=card.to_json() if card else None,
        )

    def _pieces(self, route: str, text: str) -> list[str]:
        channel = self.channels.get(Route.from_json(route).channel)
        return channel.split(text) if channel else [text]

    def _relays(self, route: str) -> bool:
        able = self.capabilities(route or None)
        return able.streaming and not able.pull

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
