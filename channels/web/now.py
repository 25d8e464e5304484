"""Now: what is at work, what waits and why, what wants an answer, what didn't arrive.

An operator sees the whole gateway; anybody else what was asked for in his conversations.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from channels.web import agents, conversations, words
from channels.web.render import path_part
from channels.web.site import Fragment, Page, View
from gateway import approvals
from gateway.jobs import reason
from gateway.routes import Route
from gateway.store import inbox, outbox, rows, sessions, standing
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.schema import inbox as inbox_table
from gateway.store.schema import runs as runs_table
from gateway.store.schema import sessions as sessions_table
from gateway.store.sessions import Session

MOST = 100
_RUNS = select(*rows.columns(runs_table, Run)).where(runs_table.c.status != Status.DONE)
_SESSIONS = select(*rows.columns(sessions_table, Session)).where(sessions_table.c.kind == "main")


@dataclass(frozen=True, slots=True)
class Turn:
    """A conversation with a turn under way."""

    key: str
    title: str
    doing: str
    began: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Something that waits, and why."""

    id: str
    icon: str
    what: str
    title: str
    link: str
    why: str
    since: int


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A post that hasn't arrived."""

    post: outbox.Post
    where: str


async def load_active(view: View) -> Mapping[str, Any]:
    """Turns and runs at work."""

    def unit(tx: Transaction) -> dict[str, Any]:
        statement = _RUNS.where(standing.has(Status.RUNNING), view.eyes.runs())
        found = [Run(*row) for row in tx.execute(statement.order_by(runs_table.c.number).limit(MOST))]
        return {"turns": _turns(tx, view), "cards": agents.cards(view, tx, found)}

    return await view.read(unit)


async def load_waiting(view: View) -> Mapping[str, Any]:
    """What isn't running, and why."""

    def unit(tx: Transaction) -> dict[str, Any]:
        return {"waiting": [*_conversations(tx, view), *_runs(tx, view)]}

    return await view.read(unit)


async def load_lanes(view: View) -> Mapping[str, Any]:
    """The lanes with their caps."""
    return {"lanes": await view.read(view.gateway.lanes.stats)}


async def load_approvals(view: View) -> Mapping[str, Any]:
    """Questions that want an answer."""

    def unit(tx: Transaction) -> dict[str, Any]:
        found = [each for each in approvals.pending(tx) if view.eyes.sees_key(tx, each.session_key)]
        return {"approvals": found, "where": {each.id: _conversation(tx, view, each.session_id) for each in found}}

    return await view.read(unit)


async def load_posts(view: View) -> Mapping[str, Any]:
    """What hasn't arrived."""
    found = await view.read(outbox.listed, None, MOST)
    held = {"held", "streaming"}
    return {"posts": [Undelivered(each, _where(each)) for each in found if each.state.value not in held]}


async def load_attention(view: View) -> Mapping[str, Any]:
    """How much wants a person, for every page."""

    def unit(tx: Transaction) -> dict[str, Any]:
        questions = sum(view.eyes.sees_key(tx, each.session_key) for each in approvals.pending(tx))
        posts = outbox.listed(tx, None, MOST) if view.eyes.operator else []
        return {"questions": questions, "failed": sum(each.state.value == "failed" for each in posts)}

    return await view.read(unit)


def _conversation(tx: Transaction, view: View, session_id: str) -> tuple[str, str]:
    """Key and title of the conversation that a session belongs to."""
    session = sessions.find(tx, session_id)
    while session is not None and session.parent_id and (above := sessions.find(tx, session.parent_id)):
        session = above
    return (session.key, conversations.title(tx, view.eyes, session.key, session)) if session else ("", "")


def _turns(tx: Transaction, view: View) -> list[Turn]:
    statement = _SESSIONS.where(sessions_table.c.turn_seq.is_not(None), sessions_table.c.claimed_by.is_not(None))
    if not view.eyes.operator:
        statement = statement.where(view.eyes.keys())
    found = [Session(*row) for row in tx.execute(statement.order_by(sessions_table.c.updated_at).limit(MOST))]
    return [_turn(tx, view, session) for session in found]


