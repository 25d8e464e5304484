"""The kind `aggregate`: a parent without work of its own, whose result is those of its children, joined."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from gateway.jobs.kinds import JobKind, Payload


class AggregatePayload(Payload):
    """What a parent is for; nothing of it is needed."""

    note: str | None = None
    data: Mapping[str, Any] = Field(default_factory=dict[str, Any])


def aggregate_kind() -> JobKind:
    """The kind, for the registry."""
    return JobKind("aggregate", AggregatePayload, max_attempts=1)
