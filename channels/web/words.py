"""How states are said: one word and one colour for each, which never stands alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime

from gateway.store.runs import Run

_MARKS = re.compile(r"\*\*|__|`|^#+\s+|(?<=\n)#+\s+")
WORDS: Mapping[str, str] = {
    "queued": "queued",
    "delayed": "delayed",
    "running": "running",
    "waiting": "waits for children",
    "paused": "paused",
    "ok": "completed",
    "error": "failed",
    "timeout": "timed out",
    "stopped": "stopped",
    "budget": "budget reached",
    "dead": "given up",
}
"""Of each status of an open run and each outcome of an ended one."""
TONES: Mapping[str, str] = {
    "running": "live",
    "queued": "calm",
    "delayed": "calm",
    "waiting": "calm",
    "paused": "warn",
    "ok": "good",
    "error": "bad",
    "timeout": "bad",
    "stopped": "calm",
    "budget": "warn",
    "dead": "bad",
}


def state(run: Run) -> str:
    """`running`, or how it ended: `ok`, `error`."""
    return run.outcome.value if run.outcome else run.status.value


def word(run: Run) -> str:
    """The state as a person says it."""
    return WORDS.get(state(run), state(run))


def tone(run: Run) -> str:
    """The class that gives it its colour."""
    return TONES.get(state(run), "calm")


def icon(run: Run) -> str:
    """Its symbol in `static/icons.svg`."""
    return f"s-{state(run)}"


def plain(text: str) -> str:
    """Markdown in a line that shows none."""
    return _MARKS.sub("", text)


def reason(text: str | None) -> str:
    """Why a job isn't running, as a person says it (`gateway/jobs/reason.py`)."""
    if text is None:
        return "about to begin"
    name, _, rest = text.partition(" ")
    if name.endswith("_until"):
        rest = f"{datetime.fromisoformat(rest):%d %b, %H:%M:%S} UTC"
    known = {
        "paused": "paused: resume it to go on",
        "delayed_until": f"not before {rest}",
        "children:": f"waits for its children: {rest} have ended",
        "dependencies:": f"waits for other jobs: {rest} have ended",
        "dependency_failed:": f"a job that it waits for didn't end well: {rest}",
        "rate_limited_until": f"the provider asked for a pause, until {rest}",
        "unavailable_until": f"its kind is switched off or missing: looked at again {rest}",
        "budget": "nothing fits into its budget any more",
        "lane_full:": f"its lane is full: {rest}",
        "alone:": f"{rest.removesuffix(' first')} goes on alone first: it was at work each time that the process died",
        "no_lane:": f"there is no lane {rest}",
    }
    return known.get(name, text)
