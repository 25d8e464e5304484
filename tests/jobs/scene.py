"""What tests of jobs do over and over: submit over HTTP, be refused, wait for a state by events, look."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from sqlalchemy import func, select

from gateway.store import schema
from gateway.store.database import Transaction
from tests.support.pilot import Json, Pilot

CHAT = "chat-token-of-ida"
READ = "read-token-of-a-board"
TOKENS: Json = {
    "gateway": {
        "auth": {
            "tokens": [
                {"name": "ida", "token": CHAT, "scopes": ["chat"]},
                {"name": "board", "token": READ, "scopes": ["read"]},
                {"name": "ben", "token": f"{CHAT}-2", "scopes": ["chat"]},
            ]
        }
    }
}
"""A configuration with tokens that aren't an operator's."""
BEN = f"{CHAT}-2"


async def submit(p: Pilot, name: str = "work", token: str | None = None, **fields: Any) -> Json:
    """A job that is accepted."""
    response = await p.post("/api/jobs", {"name": name, **fields}, token=token)
    assert response.status in (200, 202), response.text
    return response.json


async def refused(p: Pilot, name: str = "work", *, status: int = 400, token: str | None = None, **fields: Any) -> Json:
    """The error of a job that is refused."""
    response = await p.post("/api/jobs", {"name": name, **fields}, token=token)
    assert response.status == status, response.text
    return response.json["error"]


async def look(p: Pilot, job: int | Json) -> Json:
    """A job as it is now."""
    return await p.get(f"/api/jobs/{job if isinstance(job, int) else job['id']}")


async def jobs(p: Pilot, **filters: Any) -> list[Json]:
    """The jobs, oldest first."""
    query = "&".join(f"{name}={value}" for name, value in {"limit": 500, **filters}.items())
    return (await p.get(f"/api/jobs?{query}"))["jobs"][::-1]


async def until(p: Pilot, job: int | Json, holds: Callable[[Json], Any], what: str = "") -> Json:
    """The job once a condition holds for it, looked at after every event."""
    while True:
        seen = len(p.events)
        now = await look(p, job)
        if holds(now):
            return now
        state = {name: now[name] for name in ("id", "status", "outcome", "waitingReason", "attempt", "error")}
        await p.wait_until(lambda seen=seen: len(p.events) > seen, f"{what or 'a state'} of {json.dumps(state)}")


async def reached(p: Pilot, job: int | Json, status: str) -> Json:
    """The job once it has a status."""
    return await until(p, job, lambda now: now["status"] == status, status)


async def waits_because(p: Pilot, job: int | Json, reason: str) -> Json:
    """The job once it waits for a reason."""
    return await until(p, job, lambda now: now["waitingReason"] == reason, reason)


async def ended(p: Pilot, job: int | Json) -> Json:
    """The job once it has ended, and that was told."""
    now = await reached(p, job, "done")
    await p.wait_until(lambda: "done" in p.changes(now["runId"]), "its end is told")
    return now


async def change(p: Pilot, job: int | Json, name: str, status: int = 200) -> Json:
    """Stops, pauses, resumes or retries a job."""
    number = job if isinstance(job, int) else job["id"]
    response = await p.post(f"/api/jobs/{number}/{name}")
    assert response.status == status, response.text
    return response.json


async def letters(p: Pilot, job: int | Json) -> list[Json]:
    """A job's inbox with its receipts."""
    number = job if isinstance(job, int) else job["id"]
    return (await p.get(f"/api/jobs/{number}/inbox"))["messages"]


async def rows(p: Pilot) -> dict[str, int]:
    """How many rows there are of all that a job consists of."""
    return await p.gateway.database.read(_rows)


def _rows(tx: Transaction) -> dict[str, int]:
    tables = (schema.runs, schema.sessions, schema.inbox, schema.messages, schema.run_after)
    return {table.name: int(tx.execute(select(func.count()).select_from(table)).scalar_one()) for table in tables}
