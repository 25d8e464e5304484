"""What people see of sub-agents: the list, the tree, everything about one, and its last messages.

The forms are those of the reference; the single words and sentences are in `texts.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.routes import Route
from gateway.store.runs import Run
from gateway.views import capped, count, duration, iso, money, runtime_ms
from subagents import texts

LOG_CHARS = 20_000


def list_text(shown: Sequence[Run], active: int, done: int, now: int, *, everywhere: bool) -> str:
    """The numbered list."""
    scope = "all sessions" if everywhere else "current session"
    lines = [f"🧭 Subagents ({scope})", f"Active: {active} · Done: {done}"]
    lines += [f"{number}) {line(run, now)}" for number, run in enumerate(shown, 1)]
    hidden = active + done - len(shown)
    if hidden:
        lines.append(f"… and {hidden} more: laneway subagents list")
    return "\n".join(lines if shown else [*lines, texts.NOBODY])


def line(run: Run, now: int) -> str:
    """One run on one line."""
    return " · ".join(
        (
            texts.icon(run),
            texts.name_of(run),
            duration(runtime_ms(run, now)),
            f"run {texts.short_id(run)}",
            run.session_key,
        )
    )


def tree_text(found: Sequence[Run], now: int, *, complete: bool) -> str:
    """Who asked for whom; tokens and cost of a run include those below it."""
    if not found:
        return f"🧭 Subagents (tree)\n{texts.NOBODY}"
    sessions = {run.session_id for run in found}
    below: dict[str, list[Run]] = {}
    for run in sorted(found, key=lambda each: (each.created_at, each.id)):
        below.setdefault(run.requester_id if run.requester_id in sessions else "", []).append(run)
    shown: set[str] = set()
    lines = ["🧭 Subagents (tree)", *_branch(below, "", "", now, shown)]
    if not complete:
        lines.append("… and older ones: laneway subagents tree")
    return "\n".join(lines)


def _branch(below: Mapping[str, list[Run]], above: str, indent: str, now: int, shown: set[str]) -> list[str]:
    lines: list[str] = []
    # A session that was revived has several runs; what it asked for hangs below the first of them.
    level = [] if above in shown else below.get(above, [])
    shown.add(above)
    for number, run in enumerate(level, 1):
        last = number == len(level)
        lines.append(f"{indent}{'└─' if last else '├─'} {_tree_line(run, now)}")
        lines += _branch(below, run.session_id, indent + ("   " if last else "│  "), now, shown)
    return lines


def _tree_line(run: Run, now: int) -> str:
    total = run.total
    parts = [f"{texts.icon(run)} {texts.name_of(run)}", texts.state_word(run), duration(runtime_ms(run, now))]
    parts.append(f"{count(total.input)} in / {count(total.output)} out")
    parts.append(cost(run))
    return " · ".join([*parts, f"run {texts.short_id(run)}"])


def cost(run: Run) -> str:
    """Its cost with that of everything below it."""
    return money(run.total.cost_micro) or "cost unknown"


def info_text(run: Run, now: int, delivery: str) -> str:
    """Everything about one run."""
    total = run.total
    cached = f" ({count(total.cache_read)} from the cache)" if total.cache_read else ""
    tokens = f"{count(total.input)} in{cached} / {count(total.output)} out / {count(total.input + total.output)} total"
    fields = {
        "Status": f"{texts.icon(run)} {run.status.value}",
        "Label": texts.name_of(run),
        "Task": capped(run.task, 500),
        "Run": run.id,
        "Session": run.session_key,
        "Session id": run.session_id,
        "Requester": run.requester_key,
        "Agent": run.agent_id,
        "Model": run.model,
        "Thinking": run.thinking or "default",
        "Depth": str(run.depth),
        "Runtime": duration(runtime_ms(run, now)),
        "Tokens": tokens,
        "Cost": money(total.cost_micro) or "unknown (models.providers.*.models[].cost)",
        "Timeout": duration(run.timeout_ms) if run.timeout_ms else "",
        "Now": capped(run.last_tool or "", 80) if run.open else "",
        "Created": iso(run.created_at) or "",
        "Started": iso(run.started_at) or "",
        "Ended": iso(run.ended_at) or "",
        "Cleanup": run.cleanup,
        "Archive": _archive(run),
        "Outcome": run.outcome.value if run.outcome else "",
        "Error": run.error or "",
        "Delivery": delivery,
        "Continues": run.revived_from or "",
        "Retry of": run.retry_of or "",
        "Transcript": run.transcript_path or "",
    }
    return "\n".join(["ℹ️ Subagent info", *(f"{name}: {text}" for name, text in fields.items() if text)])


def _archive(run: Run) -> str:
    if run.archived_at is not None:
        return f"archived {iso(run.archived_at)}"
    if run.archive_at is not None:
        return iso(run.archive_at) or ""
    return "after its announcement" if run.cleanup == "delete" else "after its end" if run.open else "never"


def delivery_text(run: Run, *, waiting: bool, post: tuple[str, str | None] | None) -> str:
    """What has become of its announcement.

    Args:
        run: whose.
        waiting: the requester hasn't read it yet.
        post: state and error of the requester's answer to it, if there is one.
    """
    if run.open:
        where = f" ({Route.from_json(run.route).channel})" if run.route else ""
        return f"announces to {run.requester_key}{where} when it ends"
    if waiting:
        return "the announcement waits for its requester's turn"
    if run.announced_at is None:
        return "not announced"
    if post is None:
        return f"announced {iso(run.announced_at)}"
    state, error = post
    return f"announced {iso(run.announced_at)}; the answer to it: {state}{f' ({capped(error, 200)})' if error else ''}"


def log_text(run: Run, rows: Sequence[Mapping[str, Any]]) -> str:
    """The last messages of a run."""
    head = f"📜 {texts.name_of(run)} · run {texts.short_id(run)}"
    if not rows:
        reason = "its transcript is no longer kept" if run.archived_at else "nothing has been said yet"
        return f"{head}\n({reason})"
    return "\n".join([head, *log_lines(rows)])


def log_lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Messages as lines; of a log that is too long the newest part."""
    lines: list[str] = []
    room = LOG_CHARS
    for row in reversed(rows):
        text = _log_entry(row)
        room -= len(text)
        if room < 0 and lines:
            lines.append(f"[… the {len(rows) - len(lines)} messages before are left out]")
            break
        lines.append(text)
    return lines[::-1]


def _log_entry(row: Mapping[str, Any]) -> str:
    who = str(row.get("tool") or row["role"])
    text = texts.shortened(str(row["text"]).strip())
    calls = [f"   → {call['name']} {capped(str(call['arguments']), 200)}" for call in row.get("calls") or ()]
    return "\n".join([f"[{row['seq']}] {who}: {text}".rstrip(), *calls])
