"""How the command line and the terminal write times, tokens, money and run states: short, and always the same."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from rich.cells import cell_len

from gateway import numbers
from gateway.client.records import Run, Tokens
from gateway.icons import ICONS
from gateway.numbers import count

OUTCOME_WORDS = {
    "ok": "completed",
    "error": "failed",
    "timeout": "timed out",
    "stopped": "stopped",
    "budget": "budget reached",
    "dead": "given up after repeated crashes",
}

_UNSAFE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def clean(text: str) -> str:
    """The text without control characters and direction marks: what a model or a tool wrote must not steer a
    terminal (spec/architecture.md, protocol 9)."""
    return _UNSAFE.sub("", text.replace("\r\n", "\n"))


def duration(seconds: float | None) -> str:
    """`45s`, `2m31s`, `3h05m`, `2d4h`; `–` for None."""
    return "–" if seconds is None else numbers.duration(seconds)


def tokens(value: Tokens) -> str:
    """Total tokens with their unit; empty when there are none."""
    return f"{count(value.total)} tok" if value.total else ""


def money(usd: float | None) -> str:
    """`$0.0123`; `–` when the price isn't known."""
    return "–" if usd is None else numbers.money(usd)


def plural(number: int, noun: str) -> str:
    """`1 sub-agent`, `2 sub-agents`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def icon(run: Run) -> str:
    """Two columns wide."""
    if run.active:
        return _wide(ICONS.get(run.status, "•"))
    return _wide(ICONS.get(run.outcome or "", "•"))


def _wide(sign: str) -> str:
    return sign if cell_len(sign) == 2 else f"{sign} "


def state_word(run: Run) -> str:
    """`running`, or how it ended."""
    return run.status if run.active else OUTCOME_WORDS.get(run.outcome or "", run.outcome or run.status)


def ago(stamp: str | None) -> str:
    """`3m12s ago` of an ISO time; `–` for None or what isn't a time."""
    try:
        moment = datetime.fromisoformat(stamp or "")
    except ValueError:
        return "–"
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return f"{duration((datetime.now(UTC) - moment).total_seconds())} ago"


def one_line(text: str, width: int) -> str:
    """The text on one line, cut to `width` characters with `…`."""
    flat = clean(" ".join(text.split()))
    return flat if len(flat) <= width else flat[: max(0, width - 1)] + "…"
