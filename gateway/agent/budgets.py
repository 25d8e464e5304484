"""The budgets as people see them: what each allows, what is used, and what is set aside for calls in flight.

Reads what `usage.py` writes; decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import or_, select

from gateway.agent.usage import utc_day
from gateway.config import Config
from gateway.store import rows, runs
from gateway.store.database import Transaction
from gateway.store.runs import Run, Status
from gateway.store.schema import runs as runs_table
from gateway.store.schema import spending


@dataclass(frozen=True, slots=True)
class Budget:
    """One limit and how far it is used up."""

    of: Literal["agent", "run"]
    name: str
    """The agent's id, or the run's label."""
    unit: Literal["usd", "tokens"]
    limit: int | None
    """micro-USD or tokens; None: there is no limit, only what was spent."""
    used: int
    """With everything below a run."""
    reserved: int
    """For calls in flight, and for those that were cut off: their provider may have charged them."""
    day: str | None = None
    """Of an agent: which UTC day."""
    run_id: str | None = None
    number: int | None = None
    """Of a run."""


def budgets(tx: Transaction, config: Config, run: Run | None = None) -> list[Budget]:
    """Unit of work that only reads: what limits there are.

    Args:
        tx: the unit of work.
        config: names the agents' budgets.
        run: only what watches this run: its own, those of the runs above it, and its agent's day. None: every agent's
            day, and all budgets of open runs.
    """
    if run is not None:
        return [*_of_runs([run, *runs.ancestors(tx, run)]), *_of_agents(tx, config, [run.agent_id])]
    return [*_of_agents(tx, config, config.agent_ids()), *_of_runs(_watched(tx))]


def _of_agents(tx: Transaction, config: Config, agent_ids: Iterable[str]) -> list[Budget]:
    day = utc_day(tx.now)
    spent = {
        str(row.agent_id): (int(row.cost_micro), int(row.reserved_micro))
        for row in tx.execute(select(spending).where(spending.c.day == day))
    }
    found: list[Budget] = []
    for agent_id in agent_ids:
        budget = config.agent(agent_id).budget_usd if agent_id in config.agent_ids() else None
        used, reserved = spent.get(agent_id, (0, 0))
        limit = None if budget is None else round(budget * 1_000_000)
        found.append(Budget("agent", agent_id, "usd", limit, used, reserved, day=day))
    return found


def _of_runs(found: Iterable[Run]) -> list[Budget]:
    result: list[Budget] = []
    for run in found:
        of_run = replace(Budget("run", run.label, "usd", None, 0, 0), run_id=run.id, number=run.number)
        if run.budget_micro is not None:
            used = run.cost_micro + run.below_cost_micro
            result.append(replace(of_run, limit=run.budget_micro, used=used, reserved=run.reserved_micro))
        if run.budget_tokens is not None:
            used = run.total.input + run.total.output
            tokens = replace(of_run, unit="tokens", limit=run.budget_tokens, used=used, reserved=run.reserved_tokens)
            result.append(tokens)
    return result


def _watched(tx: Transaction) -> list[Run]:
    """The open runs with budgets of their own, the newest first."""
    limited = or_(runs_table.c.budget_micro.is_not(None), runs_table.c.budget_tokens.is_not(None))
    statement = select(*rows.columns(runs_table, Run)).where(runs_table.c.status != Status.DONE, limited)
    return [Run(*row) for row in tx.execute(statement.order_by(runs_table.c.created_at.desc()).limit(500))]
