"""What has happened, as spans: turns, spawns and announcements, whose ids stand in the tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gateway.telemetry import context, names
from gateway.telemetry.tracing import Span, Value

if TYPE_CHECKING:
    from gateway.store.runs import Run
    from gateway.store.sessions import Session

_NS = 1_000_000
"""nanoseconds in a millisecond"""


def turn(
    session: Session, run: Run | None, causes: Sequence[str], began: int, ended: int, *, error: str | None, again: bool
) -> Span | None:
    """A turn from its first message to its end, over all activations that it took; None if it isn't traced.

    Args:
        session: while the turn was under way.
        run: what lives in it.
        causes: contexts of the messages that it has taken in, in their order.
        began: milliseconds, like `ended`.
        ended: when.
        error: what sort of error it ended with.
        again: it was continued after a restart.
    """
    own = session.turn_trace
    if own is None:
        return None
    first = causes[0] if causes else None
    parent = first if context.trace_id(first) == context.trace_id(own) else None
    attributes: dict[str, Value] = {
        names.OPERATION: names.INVOKE_AGENT,
        names.AGENT_ID: session.agent_id,
        names.AGENT_NAME: session.agent_id,
        names.CONVERSATION_ID: session.key,
        names.CONTINUED: again,
        **(_run(run) if run else {}),
    }
    if session.route is not None:
        attributes[names.CHANNEL] = session.route.channel
    links = tuple(cause for cause in dict.fromkeys(causes) if cause != parent)
    name = names.turn(session.agent_id)
    return Span(name, own, parent, began * _NS, ended * _NS, attributes=attributes, links=links, error=error)


def spawned(run: Run, cause: str | None) -> Span | None:
    """A run was created. What it does is below this span."""
    if run.trace is None:
        return None
    parent = cause if context.trace_id(cause) == context.trace_id(run.trace) else None
    at = run.created_at * _NS
    return Span(names.SPAWN, run.trace, parent, at, at, "producer", {**_run(run), names.AGENT_ID: run.agent_id})


def announced(run: Run, own: str | None, cause: str | None, at: int) -> Span | None:
    """A run has ended, and its requester is told. What that makes of it is below this span.

    Args:
        run: as it has ended.
        own: the context that was made for it.
        cause: the context of what has ended it.
        at: milliseconds.
    """
    if own is None:
        return None
    outcome = run.outcome.value if run.outcome else ""
    links = (run.trace,) if run.trace not in (None, cause) and run.trace else ()
    attributes = {**_run(run), names.RUN_OUTCOME: outcome}
    error = None if outcome == "ok" else outcome
    return Span(names.ANNOUNCE, own, cause, at * _NS, at * _NS, "producer", attributes, links, error)


def _run(run: Run) -> dict[str, Value]:
    return {
        names.RUN_ID: run.id,
        names.RUN_NUMBER: run.number,
        names.RUN_KIND: run.kind,
        names.RUN_DEPTH: run.depth,
    }
