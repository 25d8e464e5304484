"""Sub-agents as jobs: the kind `subagent`, submitted from outside a conversation or by one (spec/jobs.md).

The same run as `sessions_spawn` creates, with what only a job has: a definition by name, a list of tools, a number of
turns, a place in a tree. Nobody has to be there to read its announcement.
"""

from __future__ import annotations

from typing import Any

from pydantic import Field, ValidationError

from gateway.config.agents import SubagentDef
from gateway.jobs import find
from gateway.jobs.kinds import JobKind, Payload
from gateway.jobs.owner import JobRefused, Owner
from gateway.jobs.submission import Submission
from gateway.jobs.submit import job_fields
from gateway.plugins import Registry
from gateway.store import inbox, runs, sessions, transcript
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.tools import policy
from subagents.admission import Refused, Requester, SpawnArguments, admit
from subagents.kind import KIND, LANE
from subagents.spawn import Spawner, fork_of

GO_ON = "(You go on from here, in a copy of what came before.)"


class ForkFrom(Payload):
    """A sub-agent's transcript up to one of its turns."""

    run_id: str
    turn: int = Field(ge=1)


class SubagentPayload(Payload):
    """What a sub-agent is given."""

    task: str
    agent_id: str | None = None
    model: str | None = None
    thinking: str | None = None
    run_timeout_seconds: int | None = Field(default=None, ge=0)
    budget_usd: float | None = Field(default=None, gt=0)
    budget_tokens: int | None = Field(default=None, gt=0)
    output_schema: dict[str, Any] | None = None
    cwd: str | None = None
    tools: tuple[str, ...] | None = None
    """Only these."""
    max_turns: int | None = Field(default=None, ge=1, le=10_000)
    subagent_def: str | None = None
    fork_from: ForkFrom | None = None


def subagent_kind(registry: Registry, spawner: Spawner) -> JobKind:
    """The kind, for the registry."""

    def create(tx: Transaction, submission: Submission, payload: SubagentPayload, owner: Owner) -> Run:
        try:
            return _create(tx, registry, spawner, submission, payload, owner)
        except Refused as refused:
            status = "permission_denied" if refused.status == "forbidden" else "error"
            raise JobRefused(str(refused), field="data", status=status) from None

    return JobKind(KIND, SubagentPayload, create=create, lane=LANE, max_attempts=1)


def _create(
    tx: Transaction,
    registry: Registry,
    spawner: Spawner,
    submission: Submission,
    payload: SubagentPayload,
    owner: Owner,
) -> Run:
    definition = _definition(registry, payload.subagent_def)
    tools = payload.tools if payload.tools is not None else definition.tools
    _check_tools(registry, tools)
    args = _arguments(submission, payload, definition)
    upto = 0 if owner.session is None else owner.session.next_seq - 1
    # What belongs to somebody's job is his, whoever adds it.
    trusted = owner.operator if owner.session is None else owner.session.owned
    requester = Requester(owner.session, owner.run, owner.route, upto, trusted=trusted)
    admitted = admit(registry.gateway.config, tx, requester, args)
    fork = _fork(tx, owner, payload.fork_from) if payload.fork_from else None
    run = spawner.create(
        tx,
        requester,
        args,
        admitted,
        fork=fork,
        payload=payload.model_dump(mode="json", by_alias=True, exclude_none=True),
        allowed_tools=list(tools) if tools is not None else None,
        definition=payload.subagent_def,
        max_turns=payload.max_turns or definition.max_turns,
        **job_fields(submission, owner, 1),
    )
    if submission.timeout_ms is not None:
        runs.change(tx, run.id, timeout_ms=submission.timeout_ms)
    message = GO_ON if fork is not None and _same_task(tx, payload) else args.task
    session = sessions.get(tx, run.session_id)
    inbox.put(tx, session.id, "task", f"task:{run.id}", message, route=run.route, run_id=run.id)
    return registry.gateway.lifecycle.tell(tx, run.id, "created")


def _definition(registry: Registry, name: str | None) -> SubagentDef:
    if name is None:
        return SubagentDef()
    known = registry.gateway.config.agents.subagent_defs
    if name not in known:
        there = ", ".join(sorted(known)) or "none"
        raise Refused(f"there is no definition `{name[:64]}` in agents.subagentDefs; there are: {there}")
    return known[name]


def _check_tools(registry: Registry, tools: tuple[str, ...] | None) -> None:
    """Tools that are named at submit are checked at submit (spec/jobs.md 3)."""
    missing = policy.unknown(registry.tools, tools or ())
    if missing:
        there = ", ".join(sorted(registry.tools))
        raise Refused(f"`tools` names what there isn't: {', '.join(missing)[:200]}; there are: {there}")
    if vague := policy.vague(registry.tools, tools or ()):
        raise Refused(f"`tools`: tools of MCP servers must be named in full, not as {', '.join(vague)[:200]}")


def _arguments(submission: Submission, payload: SubagentPayload, definition: SubagentDef) -> SpawnArguments:
    wanted = {
        "task": payload.task,
        "label": submission.label,
        "agentId": payload.agent_id or definition.agent_id,
        "model": payload.model or definition.model,
        "thinking": payload.thinking or definition.thinking,
        "runTimeoutSeconds": payload.run_timeout_seconds
        if payload.run_timeout_seconds is not None
        else definition.run_timeout_seconds,
        "budgetUsd": payload.budget_usd or definition.budget_usd,
        "budgetTokens": payload.budget_tokens,
        "outputSchema": payload.output_schema,
        "cwd": payload.cwd,
    }
    try:
        return SpawnArguments.model_validate({name: value for name, value in wanted.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        raise Refused(f"`{'.'.join(map(str, first['loc']))}`: {first['msg']}") from None


def _fork(tx: Transaction, owner: Owner, wanted: ForkFrom) -> dict[str, int | str]:
    """The transcript of a sub-agent up to and with one of its turns, with the results of its calls."""
    run = runs.find(tx, wanted.run_id)
    session = sessions.find(tx, run.session_id) if run else None
    if run is None or session is None or not find.visible(tx, owner, run):
        raise Refused("the transcript to fork is archived")
    turns = [row.seq for row in transcript.load(tx, session.id) if row.role == "assistant" and row.kind == "reply"]
    if wanted.turn > len(turns):
        raise Refused(f"it has made {len(turns)} turns; there is no turn {wanted.turn}")
    open_calls = transcript.open_calls(tx, session.id)
    if wanted.turn == len(turns):
        if open_calls is not None:
            raise Refused(f"turn {wanted.turn} isn't over: its tools are still at work")
        return fork_of(tx, session, session.next_seq - 1)
    return fork_of(tx, session, turns[wanted.turn] - 1)


def _same_task(tx: Transaction, payload: SubagentPayload) -> bool:
    run = runs.find(tx, payload.fork_from.run_id) if payload.fork_from else None
    return run is not None and run.task == payload.task.strip()
