"""Transcripts: each session's append-only message log, unique by (session, seq).

It is the checkpoint: a crashed turn is continued from it. A tool result is unique by (session, assistant seq, call
index), because providers' call ids repeat (spec/architecture.md, protocol 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, insert, select

from gateway.agent.messages import ToolCall
from gateway.store import rows, sessions
from gateway.store.database import Transaction
from gateway.store.schema import messages

Role = Literal["user", "assistant", "tool"]
Kind = Literal["user", "task", "announce", "steer", "event", "nudge", "reply", "failure", "result", "summary", "notice"]
"""`reply` and `failure` are the assistant's, `result` is a tool's, all others speak to the model."""


@dataclass(frozen=True, slots=True)
class Message:
    """One row of `messages`."""

    session_id: str
    seq: int
    role: Role
    kind: Kind
    text: str
    created_at: int
    route: str | None = None
    inbox_id: int | None = None
    sender: str | None = None
    attachments: list[dict[str, str]] | None = None
    calls: list[dict[str, str]] | None = None
    provider: str | None = None
    model: str | None = None
    provider_state: dict[str, Any] | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cache_read: int | None = None
    cost_micro: int | None = None
    parent_seq: int | None = None
    call_index: int | None = None
    error: bool = False
    started_at: int | None = None
    """When the model call, or the tool, began (milliseconds)."""
    waits: list[list[Any]] | None = None
    """What the call had to wait for: what, from when, until when."""
    summary_upto: int | None = None

    @property
    def tool_calls(self) -> tuple[ToolCall, ...]:
        """The calls of an assistant message."""
        return tuple(ToolCall(c["id"], c["name"], c["arguments"]) for c in self.calls or ())


_ALL = select(*rows.columns(messages, Message))
_OF_SESSION = messages.c.session_id == bindparam("of_session")
_APPEND = insert(messages)
_LOAD = _ALL.where(_OF_SESSION, messages.c.seq > bindparam("after_seq")).order_by(messages.c.seq)
_LAST_ASKED = _ALL.where(_OF_SESSION, messages.c.role == "assistant").order_by(messages.c.seq.desc()).limit(1)
_RESULTS = select(messages.c.call_index).where(_OF_SESSION, messages.c.parent_seq == bindparam("of_seq"))
_LAST_TEXT = (
    select(messages.c.text)
    .where(
        _OF_SESSION,
        messages.c.seq > bindparam("after_seq"),
        messages.c.role == "assistant",
        messages.c.kind == "reply",
        messages.c.text != "",
    )
    .order_by(messages.c.seq.desc())
    .limit(1)
)


def append(
    tx: Transaction, session_id: str, fence: int | None, role: Role, kind: Kind, text: str, **fields: Any
) -> Message:
    """Appends a message and returns it.

    Args:
        tx: the unit of work.
        session_id: whose transcript.
        fence: the caller's fence; None: he took the session over in this unit.
        role: whose words they are.
        kind: what sort of message.
        text: what it says.
        fields: any other column.

    Raises:
        FenceLost: the session is no longer the caller's.
    """
    seq = sessions.take_seq(tx, session_id, fence)
    message = Message(session_id, seq, role, kind, text, tx.now, **fields)
    tx.execute(_APPEND, {name: getattr(message, name) for name in Message.__slots__})
    return message


def load(tx: Transaction, session_id: str, *, after: int = 0, upto: int | None = None) -> list[Message]:
    """A session's messages in order.

    Args:
        tx: the unit of work.
        session_id: whose.
        after: only those with a higher seq.
        upto: none with a higher seq.
    """
    statement = _LOAD if upto is None else _LOAD.where(messages.c.seq <= upto)
    return _all(tx, statement, of_session=session_id, after_seq=after)


def page(
    tx: Transaction,
    session_id: str,
    *,
    limit: int,
    before: int | None = None,
    after: int | None = None,
    tools: bool = True,
) -> list[Message]:
    """Up to `limit` messages, oldest first: those after `after`, else the last ones (before `before`)."""
    statement = _ALL.where(messages.c.session_id == session_id)
    if not tools:
        statement = statement.where(messages.c.role != "tool")
    if after is not None:
        return _all(tx, statement.where(messages.c.seq > after).order_by(messages.c.seq).limit(limit))
    if before is not None:
        statement = statement.where(messages.c.seq < before)
    return _all(tx, statement.order_by(messages.c.seq.desc()).limit(limit))[::-1]


def open_calls(tx: Transaction, session_id: str) -> tuple[Message, list[int]] | None:
    """The last assistant message and the indexes of its calls that have no stored result; None: nothing is open."""
    last = _all(tx, _LAST_ASKED, of_session=session_id)
    if not last or not last[0].calls:
        return None
    done = {row[0] for row in tx.execute(_RESULTS, {"of_session": session_id, "of_seq": last[0].seq})}
    missing = [index for index in range(len(last[0].calls)) if index not in done]
    return (last[0], missing) if missing else None


def open_in(history: Sequence[Message]) -> tuple[Message, list[int]] | None:
    """The same, of a transcript that has been loaded, at least from its last summary on."""
    last = next((message for message in reversed(history) if message.role == "assistant"), None)
    if last is None or not last.calls:
        return None
    done = {message.call_index for message in history if message.parent_seq == last.seq}
    missing = [index for index in range(len(last.calls)) if index not in done]
    return (last, missing) if missing else None


def close_open_calls(tx: Transaction, session_id: str, fence: int | None, text: str) -> None:
    """Stores `text` as the result of every open call."""
    found = open_calls(tx, session_id)
    if found is None:
        return
    message, missing = found
    for index in missing:
        append_result(tx, session_id, fence, message.seq, index, text, error=True)


def append_result(
    tx: Transaction,
    session_id: str,
    fence: int | None,
    parent_seq: int,
    index: int,
    text: str,
    *,
    error: bool,
    started_at: int | None = None,
) -> Message:
    """Stores the result of one call, and when its tool began to run."""
    about = {"parent_seq": parent_seq, "call_index": index, "error": error, "started_at": started_at}
    return append(tx, session_id, fence, "tool", "result", text, **about)


def last_text(tx: Transaction, session_id: str, after: int) -> str:
    """The assistant's last visible text after a place; never a tool's output or a failure's text."""
    row = tx.execute(_LAST_TEXT, {"of_session": session_id, "after_seq": after}).first()
    return str(row[0]) if row else ""


def _all(tx: Transaction, statement: Any, **parameters: Any) -> list[Message]:
    return [Message(*row) for row in tx.execute(statement, parameters)]
