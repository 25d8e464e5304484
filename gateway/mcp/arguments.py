"""What the tools of the MCP server take. The names are those that MCP clients know: snake_case, delays in milliseconds.

Numbers have the limits of `Submission`, so that what is wrong is named as the caller has written it.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from gateway.jobs.submission import LONGEST_MS, MOST_ATTEMPTS, MOST_PRIORITY, OnChildFail

LONGEST_KEY = 200
MOST_CHILDREN = 1_000
Status = Literal[
    "open",
    "active",
    "running",
    "queued",
    "delayed",
    "waiting",
    "waiting-children",
    "paused",
    "done",
    "completed",
    "failed",
    "cancelled",
    "dead",
    "timeout",
    "budget",
]


def _word(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


JobId = Annotated[
    str,
    BeforeValidator(_word, json_schema_input_type=str | int),
    StringConstraints(min_length=1, max_length=64, strip_whitespace=True),
]
Words = Annotated[str, StringConstraints(min_length=1, strip_whitespace=True)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200, strip_whitespace=True)]
Milliseconds = Annotated[int, Field(strict=True, ge=0, le=LONGEST_MS)]
Timeout = Annotated[int, Field(strict=True, gt=0, le=LONGEST_MS)]
Priority = Annotated[int, Field(strict=True, ge=-MOST_PRIORITY, le=MOST_PRIORITY)]
Attempts = Annotated[int, Field(strict=True, ge=1, le=MOST_ATTEMPTS)]
Turns = Annotated[int, Field(strict=True, ge=1, le=10_000)]
Tools = Annotated[tuple[Words, ...], Field(max_length=500)]
Key = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_KEY, strip_whitespace=True)]
Data = dict[str, Any]

_KEY = Field(
    default=None, description="The same key submits once, however often it is sent, until that job is stopped."
)
_DRY = Field(default=False, description="Only check, and show what would be submitted.")
_PARENT = Field(default=None, description="The job that it belongs to; that one waits for it.")
_AFTER = Field(default=(), max_length=500, description="Jobs that must have ended well before.")
_ON_FAIL = "What its own failure means for its parent."


class Arguments(BaseModel):
    """Base of all of them: unknown parameters are refused by name."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Backoff(Arguments):
    """How long a failed job waits for its next attempt."""

    type: Literal["fixed", "exponential"] = "exponential"
    delay_ms: Milliseconds = 1_000
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    max_ms: Milliseconds = Field(default=300_000, description="Ceiling; 0: none.")


class Child(Arguments):
    """A job below another that is submitted with it."""

    name: Words
    data: Data = {}
    label: Label | None = None
    queue: Words = "default"
    priority: Priority = 0
    max_attempts: Attempts | None = None
    timeout_ms: Timeout | None = None
    on_child_fail: OnChildFail = Field(default="fail_parent", description=_ON_FAIL)


class SubmitJob(Child):
    """Arguments of `submit_job`."""

    name: Words = Field(description="The kind of job.")
    data: Data = Field(default={}, description="What a job of this kind is given.")
    label: Label | None = Field(default=None, description="A short name for people.")
    queue: Words = Field(default="default", description="Where it waits for a slot; default: the kind's own queue.")
    priority: Priority = Field(default=0, description="Lower goes first.")
    max_attempts: Attempts | None = Field(default=None, description="3, unless the kind says otherwise.")
    delay: Milliseconds = Field(default=0, description="Milliseconds before it may begin.")
    timeout_ms: Timeout | None = Field(default=None, description="Of one attempt.")
    backoff: Backoff = Backoff()
    parent_job_id: JobId | None = _PARENT
    max_children: Annotated[int, Field(strict=True, ge=0, le=10_000)] | None = None
    after: tuple[JobId, ...] = _AFTER
    children: tuple[Child, ...] = Field(
        default=(), max_length=MOST_CHILDREN, description="Jobs below it, submitted in the same moment or not at all."
    )
    idempotency_key: Key | None = _KEY
    dry_run: bool = _DRY


class Task(Arguments):
    """One of the agents of a fan-out; what it leaves out is as for all of them."""

    prompt: Words
    label: Label | None = None
    tools: Tools | None = None
    model: Words | None = None
    max_turns: Turns | None = None
    subagent_def: Words | None = None


def _task(value: object) -> object:
    return {"prompt": value} if isinstance(value, str) else value


class SubmitAgent(Arguments):
    """Arguments of `submit_agent`."""

    prompt: Words | None = Field(
        default=None, description="What the agent is to do; it sees nothing else. With fanout: what all are told first."
    )
    tools: Tools | None = Field(default=None, description="Only these; names, groups or patterns.")
    model: Words | None = Field(default=None, description="provider/model.")
    max_turns: Turns | None = Field(default=None, description="Model calls before it is ended.")
    timeout_ms: Timeout | None = Field(default=None, description="Of each agent.")
    subagent_def: Words | None = Field(default=None, description="A named kind of agent (agents.subagentDefs).")
    fanout: tuple[
        Annotated[Task, BeforeValidator(_task, json_schema_input_type=str | Task)],
        ...,
    ] = Field(
        default=(), max_length=MOST_CHILDREN, description="Several agents at once, whose results come together as one."
    )
    label: Label | None = None
    agent_id: Words | None = Field(default=None, description="The configured agent that it runs as.")
    thinking: Words | None = Field(default=None, description="off, minimal, low, medium, high, xhigh or max.")
    budget_usd: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    budget_tokens: Annotated[int, Field(strict=True, gt=0)] | None = None
    output_schema: Data | None = Field(default=None, description="JSON Schema that each result must fit.")
    cwd: Words | None = Field(default=None, description="A folder inside the agent's workspace.")
    priority: Priority = 0
    delay: Milliseconds = Field(default=0, description="Milliseconds before it may begin.")
    parent_job_id: JobId | None = _PARENT
    after: tuple[JobId, ...] = _AFTER
    on_child_fail: OnChildFail = Field(default="fail_parent", description=_ON_FAIL)
    idempotency_key: Key | None = _KEY
    dry_run: bool = _DRY


class ListJobs(Arguments):
    """Arguments of `list_jobs`."""

    status: Status | None = Field(default=None, description="open: all that haven't ended.")
    name: Words | None = Field(default=None, description="Only this kind.")
    parent_job_id: JobId | None = Field(default=None, description="Only the children of this job.")
    before: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="Only lower numbers: `next` of the page before."
    )
    limit: Annotated[int, Field(strict=True, ge=1, le=200)] = 20


class OneJob(Arguments):
    """Arguments of the tools that only need to know which job."""

    id: JobId = Field(description="Its number, or the beginning of its run id.")


class GetJob(OneJob):
    """Arguments of `get_job`."""

    log_limit: Annotated[int, Field(strict=True, ge=0, le=200)] = Field(
        default=20, description="Last messages of its log or transcript."
    )


class NoArguments(Arguments):
    """Of a tool that takes none."""


class ReplayJob(OneJob):
    """Arguments of `replay_job`."""

    data_overrides: Data = Field(default={}, description="Goes over what the job was given.")
    from_turn: Annotated[int, Field(strict=True, ge=1)] | None = Field(
        default=None, description="Of an agent: begins with its transcript up to this turn."
    )


class SendMessage(OneJob):
    """Arguments of `send_job_message`."""

    payload: str | Data = Field(description='A text, or an object such as {"directive": "focus on revenue"}.')
