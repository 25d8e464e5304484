"""What a live card shows: one row for each sub-agent, active ones first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from gateway.cards import Button, Card, CardRow
from gateway.live import Live
from gateway.store.runs import Outcome, Run, Status
from gateway.views import capped, count, duration, money, runtime_ms
from subagents import texts

ROWS = 12
ACTION_CHARS = 60
ERROR_CHARS = 120
Press = Callable[[Run, str], str]
"""The token of a button: a run, and `stop` or `log`."""

_STATES: Mapping[Status, Literal["pending", "in_progress"]] = {
    Status.QUEUED: "pending",
    Status.DELAYED: "pending",
    Status.RUNNING: "in_progress",
    Status.WAITING: "in_progress",
    Status.PAUSED: "pending",
}


def card_of(found: Sequence[Run], more: int, now: int, live: Live, press: Press | None) -> Card:
    """The card of these runs.

    Args:
        found: the runs, at most `ROWS` of which are shown; active ones go first.
        more: how many there are beside them.
        now: milliseconds.
        live: what each is doing.
        press: makes the buttons' tokens; None: no buttons yet.
    """
    ordered = sorted(found, key=lambda run: (not run.open, run.created_at, run.id))
    shown = ordered[:ROWS]
    more += len(ordered) - len(shown)
    active = sum(run.open for run in found)
    done = len(found) - active
    title = f"🧭 Sub-agents · {active} active" if active else "🧭 Sub-agents · all done"
    if done and active:
        title += f" · {done} done"
    footer = f"… and {more} more: /subagents list" if more > 0 else ""
    if not active:
        footer = " · ".join(filter(None, (_sum(found), footer)))
    return Card(title, tuple(_row(run, now, live, press) for run in shown), done=not active, footer=footer)


def _row(run: Run, now: int, live: Live, press: Press | None) -> CardRow:
    parts = [duration(runtime_ms(run, now)) if run.started_at else "", _action(run, live), _tokens(run)]
    buttons: tuple[Button, ...] = ()
    if press is not None and run.open:
        buttons = (Button("Stop", press(run, "stop"), "danger"), Button("Log", press(run, "log")))
    return CardRow(
        run.id,
        texts.icon(run),
        texts.name_of(run),
        " · ".join(part for part in parts if part),
        _state(run),
        buttons,
    )


def _state(run: Run) -> Literal["pending", "in_progress", "complete", "error"]:
    if run.open:
        return _STATES[run.status]
    return "complete" if run.outcome is Outcome.OK else "error"


def _action(run: Run, live: Live) -> str:
    if not run.open:
        error = f": {capped(run.error, ERROR_CHARS)}" if run.error and run.outcome is not Outcome.STOPPED else ""
        return f"{texts.state_word(run)}{error}"
    if run.status is not Status.RUNNING:
        return texts.state_word(run)
    activity = live.activity(run.session_key)
    return capped(activity.text if activity else run.last_tool or "at work", ACTION_CHARS)


def _tokens(run: Run) -> str:
    total = run.total.input + run.total.output
    return f"{count(total)} tokens" if total else ""


def _sum(found: Sequence[Run]) -> str:
    """Tokens and cost of all together; those of nested ones are in their parents' already."""
    ids = {run.id for run in found}
    top = [run for run in found if run.parent_run_id not in ids]
    tokens = sum(run.total.input + run.total.output for run in top)
    costs = [run.total.cost_micro for run in top]
    cost = money(sum(each or 0 for each in costs)) if all(each is not None for each in costs) else None
    return " · ".join(filter(None, (f"{count(tokens)} tokens" if tokens else "", cost or "")))
