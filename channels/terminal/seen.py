"""How far a chat's reader has read: the id of the last event, one small file for each session.

So that a chat that was left, or killed, shows on its return exactly what was said meanwhile. A lost file costs nothing
but that.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

_PLAIN = re.compile(r"[^A-Za-z0-9_.-]+")


class Seen:
    """Reads and writes the mark of one session.

    Args:
        folder: where the marks are; made when one is written.
        session_key: whose mark.
    """

    def __init__(self, folder: Path, session_key: str) -> None:
        self._file = folder / f"{_PLAIN.sub('_', session_key)[:120]}.json"
        self._last: int | None = None

    def load(self) -> int | None:
        """The last event that was shown; None if there is no mark."""
        try:
            value = json.loads(self._file.read_text("utf-8")).get("lastEventId")
        except (OSError, ValueError, AttributeError):
            return None
        self._last = value if isinstance(value, int) else None
        return self._last

    def store(self, event_id: int | None) -> None:
        """Sets the mark; a mark that can't be written is given up."""
        if event_id is None or event_id == self._last:
            return
        self._last = event_id
        part = self._file.with_suffix(".part")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(json.dumps({"lastEventId": event_id}))
            part.replace(self._file)
        except OSError:
            return
