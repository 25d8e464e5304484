"""Manifests of fan-outs: N tasks for sub-agents and what is made of their results, as a file (docs/jobs.md).

A manifest becomes one submission, so that children and join are created in one transaction or not at all. With an
`aggregate` the join is a sub-agent that begins when all others have settled; without one it is a job of the kind
`aggregate`, which only puts their results together.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from gateway.config.suggest import nearest
from gateway.jobs.submission import LONGEST_MS

MOST_TASKS = 1_000
JOIN = "aggregate"
CHILD = "subagent"
"""Kinds of jobs."""
_OF_THE_JOB = frozenset({"label", "timeout_ms", "priority", "on_child_fail"})
"""Fields of a task that are the job's; all others are what the sub-agent is given."""

OnChildFail = Literal["fail_parent", "continue", "remove_dep", "ignore"]


class _Part(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="forbid", frozen=True)


class Task(_Part):
    """What one sub-agent is to do."""

    task: str
    label: str | None = Field(default=None, max_length=200)
    agent_id: str | None = None
    model: str | None = None
    thinking: str | None = None
    tools: tuple[str, ...] | None = None
    """Only these."""
    max_turns: int | None = Field(default=None, ge=1, le=10_000)
    timeout_ms: int | None = Field(default=None, gt=0, le=LONGEST_MS)
    subagent_def: str | None = None
    cwd: str | None = None
    budget_usd: float | None = Field(default=None, gt=0)
    budget_tokens: int | None = Field(default=None, gt=0)
    output_schema: dict[str, Any] | None = None
    priority: int = 0
    on_child_fail: OnChildFail | None = None

    @field_validator("task")
    @classmethod
    def _said(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must say what to do; it is blank")
        return value.strip()

    def submission(self, usual: OnChildFail) -> dict[str, Any]:
        """The sub-agent as a submission."""
        given = self.model_dump(mode="json", by_alias=True, exclude=set(_OF_THE_JOB), exclude_none=True)
        job: dict[str, Any] = {
            "name": CHILD,
            "label": self.label,
            "data": given,
            "timeoutMs": self.timeout_ms,
            "priority": self.priority,
            "onChildFail": self.on_child_fail or usual,
        }
        return {name: value for name, value in job.items() if value is not None}


class Manifest(_Part):
    """A whole fan-out."""

    name: str | None = Field(default=None, max_length=200)
    tasks: tuple[Task, ...] = Field(min_length=1, max_length=MOST_TASKS)
    aggregate: Task | None = None
    """A sub-agent that gets all results and makes one of them."""
    on_child_fail: OnChildFail = "continue"
    """What the failure of a task means for the whole."""
    max_children: int | None = Field(default=None, ge=1, le=10_000)
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)

    def submission(self) -> dict[str, Any]:
        """The fan-out as one submission."""
        join: dict[str, Any] = {"name": JOIN}
        if self.aggregate is not None:
            join = self.aggregate.submission("fail_parent")
        join["label"] = self.name or join.get("label") or "fan-out"
        join["children"] = [task.submission(self.on_child_fail) for task in self.tasks]
        for name, value in (("maxChildren", self.max_children), ("idempotencyKey", self.idempotency_key)):
            if value is not None:
                join[name] = value
        return join


class ManifestError(Exception):
    """A manifest is wrong; the text has a line for each field that is."""


def read(value: Any) -> Manifest:
    """The manifest in a JSON value.

    Raises:
        ManifestError: it is none; every fault is named with its place.
    """
    try:
        return Manifest.model_validate(value)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_context=False)
        raise ManifestError("\n".join(_fault(each) for each in faults)) from None


def _fault(error: ErrorDetails) -> str:
    parts = [*error["loc"]]
    place = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).lstrip(".")
    if error["type"] == "extra_forbidden":
        model = Task if len(parts) > 1 else Manifest
        known = sorted(each.alias or name for name, each in model.model_fields.items())
        near = nearest(str(parts[-1]), known)
        return f"{place}: unknown; " + (f"did you mean `{near}`?" if near else f"there are: {', '.join(known)}")
    if error["type"] == "missing":
        return f"{place}: required"
    if error["type"] in ("model_type", "model_attributes_type"):
        return f"{place or 'manifest'}: must be a JSON object"
    return f"{place or 'manifest'}: {error['msg'][:1].lower()}{error['msg'][1:]}"
