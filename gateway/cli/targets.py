"""Which run a word on the command line means (spec/subagents.md 25). Ambiguous ones are refused with the candidates."""

from __future__ import annotations

from gateway.cli.context import USAGE, CliError
from gateway.client import ApiClient, ApiError
from gateway.client.records import Run

SEARCHED = 500
"""Newest runs that are looked through for a label or a session key."""


async def runs_below(client: ApiClient, session: str) -> list[Run]:
    """Every run that was spawned from this session, directly or further down; newest first."""
    return (await client.runs(session=session, limit=SEARCHED)).runs


async def resolve_target(client: ApiClient, target: str, session: str | None = None) -> Run:
    """The run that `target` names.

    Raises:
        CliError: no run or several fit.
    """
    if session is None and ":" not in target and target != "last":
        try:
            return await client.run(target)
        except ApiError as error:
            if error.status not in (400, 404, 409):
                raise
            by_id = error
    else:
        by_id = None
    runs = (await client.runs(session=session, limit=SEARCHED)).runs
    found = _matching(runs, target)
    if len(found) == 1:
        return found[0]
    if not found:
        raise CliError(str(by_id) if by_id else f"no sub-agent fits `{target}`; see `laneway subagents list`", USAGE)
    names = "".join(f"\n  {run.run_id[:8]}  {run.label}  ({run.status})" for run in found[:20])
    raise CliError(f"`{target}` fits {len(found)} sub-agents; name one by its run id:{names}", USAGE)


def _matching(runs: list[Run], target: str) -> list[Run]:
    if target == "last":
        return runs[:1]
    exact = [run for run in runs if target in (run.run_id, run.session_key)]
    # A session that was revived has several runs; the newest is the one that lives.
    return exact[:1] or [run for run in runs if run.label == target or run.run_id.startswith(target)]
