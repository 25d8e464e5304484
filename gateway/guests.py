"""Guests: sub-agents that people talk with in a thread of their own (spec/channels.md, thread-bound sub-agents).

A thread that belongs to a sub-agent's session is its room: what people write there goes into its inbox, and its answers
go there. While its run is open the messages enter the run; with `mode: "session"` the session stays open after it, and
later messages are turns without a run. At most one thread belongs to a session. Its methods are units of work.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from gateway.config import Config
from gateway.inbound import Queues
from gateway.lanes.base import RESUMED, Lanes
from gateway.lifecycle import Lifecycle
from gateway.posting import Posting
from gateway.routes import Accepted, InboundMessage, Route
from gateway.store import inbox, runs, sessions, threads
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.sessions import Session
from gateway.store.threads import Thread

HOUR_MS = 3_600_000


class CannotBind(Exception):
    """The session can't have a thread; the text says why."""


@dataclass(frozen=True, slots=True)
class Guests:
    """Looks after the threads of sub-agents."""

    lanes: Lanes
    lifecycle: Lifecycle
    posting: Posting
    queues: Queues
    config: Callable[[], Config]
    due: Callable[[int], None]

    def of_thread(self, tx: Transaction, route: Route) -> Session | None:
        """The session that a thread belongs to; one that no longer exists has none."""
        if route.thread is None:
            return None
        thread = threads.on_route(tx, route.to_json())
        return sessions.find(tx, thread.session_id) if thread else None

    def take(self, tx: Transaction, message: InboundMessage) -> Accepted:
        """Puts what somebody has written in a thread into the inbox of the session that it belongs to."""
        known = inbox.find(tx, message.dedupe_key)
        if known is not None:
            return Accepted(known.id, duplicate=True, session_key=message.session_key)
        session = sessions.by_key(tx, message.session_key)
        if session is None:
            return self.queues.accept(tx, message)
        run = self._run(tx, session)
        route = message.route.to_json()
        row, _ = inbox.put(
            tx,
            session.id,
            "user",
            message.dedupe_key,
            message.text,
            # A run's turn has the route of who asked for it; what comes from its thread may enter all the same.
            route=None if run is not None and run.open else route,
            sender=message.sender.name or message.sender.id,
            sender_id=message.sender.id,
            message_id=message.message_id,
            attachments=[asdict(item) for item in message.attachments] or None,
        )
        threads.touch(tx, route)
        self.queues.tell(tx, session, row, message)
        self.lanes.enqueue(tx, session.lane, session.id, RESUMED)
        return Accepted(row.id, session_key=session.key)

    def bind(self, tx: Transaction, session: Session, route: Route, by: str) -> Thread:
        """Gives a thread to a session.

        Raises:
            CannotBind: the place is no thread, or the session has gone.
        """
        if route.thread is None:
            raise CannotBind("this isn't a thread; write it in the thread that is to be the sub-agent's")
        for thread in threads.of_session(tx, session.id):
            threads.unbind(tx, thread.route)
        thread = threads.bind(tx, route.to_json(), session.id, session.key, by)
        run = self._run(tx, session)
        if run is not None and not run.open:
            sessions.change(tx, session.id, closed=False)
            runs.change(tx, run.id, archive_at=None)
        self._ring(tx, thread)
        return thread

    def unbind(self, tx: Transaction, route: str) -> Session | None:
        """Gives a thread back; returns whose it was. From here on its session's archive time runs."""
        thread = threads.unbind(tx, route)
        session = sessions.find(tx, thread.session_id) if thread else None
        run = self._run(tx, session) if session else None
        if session is not None and run is not None and not run.open:
            self.lifecycle.leave(tx, session, run)
        return session

    def overdue(self, tx: Transaction) -> int:
        """Gives back the threads that are idle or too old; returns how many."""
        found = threads.overdue(tx, *self._limits())
        for thread in found:
            session = self.unbind(tx, thread.route)
            text = "🧵 This thread was quiet for long; what is written here now goes to the assistant."
            self.posting.reply(tx, session, thread.route, text)
        return len(found)

    def next_due(self, tx: Transaction) -> int | None:
        """When the next thread is to be given back."""
        return threads.next_due(tx, *self._limits())

    def _limits(self) -> tuple[int, int]:
        limits = self.config().session.thread_bindings
        return int(limits.idle_hours * HOUR_MS), int(limits.max_age_hours * HOUR_MS)

    def _ring(self, tx: Transaction, thread: Thread) -> None:
        times = [thread.created_at + limit for limit in self._limits() if limit]
        if times:
            tx.after_commit(lambda: self.due(min(times)))

    def _run(self, tx: Transaction, session: Session) -> Run | None:
        return runs.find(tx, session.run_id) if session.run_id else None
