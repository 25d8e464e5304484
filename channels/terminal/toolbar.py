"""The lines below the input: what the turn is doing, one line for each sub-agent at work, and where one is."""

from __future__ import annotations

import time

from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.utils import get_cwidth

from channels.terminal.conversation import Conversation, RunView
from gateway.cli import format as fmt

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_SECONDS = 0.12
MARKS = {"queued": "○", "delayed": "◔", "waiting": "◌", "paused": "‖"}
LABEL_WIDTH = 36


def lines(conversation: Conversation, where: str, *, width: int, room: int) -> StyleAndTextTuples:
    """The whole toolbar.

    Args:
        conversation: what is going on.
        where: model and session, for the last line.
        width: columns.
        room: how many lines sub-agents may take.
    """
    rows: list[StyleAndTextTuples] = []
    if conversation.busy:
        rows.append(_turn_line(conversation, width))
    active = conversation.active
    shown = active[:room] if len(active) <= room else active[: room - 1]
    rows += [_run_line(view, width) for view in shown]
    if len(active) > len(shown):
        rows.append([("class:toolbar.dim", f"  … and {len(active) - len(shown)} more (/subagents list)")])
    rows.append([("class:toolbar.dim", _cut(where, width))])
    joined: StyleAndTextTuples = []
    for index, row in enumerate(rows):
        joined += [("", "\n")] * bool(index)
        joined += row
    return joined


def _turn_line(conversation: Conversation, width: int) -> StyleAndTextTuples:
    doing = conversation.activity or "working"
    text = f" {fmt.duration(conversation.busy_seconds)} · {fmt.one_line(doing, 200)}"
    return [("class:toolbar.turn", _frame()), ("class:toolbar", _cut(text, width - 1))]


def _run_line(view: RunView, width: int) -> StyleAndTextTuples:
    run = view.run
    mark = _frame() if run.status == "running" else MARKS.get(run.status, "•")
    parts = [fmt.duration(view.runtime()) if view.runtime() is not None else run.status]
    if run.status in ("waiting", "paused"):
        parts.append(run.status)
    parts += [part for part in (_doing(view), fmt.tokens(run.tokens)) if part]
    label = fmt.one_line(run.label, LABEL_WIDTH)
    rest = _cut(" · " + " · ".join(parts), width - 3 - get_cwidth(label))
    return [("class:toolbar.run", f"{mark} "), ("class:toolbar.label", label), ("class:toolbar", rest)]


def _doing(view: RunView) -> str:
    return fmt.one_line(view.run.last_tool or view.run.progress or "", 60)


def _frame() -> str:
    return SPINNER[int(time.monotonic() / FRAME_SECONDS) % len(SPINNER)]


def _cut(text: str, width: int) -> str:
    if get_cwidth(text) <= width:
        return text
    kept = ""
    for char in text:
        if get_cwidth(kept + char) >= width:
            break
        kept += char
    return kept + "…"


def is_moving(conversation: Conversation) -> bool:
    """Whether the toolbar changes by itself."""
    return conversation.busy or bool(conversation.runs)
