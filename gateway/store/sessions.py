"""Sessions: conversations with one agent, who works on them now, and the turn under way.

A session's `fence` is raised whenever its ownership changes; every write that depends on ownership carries it.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import ARRAY, CTE, Text, any_, bindparam, func, insert, select, union, update

from gateway.routes import Route
from gateway.store import rows
from gateway.store.columns import POSTGRES_CLOCK
from gateway.store.database import Transaction
from gateway.store.schema import inbox, runs, sessions

Kind = Literal["main", "subagent", "job"]
SUSPECT_AT = 2
"""Deaths without growth after which a session is resumed alone (spec/subagents.md 23)."""


class HoldAbove(Exception):
    """A unit that holds a session must hold the one above it first: it is to be executed anew (`hold_with_above`)."""


class FenceLost(Exception):
    """Somebody else has stopped, taken or finished this session: its former owner writes nothing more."""


def lost(session_id: str, fence: int | None) -> FenceLost:
    """What is raised where a fence holds no longer."""
    return FenceLost(f"session {session_id}: fence {fence} was taken over")


@dataclass(frozen=True, slots=True)
class Session:
    """One row of `sessions`."""

    id: str
    key: str
    current: bool
    """False: `/new` has put another session in its place."""
    agent_id: str
    kind: Kind
    lane: str
    parent_id: str | None
    """The session that asked for this one."""
    run_id: str | None
    """The run that lives in it, the newest if it was revived."""
    depth: int
    owned: bool
    """Belongs to an owner: `exec` and memory are for those only."""
    model: str | None
    """What the user chose with `/model`."""
    thinking: str | None
    queue_mode: str | None
    cwd: str | None
    fork_session_id: str | None
    fork_from: int | None
    fork_upto: int | None
    turn_seq: int | None
    """First message of the turn under way; None: no turn."""
    turn_route: str | None
    turn_trace: str | None
    """The span of the turn under way, or of the last one."""
    last_route: str | None
    person: str | None
    """Who the work is for: `<channel>:<user id>` of who spoke last; a sub-agent's and a job's is that of who asked."""
    next_seq: int
    summary_seq: int | None
    """The message that stands for everything up to its `summary_upto`."""
    paused: bool
    closed: bool
    """Its run has ended: nothing wakes it until it is revived."""
    claimed_by: str | None
    fence: int
    deaths: int
    deaths_seq: int | None
    needs_user: bool
    """Set aside after repeated deaths of the process; waits for its user."""
    tokens_in: int
    tokens_out: int
    cache_read: int
    cost_micro: int
    cost_unknown: bool
    created_at: int
    updated_at: int

    @property
    def route(self) -> Route | None:
        """The route of the turn under way."""
        return Route.from_json(self.turn_route) if self.turn_route else None


_COLUMNS = rows.columns(sessions, Session)
_IS_IT = sessions.c.id == bindparam("of_session")
_FIND = select(*_COLUMNS).where(_IS_IT)
_ABOVE = select(sessions.c.parent_id).where(_IS_IT)
_BY_KEY = select(*_COLUMNS).where(sessions.c.key == bindparam("of_key"), sessions.c.current.is_(True))
_CREATE = insert(sessions).returning(*_COLUMNS)
_CHANGE = update(sessions).where(_IS_IT)
_WRITE = _CHANGE.where(sessions.c.fence == bindparam("held_fence"))
_TAKE_SEQ = _CHANGE.values(next_seq=sessions.c.next_seq + 1, updated_at=bindparam("now")).returning(sessions.c.next_seq)
_TAKE_OWN_SEQ = _TAKE_SEQ.where(sessions.c.fence == bindparam("held_fence"))
_TAKE_OVER = _CHANGE.values(
    fence=sessions.c.fence + 1, claimed_by=bindparam("owner"), updated_at=bindparam("now")
).returning(*_COLUMNS)
_CLAIM = _TAKE_OVER.where(sessions.c.paused.is_(False), sessions.c.closed.is_(False), sessions.c.needs_user.is_(False))
_CLAIM_FREE = _CLAIM.where(sessions.c.claimed_by.is_(None) | (sessions.c.claimed_by == bindparam("owner"))).returning(
    POSTGRES_CLOCK
)
_TAKE_OWN_OVER = _TAKE_OVER.where(sessions.c.fence == bindparam("held_fence"))


def _subtree(session_id: Any) -> CTE:
    """A session and all that were asked for below it."""
    below = select(sessions.c.id).where(sessions.c.id == session_id).cte("below", recursive=True)
    return below.union(select(runs.c.session_id).where(runs.c.requester_id == below.c.id))


def _ancestors(session_id: Any) -> CTE:
    """All sessions above one."""
    up = sessions.alias("up")
    above = select(sessions.c.parent_id.label("id")).where(sessions.c.id == session_id).cte("above", recursive=True)
    return above.union(select(up.c.parent_id).where(up.c.id == above.c.id))


_KIN = union(
    select(_ancestors(bindparam("of_session")).c.id.label("id")),
    select(sessions.c.id).where(
        sessions.c.id.in_(select(_subtree(bindparam("of_session")).c.id)), sessions.c.closed.is_(False)
    ),
)
_WISHES = select(
    sessions.c.id,
    sessions.c.lane,
    sessions.c.kind,
    sessions.c.turn_seq,
    sessions.c.created_at,
    runs.c.created_at.label("run_created_at"),
    runs.c.started_at,
    runs.c.priority,
).select_from(sessions.outerjoin(runs, runs.c.id == sessions.c.run_id))
_IN_ORDER = (sessions.c.created_at, runs.c.number, sessions.c.key)
_HAS_WORK = (
    # One by one, and `> 0`, which leaves out NULL: otherwise SQLite would read the whole table.
    sessions.c.id.in_(
        union(
            select(sessions.c.id).where(sessions.c.turn_seq > 0),
            select(inbox.c.session_id).where(inbox.c.state == "pending", inbox.c.due_at <= bindparam("now")),
            select(runs.c.session_id).where(runs.c.status.in_(("queued", "running"))),
        )
    ),
    sessions.c.paused.is_(False),
    sessions.c.closed.is_(False),
    sessions.c.needs_user.is_(False),
)
_UNFINISHED = _WISHES.where(*_HAS_WORK).order_by(*_IN_ORDER)
_UNFINISHED_IDS = select(sessions.c.id).where(*_HAS_WORK)
_SEVERAL = select(sessions.c.id).where(sessions.c.id == any_(bindparam("of_sessions", type_=ARRAY(Text))))
"""On PostgreSQL, where a list is one parameter."""
_CLAIMS = _SEVERAL.where(sessions.c.claimed_by == bindparam("owner"))
_SUSPECTS = _SEVERAL.where(sessions.c.deaths >= SUSPECT_AT, sessions.c.deaths_seq == sessions.c.next_seq)


def _one(tx: Transaction, statement: Any, **parameters: Any) -> Session | None:
    row = tx.execute(statement, parameters).first()
    return Session(*row) if row else None


def find(tx: Transaction, session_id: str) -> Session | None:
    """The session with this id."""
    return _one(tx, _FIND, of_session=session_id)


def get(tx: Transaction, session_id: str) -> Session:
    """The session with this id, which must exist."""
    session = find(tx, session_id)
    if session is None:
        raise FenceLost(f"session {session_id} no longer exists")
    return session


def by_key(tx: Transaction, key: str) -> Session | None:
    """The session that a key names now."""
    return _one(tx, _BY_KEY, of_key=key)


def hold(tx: Transaction, session_id: str) -> Session | None:
    """The session, which nobody else changes until the end of this unit: neither its state nor its inbox."""
    tx.lock(sessions, session_id)
    return find(tx, session_id)


def hold_by_key(tx: Transaction, key: str) -> Session | None:
    """The session that a key names, held as by `hold`."""
    while (found := by_key(tx, key)) is not None:
        held = hold(tx, found.id)
        if tx.alone or (held is not None and held.current):
            return held
    return None


def hold_all(tx: Transaction, session_ids: Iterable[str]) -> bool:
    """Holds several sessions, the upper ones of a tree first: everybody who holds several does so in this order.

    Returns whether some weren't held: what was read of them before must be read again.
    """
    return tx.lock(sessions, *sorted({session_id for session_id in session_ids if session_id}))


def hold_with_above(tx: Transaction, session_id: str) -> None:
    """Holds a session, and the one that is told of its end."""
    above = None if tx.alone else tx.execute(_ABOVE, {"of_session": session_id}).scalar()
    hold_all(tx, [session_id, *([above] if above else [])])


def hold_tree(tx: Transaction, session_id: str) -> bool:
    """Holds a session, all that were asked for below it and are open, and all above it: its end may concern them.

    Returns whether some weren't held, as `hold_all` does.
    """
    more = False
    while not tx.alone and hold_all(tx, _kin(tx, session_id)):
        more = True  # what is held asks for nothing more: at last nothing is added
    return more


def _kin(tx: Transaction, session_id: str) -> list[str]:
    return [session_id, *(str(row[0]) for row in tx.execute(_KIN, {"of_session": session_id}))]


def same_conversation(tx: Transaction, session: Session) -> list[str]:
    """Ids of the sessions that make up a conversation: after `/new` what the earlier ones asked for reports here."""
    if session.kind != "main":
        return [session.id]
    return [str(row[0]) for row in tx.execute(select(sessions.c.id).where(sessions.c.key == session.key))]


def create(
    tx: Transaction, *, key: str, agent_id: str, kind: Kind = "main", lane: str = "main", **fields: Any
) -> Session:
    """Creates a session and returns it.

    Args:
        tx: the unit of work.
        key: `agent:<agentId>:…`, not in use by a current session.
        agent_id: whose conversation it is.
        kind: `main`, `subagent` or `job`.
        lane: where its turns run.
        fields: any other column.
    """
    own = {"id": str(uuid.uuid4()), "key": key, "agent_id": agent_id, "kind": kind, "lane": lane}
    tx.note_lock(sessions, own["id"], tx.now)  # nobody else knows of it before this unit is committed
    return Session(*tx.execute(_CREATE, {**own, "created_at": tx.now, "updated_at": tx.now, **fields}).one())


def change(tx: Transaction, session_id: str, **fields: Any) -> None:
    """Sets columns of a session, whoever owns it."""
    tx.execute(_CHANGE, {"of_session": session_id, "updated_at": tx.now, **fields})


def forked_by(tx: Transaction, session_id: str) -> bool:
    """Whether a session that hasn't ended begins with another one's transcript."""
    found = select(sessions.c.id).where(sessions.c.fork_session_id == session_id, sessions.c.closed.is_(False))
    return tx.execute(found.limit(1)).first() is not None


def claim(tx: Transaction, session_id: str, instance: str) -> Session | None:
    """Takes a session for this process, raising its fence (spec/architecture.md, protocol 4).

    Returns None if it may not run: paused, closed, set aside or gone; or if another process is at work on it, who
    will see before he rests whatever has come meanwhile.
    """
    claim = {"of_session": session_id, "owner": instance, "now": tx.now}
    if tx.alone:
        return _one(tx, _CLAIM, **claim)
    row = tx.execute(_CLAIM_FREE, claim).first()
    if row is None:
        return None
    *own, now = row
    tx.note_lock(sessions, session_id, now)
    return Session(*own)


def owned(tx: Transaction, session_id: str, fence: int, *, ends: bool = False) -> Session:
    """The session, held as by `hold`, if the fence still holds.

    Args:
        tx: the unit of work.
        session_id: which.
        fence: the caller's.
        ends: the unit may end its run, so that the session that is told of it is held first.

    Raises:
        FenceLost: it doesn't.
    """
    if ends:
        hold_with_above(tx, session_id)
    session = hold(tx, session_id)
    if session is None or session.fence != fence:
        raise lost(session_id, fence)
    return session


def write(tx: Transaction, session_id: str, fence: int, **fields: Any) -> None:
    """Sets columns of a session that the caller owns.

    Raises:
        FenceLost: he doesn't any more.
    """
    done = tx.execute(_WRITE, {"of_session": session_id, "held_fence": fence, "updated_at": tx.now, **fields})
    if not done.rowcount:
        raise lost(session_id, fence)


def take_seq(tx: Transaction, session_id: str, fence: int | None) -> int:
    """The next free place in the transcript; checks the fence on the way (None: the caller took the session over)."""
    held = {} if fence is None else {"held_fence": fence}
    statement = _TAKE_SEQ if fence is None else _TAKE_OWN_SEQ
    seq = tx.execute(statement, {"of_session": session_id, "now": tx.now, **held}).scalar()
    if seq is None:
        raise lost(session_id, fence)
    return int(seq) - 1


def take_over(tx: Transaction, session_id: str, *, fence: int | None = None, **fields: Any) -> Session:
    """Takes a session from whoever owns it, leaves it unowned, and sets columns; returns it as it is then.

    The caller tells the former owner after the commit (`Lanes.cancel`).

    Args:
        tx: the unit of work.
        session_id: which.
        fence: the caller's, if it must be his.
        fields: columns with their values.

    Raises:
        FenceLost: it isn't.
    """
    statement, held = (_TAKE_OVER, {}) if fence is None else (_TAKE_OWN_OVER, {"held_fence": fence})
    session = _one(tx, statement, of_session=session_id, owner=None, now=tx.now, **held, **fields)
    if session is None and fence is not None:
        raise lost(session_id, fence)
    if session is None:
        raise LookupError(f"session {session_id} doesn't exist")
    return session


def renew(tx: Transaction, old: Session) -> Session:
    """Puts a fresh session behind the same key; what waits in the old one's inbox moves over (`/new`)."""
    change(tx, old.id, current=False)
    fresh = create(
        tx,
        key=old.key,
        agent_id=old.agent_id,
        kind=old.kind,
        lane=old.lane,
        owned=old.owned,
        model=old.model,
        thinking=old.thinking,
        queue_mode=old.queue_mode,
        cwd=old.cwd,
        last_route=old.last_route,
        person=old.person,
    )
    tx.execute(
        update(inbox).where(inbox.c.session_id == old.id, inbox.c.state == "pending").values(session_id=fresh.id)
    )
    return fresh


