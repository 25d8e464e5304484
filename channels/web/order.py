"""Runs in the order of their trees: each before what it has asked for, with its level."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.runs import Run


def in_order(found: Sequence[Run]) -> list[tuple[Run, int]]:
    """Each run before what is below it, with its level. What was asked for by none of them stands at the top."""
    known = {run.session_id for run in found}
    below: dict[str, list[Run]] = {}
    for run in found:
        if run.requester_id in known:
            below.setdefault(run.requester_id, []).append(run)
    waiting = [(run, 0) for run in reversed(found) if run.requester_id not in known]
    ordered: list[tuple[Run, int]] = []
    while waiting:
        run, level = waiting.pop()
        ordered.append((run, level))
        waiting += [(child, level + 1) for child in reversed(below.get(run.session_id, []))]
    return ordered
