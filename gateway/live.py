"""What is under way right now, kept in memory: partial answers, and what each session is doing.

Owned by the event log, which keeps it up to date; may be read by anyone on the event loop. Nothing of it
survives the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Partial:
    """The text of an answer so far."""

    message_id: str
    pieces: list[str] = field(default_factory=list[str])

    @property
    def text(self) -> str:
        """All pieces as one text."""
        if len(self.pieces) > 1:
            self.pieces[:] = ["".join(self.pieces)]
        return self.pieces[0] if self.pieces else ""


@dataclass(frozen=True, slots=True)
class Activity:
    """What a session did last."""

    text: str
    last_tool: str | None = None


class Live:
    """The state of everything that moves."""

    def __init__(self) -> None:
        self.partials: dict[str, Partial] = {}
        """Session key → the answer that is being written."""
        self._activities: dict[str, Activity] = {}

    def activity(self, session_key: str) -> Activity | None:
        """What the session is doing; None when it is at rest."""
        return self._activities.get(session_key)

    def note(self, type: str, session_key: str | None, data: Mapping[str, Any]) -> None:
        """Follows the fleeting events of a session."""
        if session_key is None:
            return
        if type == "progress":
            before = self._activities.get(session_key)
            tool = data.get("lastTool") or (before.last_tool if before else None)
            self._activities[session_key] = Activity(str(data.get("text", "")), tool)
        elif type == "idle":
            self._activities.pop(session_key, None)

    def extend(self, session_key: str, message_id: str, text: str) -> None:
        """Adds to the partial of this message; another message's partial is replaced."""
        partial = self.partials.get(session_key)
        if partial is None or partial.message_id != message_id:
            partial = self.partials[session_key] = Partial(message_id)
        partial.pieces.append(text)

    def begin(self, session_key: str, message_id: str, text: str) -> None:
        """Starts a partial anew."""
        self.partials[session_key] = Partial(message_id, [text])

    def forget(self, session_key: str, message_id: str | None = None) -> None:
        """Drops the partial of a session, if it is that of `message_id` where one is given."""
        partial = self.partials.get(session_key)
        if partial is not None and message_id in (None, partial.message_id):
            del self.partials[session_key]
