"""The tool `fanout`: several tasks at once, and one announcement with all results when the last has settled.

The sub-agents belong to a job of the kind `aggregate`, which joins what they come to; they report to it and it reports
to the conversation. The same admission holds for each as for `sessions_spawn`; all are created with the job and the
tool's own result in one transaction, or none is.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from gateway.jobs.owner import JobRefused, Owner
from gateway.jobs.submission import Submission
from gateway.plugins import Registry
from gateway.store import runs, sessions
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.tools.base import Tool, ToolArguments, ToolContext, ToolResult
from subagents import texts
from subagents.admission import LONGEST_TIMEOUT, Admitted, Refused, Requester, SpawnArguments, admit
from subagents.spawn import Spawner

MOST_TASKS = 100
LABEL = "fan-out"
NOTE = "They work on their own; one message with all results comes here. Don't wait and don't poll: end your turn."


class FanoutTask(ToolArguments):
    """One of the tasks."""

    task: str = Field(description="What to do, with all that it needs to know.")
    label: str | None = None
    agent_id: str | None = None
    model: str | None = None
    thinking: str | None = None
    run_timeout_seconds: int | None = Field(default=None, ge=0, le=LONGEST_TIMEOUT)

    @field_validator("task")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must say what to do; it is blank")
        return value.strip()


class FanoutArguments(ToolArguments):
    """Arguments of `fanout`."""

    tasks: list[FanoutTask] = Field(min_length=1, max_length=MOST_TASKS)
    label: str | None = Field(default=None, description="Short name of the whole, for people.")
    on_child_fail: Literal["continue", "fail_parent"] = Field(
        default="continue", description="fail_parent: the first failure ends all."
    )


def fanout_tool(registry: Registry, spawner: Spawner) -> Tool[FanoutArguments]:
    """The tool `fanout`."""

    def apply(tx: Transaction, context: ToolContext, args: FanoutArguments) -> ToolResult:
        session = sessions.get(tx, context.session_id)
        run = runs.find(tx, session.run_id) if session.run_id else None
        requester = Requester(session, run, session.turn_route, context.assistant_seq - 1)
        try:
            admitted = _admitted(registry, tx, requester, args)
        except Refused as refused:
            return texts.refusal(str(refused), refused.status)
        try:
            join = _join(registry, tx, requester, args)
        except JobRefused as refused:
            return texts.refusal(str(refused), "forbidden")
        children = [_create(tx, spawner, requester, join, args, *each) for each in admitted]
        registry.gateway.lifecycle.wait(tx, join)
        return ToolResult(json.dumps(_accepted(join, children), ensure_ascii=False))

    return Tool(
        name="fanout",
        description=(
            "Hand several tasks to as many sub-agents at once; when the last has ended, one message with all results "
            "comes here. Returns at once."
        ),
        args=FanoutArguments,
        apply=apply,
        renamed={"prompts": "use tasks", "children": "use tasks", "name": "use label"},
        on_bad_arguments=lambda text: texts.refusal(text, "error"),
    )


def _admitted(
    registry: Registry, tx: Transaction, requester: Requester, args: FanoutArguments
) -> list[tuple[SpawnArguments, Admitted]]:
    """Each task with everything resolved; nothing is created yet.

    Raises:
        Refused: naming the first task that can't be.
    """
    found: list[tuple[SpawnArguments, Admitted]] = []
    for index, task in enumerate(args.tasks):
        try:
            wanted = SpawnArguments.model_validate(task.model_dump(by_alias=True, exclude_none=True))
            admitted = admit(registry.gateway.config, tx, requester, wanted, beside=index)
        except ValidationError as error:
            raise Refused(f"tasks[{index}]: {error.errors()[0]['msg']}") from None
        except Refused as refused:
            raise Refused(f"tasks[{index}]: {refused}; none was started", refused.status) from None
        found.append((wanted, admitted))
    return found


def _join(registry: Registry, tx: Transaction, requester: Requester, args: FanoutArguments) -> Run:
    """The job that the sub-agents belong to. It takes no level of nesting: they are where a spawn would put them."""
    session = requester.session
    name = f"session:{session.key}" if session else ""
    owner = Owner(name, session=session, run=requester.run, route=requester.route)
    label = (args.label or "").strip() or LABEL
    join = registry.gateway.jobs.submitter.submit(tx, Submission(name="aggregate", label=label[:200]), owner).run
    depth = session.depth if session else 0
    sessions.change(tx, join.session_id, depth=depth)
    return runs.changed(tx, join.id, depth=depth)


def _create(
    tx: Transaction,
    spawner: Spawner,
    requester: Requester,
    join: Run,
    args: FanoutArguments,
    wanted: SpawnArguments,
    admitted: Admitted,
) -> Run:
    under = Requester(
        requester.session,
        requester.run,
        requester.route,
        requester.upto,
        join=(sessions.get(tx, join.session_id), join),
    )
    run = spawner.create(tx, under, wanted, admitted, on_child_fail=args.on_child_fail)
    spawner.begin(tx, run, wanted.task)
    return run


def _accepted(join: Run, children: Sequence[Run]) -> dict[str, Any]:
    return {
        "status": "accepted",
        "id": join.number,
        "runId": join.id,
        "label": join.label,
        "children": [
            {
                "runId": run.id,
                "childSessionKey": run.session_key,
                "label": run.label,
                "resolvedModel": run.model,
            }
            for run in children
        ],
        "note": NOTE,
    }
