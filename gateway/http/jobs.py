"""Jobs over HTTP: submit, look, steer (spec/jobs.md, views).

With an operator's token all jobs are seen; with the scope `chat` only those that the same token has submitted, and a
foreign job and a missing one look the same.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

from aiohttp import web
from pydantic import Field, ValidationError

from gateway.http.auth import caller, scope
from gateway.http.callers import idempotency_key
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body, read_query, refusal
from gateway.http.keys import GATEWAY
from gateway.http.timeline import timeline_json
from gateway.jobs import find
from gateway.jobs.owner import JobRefused, Owner
from gateway.jobs.pruning import DAY_MS
from gateway.jobs.submission import Submission
from gateway.jobs.submit import DryRun, Submitted
from gateway.store import audit
from gateway.store.database import Transaction
from gateway.store.runs import Outcome
from gateway.views import iso

P = ParamSpec("P")
T = TypeVar("T")
STATUSES = {"error": 400, "not_found": 404, "permission_denied": 403}


class Nothing(Body):
    """A body without fields."""


class JobsQuery(Body):
    """Which jobs."""

    status: Literal["open", "queued", "delayed", "running", "waiting", "paused", "done"] | None = None
    outcome: str | None = None
    name: str | None = None
    parent: str | None = None
    before: int | None = Field(None, ge=1)
    limit: int = Field(50, ge=1, le=500)


class LogQuery(Body):
    """Which part of a log."""

    after: int = Field(0, ge=0)
    limit: int = Field(200, ge=1, le=500)


class AuditQuery(Body):
    """Which lines."""

    before: int | None = Field(None, ge=1)
    limit: int = Field(100, ge=1, le=1000)


class InboxQuery(Body):
    """Which part of an inbox."""

    after: int = Field(0, ge=0)
    limit: int = Field(200, ge=1, le=500)


class SubmitBody(Submission):
    """A submission, or only its checks."""

    dry_run: bool = False


class SendBody(Body):
    """A message to a job."""

    payload: str | dict[str, Any]


class ReplayBody(Body):
    """What is to be different."""

    overrides: dict[str, Any] = Field(default_factory=dict[str, Any])
    from_turn: int | None = Field(None, ge=1)


class PruneBody(Body):
    """Which ended jobs are to go."""

    older_than_days: float = Field(ge=0, le=36_500)
    name: str | None = None
    dry_run: bool = False


def routes() -> list[web.RouteDef]:
    """The pages."""
    return [
        web.get("/api/jobs", list_jobs),
        web.post("/api/jobs", submit),
        web.get("/api/jobs/stats", stats),
        web.post("/api/jobs/prune", prune),
        web.get("/api/jobs/{id}", show),
        web.get("/api/jobs/{id}/log", log),
        web.get("/api/jobs/{id}/inbox", show_inbox),
        web.get("/api/jobs/{id}/timeline", show_timeline),
        web.post("/api/jobs/{id}/send", send),
        web.post("/api/jobs/{id}/replay", replay),
        web.delete("/api/jobs/{id}", delete),
        web.get("/api/audit", list_audit),
        *(web.post(f"/api/jobs/{{id}}/{name}", _changing(name)) for name in ("stop", "pause", "resume", "retry")),
    ]


def owner_of(request: web.Request) -> Owner:
    """Who asks, as his token says."""
    who = caller(request)
    return Owner(who.owner_name, operator=who.operator)


@scope("read", "chat")
async def list_jobs(request: web.Request) -> web.Response:
    """`GET /api/jobs`."""
    query = read_query(request, JobsQuery)
    if query.outcome is not None and query.outcome not in list(Outcome):
        raise ApiError(400, f"`outcome` is one of: {', '.join(Outcome)}", field="outcome")
    control = request.app[GATEWAY].jobs

    def unit(tx: Transaction) -> dict[str, Any]:
        found = control.list(
            tx,
            _looker(request),
            status=query.status,
            outcome=query.outcome,
            kind=query.name,
            parent=query.parent,
            before=query.before,
            limit=query.limit,
        )
        more = found[-1].number if len(found) == query.limit else None
        return {"jobs": [control.json(tx, run) for run in found], "next": more}

    return answer(await _read(request, unit))


@scope("read", "chat")
async def show(request: web.Request) -> web.Response:
    """`GET /api/jobs/{id}`: one job, as data and as a person reads it."""
    control = request.app[GATEWAY].jobs

    def unit(tx: Transaction) -> dict[str, Any]:
        run = find.job(tx, _looker(request), request.match_info["id"])
        return {**control.json(tx, run), "text": control.report(tx, run)}

    return answer(await _read(request, unit))


@scope("read", "chat")
async def log(request: web.Request) -> web.Response:
    """`GET /api/jobs/{id}/log`: its log or transcript from a seq on."""
    query = read_query(request, LogQuery)
    control = request.app[GATEWAY].jobs

    def unit(tx: Transaction) -> dict[str, Any]:
        run = find.job(tx, _looker(request), request.match_info["id"])
        return {"messages": control.log(tx, run, after=query.after, limit=query.limit), "status": run.status.value}

    return answer(await _read(request, unit))


@scope("read", "chat")
async def show_inbox(request: web.Request) -> web.Response:
    """`GET /api/jobs/{id}/inbox`: what was sent to it, each message with its receipt."""
    query = read_query(request, InboxQuery)
    control = request.app[GATEWAY].jobs

    def unit(tx: Transaction) -> dict[str, Any]:
        run = find.job(tx, _looker(request), request.match_info["id"])
        return {"messages": control.inbox(tx, run, after=query.after, limit=query.limit)}

    return answer(await _read(request, unit))


@scope("read", "chat")
async def show_timeline(request: web.Request) -> web.Response:
    """`GET /api/jobs/{id}/timeline`: what it was doing when."""

    def unit(tx: Transaction) -> dict[str, Any]:
        return timeline_json(tx, find.job(tx, _looker(request), request.match_info["id"]))

    return answer(await _read(request, unit))


@scope("read", "operator")
async def stats(request: web.Request) -> web.Response:
    """`GET /api/jobs/stats`: how each kind stands, and what is stuck."""
    return answer(await _read(request, request.app[GATEWAY].jobs.stats))


@scope("chat", "operator")
async def submit(request: web.Request) -> web.Response:
    """`POST /api/jobs`."""
    try:
        body = SubmitBody.model_validate_json(await request.read() or b"{}")
    except ValidationError as error:
        raise refusal(error, SubmitBody, "body") from None
    key = idempotency_key(request, caller(request))
    submission = Submission.model_validate(body.model_dump(exclude={"dry_run"}))
    if key is not None and submission.idempotency_key is None:
        submission = submission.model_copy(update={"idempotency_key": f"http:{key}"})
    control = request.app[GATEWAY].jobs
    dry = False
    try:
        done: Submitted = await _run(
            request, control.submitter.submit, submission, owner_of(request), dry_run=body.dry_run
        )
        shown = await _read(request, control.json, done.run)
    except DryRun as ended:
        done, dry = ended.submitted, True
        shown = {"name": done.run.kind, "label": done.run.label, "queue": done.run.lane, "model": done.run.model}
        shown |= {"id": done.run.number, "runId": done.run.id} if done.coalesced else {}
    return answer({**shown, "coalesced": done.coalesced, "dryRun": dry}, 200 if dry or done.coalesced else 202)


@scope("chat", "operator")
async def send(request: web.Request) -> web.Response:
    """`POST /api/jobs/{id}/send`."""
    body = await read_body(request, SendBody)
    control = request.app[GATEWAY].jobs
    key = idempotency_key(request, caller(request)) or uuid.uuid4().hex

    def unit(tx: Transaction) -> dict[str, Any]:
        owner = owner_of(request)
        run = find.job(tx, owner, request.match_info["id"])
        row = control.send(tx, owner, run, control.message_text(body.payload), f"http:{key}")
        return {"id": run.number, "inboxId": row.id, "text": f"✉️ Sent to job #{run.number}."}

    return answer(await _run(request, unit), 202)


@scope("chat", "operator")
async def replay(request: web.Request) -> web.Response:
    """`POST /api/jobs/{id}/replay`."""
    body = await read_body(request, ReplayBody)
    control = request.app[GATEWAY].jobs
    overrides = dict(body.overrides)
    if (key := idempotency_key(request, caller(request))) is not None:
        overrides.setdefault("idempotencyKey", f"http:{key}")

    def unit(tx: Transaction) -> dict[str, Any]:
        owner = owner_of(request)
        run = find.job(tx, owner, request.match_info["id"])
        return control.json(tx, control.replay(tx, owner, run, overrides, from_turn=body.from_turn))

    return answer(await _run(request, unit), 202)


@scope("operator")
async def delete(request: web.Request) -> web.Response:
    """`DELETE /api/jobs/{id}`: a job that has ended."""
    control = request.app[GATEWAY].jobs

    def unit(tx: Transaction) -> dict[str, Any]:
        run = find.job(tx, owner_of(request), request.match_info["id"])
        return {"deleted": control.delete(tx, [run]), "id": run.number}

    return answer(await _run(request, unit))


@scope("operator")
async def list_audit(request: web.Request) -> web.Response:
    """`GET /api/audit`: what was done that somebody may have to account for, the newest first."""
    query = read_query(request, AuditQuery)
    found = await _read(request, audit.page, before=query.before, limit=query.limit)
    lines = [
        {"id": each.id, "at": iso(each.at), "who": each.who, "what": each.what, "runId": each.run_id, **each.data}
        for each in found
    ]
    return answer({"lines": lines, "next": found[-1].id if len(found) == query.limit else None})


@scope("operator")
async def prune(request: web.Request) -> web.Response:
    """`POST /api/jobs/prune`: ended jobs that are old, or only which they would be."""
    body = await read_body(request, PruneBody)
    control = request.app[GATEWAY].jobs

    def unit(tx: Transaction) -> dict[str, Any]:
        found = control.prunable(tx, int(body.older_than_days * DAY_MS), body.name)
        gone = 0 if body.dry_run else control.delete(tx, found)
        return {"jobs": [run.number for run in found], "deleted": gone, "dryRun": body.dry_run}

    return answer(await _run(request, unit))


def _changing(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    @scope("chat", "operator")
    async def page(request: web.Request) -> web.Response:
        await read_body(request, Nothing)
        return answer(await _run(request, partial(_change, request, name)))

    return page


def _change(request: web.Request, name: str, tx: Transaction) -> dict[str, Any]:
    control = request.app[GATEWAY].jobs
    owner = owner_of(request)
    run = find.job(tx, owner, request.match_info["id"])
    text, changed = control.change(tx, run, name, by=owner.name)
    return {**control.json(tx, find.job(tx, owner, str(run.number))), "changed": changed, "text": text}


def _looker(request: web.Request) -> Owner:
    """Who looks: a token that may read may look at everything."""
    who = caller(request)
    return Owner(who.owner_name, operator=who.operator or "read" in who.scopes)


async def _run(
    request: web.Request, unit: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    try:
        return await request.app[GATEWAY].database.run(unit, *args, **kwargs)
    except JobRefused as refused:
        raise _refused(refused) from None


async def _read(
    request: web.Request, unit: Callable[Concatenate[Transaction, P], T], *args: P.args, **kwargs: P.kwargs
) -> T:
    try:
        return await request.app[GATEWAY].database.read(unit, *args, **kwargs)
    except JobRefused as refused:
        raise _refused(refused) from None


def _refused(refused: JobRefused) -> ApiError:
    code = refused.status if refused.status == "permission_denied" else None
    status = 400 if refused.status == "not_found" and refused.field else STATUSES[refused.status]  # the page is there
    return ApiError(status, str(refused), field=refused.field, code=code)
