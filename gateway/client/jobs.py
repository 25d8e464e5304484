"""Jobs over the HTTP API, as the command line uses it: records, requests, and following one job to its end.

A job is followed by events, never by asking again and again: each event about it, and each new connection, is a reason
to look at what its log has gained. Nothing is kept between two looks but the place in the log.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from typing import Any, cast
from urllib.parse import quote
from uuid import uuid4

from gateway.client import ApiClient, Unreachable
from gateway.client.events import Event, StreamLost
from gateway.client.find import NoGateway
from gateway.client.records import ACTIVE, Message, Record, Tokens

AGAIN_SECONDS = 0.2
PATIENCE_SECONDS = 120.0
"""How long a gateway that is gone is waited for."""
PAGE = 500


class Progress(Record):
    """How far a job is."""

    step: int | None = None
    total: int | None = None
    message: str | None = None
    last_tool: str | None = None


class Job(Record):
    """`GET /api/jobs/{id}`."""

    run_id: str = ""
    id: int = 0
    name: str = ""
    label: str = ""
    status: str = ""
    outcome: str | None = None
    error: str | None = None
    queue: str = ""
    session_key: str = ""
    waiting_reason: str | None = None
    attempt: int = 1
    max_attempts: int = 1
    progress: Progress = Progress()
    tokens: Tokens = Tokens()
    cost_usd: float | None = None
    runtime_seconds: float = 0
    output: Any = None
    children: tuple[int, ...] = ()
    coalesced: bool = False
    dry_run: bool = False
    changed: int = 0
    text: str = ""
    """As a person reads it."""

    @property
    def active(self) -> bool:
        """Whether it hasn't ended."""
        return self.status in ACTIVE


class JobPage(Record):
    """One page of jobs."""

    jobs: tuple[Job, ...] = ()
    next: int | None = None


class JobLog(Record):
    """A piece of a job's log, oldest first."""

    messages: tuple[Message, ...] = ()
    status: str = ""


class Pruned(Record):
    """Which jobs are gone, or would be."""

    jobs: tuple[int, ...] = ()
    deleted: int = 0
    dry_run: bool = False


class KindStats(Record):
    """How the jobs of one kind stand."""

    name: str = ""
    waiting: int = 0
    running: int = 0
    done: int = 0
    failed: int = 0
    average_ms: int = 0
    p95_ms: int = 0


class Stuck(Record):
    """Something that doesn't go on, and the next command to type."""

    text: str = ""
    command: str = ""


class JobStats(Record):
    """`GET /api/jobs/stats`."""

    kinds: tuple[KindStats, ...] = ()
    wedged: tuple[Stuck, ...] = ()
    divergent: tuple[Stuck, ...] = ()


class Jobs:
    """The requests about jobs, over a client."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def page(self, **filters: Any) -> JobPage:
        """One page, the newest first; filters are those of the HTTP API."""
        given = {name: str(value) for name, value in filters.items() if value is not None}
        return JobPage.model_validate(await self._client.request("GET", "/api/jobs", params=given))

    async def get(self, job: str) -> Job:
        """One job, by its number or the beginning of its run id."""
        return Job.model_validate(await self._client.request("GET", _path(job)))

    async def submit(self, submission: Mapping[str, Any]) -> Job:
        """Submits a job, or with `dryRun` only checks one."""
        return Job.model_validate(await self._client.request("POST", "/api/jobs", body=submission))

    async def log(self, job: str, *, after: int = 0, limit: int = PAGE) -> JobLog:
        """What a job's log has gained after a place."""
        params = {"after": str(after), "limit": str(limit)}
        return JobLog.model_validate(await self._client.request("GET", _path(job, "log"), params=params))

    async def change(self, job: str, name: str) -> Job:
        """`stop`, `pause`, `resume` or `retry`."""
        return Job.model_validate(await self._client.request("POST", _path(job, name), body={}))

    async def replay(self, job: str, overrides: Mapping[str, Any], from_turn: int | None) -> Job:
        """A new job like one, changed as asked."""
        body = {"overrides": dict(overrides), **({"fromTurn": from_turn} if from_turn is not None else {})}
        return Job.model_validate(await self._client.request("POST", _path(job, "replay"), body=body))

    async def send(self, job: str, payload: str | Mapping[str, Any]) -> str:
        """Puts a message into a job's inbox; returns what is said of it."""
        body = {"payload": payload}
        answer = await self._client.request("POST", _path(job, "send"), body=body, idempotency=uuid4().hex)
        return str(answer.get("text", ""))

    async def delete(self, job: str) -> dict[str, Any]:
        """Deletes a job that has ended."""
        return await self._client.request("DELETE", _path(job))

    async def prune(self, older_than_days: float, name: str | None, *, dry_run: bool) -> Pruned:
        """Deletes what has ended long ago, or says what that would be."""
        body: dict[str, Any] = {"olderThanDays": older_than_days, "dryRun": dry_run}
        if name is not None:
            body["name"] = name
        return Pruned.model_validate(await self._client.request("POST", "/api/jobs/prune", body=body))

    async def stats(self) -> JobStats:
        """How the kinds stand, and what is stuck."""
        return JobStats.model_validate(await self._client.request("GET", "/api/jobs/stats"))


