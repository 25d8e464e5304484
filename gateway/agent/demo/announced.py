"""Reads a sub-agent's announcement out of a prompt (spec/subagents.md 16–17). Pure.

The text is meant for models, so this looks only for what must be in it: a child's session key, the status word, the
label, and the fenced text between two lines that share a random marker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_KEY = re.compile(r"\bagent:[\w-]+:subagent:[0-9a-f-]{36}")
_STATUS = re.compile(r"\b(completed|failed(?:: [^\n]{0,300})?|timed out|stopped|budget reached)", re.IGNORECASE)
_LABEL = re.compile(
    r"(?:^|\b)label\W{1,3}(?P<named>[^\n]{1,80})|[“\"'`*]{1,2}(?P<quoted>[^“”\"'`*\n]{1,80})[”\"'`*]", re.IGNORECASE
)
_MARKER = re.compile(r"[0-9a-fA-F]{6,}|[A-Za-z0-9_-]{12,}")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What a sub-agent's end said."""

    label: str
    status: str
    """`completed`, `failed: …`, `timed out`, `stopped`, `budget reached`."""
    text: str
    """The sub-agent's last words; empty if it had none."""


def announcement_in(message: str) -> Announcement | None:
    """The announcement that a user message of a prompt carries, if it carries one."""
    outside, inside = _fenced(message)
    status = _STATUS.search(outside)
    if status is None or not _KEY.search(outside):
        return None
    found = _LABEL.search(outside)
    label = (found["named"] or found["quoted"]).strip(" \"'`*“”.,·") if found else "The sub-agent"
    said = "" if inside.strip() in ("(no output)", "") else inside.strip()
    return Announcement(label, status[1].rstrip(' ."”]'), said)


def _fenced(message: str) -> tuple[str, str]:
    """The text around the fence, and the text in it."""
    lines = message.splitlines()
    seen: dict[str, int] = {}
    for number, line in enumerate(lines):
        for marker in _MARKER.findall(line) if len(line) < 120 and not _KEY.search(line) else ():
            if (start := seen.get(marker)) is not None and start < number:
                around = [*lines[:start], *lines[number + 1 :]]
                return "\n".join(around), "\n".join(lines[start + 1 : number])
            seen.setdefault(marker, number)
    return message, ""
