"""The twelve tools of the MCP server: names, descriptions, what they take and return. What they do is in `calls`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway.config.suggest import nearest
from gateway.mcp import arguments as given
from gateway.mcp import schemas
from gateway.tools.lean import lean_schema


class BadArguments(Exception):
    """The arguments don't fit; the text names each parameter that is wrong and what is allowed.

    Args:
        field: the first of them.
    """

    def __init__(self, text: str, field: str | None = None) -> None:
        super().__init__(text)
        self.field = field


@dataclass(frozen=True, slots=True)
class ToolInfo:
    """One tool."""

    name: str
    title: str
    description: str
    arguments: type[given.Arguments]
    returns: schemas.Schema
    changes: bool = True
    """False: it only looks."""
    destroys: bool = False
    """What it ends can't be had back as it was."""

    @property
    def takes(self) -> dict[str, Any]:
        """The JSON Schema of its arguments."""
        return lean_schema(self.arguments)

    def parse(self, values: Mapping[str, Any]) -> given.Arguments:
        """Validates arguments.

        Raises:
            BadArguments: naming every parameter that is wrong.
        """
        try:
            return self.arguments.model_validate(dict(values))
        except ValidationError as error:
            faults = error.errors(include_url=False, include_context=False)
            text = "; ".join(dict.fromkeys(self._fault(each) for each in faults))
            raise BadArguments(f"{self.name}: {text}", _place(faults[0])) from None

    def _fault(self, fault: ErrorDetails) -> str:
        place = _place(fault)
        if fault["type"] == "missing":
            return f"`{place}` is required"
        if fault["type"] == "extra_forbidden":
            known = sorted(self.arguments.model_fields) if len(fault["loc"]) == 1 else []
            near = nearest(place, known)
            hint = f"did you mean `{near}`?" if near else f"known are {', '.join(known) or 'others'}"
            return f"there is no parameter `{place}` ({hint})"
        return f"`{place}`: {fault['msg'][:1].lower()}{fault['msg'][1:]}"


def _place(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"])


_ALL = (
    ToolInfo(
        "submit_job",
        "Submit a job",
        "Submits a background job: durable, survives restarts, reports progress. For an LLM agent use submit_agent. "
        "Kinds that run commands can't be submitted over MCP.",
        given.SubmitJob,
        schemas.SUBMITTED,
    ),
    ToolInfo(
        "submit_agent",
        "Submit an agent",
        "Submits an LLM agent that works on its own, or with `fanout` several at once whose results come together. "
        "Look with get_job_progress; steer with send_job_message.",
        given.SubmitAgent,
        schemas.SUBMITTED,
    ),
    ToolInfo("list_jobs", "List jobs", "Lists jobs, the newest first.", given.ListJobs, schemas.LISTED, changes=False),
    ToolInfo(
        "get_job",
        "Get a job",
        "Everything about one job: result, error, tokens, children, log or transcript.",
        given.GetJob,
        schemas.DETAILS,
        changes=False,
    ),
    ToolInfo(
        "get_job_progress",
        "Get a job's progress",
        "How far a job is: step, message, tokens, last tool, and why it waits. Cheap; don't call it in a tight loop.",
        given.OneJob,
        schemas.SNAPSHOT,
        changes=False,
    ),
    ToolInfo(
        "get_job_stats",
        "Get statistics",
        "Health of all jobs: each kind's numbers, full queues, what is stuck and what helps; for operators.",
        given.NoArguments,
        schemas.STATS,
        changes=False,
    ),
    ToolInfo(
        "cancel_job",
        "Cancel a job",
        "Stops a job and everything below it at once.",
        given.OneJob,
        schemas.CHANGED,
        destroys=True,
    ),
    ToolInfo(
        "pause_job",
        "Pause a job",
        "Freezes a job and everything below it; resume_job goes on where it was.",
        given.OneJob,
        schemas.CHANGED,
    ),
    ToolInfo("resume_job", "Resume a job", "Lets a paused job go on.", given.OneJob, schemas.CHANGED),
    ToolInfo(
        "retry_job",
        "Retry a job",
        "Opens a job again that failed, died or was stopped, with fresh counters. See replay_job.",
        given.OneJob,
        schemas.CHANGED,
    ),
    ToolInfo(
        "replay_job",
        "Replay a job",
        "Makes a new job with all that one was given, changed by data_overrides; or forks an agent from a turn.",
        given.ReplayJob,
        schemas.REPLAYED,
    ),
    ToolInfo(
        "send_job_message",
        "Send a message to a job",
        "Puts a message into an open job's inbox; an agent reads it before its next model call.",
        given.SendMessage,
        schemas.SENT,
    ),
)
TOOLS: Mapping[str, ToolInfo] = MappingProxyType({tool.name: tool for tool in _ALL})
