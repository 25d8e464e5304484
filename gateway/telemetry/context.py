"""Trace contexts: which span something belongs to, as a text that can be stored.

The text is a `traceparent` of W3C Trace Context, `00-<trace id>-<span id>-<flags>`. It stands in the rows of runs,
inbox, outbox and turns, so that a trace goes on over a restart. Ids are made here, not by a library: they are known
before a span is sent, and whether or not one ever is.
"""

from __future__ import annotations

import random
import re
import secrets
from contextvars import ContextVar

_FORM = re.compile(r"00-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")

current: ContextVar[str | None] = ContextVar("laneway_trace", default=None)
"""The span that this task works in; None where nothing is traced."""


def root(ratio: float) -> str:
    """The context of a new trace, of which so many (0 to 1) are recorded."""
    sampled = random.random() < ratio  # noqa: S311 - a sample, not a secret
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{'01' if sampled else '00'}"


def child_of(context: str | None) -> str | None:
    """The context of a new span below another one; None below none."""
    found = _FORM.fullmatch(context) if context else None
    return f"00-{found[1]}-{secrets.token_hex(8)}-{found[3]}" if found else None


def trace_id(context: str | None) -> str | None:
    """The id of the trace, 32 digits."""
    found = _FORM.fullmatch(context) if context else None
    return found[1] if found else None


def span_id(context: str | None) -> str | None:
    """The id of the span, 16 digits."""
    found = _FORM.fullmatch(context) if context else None
    return found[2] if found else None


def sampled(context: str | None) -> bool:
    """Whether the spans of the trace are recorded."""
    found = _FORM.fullmatch(context) if context else None
    return found is not None and bool(int(found[3], 16) & 1)


def recorded_id(context: str | None) -> str | None:
    """The id of a trace that a person could look up; None where nothing is recorded."""
    return trace_id(context) if sampled(context) else None


def valid(text: str) -> str | None:
    """A context that somebody else has sent, if it is one."""
    return text if _FORM.fullmatch(text) else None
