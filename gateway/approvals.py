"""Questions to a person: may this command run?

Owns the tables `approvals` and `allowed_commands`. A question is a row, so that a restart loses none: asked again for
the same call it is the same row with the same end. Only the wait for its answer lives in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Row, bindparam, insert, select, update

from gateway.routes import Route
from gateway.store.database import Database, Transaction
from gateway.store.schema import allowed_commands, approvals
from gateway.tools.base import Decision, Question

EXPIRE_SECONDS = 600.0

_Key = tuple[str, int, int]
"""Session id, seq of the assistant message, index of the call: what a question is about."""


class State(StrEnum):
    """The life of a question."""

    PENDING = "pending"
    """Waits for a person."""
    ALLOWED = "allowed"
    """A person said yes. The command may or may not have run since."""
    DENIED = "denied"
    """A person said no."""
    EXPIRED = "expired"
    """Nobody answered in time."""
    WITHDRAWN = "withdrawn"
    """Whoever asked has been stopped."""


class ApprovalError(Exception):
    """The question can't be answered any more, or there is none. The text says which."""


@dataclass(frozen=True, slots=True)
class Call:
    """The tool call that a question is about."""

    session_id: str
    session_key: str
    agent_id: str
    assistant_seq: int
    call_index: int
    route: Route | None
    """Where it is asked; of a child: its requester's."""
    run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Approval:
    """One question."""

    id: int
    session_id: str
    session_key: str
    run_id: str | None
    agent_id: str
    assistant_seq: int
    call_index: int
    route: Route | None
    tool: str
    summary: str
    pattern: str | None
    """What `always` adds to the agent's allow-list; None: it can only be allowed once."""
    state: State
    reason: str | None
    """Who answered, or why nobody did."""
    created_at: int
    """milliseconds, like `expires_at`"""
    expires_at: int
    heard: bool = False
    """Whoever asked knows the answer, and may have acted on it."""


Notify = Callable[[Transaction, Approval], None]
"""Is called in the transaction of every change: a new question is `pending`, then one of the other states."""


def of_call(tx: Transaction, session_id: str, assistant_seq: int, call_index: int) -> Approval | None:
    """Unit of work: the question about one call, if there is one. While it is pending the call has done nothing."""
    row = tx.execute(
        select(approvals)
        .where(approvals.c.session_id == session_id)
        .where(approvals.c.assistant_seq == assistant_seq)
        .where(approvals.c.call_index == call_index)
    ).one_or_none()
    return None if row is None else _approval(row)


def pending(tx: Transaction, session_key: str | None = None) -> tuple[Approval, ...]:
    """Unit of work: the questions that can be answered now, oldest first; of one session or of all."""
    query = (
        select(approvals)
        .where(approvals.c.state == State.PENDING)
        .where(approvals.c.expires_at > tx.now)
        .order_by(approvals.c.id)
    )
    if session_key is not None:
        query = query.where(approvals.c.session_key == session_key)
    return tuple(_approval(row) for row in tx.execute(query))


def asked(tx: Transaction, session_ids: list[str], since: int, until: int | None) -> tuple[Approval, ...]:
    """Unit of work: the questions of these sessions, whatever became of them, that were asked in a time."""
    query = select(approvals).where(approvals.c.session_id.in_(session_ids), approvals.c.created_at >= since)
    if until is not None:
        query = query.where(approvals.c.created_at < until)
    return tuple(_approval(row) for row in tx.execute(query.order_by(approvals.c.id)))


def patterns(tx: Transaction, agent_id: str) -> tuple[str, ...]:
    """Unit of work: what `always` has allowed for an agent."""
    query = select(allowed_commands.c.pattern).where(allowed_commands.c.agent_id == agent_id)
    return tuple(tx.execute(query.order_by(allowed_commands.c.pattern)).scalars())


_OPEN = select(approvals).where(approvals.c.session_id == bindparam("of_session"), approvals.c.state == State.PENDING)


