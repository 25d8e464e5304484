"""What is known of a run beside what it does: names, limits, relations, times, each as a line."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from channels.web.render import path_part
from channels.web.site import View
from gateway.store import runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.telemetry import context
from gateway.views import capped, count, duration, money


@dataclass(frozen=True, slots=True)
class Fact:
    """One line."""

    name: str
    text: str
    href: str = ""
    code: bool = False
    """A text for programs, to be copied."""
    at: int | None = None
    """A moment instead of a text."""


def facts(tx: Transaction, view: View, run: Run) -> list[Fact]:
    """All lines."""
    return [*_what(run), *_relations(tx, view, run), *_times(run), *_ids(run)]


def _what(run: Run) -> Iterator[Fact]:
    yield Fact("Agent", run.agent_id)
    if run.model:
        yield Fact("Model", run.model + (f", thinking {run.thinking}" if run.thinking else ""))
    yield Fact("Kind", f"{run.kind}, in lane {run.lane}" + (f", depth {run.depth}" if run.depth else ""))
    if run.max_attempts > 1:
        yield Fact("Attempt", f"{run.attempt} of {run.max_attempts}")
    if run.step is not None:
        yield Fact("Step", f"{run.step}" + (f" of {run.steps}" if run.steps else ""))
    if run.timeout_ms:
        yield Fact("Time limit", f"{duration(run.timeout_ms)}, {duration(run.active_ms)} used")
    if run.model_calls:
        own = f"{count(run.tokens_in)} in, {count(run.tokens_out)} out"
        cached = f", {count(run.cache_read)} of it from a cache" if run.cache_read else ""
        yield Fact("Own tokens", f"{own}{cached}; {run.model_calls} calls")
        yield Fact("Own cost", "unknown price" if run.cost_unknown else money(run.cost_micro) or "")
    if run.below_tokens_in or run.below_tokens_out:
        below = f"{count(run.below_tokens_in + run.below_tokens_out)} tokens, {money(run.below_cost_micro)}"
        yield Fact("Below it", below)


def _relations(tx: Transaction, view: View, run: Run) -> Iterator[Fact]:
    asked = sessions.find(tx, run.requester_id) if run.requester_id else None
    if asked is not None and view.eyes.sees_session(tx, asked):
        talk = asked.kind == "main" and asked.current
        href = f"/web/chat/{path_part(asked.key)}" if talk else f"/web/sessions/{asked.id}"
        yield Fact("Asked for in", asked.key, href)
    elif run.submitted_by:
        yield Fact("Submitted by", run.submitted_by)
    for name, other in (
        ("Parent", run.parent_run_id),
        ("Retry of", run.retry_of),
        ("Replay of", run.replay_of),
        ("Revived from", run.revived_from),
    ):
        known = runs.find(tx, other) if other else None
        if known is not None and view.eyes.sees_run(tx, known.id):
            yield Fact(name, f"#{known.number} {capped(known.label, 60)}", f"/web/runs/{known.id}")
    own = sessions.find(tx, run.session_id)
    if own is not None and view.eyes.sees_session(tx, own):
        yield Fact("Session", own.key, f"/web/sessions/{own.id}")


def _times(run: Run) -> Iterator[Fact]:
    yield Fact("Created", "", at=run.created_at)
    for name, moment in (
        ("Started", run.started_at),
        ("Not before", run.not_before if run.open else None),
        ("Ended", run.ended_at),
        ("Announced", run.announced_at),
        ("Archived", run.archived_at),
    ):
        if moment is not None:
            yield Fact(name, "", at=moment)


def _ids(run: Run) -> Iterator[Fact]:
    yield Fact("Run id", run.id, code=True)
    trace = context.recorded_id(run.trace)
    if trace:
        yield Fact("Trace id", trace, code=True)
    if run.transcript_path:
        yield Fact("Transcript", run.transcript_path, code=True)
