"""From the arguments of the MCP tools to submissions of jobs."""

from __future__ import annotations

from typing import Any

from gateway.jobs import submission as jobs
from gateway.jobs.owner import JobRefused
from gateway.jobs.submission import Submission
from gateway.mcp import arguments as given

AGENT = "subagent"
JOIN = "aggregate"
LABEL_CHARS = 80


def job(args: given.SubmitJob) -> Submission:
    """The submission of `submit_job`."""
    return Submission(
        **_child(args),
        backoff=jobs.Backoff(**args.backoff.model_dump()),
        delay_ms=args.delay,
        parent=args.parent_job_id,
        max_children=args.max_children,
        after=args.after,
        idempotency_key=args.idempotency_key,
        children=tuple(Submission(**_child(each)) for each in args.children),
    )


def agent(args: given.SubmitAgent) -> Submission:
    """The submission of `submit_agent`: one agent, or several below one job that joins their results.

    Raises:
        JobRefused: there is nothing to do.
    """
    shared: dict[str, Any] = {
        "priority": args.priority,
        "parent": args.parent_job_id,
        "after": args.after,
        "on_child_fail": args.on_child_fail,
        "idempotency_key": args.idempotency_key,
        "delay_ms": args.delay,
    }
    if not args.fanout:
        if args.prompt is None:
            raise JobRefused(
                "`prompt` is required: what the agent is to do; or give several in `fanout`", field="prompt"
            )
        data = _payload(args, given.Task(prompt=args.prompt))
        return Submission(name=AGENT, label=args.label, data=data, timeout_ms=args.timeout_ms, **shared)
    if args.delay or args.after:
        field = "delay" if args.delay else "after"
        raise JobRefused(
            f"`{field}` and `fanout` exclude each other: the agents of a fan-out begin at once", field=field
        )
    children = tuple(
        Submission(
            name=AGENT,
            label=task.label,
            data=_payload(args, task),
            timeout_ms=args.timeout_ms,
            priority=args.priority,
            on_child_fail="ignore",
        )
        for task in args.fanout
    )
    label = args.label or f"{len(children)} agents"
    return Submission(name=JOIN, label=label[:LABEL_CHARS], children=children, **shared)


def _child(args: given.Child) -> dict[str, Any]:
    return {
        "name": args.name,
        "label": args.label,
        "data": args.data,
        "queue": None if args.queue == "default" else args.queue,
        "priority": args.priority,
        "max_attempts": args.max_attempts,
        "timeout_ms": args.timeout_ms,
        "on_child_fail": args.on_child_fail,
    }


def _payload(args: given.SubmitAgent, task: given.Task) -> dict[str, Any]:
    """What one agent is given; what its task says goes before what is said for all."""
    first = f"{args.prompt}\n\n" if args.fanout and args.prompt else ""
    tools = task.tools if task.tools is not None else args.tools
    wanted: dict[str, Any] = {
        "task": first + task.prompt,
        "tools": None if tools is None else list(tools),
        "model": task.model or args.model,
        "maxTurns": task.max_turns or args.max_turns,
        "subagentDef": task.subagent_def or args.subagent_def,
        "agentId": args.agent_id,
        "thinking": args.thinking,
        "budgetUsd": args.budget_usd,
        "budgetTokens": args.budget_tokens,
        "outputSchema": args.output_schema,
        "cwd": args.cwd,
    }
    return {name: value for name, value in wanted.items() if value is not None}
