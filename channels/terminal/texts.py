"""Every sentence that the terminal says by itself."""

from __future__ import annotations

from collections.abc import Sequence

from gateway import __version__
from gateway.cli import format as fmt
from gateway.client.records import Approval, Run, Status

HINT = "/help lists commands · Esc Enter starts a new line · Ctrl-C stops, twice leaves"
OFFLINE = (
    "A scripted stand-in answers, because no provider has a key. "
    "Set one (such as ANTHROPIC_API_KEY or OPENAI_API_KEY) and start again for a real model."
)
AWAY = "While you were away:"
CAUGHT_UP = "That is all; you are up to date."
MISSED = "Some of what happened is too old to be shown live; here is what was said:"
STOPPING = "Stopping the turn. Ctrl-C again leaves."
LEAVE_HINT = "Ctrl-C again leaves."
TOOK_OVER = "The process that ran the gateway is gone; this chat runs it now and work goes on."
REJOINED = "Connected again."
LOST = "The connection to the gateway is lost; trying again."
CLOSING = "Letting model calls in flight finish; Ctrl-C leaves at once (nothing is lost)."
QUIT = frozenset({"/quit", "/exit"})
"""What leaves a chat; never sent."""
EMPTY_ANSWER = "(no answer)"


def greeting(status: Status, session_key: str) -> str:
    """The first line of a chat."""
    return f"Laneway {__version__} · {status.model or 'no model'} · {session_key}"


def still_working(runs: Sequence[Run]) -> str:
    """Sub-agents that were at work before this chat began."""
    labels = ", ".join(fmt.one_line(run.label, 40) for run in runs[:4])
    more = f" and {len(runs) - 4} more" if len(runs) > 4 else ""
    verb = "is" if len(runs) == 1 else "are"
    return f"{fmt.plural(len(runs), 'sub-agent')} {verb} still at work: {labels}{more}"


def leaving(active: int, *, hosting: bool, pid: int) -> str:
    """What becomes of the sub-agents; empty where there are none."""
    if not active:
        return ""
    count = fmt.plural(active, "sub-agent")
    if hosting:
        return (
            f"{count} {'pauses' if active == 1 else 'pause'}; work goes on at the next start (laneway chat or start)."
        )
    return f"{count} {'goes' if active == 1 else 'go'} on in the gateway (process {pid})."


def approval(question: Approval) -> str:
    """A question, with how to answer it."""
    ways = [f"/approve {question.id}", f"/deny {question.id}"]
    if question.pattern:
        ways.insert(1, f"/approve {question.id} always (allows `{fmt.one_line(question.pattern, 60)}`)")
    return f"{question.tool} wants to run: {fmt.one_line(question.summary, 400)}\n  {'  ·  '.join(ways)}"


def decided(approval_id: int, state: str) -> str:
    """What became of a question."""
    return f"Question {approval_id}: {state}"


def run_ended(run: Run) -> str:
    """One line about a sub-agent that has ended."""
    parts = (
        f"{fmt.icon(run)} {fmt.one_line(run.label, 60)}",
        fmt.state_word(run),
        fmt.duration(run.runtime_seconds),
        fmt.tokens(run.tokens),
        fmt.one_line(run.error or "", 120),
    )
    return " · ".join(part for part in parts if part)


def run_created(run: Run) -> str:
    """One line about a sub-agent that was accepted (plain mode has no live lines)."""
    return f"⏳ {fmt.one_line(run.label, 60)} · spawned · run {run.run_id[:8]}"


def holder_silent(pid: int | None, state: str) -> str:
    """Somebody holds the state folder but doesn't answer."""
    who = f"process {pid}" if pid else "another process"
    return f"{who} holds {state} but its gateway doesn't answer; wait for it, or stop it and try again"
