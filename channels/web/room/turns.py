"""A transcript turn by turn: what was said to a session, what it answered, which tools it used and what that cost.

Made of a transcript's messages as JSON, so that one in the tables and one in a file look the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select

from channels.web.entries import ToolUse
from channels.web.site import View
from gateway.http.errors import ApiError
from gateway.store import transcript
from gateway.store.database import Transaction
from gateway.store.schema import messages as table
from gateway.store.transcript import Message
from gateway.views import from_iso

MOST_CHARS = 8_000
SPEAKERS: Mapping[str, str] = {
    "user": "Said to it",
    "task": "Task",
    "steer": "Steered",
    "announce": "A sub-agent reported",
    "child_done": "A child has ended",
    "event": "Event",
    "nudge": "Asked again",
    "notice": "Notice",
    "summary": "What came before, summarised for the model",
}


@dataclass(slots=True)
class Use:
    """One call of a tool."""

    call: ToolUse
    seconds: float | None = None


@dataclass(slots=True)
class Turn:
    """One message, with the results of its calls."""

    seq: int
    role: str
    kind: str
    text: str
    at: int
    """milliseconds"""
    number: int | None = None
    """Of an answer: which it is in its session; it can be forked from there."""
    who: str = ""
    model: str = ""
    seconds: float | None = None
    """How long the model took."""
    tokens_in: int | None = None
    tokens_out: int | None = None
    cached: int = 0
    cost: int | None = None
    """micro-USD"""
    waited: float = 0.0
    """Seconds of it that passed before the provider could be asked, and between tries."""
    error: bool = False
    uses: list[Use] = field(default_factory=list[Use])

    @property
    def open(self) -> bool:
        """Some of its tools are still at work."""
        return any(use.call.result is None for use in self.uses)


def turns(messages: Sequence[Mapping[str, Any]], earlier: int = 0) -> list[Turn]:
    """The messages as turns.

    Args:
        messages: of a transcript, in order, as `messages_json` makes them.
        earlier: how many answers came before them.
    """
    found: dict[int, Turn] = {}
    number = earlier
    for row in messages:
        above = found.get(row.get("parentSeq") or 0)
        if row["role"] == "tool" and above is not None and (row.get("callIndex") or 0) < len(above.uses):
            use = above.uses[row.get("callIndex") or 0]
            call = use.call
            result = cut(row["text"])
            above.uses[row.get("callIndex") or 0] = Use(
                ToolUse(call.name, call.arguments, result, bool(row.get("error"))), _seconds(row)
            )
            continue
        turn = _turn(row)
        if turn.role == "assistant" and turn.kind == "reply":
            number += 1
            turn.number = number
        found[turn.seq] = turn
    return list(found.values())


def _turn(row: Mapping[str, Any]) -> Turn:
    tokens: Mapping[str, int] = row.get("tokens") or {}
    cost: float | None = row.get("costUsd")
    turn = Turn(
        row["seq"],
        row["role"],
        row["kind"],
        str(row["text"]).strip() if row["role"] == "assistant" else cut(str(row["text"])),
        from_iso(row["createdAt"]),
        who=SPEAKERS.get(row["kind"], row.get("tool") or row["kind"]),
        model=row.get("model") or "",
        seconds=_seconds(row),
        tokens_in=tokens.get("input"),
        tokens_out=tokens.get("output"),
        cached=tokens.get("cacheRead", 0),
        cost=None if cost is None else round(cost * 1_000_000),
        error=bool(row.get("error")) or row["kind"] == "failure",
        uses=[Use(ToolUse(each["name"], cut(each["arguments"]), None)) for each in row.get("calls") or ()],
    )
    for wait in row.get("waits") or ():
        turn.waited += (from_iso(wait["to"]) - from_iso(wait["from"])) / 1000
    return turn


def _seconds(row: Mapping[str, Any]) -> float | None:
    began = row.get("startedAt")
    return None if began is None else max(0.0, (from_iso(row["createdAt"]) - from_iso(began)) / 1000)


def before(view: View) -> int | None:
    """The seq below which a part of a transcript is asked for; None: the last part is.

    Raises:
        ApiError: 400.
    """
    text = view.params.get("before", "")
    if text and not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise ApiError(400, "`before` is the seq of a message", field="before")
    return int(text) if text else None


def with_calls(tx: Transaction, session_id: str, found: list[Message]) -> list[Message]:
    """A part of a transcript that begins with the message that made the calls, not with their results."""
    while (
        found and found[0].role == "tool" and (above := transcript.page(tx, session_id, limit=1, before=found[0].seq))
    ):
        found = [*above, *found]
    return found


def answers(tx: Transaction, session_id: str, first: int) -> int:
    """How many answers a session has given before a message: forks count them all."""
    c = table.c
    earlier = (c.session_id == session_id) & (c.seq < first) & (c.role == "assistant") & (c.kind == "reply")
    return int(tx.execute(select(func.count()).where(earlier)).scalar_one())


def cut(text: str) -> str:
    """A text that isn't endless."""
    return text if len(text) <= MOST_CHARS else f"{text[:MOST_CHARS]}\n[… {len(text) - MOST_CHARS} more]"
