"""Entries: a conversation as its reader sees it, made of the transcript and of what stands beside it.

A transcript has the messages; what waits in the inbox, questions that want an answer, and notices of the gateway stand
in tables of their own. Each becomes an entry with an id that stays the same as long as it is the same thing: a person's
message has one id from the moment it is accepted. A page that asks twice therefore shows nothing twice, and one that
missed something asks again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, func, select

from gateway import approvals
from gateway.agent.finals import visible
from gateway.approvals import Approval
from gateway.asking_people import SIGN
from gateway.media import IMAGES
from gateway.routes import Route
from gateway.store import inbox, rows, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.store.schema import inbox as inbox_table
from gateway.store.schema import messages as messages_table
from gateway.store.schema import outbox
from gateway.store.sessions import Session
from gateway.store.transcript import Message
from gateway.views import capped

Kind = Literal["user", "answer", "work", "report", "notice", "failure", "summary", "approval"]
NEVER = 2**62
LOOK_BACK_MS = 20 * 60 * 1000
"""Questions may change as long after they were asked."""
RESULT_CHARS = 2_000
GIST_CHARS = 100
TELLING = ("label", "task", "command", "path", "pattern", "query", "url", "message")
_INBOX = select(*rows.columns(inbox_table, inbox.Row))
_MESSAGES = select(*rows.columns(messages_table, Message))


@dataclass(frozen=True, slots=True)
class File:
    """A file that came with a message."""

    name: str
    picture: bool
    url: str


@dataclass(frozen=True, slots=True)
class ToolUse:
    """One call of a tool."""

    name: str
    arguments: str
    result: str | None
    """None: it is under way."""
    error: bool = False

    @property
    def gist(self) -> str:
        """The argument that says most, in a line."""
        try:
            given: object = json.loads(self.arguments)
        except ValueError:
            given = None
        if not isinstance(given, dict):
            return capped(self.arguments, GIST_CHARS)
        fields = cast("dict[str, object]", given)
        texts = (fields.get(name) for name in (*TELLING, *fields))
        return capped(next((text for text in texts if isinstance(text, str) and text.strip()), ""), GIST_CHARS)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing in a conversation."""

    id: str
    kind: Kind
    at: int
    """milliseconds; entries stand in this order"""
    text: str = ""
    client: str = ""
    """By what the page that sent a message knows it."""
    waiting: bool = False
    """It is accepted, and no turn has taken it yet."""
    dropped: bool = False
    """No turn ever will."""
    ended: bool = False
    """It tells that a turn was ended; what was being written then is no message."""
    sender: str = ""
    channel: str = ""
    files: tuple[File, ...] = ()
    tools: tuple[ToolUse, ...] = ()
    run: Run | None = None
    approval: Approval | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a conversation."""

    entries: tuple[Entry, ...]
    earlier: int | None = None
    """The seq before which there is more; None: this is its beginning."""


def last(tx: Transaction, session: Session, *, before: int | None, limit: int) -> Part:
    """The newest messages (before a seq), with all that stands between them; with what is open if they are the last."""
    found = transcript.page(tx, session.id, limit=limit, before=before)
    while found and found[0].role == "tool":  # a page begins with the message that made the calls
        found = [*transcript.page(tx, session.id, limit=1, before=found[0].seq), *found]
    begin = found[0].created_at if found else 0
    first = not found or not transcript.page(tx, session.id, limit=1, before=found[0].seq)
    until = None
    if before is not None:
        following = transcript.page(tx, session.id, limit=1, after=before - 1)
        until = following[0].created_at if following else None
    beside = _beside(tx, session, 0 if first else begin, until)
    entries = [*_of_messages(tx, session, found), *beside, *(_waiting(tx, session) if before is None else ())]
    return Part(_ordered(entries), None if first else found[0].seq)


def since(tx: Transaction, session: Session, after: int) -> Part:
    """All that is newer than a time, what may have changed since, and all that is open."""
    of_session = messages_table.c.session_id == session.id
    seen = tx.execute(select(func.max(messages_table.c.seq)).where(of_session, messages_table.c.created_at <= after))
    found = _messages(tx, of_session & (messages_table.c.seq > (seen.scalar() or 0)))
    above = {each.parent_seq for each in found if each.parent_seq is not None} - {each.seq for each in found}
    if above:  # results have come: their calls are shown anew, with all of them
        found += _messages(tx, of_session & messages_table.c.seq.in_(above))
        found += _messages(tx, of_session & messages_table.c.parent_seq.in_(above))
        found = sorted({each.seq: each for each in found}.values(), key=lambda each: each.seq)
    beside = _beside(tx, session, min(after, tx.now - LOOK_BACK_MS), None)
    fresh = [each for each in beside if each.at > after or each.approval is not None]
    return Part(_ordered([*_of_messages(tx, session, found), *fresh, *_waiting(tx, session)]))


def channel_of(route: str | None) -> str:
    """The name of the channel of a route; empty for none."""
    return Route.from_json(route).channel if route else ""


def _ordered(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    return tuple(sorted(entries, key=lambda each: NEVER if each.waiting else each.at))


# ---- the transcript ----


def _of_messages(tx: Transaction, session: Session, found: Sequence[Message]) -> list[Entry]:
    results = {(each.parent_seq, each.call_index): each for each in found if each.role == "tool"}
    accepted = _accepted(tx, [each.inbox_id for each in found if each.inbox_id is not None])
    entries: list[Entry] = []
    for message in found:
        row = accepted.get(message.inbox_id or 0)
        entry = _entry(tx, session, message, row, results)
        if entry is not None:
            entries.append(entry)
    return entries


def _entry(
    tx: Transaction,
    session: Session,
    message: Message,
    row: inbox.Row | None,
    results: dict[tuple[int | None, int | None], Message],
) -> Entry | None:
    entry = Entry(f"m-{session.id[:8]}-{message.seq}", "notice", message.created_at, message.text)
    match message.role, message.kind:
        case "assistant", "failure":
            return replace(entry, kind="failure")
        case "assistant", _ if message.calls:
            return replace(entry, kind="work", text=message.text.strip(), tools=_tools(message, results))
        case "assistant", _:
            text, silent = visible(message.text)
            return None if silent else replace(entry, kind="answer", text=text)
        case "user", "user" | "steer":
            if row is not None:
                return replace(_of_row(row), at=message.created_at, waiting=False)
            return replace(entry, kind="user", sender=message.sender or "", channel=channel_of(message.route))
        case "user", "announce":
            run = runs.find(tx, row.run_id) if row is not None and row.run_id else None
            return replace(entry, kind="report", run=run)
        case "user", "summary":
            return replace(entry, kind="summary")
        case "user", "notice":
            return replace(entry, ended=True)
        case "user", "event":
            return entry
        case _:
            return None


def _tools(message: Message, results: dict[tuple[int | None, int | None], Message]) -> tuple[ToolUse, ...]:
    found: list[ToolUse] = []
    for index, call in enumerate(message.tool_calls):
        result = results.get((message.seq, index))
        text = None if result is None else _cut(result.text)
        found.append(ToolUse(call.name, _cut(call.arguments), text, result is not None and result.error))
    return tuple(found)


def _cut(text: str) -> str:
    return text if len(text) <= RESULT_CHARS else f"{text[:RESULT_CHARS]}\n[… {len(text) - RESULT_CHARS} more]"


def _messages(tx: Transaction, condition: ColumnElement[bool]) -> list[Message]:
    return [Message(*row) for row in tx.execute(_MESSAGES.where(condition).order_by(messages_table.c.seq))]


# ---- the inbox ----


def _accepted(tx: Transaction, ids: Sequence[int]) -> dict[int, inbox.Row]:
    found = tx.execute(_INBOX.where(inbox_table.c.id.in_(ids))) if ids else ()
    return {row.id: inbox.Row(*row) for row in found}


def _waiting(tx: Transaction, session: Session) -> list[Entry]:
    """What is accepted and waits for a turn."""
    return [
        replace(_of_row(row), waiting=True) for row in inbox.pending(tx, session.id, due=False) if row.kind == "user"
    ]


def _of_row(row: inbox.Row) -> Entry:
    prefix, _, client = row.dedupe.rpartition(":")
    files = tuple(
        File(each.get("name") or "file", each.get("media_type") in IMAGES, f"/web/files/{row.id}/{index}")
        for index, each in enumerate(row.attachments or ())
    )
    return Entry(
        f"i-{row.id}",
        "user",
        row.created_at,
        row.text,
        client=client if prefix.startswith("web:") else "",
        sender=row.sender or "",
        channel=channel_of(row.route),
        files=files,
    )


# ---- what stands beside the transcript ----


def _beside(tx: Transaction, session: Session, begin: int, until: int | None) -> list[Entry]:
    below = sessions.subtree(tx, session.id)
    asked = [
        Entry(f"a-{each.id}", "approval", each.created_at, each.summary, approval=each)
        for each in approvals.asked(tx, below, begin, until)
    ]
    return [*asked, *_dropped(tx, session, begin, until), *_notices(tx, session, begin, until)]


def _dropped(tx: Transaction, session: Session, begin: int, until: int | None) -> list[Entry]:
    """Messages that gave way: their writer sees that nobody has read them."""
    table = inbox_table
    statement = _INBOX.where(
        table.c.session_id == session.id,
        table.c.state == "dropped",
        table.c.kind == "user",
        table.c.consumed_at >= begin,
    )
    if until is not None:
        statement = statement.where(table.c.consumed_at < until)
    found = [inbox.Row(*row) for row in tx.execute(statement)]
    return [replace(_of_row(row), at=row.consumed_at or row.created_at, dropped=True) for row in found]


def _notices(tx: Transaction, session: Session, begin: int, until: int | None) -> list[Entry]:
    """What the gateway itself has said; a question is shown as a question, not as the post that asks it."""
    statement = select(outbox.c.id, outbox.c.text, outbox.c.created_at, outbox.c.route).where(
        outbox.c.session_id == session.id,
        outbox.c.seq.is_(None),
        outbox.c.kind == "text",
        outbox.c.state != "streaming",
        outbox.c.created_at >= begin,
        outbox.c.text.not_like(f"{SIGN}%"),
    )
    if until is not None:
        statement = statement.where(outbox.c.created_at < until)
    return [
        Entry(f"p-{row.id}", "notice", row.created_at, row.text, channel=channel_of(row.route))
        for row in tx.execute(statement.order_by(outbox.c.id))
    ]


def file_of(tx: Transaction, inbox_id: int, index: int) -> tuple[str, dict[str, Any]] | None:
    """The session id and the file of a message; None if there is none."""
    row = tx.execute(_INBOX.where(inbox_table.c.id == inbox_id)).first()
    found = inbox.Row(*row) if row else None
    attachments = (found.attachments or []) if found else []
    return (found.session_id, dict(attachments[index])) if found and index < len(attachments) else None


def message_time(tx: Transaction, session_id: str, seq: int) -> int | None:
    """When a message was appended, in milliseconds."""
    table = messages_table
    found = select(table.c.created_at).where(table.c.session_id == session_id, table.c.seq == seq)
    return tx.execute(found).scalar()
