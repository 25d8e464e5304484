"""The log of a process: one line an event on stderr, for people or as JSON, without the secrets that are known.

What a line is about stands in it: the session, run and job that its task works on (`bind`), and the trace. Nothing is
changed unless a command line has asked for it with `configure`; from then on format and level follow the configuration.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.config.server import LogConfig
from gateway.telemetry import context

LEVELS = ("debug", "info", "warning", "error")

_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_about: ContextVar[Mapping[str, str]] = ContextVar("laneway_log", default={})  # noqa: B039 - a mapping, never written

Clean = Callable[[str], str]
"""Takes the known secrets out of a text."""


def bind(**ids: str | int | None) -> None:
    """Says what the lines of this task are about from here on: `session`, `run`, `job`."""
    _about.set({**_about.get(), **{name: str(value) for name, value in ids.items() if value is not None}})


class _Formatter(logging.Formatter):
    """What both formats have in common."""

    def __init__(self, clean: Clean) -> None:
        super().__init__()
        self._clean = clean

    def _fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the line is about, then what it was given besides."""
        trace = context.recorded_id(context.current.get())
        given = {name: value for name, value in vars(record).items() if name not in _PLAIN}
        return {**_about.get(), **({"trace": trace} if trace else {}), **given}

    def _trace(self, record: logging.LogRecord) -> str:
        return self.formatException(record.exc_info) if record.exc_info else ""


class TextFormat(_Formatter):
    """`2026-11-20T10:00:00Z WARNING gateway.turn: text session=… run=…`; a traceback follows its line."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        stamp = datetime.fromtimestamp(record.created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        about = "".join(f" {name}={_word(value)}" for name, value in self._fields(record).items())
        line = f"{stamp} {record.levelname} {record.name}: {record.getMessage()}{about}"
        return self._clean("\n".join(filter(None, (line, self._trace(record)))))


class JsonFormat(_Formatter):
    """One object a line: `time`, `level`, `logger`, `message`, what it is about, and `exception` with its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON."""
        stamp = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {
            "time": stamp,
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(record.getMessage()),
            **{name: _plain(value, self._clean) for name, value in self._fields(record).items()},
        }
        if trace := self._trace(record):
            line["exception"] = self._clean(trace)
        return json.dumps(line, ensure_ascii=False)


def _word(value: object) -> str:
    text = str(value)
    return repr(text) if not text or any(char.isspace() for char in text) else text


def _plain(value: object, clean: Clean) -> object:
    return value if isinstance(value, bool | int | float) or value is None else clean(str(value))


class _Output:
    """The handler of this process."""

    def __init__(self, level: str | None, file: Path | None) -> None:
        self._level = level
        self._handler = logging.StreamHandler(sys.stderr) if file is None else logging.FileHandler(file, delay=True)
        self.set(LogConfig(), str)
        logging.basicConfig(handlers=[self._handler], force=True, level=self._level_of(LogConfig()))

    def set(self, config: LogConfig, clean: Clean) -> None:
        """Takes the format and, unless the command line has said one, the level."""
        self._handler.setFormatter(JsonFormat(clean) if config.format == "json" else TextFormat(clean))
        logging.getLogger().setLevel(self._level_of(config))

    def _level_of(self, config: LogConfig) -> str:
        return (self._level or config.level).upper()


_output: list[_Output] = []
"""At most one: a process has one log."""


def configure(level: str | None, file: Path | None = None) -> None:
    """Begins to log, to stderr or to `file` (a chat owns the screen).

    Args:
        level: the least that is logged, whatever the configuration says; None: what that says.
        file: where to.
    """
    _output[:] = [_Output(level, file)]


def forget() -> None:
    """Follows no configuration any more: whoever runs a gateway inside another program takes its log back."""
    _output.clear()


def follow(config: LogConfig, clean: Clean) -> None:
    """Takes format, level and secrets from a configuration, where a command line has asked for a log."""
    for output in _output:
        output.set(config, clean)