def _turn(tx: Transaction, view: View, session: Session) -> Turn:
    activity = view.gateway.events.live.activity(session.key)
    title = conversations.title(tx, view.eyes, session.key, session)
    return Turn(session.key, title, activity.text if activity else "", session.updated_at)


def _conversations(tx: Transaction, view: View) -> list[Waiting]:
    """Conversations with messages that no turn has taken, and with a turn that nobody is at work on."""
    pending = select(inbox_table.c.session_id).where(inbox_table.c.state == "pending")
    cut_off = sessions_table.c.turn_seq.is_not(None) & sessions_table.c.claimed_by.is_(None)
    statement = _SESSIONS.where(sessions_table.c.id.in_(pending) | cut_off)
    if not view.eyes.operator:
        statement = statement.where(view.eyes.keys())
    found: list[Waiting] = []
    for row in tx.execute(statement.limit(MOST)):
        session = Session(*row)
        rows_waiting = inbox.pending(tx, session.id, due=False)
        number = len(rows_waiting)
        found.append(
            Waiting(
                f"w-{session.id[:8]}",
                "s-queued",
                f"{number} message{'s' if number != 1 else ''}" if number else "a turn",
                conversations.title(tx, view.eyes, session.key, session),
                f"/web/chat/{path_part(session.key)}",
                _why(tx, view, session),
                min((each.created_at for each in rows_waiting), default=session.updated_at),
            )
        )
    return found


def _why(tx: Transaction, view: View, session: Session) -> str:
    if session.needs_user:
        return "set aside after repeated crashes: write to it to go on"
    if session.paused:
        return "paused"
    if session.turn_seq is not None and session.claimed_by is not None:
        return "a turn is under way"
    lane = view.gateway.lanes.stats(tx).get(session.lane)
    if lane is not None and lane.running >= lane.cap:
        return f"its lane `{session.lane}` is full: {lane.running} of {lane.cap}"
    return words.reason(reason.alone(tx, session.id, view.gateway.lanes))


def _runs(tx: Transaction, view: View) -> list[Waiting]:
    statement = _RUNS.where(standing.STATUS != Status.RUNNING, view.eyes.runs())
    found = standing.now(tx, [Run(*row) for row in tx.execute(statement.order_by(runs_table.c.number).limit(MOST))])
    return [
        Waiting(
            f"w-{run.id}",
            words.icon(run),
            words.word(run),
            run.label,
            f"/web/runs/{run.id}",
            words.reason(view.gateway.jobs.reason(tx, run)),
            run.created_at,
        )
        for run in found
    ]


def _where(post: outbox.Post) -> str:
    route = Route.from_json(post.route)
    return " ".join(filter(None, (route.channel, route.chat, route.thread)))


async def load(_view: View) -> Mapping[str, Any]:
    """All of it is live."""
    return {}


NOW = Page(
    "/web/now",
    "Now",
    "now.html",
    load,
    icon="now",
    fragments=("now-active", "now-waiting", "now-lanes", "now-approvals", "now-posts"),
)
ATTENTION = Fragment("attention", "attention.html", load_attention, on=("approval", "delivery"), label="To be seen to")
FRAGMENTS = (
    ATTENTION,
    Fragment("now-active", "now_active.html", load_active, on=("run", "progress", "idle", "message"), label="At work"),
    Fragment("now-waiting", "now_waiting.html", load_waiting, on=("run", "message", "idle"), label="What waits"),
    Fragment("now-lanes", "now_lanes.html", load_lanes, on=("run", "message", "idle"), operator=True, label="Lanes"),
    Fragment("now-approvals", "now_approvals.html", load_approvals, on=("approval",), label="Questions"),
    Fragment(
        "now-posts", "now_posts.html", load_posts, on=("delivery", "message"), operator=True, label="Undelivered posts"
    ),
)
