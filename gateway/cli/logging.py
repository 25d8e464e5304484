"""Logging of a gateway process: one line an event on stderr, `key=value` after the text, warnings only by default."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from pathlib import Path

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
LEVELS = ("debug", "info", "warning", "error")


class Structured(logging.Formatter):
    """`2026-11-20T10:00:00Z WARNING gateway.turn: text run=a1b2 session=…`; a traceback follows its line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        stamp = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        extra = "".join(f" {name}={_value(value)}" for name, value in vars(record).items() if name not in _PLAIN)
        line = f"{stamp} {record.levelname} {record.name}: {record.getMessage()}{extra}"
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _value(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(char.isspace() for char in text) else text


def configure(level: str, file: Path | None = None) -> None:
    """Sends what is at or above `level` to stderr, or to `file` (a chat owns the screen)."""
    handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file, delay=True)
    handler.setFormatter(Structured())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
