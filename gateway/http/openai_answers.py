"""Which posts answer a request of the OpenAI-compatible API, and who takes those that nobody has fetched yet.

Every request has a route of its own, so that its answer can't be mixed up with another's. Posts wait in the outbox,
`held`, until a request returns them: its own answer, and before it whatever came to the session after earlier answers
(announcements). A post counts as delivered when it was written to the client; one that a broken connection has cut
off is returned by the next request. Which requests are waiting is known in this process only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

from sqlalchemy import func, select

from gateway.agent.messages import Usage
from gateway.events import EventLog
from gateway.store import outbox, sessions
from gateway.store.database import Database, Transaction
from gateway.store.outbox import Post, State
from gateway.store.schema import inbox, messages
from gateway.store.schema import outbox as posts
from gateway.views import route_json


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a request's message has come."""

    over: bool
    """Its turn has ended, or there will be none."""
    session_id: str = ""
    seq: int = 0
    """Its place in the transcript, once it was consumed."""
    dropped: bool = False
    """It was dropped before a turn took it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets."""

    posts: tuple[Post, ...] = ()
    usage: Usage = field(default_factory=Usage)
    notice: str = ""
    """What the gateway itself has to say: a slash command's answer, a message that was dropped."""

    @property
    def text(self) -> str:
        """Everything as one text."""
        return "\n\n".join(part for part in (self.notice, join(self.posts)) if part)


def join(found: Sequence[Post]) -> str:
    """Posts as one text."""
    return "\n\n".join(post.text for post in found)


def progress(tx: Transaction, inbox_id: int) -> Progress:
    """How far the message with this inbox row has come."""
    row = tx.execute(
        select(inbox.c.session_id, inbox.c.state, inbox.c.consumed_seq).where(inbox.c.id == inbox_id)
    ).first()
    if row is None or row.state == "dropped":
        return Progress(over=True, dropped=True)
    if row.state == "pending":
        return Progress(over=False)
    session = sessions.find(tx, row.session_id)
    under_way = session is not None and session.turn_seq is not None and session.turn_seq <= row.consumed_seq
    return Progress(not under_way, row.session_id, row.consumed_seq)


def answer(tx: Transaction, route: str, reached: Progress, notice: str) -> Answer:
    """The posts of a request's turn, up to its final message, with what the model used for it."""
    if reached.dropped:
        return Answer(notice=notice or "(This message was dropped before it was answered.)")
    statement = select(posts).where(posts.c.route == route, posts.c.state != State.STREAMING)
    found: list[Post] = []
    for row in tx.execute(statement.order_by(posts.c.id)):
        found.append(Post(**row._mapping))  # pyright: ignore[reportPrivateUsage]
        if row.seq is not None:
            break
    last = found[-1].seq if found else None
    return Answer(tuple(found), _usage(tx, reached, last), notice)


def _usage(tx: Transaction, reached: Progress, last: int | None) -> Usage:
    of_turn = (messages.c.session_id == reached.session_id) & (messages.c.seq > reached.seq)
    statement = select(
        func.coalesce(func.sum(messages.c.tokens_in), 0).label("input"),
        func.coalesce(func.sum(messages.c.tokens_out), 0).label("output"),
        func.coalesce(func.sum(messages.c.cache_read), 0).label("cached"),
    ).where(of_turn, messages.c.role == "assistant", messages.c.seq <= (last or 0))
    row = tx.execute(statement).one()
    return Usage(int(row.input), int(row.output), int(row.cached))


class Desk:
    """Hands held posts to requests, each to one."""

    def __init__(self, database: Database, events: EventLog) -> None:
        self._database = database
        self._events = events
        self._waiting: Counter[str] = Counter()
        self._claimed: set[int] = set()

    @contextmanager
    def waiting(self, route: str) -> Generator[None]:
        """While it is entered, posts of this route are left to this request."""
        self._waiting[route] += 1
        try:
            yield
        finally:
            self._waiting[route] -= 1
            if not self._waiting[route]:
                del self._waiting[route]

    @asynccontextmanager
    async def earlier(self, session_key: str) -> AsyncGenerator[tuple[Post, ...]]:
        """Posts of a session that nobody is waiting for; while it is entered, no other request is given them."""
        found = await self._database.read(outbox.held, session_key)
        free = {post.id for post in found if not self._waiting[post.route]} - self._claimed
        self._claimed |= free
        try:
            # Somebody may have delivered one of them, and let go of it, while the first look was on its way here.
            held = await self._database.read(outbox.held, session_key)
            yield tuple(post for post in held if post.id in free)
        finally:
            self._claimed -= free

    async def delivered(self, found: Sequence[Post]) -> None:
        """These posts have reached their reader."""
        if any(post.state is State.HELD for post in found):
            await self._database.run(self._mark, [post.id for post in found])

    def _mark(self, tx: Transaction, ids: list[int]) -> None:
        for post in (outbox.find(tx, post_id) for post_id in ids):
            if post is None or post.state is not State.HELD:
                continue
            outbox.change(tx, post.id, state=State.DELIVERED, delivered_at=tx.now)
            data = {
                "messageId": str(post.id),
                "state": State.DELIVERED.value,
                "error": None,
                "route": route_json(post.route),
            }
            self._events.append(tx, "delivery", data, session_id=post.session_id, session_key=post.session_key)
