"""Reads a sub-agent's announcement out of a prompt (spec/subagents.md 16–17). Pure.

The text is meant for models. What stands between its two markers is the sub-agent's own, and is never searched for
anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_FENCE = re.compile(r"<<<(?P<marker>[0-9a-f]{6,})\n(?P<text>.*?)\n(?P=marker)>>>", re.DOTALL)
_HEAD = re.compile(
    r"^\W*sub-?agent [“\"](?P<label>.+?)[”\"] "
    r"(?P<status>(?:completed|failed|timed out|stopped|budget reached)\b.*?)\.?$",
    re.IGNORECASE | re.MULTILINE,
)
_NO_OUTPUT = "(no output)"


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
    fence = _FENCE.search(message)
    head = _HEAD.search(message[: fence.start()]) if fence else None
    if fence is None or head is None:
        return None
    text = fence["text"].strip()
    return Announcement(head["label"], head["status"], "" if text == _NO_OUTPUT else text)


def data_in(result: str) -> str:
    """What a tool's result holds between its two markers; all of it where there are none."""
    fence = _FENCE.search(result)
    return fence["text"] if fence else result