Connect = Callable[[], Awaitable[ApiClient]]
"""Gives the gateway that runs now; called before every connection."""


async def news(connect: Connect, session: str | None) -> AsyncGenerator[tuple[ApiClient, Event | None]]:
    """Each event of a session and of everything below it, or of all; None in its place where some may be missed: at
    the beginning of every connection, and now and then while nothing happens.

    Raises:
        NoGateway, Unreachable: there has been none for a long time.
        ApiError: it refuses.
    """
    lost_at = time.monotonic()
    while True:
        try:
            async with await connect() as client, aclosing(client.stream(session, None, lambda: None)) as stream:
                async for event in stream:
                    yield client, event if event.type not in ("position", "reset") else None
                    lost_at = time.monotonic()
        except (StreamLost, NoGateway, Unreachable):
            if time.monotonic() - lost_at > PATIENCE_SECONDS:
                raise
            await asyncio.sleep(AGAIN_SECONDS)


async def follow(
    connect: Connect, job: Job, show: Callable[[Message], None], notice: Callable[[str], None], *, after: int = 0
) -> Job:
    """Shows what a job's log gains until the job has ended, over restarts of the gateway; returns how it has ended.

    Args:
        connect: the way to the gateway.
        job: which.
        show: gets each message of the log once, in order.
        notice: gets a line whenever the job's state changes.
        after: the last place in the log that is known already.
    """
    state = ""
    async with aclosing(news(connect, job.session_key)) as stream:
        async for client, event in stream:
            if event is not None and not _about(event, job):
                continue
            try:
                after = await _show_new(client, job, show, after)
                now = await Jobs(client).get(job.run_id)
                if not now.active:
                    await _show_new(client, job, show, after)
                    return now
            except Unreachable:
                continue  # the stream has ended as well, and its successor begins with a look
            said = state_line(now)
            if said != state:
                notice(said)
            state = said
    return job


def state_line(job: Job) -> str:
    """Where a job stands, on one line."""
    reason = f": {job.waiting_reason}" if job.waiting_reason else ""
    attempt = f", attempt {job.attempt} of {job.max_attempts}" if job.attempt > 1 else ""
    steps = f", step {job.progress.step}/{job.progress.total or '?'}" if job.progress.step is not None else ""
    message = f": {job.progress.message}" if job.status == "running" and job.progress.message else ""
    return f"#{job.id} {job.status}{reason}{attempt}{steps}{message}"


async def _show_new(client: ApiClient, job: Job, show: Callable[[Message], None], after: int) -> int:
    while messages := (await Jobs(client).log(job.run_id, after=after)).messages:
        for message in messages:
            show(message)
        after = messages[-1].seq
    return after


def _about(event: Event, job: Job) -> bool:
    run: object = event.data.get("run")
    about = cast("dict[str, Any]", run) if isinstance(run, dict) else event.data
    return job.run_id == about.get("runId") or job.session_key == about.get("sessionKey")


def _path(job: str, action: str | None = None) -> str:
    place = f"/api/jobs/{quote(job.removeprefix('#'), safe='')}"
    return f"{place}/{action}" if action else place