def subtree(tx: Transaction, session_id: str) -> list[str]:
    """Ids of a session and of every session that was spawned below it, at any depth."""
    return [str(row[0]) for row in tx.execute(select(_subtree(session_id).c.id))]


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A session that has something to do."""

    id: str
    lane: str
    started: bool
    """It was at work before."""
    priority: int
    age: int
    """Since when there is it, or its run."""


def unfinished(tx: Transaction, *, unclaimed: bool = False) -> list[Unfinished]:
    """Every session with a turn under way, something due in its inbox, or a job that may run; oldest first.

    Args:
        tx: the unit of work.
        unclaimed: only those that no process has claimed.
    """
    return _wishes(tx, _UNFINISHED.where(sessions.c.claimed_by.is_(None)) if unclaimed else _UNFINISHED)


def unfinished_ids(tx: Transaction) -> set[str]:
    """The same sessions, by their ids alone: a tenth of the work where there are thousands."""
    return set(tx.execute(_UNFINISHED_IDS, {"now": tx.now}).scalars())


def wishes(tx: Transaction, session_ids: list[str]) -> list[Unfinished]:
    """These sessions with their places, oldest first, whether or not they have something to do."""
    return _wishes(tx, _WISHES.where(sessions.c.id.in_(session_ids)).order_by(*_IN_ORDER)) if session_ids else []


def _wishes(tx: Transaction, statement: Any) -> list[Unfinished]:
    return [
        Unfinished(
            str(row.id),
            str(row.lane),
            row.turn_seq is not None or (row.kind == "job" and row.started_at is not None),
            row.priority or 0,
            row.run_created_at or row.created_at,
        )
        for row in tx.execute(statement, {"now": tx.now})
    ]


def claims_of(tx: Transaction, worker: str, session_ids: list[str]) -> list[str]:
    """Ids of those of the sessions that a process has claimed; they are held from here on."""
    mine = {"owner": worker, "of_sessions": session_ids}
    if not session_ids or not (found := tx.execute(_CLAIMS, mine).all()):
        return []
    tx.lock(sessions, *(str(row.id) for row in found))
    return [str(row.id) for row in tx.execute(_CLAIMS, mine)]


def suspects(tx: Transaction, session_ids: list[str]) -> frozenset[str]:
    """Those of the sessions that were active at several deaths of their process, and haven't grown since."""
    if not session_ids:
        return frozenset()
    return frozenset(str(row.id) for row in tx.execute(_SUSPECTS, {"of_sessions": session_ids}))


def page(tx: Transaction, *, kind: str | None, before: tuple[int, str] | None, limit: int) -> list[Session]:
    """Current sessions, the last used first.

    Args:
        tx: the unit of work.
        kind: `main`, `subagent`, `job`, or None for conversations and sub-agents.
        before: (updated_at, id) of the last session of the page before.
        limit: how many at most.
    """
    statement = select(*_COLUMNS).where(sessions.c.current.is_(True))
    statement = statement.where(sessions.c.kind == kind if kind else sessions.c.kind != "job")
    if before is not None:
        used, session_id = before
        earlier = (sessions.c.updated_at == used) & (sessions.c.id < session_id)
        statement = statement.where((sessions.c.updated_at < used) | earlier)
    statement = statement.order_by(sessions.c.updated_at.desc(), sessions.c.id.desc()).limit(limit)
    return [Session(*row) for row in tx.execute(statement)]


def count(tx: Transaction) -> int:
    """How many sessions there are now."""
    statement = select(func.count()).where(sessions.c.current.is_(True), sessions.c.kind != "job")
    return int(tx.execute(statement).scalar_one())
