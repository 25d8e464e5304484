"""The run tree as lines of text. A run's tokens and cost include those of the runs below it (spec/subagents.md 29)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gateway.cli import format as fmt
from gateway.client.records import Run


def tree_lines(runs: Sequence[Run]) -> list[str]:
    """One line a run, children indented below their parent, under a line for each requester session."""
    ids = {run.run_id for run in runs}
    below: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda item: item.created_at or ""):
        parent = run.parent_run_id if run.parent_run_id in ids else f"session {run.requester_key}"
        below.setdefault(str(parent), []).append(run)
    lines: list[str] = []
    for head in [name for name in below if name not in ids]:
        lines.append(head.removeprefix("session "))
        lines.extend(_branch(below, head, ""))
    return lines


def _branch(below: dict[str, list[Run]], parent: str, indent: str) -> Iterator[str]:
    children = below.get(parent, [])
    for index, run in enumerate(children):
        last = index == len(children) - 1
        yield f"{indent}{'└─' if last else '├─'} {_line(run)}"
        yield from _branch(below, run.run_id, indent + ("   " if last else "│  "))


def _line(run: Run) -> str:
    parts = (
        f"{fmt.icon(run)} {fmt.one_line(run.label, 48)}",
        fmt.state_word(run),
        fmt.duration(run.runtime_seconds),
        fmt.tokens(run.tokens),
        fmt.money(run.cost_usd) if run.cost_usd is not None else "",
        f"run {run.run_id[:8]}",
    )
    return " · ".join(part for part in parts if part)