class ApprovalBook:
    """All questions of this gateway."""

    def __init__(
        self,
        database: Database,
        notify: Notify = lambda _tx, _approval: None,
        answerable: Callable[[Route], bool] = lambda _route: True,
        *,
        expire_seconds: float = EXPIRE_SECONDS,
        tell: Callable[[Transaction, int], None] = lambda _tx, _approval_id: None,
    ) -> None:
        """
        Args:
            database: where the questions are kept.
            notify: tells people, in the transaction of each change.
            answerable: whether somebody who may answer can be reached on a route.
            expire_seconds: after which an unanswered question counts as denied.
            tell: lets other processes know that a question has been closed.
        """
        self._tell = tell
        self._database = database
        self._notify = notify
        self._answerable = answerable
        self._expire_ms = int(expire_seconds * 1000)
        self._waiting: dict[_Key, asyncio.Future[Approval]] = {}

    def approver(self, call: Call) -> CallApprover:
        """The `Approver` for one tool call."""
        return CallApprover(self, call)

    async def ask(self, call: Call, question: Question) -> Decision:
        """Asks, or goes on asking, and waits for the answer.

        Cancelling leaves the question as it is: a turn that is continued after a restart finds it again, and one that
        was stopped for good withdraws it (`withdraw`).
        """
        if call.route is None or not self._answerable(call.route):
            return Decision(
                False,
                "nobody can answer here; it can be allowed beforehand in tools.exec.allow, "
                "or asked for in a chat with an owner",
            )
        loop = asyncio.get_running_loop()
        key = (call.session_id, call.assistant_seq, call.call_index)
        future = self._waiting.setdefault(key, loop.create_future())
        try:
            approval, left = await self._database.run(self._asked, call, question)
            if approval.state is State.PENDING:
                await asyncio.wait({future}, timeout=left)
                approval = future.result() if future.done() else await self._database.run(self._expired, approval.id)
            await self._database.run(_heard, approval.id)
        finally:
            self._waiting.pop(key, None)
        return Decision(approval.state is State.ALLOWED, approval.reason or "")

    async def was_only_asked(self, session_id: str, assistant_seq: int, call_index: int) -> bool:
        """Whether an open call has done nothing yet: it waits for an answer, or for whoever asked to hear it."""
        key = (session_id, assistant_seq, call_index)
        # Not `read`, which may see an answer before this process has heard of it (`_wake`): a unit comes after that.
        approval = await self._database.run(of_call, *key)
        return approval is not None and not approval.heard

    async def decide(self, approval_id: int, *, allowed: bool, always: bool = False, by: str) -> Approval:
        """Answers a question.

        Args:
            approval_id: `Approval.id`.
            allowed: yes or no.
            always: also adds the question's pattern, if it has one, to the agent's allow-list.
            by: who answered, for the record; the caller has made sure that he is an owner.

        Raises:
            ApprovalError: there is no such question, or it has been answered or has expired.
        """
        return await self._database.run(self._decided, approval_id, allowed, always, by)

    def withdraw(self, tx: Transaction, session_id: str) -> int:
        """Unit of work: the session was stopped, its questions are void. Returns how many there were."""
        rows = tx.execute(_OPEN, {"of_session": session_id}).all()
        for row in rows:
            self._close(tx, _approval(row), State.WITHDRAWN, "whoever asked was stopped")
        return len(rows)

    async def pending(self, session_key: str | None = None) -> tuple[Approval, ...]:
        """The questions that can be answered now, oldest first."""
        return await self._database.read(pending, session_key)

    async def patterns(self, agent_id: str) -> tuple[str, ...]:
        """What `always` has allowed for an agent."""
        return await self._database.read(patterns, agent_id)

    def _asked(self, tx: Transaction, call: Call, question: Question) -> tuple[Approval, float]:
        """The question's row, new or found again, and the seconds that it has left."""
        approval = of_call(tx, call.session_id, call.assistant_seq, call.call_index)
        if approval is None:
            approval = self._insert(tx, call, question)
        return approval, max(0.0, (approval.expires_at - tx.now) / 1000)

    def _insert(self, tx: Transaction, call: Call, question: Question) -> Approval:
        values = {
            "session_id": call.session_id,
            "session_key": call.session_key,
            "run_id": call.run_id,
            "agent_id": call.agent_id,
            "assistant_seq": call.assistant_seq,
            "call_index": call.call_index,
            "route": None if call.route is None else call.route.to_json(),
            "tool": question.tool,
            "summary": question.summary,
            "pattern": question.pattern,
            "state": State.PENDING.value,
            "created_at": tx.now,
            "expires_at": tx.now + self._expire_ms,
        }
        approval = _approval(tx.execute(insert(approvals).values(values).returning(approvals)).one())
        self._notify(tx, approval)
        return approval

    def _decided(self, tx: Transaction, approval_id: int, allowed: bool, always: bool, by: str) -> Approval:
        approval = _get(tx, approval_id)
        if approval is None:
            raise ApprovalError(f"there is no question {approval_id}; it may be from an older conversation")
        if approval.state is not State.PENDING:
            raise ApprovalError(f"question {approval_id} is {approval.state} already: {approval.reason}")
        if approval.expires_at <= tx.now:
            raise ApprovalError(f"question {approval_id} has expired; ask for the command again")
        if allowed and always and approval.pattern is not None:
            _allow(tx, approval.agent_id, approval.pattern)
        verb = "allowed" if allowed else "denied"
        return self._close(tx, approval, State.ALLOWED if allowed else State.DENIED, f"{verb} by {by}")

    def _expired(self, tx: Transaction, approval_id: int) -> Approval:
        approval = _get(tx, approval_id)
        if approval is None:
            raise ApprovalError(f"question {approval_id} has been deleted while it was waiting")
        if approval.state is not State.PENDING:
            return approval
        minutes = (approval.expires_at - approval.created_at) / 60_000
        return self._close(tx, approval, State.EXPIRED, f"nobody answered within {minutes:g} minutes")

    def _close(self, tx: Transaction, approval: Approval, state: State, reason: str) -> Approval:
        tx.execute(
            update(approvals)
            .where(approvals.c.id == approval.id)
            .values(state=state.value, reason=reason, decided_at=tx.now)
        )
        closed = replace(approval, state=state, reason=reason)
        self._notify(tx, closed)
        tx.after_commit(lambda: self._wake(closed))
        self._tell(tx, approval.id)
        return closed

    async def look(self, approval_id: int | None) -> None:
        """Another process has closed a question, or several (None): whoever waits here for one hears of it."""
        for approval in await self._database.read(_closed, approval_id, list(self._waiting)):
            self._wake(approval)

    def _wake(self, approval: Approval) -> None:
        key = (approval.session_id, approval.assistant_seq, approval.call_index)
        future = self._waiting.get(key)
        if future is not None and not future.done():
            future.set_result(approval)


