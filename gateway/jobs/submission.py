"""What a submitter asks for: one model for every view, each with its own names for the fields.

Bad numbers are refused with the field and the allowed values before anything is looked up (spec/jobs.md 2).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator
from pydantic.alias_generators import to_camel

OnChildFail = Literal["fail_parent", "continue", "remove_dep", "ignore"]
LONGEST_MS = 366 * 24 * 3600 * 1000
MOST_ATTEMPTS = 1000
MOST_PRIORITY = 1_000_000


class Backoff(BaseModel):
    """How long a failed job waits for its next attempt."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    type: Literal["fixed", "exponential"] = "exponential"
    delay_ms: int = Field(default=1_000, ge=0, le=LONGEST_MS)
    jitter: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    """Share of the wait that is left to chance."""
    max_ms: int = Field(default=300_000, ge=0, le=LONGEST_MS)
    """Ceiling; 0: none."""


class Submission(BaseModel):
    """A job that is to be."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    name: str
    """The kind: `shell`, `subagent`, `aggregate`, or a plugin's."""
    label: str | None = Field(default=None, max_length=200)
    data: dict[str, Any] = {}
    """The kind's payload."""
    queue: str | None = None
    """The lane; None: the kind's."""
    priority: int = Field(default=0, ge=-MOST_PRIORITY, le=MOST_PRIORITY)
    """Lower goes first."""
    max_attempts: int | None = Field(default=None, ge=1, le=MOST_ATTEMPTS)
    backoff: Backoff = Backoff()
    delay_ms: int = Field(default=0, ge=0, le=LONGEST_MS)
    timeout_ms: int | None = Field(default=None, gt=0, le=LONGEST_MS)
    parent: str | None = None
    """Number or id of the job that it belongs to."""
    on_child_fail: OnChildFail = "fail_parent"
    """What its own failure means for its parent."""
    max_children: int | None = Field(default=None, ge=0, le=10_000)
    after: tuple[str, ...] = ()
    """Numbers or ids of jobs that must have ended well before."""
    idempotency_key: str | None = Field(default=None, min_length=1, max_length=255)
    children: tuple[Submission, ...] = ()
    """Jobs below it, in the same transaction."""

    @field_validator("name")
    @classmethod
    def _trimmed(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("must not be empty; it is the job's kind")
        return value.strip()

    @field_validator("label")
    @classmethod
    def _labelled(cls, value: str | None) -> str | None:
        if value is not None and not value.strip():
            raise ValueError("must not be empty; leave it out instead")
        return value.strip() if value else None
