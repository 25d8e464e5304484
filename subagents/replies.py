"""Replies: what a sub-agent answers to a message that a person has sent it.

The person is told at once that the message was accepted; the reply, or "no reply yet", is posted when it is there.
Which replies are owed stands in the table `meta`, written with the message and removed with the post, so that a restart
loses none and posts none twice. Waiting is done in tasks that are owned here, woken by the run's events.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import asdict, dataclass

from sqlalchemy import delete, select

from gateway.plugins import Registry
from gateway.store import runs, sessions
from gateway.store.database import StoreError, Transaction
from gateway.store.schema import inbox, messages, meta
from subagents import texts
from subagents.announce import ANNOUNCE_SKIP, NO_REPLY

_PREFIX = "subagents.reply:"
REPLY_SECONDS = 30.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Reply:
    """What has come of a message so far."""

    text: str | None = None
    """The next thing that the sub-agent said after it had read the message."""
    ended: str | None = None
    """How its run ended without a reply."""

    @property
    def settled(self) -> bool:
        """Nothing more will come."""
        return self.text is not None or self.ended is not None


NOT_YET = Reply()


@dataclass(frozen=True, slots=True)
class Owed:
    """A reply that somebody waits for."""

    inbox_id: int
    run_id: str
    label: str
    session_key: str
    """Of the conversation that it is posted in."""
    route: str
    due_at: int
    """Milliseconds; from then on the answer is "no reply yet"."""


class Replies:
    """Waits for replies and posts them."""

    def __init__(self, registry: Registry, seconds: float = REPLY_SECONDS) -> None:
        """
        Args:
            registry: for the gateway, once it runs.
            seconds: how long a person waits.
        """
        self._registry = registry
        self._seconds = seconds
        self._tasks: set[asyncio.Task[None]] = set()

    def expect(self, tx: Transaction, inbox_id: int, run: runs.Run, session_key: str, route: str) -> None:
        """Promises, in the unit of work that sends the message, that its reply will be posted."""
        owed = Owed(inbox_id, run.id, run.label, session_key, route, tx.now + int(self._seconds * 1000))
        tx.execute(tx.insert(meta).values(key=f"{_PREFIX}{inbox_id}", value=json.dumps(asdict(owed))))
        tx.after_commit(lambda: self._start(owed))

    async def recover(self) -> None:
        """At start-up: goes on waiting for what a stopped process still owed."""
        for owed in await self._registry.gateway.database.read(_owed):
            self._start(owed)

    async def close(self) -> None:
        """Stops waiting; what is owed is kept for the next start."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def wait(self, run_id: str, inbox_id: int, seconds: float) -> Reply:
        """Waits for the reply to one message; `NOT_YET` if none came in this time."""
        gateway = self._registry.gateway
        found = NOT_YET
        try:
            async with (
                asyncio.timeout(seconds),
                gateway.events.subscribe(last_id=None, wanted=lambda event: event.run_id == run_id) as watch,
            ):
                found = await gateway.database.read(reply_to, run_id, inbox_id)
                while not found.settled:
                    await anext(watch)
                    found = await gateway.database.read(reply_to, run_id, inbox_id)
        except (TimeoutError, StopAsyncIteration):
            found = await gateway.database.read(reply_to, run_id, inbox_id)
        return found

    def _start(self, owed: Owed) -> None:
        task = asyncio.create_task(self._settle(owed), name=f"reply:{owed.inbox_id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _settle(self, owed: Owed) -> None:
        try:
            reply = await self.wait(owed.run_id, owed.inbox_id, max(0.0, owed.due_at / 1000 - time.time()))
            await self._registry.gateway.database.run(self._post, owed, reply)
        except StoreError:
            log.exception("the reply of run %s can't be posted now; it is kept for the next start", owed.run_id)

    def _post(self, tx: Transaction, owed: Owed, reply: Reply) -> None:
        if not tx.execute(delete(meta).where(meta.c.key == f"{_PREFIX}{owed.inbox_id}")).rowcount:
            return
        session = sessions.by_key(tx, owed.session_key)
        if session is not None:
            self._registry.gateway.steps.posting.notice(tx, session, owed.route, self._text(owed.label, reply))

    def _text(self, label: str, reply: Reply) -> str:
        return reply_text(label, reply, self._seconds)


def reply_text(label: str, reply: Reply, seconds: float) -> str:
    """A reply, or that there is none, as a person reads it."""
    if reply.text is not None:
        return texts.reply(label, reply.text)
    return texts.no_reply_any_more(label, reply.ended) if reply.ended else texts.no_reply_yet(label, seconds)


def reply_to(tx: Transaction, run_id: str, inbox_id: int) -> Reply:
    """What a run has answered to a message since it has read it."""
    row = tx.execute(select(inbox.c.session_id, inbox.c.consumed_seq).where(inbox.c.id == inbox_id)).first()
    run = runs.find(tx, run_id)
    text = None
    if row is not None and row.consumed_seq is not None:
        text = _first_text(tx, row.session_id, row.consumed_seq)
    elif row is None and run is not None:
        text = run.result  # archived meanwhile: its last words are those that answered
    if text and text.strip() not in (NO_REPLY, ANNOUNCE_SKIP):
        return Reply(text.strip())
    if run is None or not run.open:
        return Reply(ended=texts.state_word(run) if run else "its record is gone")
    return NOT_YET


def _first_text(tx: Transaction, session_id: str, after: int) -> str | None:
    """The first thing that the assistant said after a place; never a failure's text."""
    return tx.execute(
        select(messages.c.text)
        .where(
            messages.c.session_id == session_id,
            messages.c.seq > after,
            messages.c.role == "assistant",
            messages.c.kind == "reply",
            messages.c.text != "",
        )
        .order_by(messages.c.seq)
        .limit(1)
    ).scalar()


def _owed(tx: Transaction) -> list[Owed]:
    rows = tx.execute(select(meta.c.value).where(meta.c.key.startswith(_PREFIX, autoescape=True)))
    return [Owed(**json.loads(row[0])) for row in rows]
