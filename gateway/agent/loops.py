"""Loop detection: the same call, with the same arguments and the same result, over and over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from hashlib import blake2b

from gateway.agent.messages import ToolCall
from gateway.store.transcript import Message

WARN_AT = 5
END_AT = 8

_NOTE = (
    "\n\n[You have made this call with these arguments {count} times and got the same result each time. "
    "Do something else, or finish with what you have.]"
)


class LoopDetector:
    """Counts equal calls of one turn."""

    def __init__(self, history: Iterable[Message], since: int) -> None:
        """
        Args:
            history: the transcript so far.
            since: the turn's first seq.
        """
        self._seen: Counter[bytes] = Counter()
        calls: dict[int, tuple[ToolCall, ...]] = {}
        for row in history:
            if row.seq < since:
                continue
            calls[row.seq] = row.tool_calls
            if row.parent_seq is not None and row.call_index is not None and row.parent_seq in calls:
                self._seen[_digest(calls[row.parent_seq][row.call_index], row.text)] += 1

    def note(self, call: ToolCall, result: str) -> tuple[str, bool]:
        """The result as it is to be stored, and whether the turn must end."""
        digest = _digest(call, result)
        self._seen[digest] += 1
        count = self._seen[digest]
        return (result + _NOTE.format(count=count) if count >= WARN_AT else result), count >= END_AT


def _digest(call: ToolCall, result: str) -> bytes:
    plain = result.split("\n\n[You have made this call with these arguments")[0]
    return blake2b(f"{call.name}\0{call.arguments}\0{plain}".encode(errors="replace"), digest_size=12).digest()
