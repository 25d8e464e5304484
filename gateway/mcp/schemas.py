"""The JSON Schemas of what the MCP server's tools return as structured content.

The records are those of the HTTP API (`gateway.views.job_json`), camelCase as everywhere; more fields may come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANYTHING: Schema = {}


def _object(properties: Mapping[str, Schema], required: Sequence[str] | None = None) -> Schema:
    """An object that has all of these, or those that are required, and may have more."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties if required is None else required),
    }


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _or_null(schema: Schema) -> Schema:
    return {**schema, "type": [schema["type"], "null"]}


TOKENS = _object({"input": WHOLE, "output": WHOLE, "cacheRead": WHOLE, "total": WHOLE})
PROGRESS = _object(
    {
        "step": _or_null(WHOLE),
        "total": _or_null(WHOLE),
        "message": _or_null(TEXT),
        "tokensIn": WHOLE,
        "tokensOut": WHOLE,
        "lastTool": _or_null(TEXT),
    }
)
_STATE: Mapping[str, Schema] = {
    "id": WHOLE,
    "runId": TEXT,
    "name": TEXT,
    "label": TEXT,
    "status": TEXT,
    "outcome": _or_null(TEXT),
    "waitingReason": _or_null(TEXT),
    "progress": PROGRESS,
    "tokens": TOKENS,
    "runtimeSeconds": NUMBER,
}
JOB = _object(
    {
        **_STATE,
        "queue": TEXT,
        "priority": WHOLE,
        "attempt": WHOLE,
        "maxAttempts": WHOLE,
        "error": _or_null(TEXT),
        "costUsd": _or_null(NUMBER),
        "output": ANYTHING,
        "data": ANYTHING,
        "children": _list(WHOLE),
        "after": _list(WHOLE),
        "submittedBy": _or_null(TEXT),
        "createdAt": TEXT,
        "startedAt": _or_null(TEXT),
        "endedAt": _or_null(TEXT),
    }
)
MESSAGE = _object({"seq": WHOLE, "role": TEXT, "kind": TEXT, "text": TEXT})

SUBMITTED = _object(
    {
        "dryRun": FLAG,
        "coalesced": FLAG,
        "id": WHOLE,
        "name": TEXT,
        "label": TEXT,
        "queue": TEXT,
        "children": _list(WHOLE),
    },
    ("dryRun", "coalesced", "name", "label", "queue"),
)
"""The job, and what became of the submission; with `dryRun` there is no id."""
LISTED = _object({"jobs": _list(JOB), "next": _or_null(WHOLE)})
DETAILS: Schema = {
    **JOB,
    "properties": {**JOB["properties"], "log": _list(MESSAGE)},
    "required": [*JOB["required"], "log"],
}
SNAPSHOT = _object({**_STATE, "childrenPending": WHOLE, "childrenCompleted": WHOLE})
STATS = _object(
    {
        "kinds": _list(_object({"name": TEXT, "waiting": WHOLE, "running": WHOLE, "done": WHOLE, "failed": WHOLE})),
        "lanes": {"type": "object"},
        "wedged": _list(_object({"queue": TEXT, "text": TEXT, "command": TEXT})),
        "divergent": _list(_object({"name": TEXT, "text": TEXT, "command": TEXT})),
    }
)
CHANGED = _object({"id": WHOLE, "runId": TEXT, "status": TEXT, "outcome": _or_null(TEXT), "changed": WHOLE})
REPLAYED = _object({"id": WHOLE, "runId": TEXT, "status": TEXT, "replayOf": TEXT})
SENT = _object({"id": WHOLE, "inboxId": WHOLE})
