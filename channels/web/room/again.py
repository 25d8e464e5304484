"""Running a run again as a new one: with all that it was given, or from one of its turns on."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from pydantic import Field

from channels.web import agents
from channels.web.site import Action, View
from gateway.http.json import Body, answer, read_body
from gateway.store.database import Transaction
from gateway.store.runs import Run
from gateway.views import capped

ID = r"^[A-Za-z0-9-]{8,64}$"


class ReplayBody(Body):
    """The same again, once for each id."""

    id: str = Field(pattern=ID)


class ForkBody(Body):
    """From which turn on, and with which other task."""

    id: str = Field(pattern=ID)
    turn: int = Field(ge=1, le=2**31)
    task: str = Field("", max_length=100_000)


async def replay(view: View) -> web.StreamResponse:
    """`POST /web/runs/{id}/replay`."""
    body = await read_body(view.request, ReplayBody)
    return await _again(view, body.id, {}, None)


async def fork(view: View) -> web.StreamResponse:
    """`POST /web/runs/{id}/fork`."""
    body = await read_body(view.request, ForkBody)
    task = body.task.strip()
    return await _again(view, body.id, {"data": {"task": task}} if task else {}, body.turn)


async def _again(view: View, key: str, changes: dict[str, Any], turn: int | None) -> web.StreamResponse:
    def unit(tx: Transaction) -> dict[str, Any]:
        run = view.eyes.run(tx, view.need("id"))
        once = {"idempotencyKey": f"web:{view.eyes.who.name}:{key}"}
        made: Run = view.gateway.jobs.replay(tx, view.eyes.asker(tx, run), run, {**changes, **once}, from_turn=turn)
        how = f"forked from turn {turn} of" if turn else "a replay of"
        return {"text": f"#{made.number} is {how} “{capped(run.label, 60)}”.", "href": f"/web/runs/{made.id}"}

    return answer(await agents.refusing(view, unit), 202)


ACTIONS = (Action("/web/runs/{id}/replay", replay), Action("/web/runs/{id}/fork", fork))
