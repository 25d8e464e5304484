"""What the bot has called, and what was wrong with it."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from typing import Any, TextIO

from tests.standins.telegram.description import Upload

Json = dict[str, Any]


@dataclass
class Call:
    """One call."""

    number: int
    method: str
    params: Json
    at: float
    """By the stand-in's clock, in seconds."""
    status: int = 0
    """What it was answered with; 0: not yet, or nothing."""
    description: str = ""
    message: int | None = None
    """Id of the message that came of it."""
    trouble: bool = False
    """A test had asked for a fault."""

    def to_json(self) -> Json:
        """For the log and the admin interface; files as their name and size."""
        return asdict(self) | {"params": _shown(self.params)}


def _shown(value: Any) -> Any:
    if isinstance(value, Upload):
        return {"name": value.name, "mediaType": value.media_type, "size": len(value.data)}
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}  # pyright: ignore[reportUnknownVariableType]
    return value


class Calls:
    """Calls and faults, in order.

    Args:
        log: gets a JSON line for each call that was answered and each fault.
    """

    def __init__(self, log: TextIO | None = None) -> None:
        self.calls: list[Call] = []
        self.faults: list[str] = []
        """What the bot did wrong, apart from what a test allowed or asked for."""
        self._log = log
        self._allowed: list[tuple[str, re.Pattern[str]]] = []

    def arrived(self, method: str, params: Json, at: float) -> Call:
        """Notes a call."""
        call = Call(len(self.calls) + 1, method, params, at)
        self.calls.append(call)
        return call

    def answered(self, call: Call) -> None:
        """Writes a call down, once it is known what became of it."""
        self._write(call.to_json())

    def fault(self, method: str, text: str) -> None:
        """Notes a fault, unless it is allowed."""
        if any(allowed in ("*", method) and pattern.search(text) for allowed, pattern in self._allowed):
            return
        self.faults.append(f"{method}: {text}")
        self._write({"fault": self.faults[-1]})

    def allow(self, pattern: str, method: str = "*") -> None:
        """Faults whose text matches are none, from now on and before."""
        compiled = re.compile(pattern)
        self._allowed.append((method, compiled))
        self.faults = [
            fault
            for fault in self.faults
            if not (method in ("*", fault.partition(":")[0]) and compiled.search(fault.partition(": ")[2]))
        ]

    def _write(self, record: Json) -> None:
        if self._log is not None:
            self._log.write(json.dumps(record) + "\n")
            self._log.flush()
