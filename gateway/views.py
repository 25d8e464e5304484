"""What people and programs see of the records: JSON in camelCase, times in ISO 8601, money in USD."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway import numbers
from gateway.agent.messages import Usage
from gateway.numbers import count as count  # what shows records finds all that it needs here
from gateway.routes import Route
from gateway.store.inbox import Row
from gateway.store.runs import Run
from gateway.store.transcript import Message
from gateway.telemetry import context

LABEL_CHARS = 80
ERROR_CHARS = 500


def iso(milliseconds: int | None) -> str | None:
    """A stored time as ISO 8601 in UTC."""
    if milliseconds is None:
        return None
    return datetime.fromtimestamp(milliseconds / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def from_iso(stamp: str) -> int:
    """The time (milliseconds) that `iso` has written."""
    return round(datetime.fromisoformat(stamp).timestamp() * 1000)


def usd(micro: int | None) -> float | None:
    """micro-USD as USD."""
    return None if micro is None else micro / 1_000_000


def capped(text: str, limit: int) -> str:
    """One line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def duration(milliseconds: int) -> str:
    """A runtime as people read it."""
    return numbers.duration(milliseconds / 1000)


def money(micro: int | None) -> str | None:
    """A cost in micro-USD as people read it, or None where a price is unknown."""
    return None if micro is None else numbers.money(micro / 1_000_000)


def runtime_ms(run: Run, now: int) -> int:
    """How long a run has been at work: from its start to its end, or until now."""
    if run.started_at is None:
        return 0
    return (run.ended_at or now) - run.started_at


def tokens_json(usage: Usage) -> dict[str, int]:
    """Tokens as JSON; `input` includes what was read from a cache."""
    return {
        "input": usage.input,
        "output": usage.output,
        "cacheRead": usage.cache_read,
        "total": usage.input + usage.output,
    }


def run_json(run: Run, now: int, position: int | None = None) -> dict[str, Any]:
    """A run as JSON.

    Args:
        run: the record.
        now: milliseconds, for the runtime of an open run.
        position: its place in its lane's queue.
    """
    total = run.total
    return {
        "runId": run.id,
        "sessionKey": run.session_key,
        "requesterKey": run.requester_key,
        "parentRunId": run.parent_run_id,
        "agentId": run.agent_id,
        "label": run.label,
        "task": run.task,
        "status": run.status.value,
        "outcome": run.outcome.value if run.outcome else None,
        "error": run.error,
        "depth": run.depth,
        "model": run.model,
        "thinking": run.thinking,
        "position": position,
        "tokens": tokens_json(total),
        "costUsd": usd(total.cost_micro),
        "createdAt": iso(run.created_at),
        "startedAt": iso(run.started_at),
        "endedAt": iso(run.ended_at),
        "archiveAt": iso(run.archive_at),
        "runtimeSeconds": runtime_ms(run, now) / 1000,
        "lastTool": run.last_tool,
        "progress": run.progress,
        "result": run.result,
        "revivedFrom": run.revived_from,
        "retryOf": run.retry_of,
        "transcriptPath": run.transcript_path,
        "traceId": context.recorded_id(run.trace),
    }


def job_json(
    run: Run, now: int, *, reason: str | None, children: Sequence[int] = (), after: Sequence[int] = ()
) -> dict[str, Any]:
    """A job of any kind as JSON.

    Args:
        run: the record.
        now: milliseconds.
        reason: why it isn't running.
        children: numbers of the jobs below it.
        after: numbers of the jobs that it waits for.
    """
    own = Usage(run.tokens_in, run.tokens_out, run.cache_read)
    return {
        **run_json(run, now),
        "id": run.number,
        "name": run.kind,
        "queue": run.lane,
        "data": run.payload,
        "priority": run.priority,
        "attempt": run.attempt,
        "maxAttempts": run.max_attempts,
        "backoff": {"type": run.backoff, "delayMs": run.backoff_ms, "jitter": run.backoff_jitter / 1000},
        "notBefore": iso(run.not_before),
        "timeoutMs": run.timeout_ms or None,
        "onChildFail": run.on_child_fail,
        "maxChildren": run.max_children,
        "idempotencyKey": run.idempotency_key,
        "waitingReason": reason,
        "cause": run.cause,
        "progress": {
            "step": run.step,
            "total": run.steps,
            "message": run.progress,
            "tokensIn": run.tokens_in,
            "tokensOut": run.tokens_out,
            "lastTool": run.last_tool,
        },
        "ownTokens": tokens_json(own),
        "output": run.output if run.output is not None else run.result,
        "children": list(children),
        "after": list(after),
        "submittedBy": run.submitted_by,
        "replayOf": run.replay_of,
    }


def letter_json(row: Row) -> dict[str, Any]:
    """A row of an inbox as JSON, with its receipt."""
    read = row.state == "consumed"
    return {
        "inboxId": row.id,
        "kind": row.kind,
        "text": row.text,
        "sender": row.sender,
        "state": row.state,
        "createdAt": iso(row.created_at),
        "readAt": iso(row.consumed_at) if read else None,
        "consumedBySeq": row.consumed_seq if read else None,
    }


def message_json(message: Message) -> dict[str, Any]:
    """A transcript's message as JSON; also one line of a transcript file."""
    usage = Usage(message.tokens_in or 0, message.tokens_out or 0, message.cache_read or 0)
    return {
        "seq": message.seq,
        "role": message.role,
        "kind": message.kind,
        "text": message.text,
        "calls": [{"name": call.name, "arguments": call.arguments} for call in message.tool_calls],
        "parentSeq": message.parent_seq,
        "callIndex": message.call_index,
        "error": message.error,
        "model": f"{message.provider}/{message.model}" if message.model else None,
        "tokens": tokens_json(usage) if message.tokens_in is not None else None,
        "costUsd": usd(message.cost_micro),
        "route": route_json(message.route),
        "startedAt": iso(message.started_at),
        "waits": [{"for": what, "from": iso(since), "to": iso(until)} for what, since, until in message.waits or ()],
        "createdAt": iso(message.created_at),
    }


def route_json(route: str | None) -> dict[str, Any] | None:
    """A stored route as JSON."""
    if route is None:
        return None
    parsed = Route.from_json(route)
    return {
        "channel": parsed.channel,
        "account": parsed.account,
        "chat": parsed.chat,
        "thread": parsed.thread,
    }