class CallApprover:
    """The `Approver` of one tool call."""

    def __init__(self, book: ApprovalBook, call: Call) -> None:
        self._book = book
        self._call = call

    async def ask(self, question: Question) -> Decision:
        """See `Approver.ask`."""
        return await self._book.ask(self._call, question)

    async def allowed_patterns(self) -> tuple[str, ...]:
        """See `Approver.allowed_patterns`."""
        return await self._book.patterns(self._call.agent_id)


def _get(tx: Transaction, approval_id: int) -> Approval | None:
    tx.lock(approvals, approval_id)
    row = tx.execute(select(approvals).where(approvals.c.id == approval_id)).one_or_none()
    return None if row is None else _approval(row)


def _heard(tx: Transaction, approval_id: int) -> None:
    """From here on the command may have run."""
    tx.execute(update(approvals).where(approvals.c.id == approval_id).values(heard=True))


def _closed(tx: Transaction, approval_id: int | None, keys: list[_Key]) -> list[Approval]:
    query = select(approvals).where(approvals.c.state != State.PENDING)
    if approval_id is not None:
        query = query.where(approvals.c.id == approval_id)
    else:
        query = query.where(approvals.c.session_id.in_([key[0] for key in keys]))
    return [_approval(row) for row in tx.execute(query)]


def _allow(tx: Transaction, agent_id: str, pattern: str) -> None:
    known = tx.execute(
        select(allowed_commands.c.pattern)
        .where(allowed_commands.c.agent_id == agent_id)
        .where(allowed_commands.c.pattern == pattern)
    ).one_or_none()
    if known is None:
        tx.execute(insert(allowed_commands).values(agent_id=agent_id, pattern=pattern, created_at=tx.now))


def _approval(row: Row[Any]) -> Approval:
    return Approval(
        id=row.id,
        session_id=row.session_id,
        session_key=row.session_key,
        run_id=row.run_id,
        agent_id=row.agent_id,
        assistant_seq=row.assistant_seq,
        call_index=row.call_index,
        route=None if row.route is None else Route.from_json(row.route),
        tool=row.tool,
        summary=row.summary,
        pattern=row.pattern,
        state=State(row.state),
        reason=row.reason,
        created_at=row.created_at,
        expires_at=row.expires_at,
        heard=row.heard,
    )
