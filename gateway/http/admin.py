"""What an operator does: posts that didn't arrive, questions, commands, reload, backup."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Literal

from aiohttp import web
from pydantic import Field

from gateway.approvals import Approval, ApprovalError
from gateway.backup import BackupError, Sources, create_backup
from gateway.http.auth import caller
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body, read_query
from gateway.http.keys import GATEWAY
from gateway.store import outbox
from gateway.views import iso, route_json

POST_STATES = tuple(state.value for state in outbox.State)


class OutboxQuery(Body):
    """Which posts."""

    state: str | None = None
    limit: int = Field(200, ge=1, le=1000)


class Nothing(Body):
    """A body without fields."""


class DecisionBody(Body):
    """An answer to a question."""

    decision: Literal["allow", "always", "deny"]


class BackupBody(Body):
    """Where the archive goes."""

    path: str = Field(min_length=1, max_length=4096)


async def list_posts(request: web.Request) -> web.Response:
    """`GET /api/outbox`: what has not been delivered, or what is in one state."""
    query = read_query(request, OutboxQuery)
    if query.state is not None and query.state not in POST_STATES:
        raise ApiError(400, f"`state` is one of: {', '.join(POST_STATES)}", field="state")
    found = await request.app[GATEWAY].database.read(outbox.listed, query.state, query.limit)
    return answer({"posts": [_post(post) for post in found]})


async def retry_post(request: web.Request) -> web.Response:
    """`POST /api/outbox/{id}/retry`."""
    await read_body(request, Nothing)
    try:
        post = await request.app[GATEWAY].deliverer.retry(_number(request))
    except LookupError as error:
        raise ApiError(404, str(error), field="id") from None
    return answer(_post(post))


async def drop_post(request: web.Request) -> web.Response:
    """`POST /api/outbox/{id}/drop`."""
    await read_body(request, Nothing)
    try:
        post = await request.app[GATEWAY].deliverer.drop(_number(request))
    except LookupError as error:
        raise ApiError(404, str(error), field="id") from None
    return answer(_post(post))


async def list_approvals(request: web.Request) -> web.Response:
    """`GET /api/approvals`: the questions that wait for a person."""
    found = await request.app[GATEWAY].approvals.pending()
    return answer({"approvals": [_approval(approval) for approval in found]})


async def decide(request: web.Request) -> web.Response:
    """`POST /api/approvals/{id}`."""
    body = await read_body(request, DecisionBody)
    try:
        approval = await request.app[GATEWAY].approvals.decide(
            _number(request),
            allowed=body.decision != "deny",
            always=body.decision == "always",
            by=caller(request).name,
        )
    except ApprovalError as error:
        raise ApiError(409, str(error), hint="GET /api/approvals lists the open ones") from None
    return answer({**_approval(approval), "state": approval.state.value})


async def list_commands(request: web.Request) -> web.Response:
    """`GET /api/commands`: the slash commands, for help and completion."""
    commands = sorted(request.app[GATEWAY].registry.commands.values(), key=lambda command: command.name)
    found = [
        {
            "name": command.name,
            "usage": command.usage,
            "help": command.help,
            "words": list(command.words),
            "operator": command.operator,
        }
        for command in commands
    ]
    return answer({"commands": found})


async def reload(request: web.Request) -> web.Response:
    """`POST /api/reload`: reads the configuration again, all or nothing."""
    await read_body(request, Nothing)
    done = await request.app[GATEWAY].reload()
    return answer(
        {
            "reloaded": done.reloaded,
            "problems": [str(problem) for problem in done.problems],
            "restartNeeded": list(done.restart_needed),
        }
    )


async def backup(request: web.Request) -> web.Response:
    """`POST /api/backup`: writes the whole state into one archive on the gateway's machine."""
    gateway = request.app[GATEWAY]
    body = await read_body(request, BackupBody)
    target = Path(body.path)
    if "\0" in body.path or not target.is_absolute():
        raise ApiError(400, "the path must be absolute: the gateway has its own current folder", field="path")
    try:
        sources = Sources.of(gateway.paths, gateway.config, gateway.database.file)
        made = await asyncio.to_thread(create_backup, sources, target)
    except BackupError as error:
        raise ApiError(409, str(error), field="path") from None
    return answer({"path": str(made.path), "bytes": made.bytes})


def _number(request: web.Request) -> int:
    """The id in the path, which its pattern has made a short whole number."""
    return int(request.match_info["id"])


def _post(post: outbox.Post) -> dict[str, Any]:
    return {
        "id": post.id,
        "sessionKey": post.session_key,
        "route": route_json(post.route) if post.route else None,
        "text": post.text,
        "state": post.state.value,
        "attempts": post.attempts,
        "error": post.error,
        "createdAt": iso(post.created_at),
        "nextAttemptAt": iso(post.next_at),
    }


def _approval(approval: Approval) -> dict[str, Any]:
    return {
        "id": approval.id,
        "sessionKey": approval.session_key,
        "runId": approval.run_id,
        "tool": approval.tool,
        "summary": approval.summary,
        "pattern": approval.pattern,
        "createdAt": iso(approval.created_at),
        "expiresAt": iso(approval.expires_at),
    }
