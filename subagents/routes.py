"""The control of sub-agents over HTTP: `POST /api/runs` and `POST /api/runs/{id}/…`.

Needs the scope `operator`, which sees all runs (spec/subagents.md 26). An `Idempotency-Key` is remembered in the
transaction of what it did, so that a retry gets the same answer and does nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import web
from pydantic import BaseModel, Field

from gateway.commands.base import CommandError
from gateway.http.auth import caller, scope
from gateway.http.callers import check_key, idempotency_key
from gateway.http.errors import ApiError
from gateway.http.json import Body, answer, read_body
from gateway.http.keys import GATEWAY
from gateway.http.runs import run_of
from gateway.routes import Route
from gateway.store import idempotency
from gateway.store.database import Transaction
from gateway.store.runs import Run
from subagents.admission import Refused, SpawnArguments
from subagents.control import Answer, Control, Origin
from subagents.replies import REPLY_SECONDS, Reply, reply_text

WHY = "stopped over the API"
CHANNEL = "api"

Handler = Callable[[web.Request], Awaitable[web.Response]]


class Nothing(Body):
    """A body without fields."""


class MessageBody(Body):
    """A message to a run."""

    message: str = Field(pattern=r"\S", max_length=1_000_000)


class SendBody(MessageBody):
    """A message whose reply may be waited for."""

    wait_seconds: float = Field(0, ge=0, le=REPLY_SECONDS)


class SpawnBody(SpawnArguments):
    """What `sessions_spawn` takes, and for whom."""

    session_key: str = Field(min_length=1, max_length=500)


def subagent_routes(control: Control) -> list[web.RouteDef]:
    """Every page that does something to a sub-agent; those that only show runs are the gateway's own."""
    actions = RunActions(control)
    pages: dict[str, Handler] = {
        "stop": partial(actions.change, act=lambda tx, run: control.stop(tx, run, WHY)),
        "pause": partial(actions.change, act=control.pause),
        "resume": partial(actions.change, act=control.resume),
        "retry": partial(actions.change, act=lambda tx, run: control.retry(tx, run, None)),
        "send": actions.send,
        "steer": actions.steer,
    }
    return [
        web.post("/api/runs", actions.spawn),
        *(web.post(f"/api/runs/{{id}}/{name}", _page(handler)) for name, handler in pages.items()),
    ]


def _page(handler: Handler) -> Handler:
    """A plain function, on which the needed scope can stand."""

    @scope("operator")
    async def page(request: web.Request) -> web.Response:
        return await handler(request)

    return page


class RunActions:
    """What the pages do."""

    def __init__(self, control: Control) -> None:
        self._control = control

    async def change(self, request: web.Request, act: Callable[[Transaction, Run], Answer]) -> web.Response:
        """`POST /api/runs/{id}/{stop,pause,resume,retry}`."""
        body = await read_body(request, Nothing)
        done = await self._once(request, body, lambda tx: act(tx, run_of(tx, request.match_info["id"])))
        return answer(done)

    async def steer(self, request: web.Request) -> web.Response:
        """`POST /api/runs/{id}/steer`."""
        body = await read_body(request, MessageBody)
        return answer(await self._once(request, body, partial(self._message, request, body.message, steer=True)))

    async def send(self, request: web.Request) -> web.Response:
        """`POST /api/runs/{id}/send`: with `waitSeconds` it answers with the reply, or null if none came in time."""
        body = await read_body(request, SendBody)
        done = await self._once(request, body, partial(self._message, request, body.message, steer=False))
        if not body.wait_seconds:
            return answer({**done, "reply": None})
        reply = await self._control.replies.wait(done["runId"], done["inboxId"], body.wait_seconds)
        return answer({**done, **_replied(done, reply, body.wait_seconds)})

    async def spawn(self, request: web.Request) -> web.Response:
        """`POST /api/runs`: starts a sub-agent as a user, with the checks of `sessions_spawn`."""
        body = await read_body(request, SpawnBody)
        queues, who = request.app[GATEWAY].queues, caller(request)
        await check_key(request, who, body.session_key, "sessionKey")

        def unit(tx: Transaction) -> Answer:
            session = queues.session(tx, body.session_key, owned=True)
            route = session.last_route or Route(CHANNEL, "default", session.key).to_json()
            return self._control.spawn(tx, session, body, route, f"http:{who.name}")

        return answer(await self._once(request, body, unit), 202)

    def _message(self, request: web.Request, message: str, tx: Transaction, *, steer: bool) -> Answer:
        run = run_of(tx, request.match_info["id"])
        who = caller(request)
        origin = Origin(None, who.name, f"http:{uuid.uuid4().hex}")
        return self._control.sent(tx, self._control.send(tx, run, message, origin, steer=steer), steer=steer)

    async def _once(
        self, request: web.Request, body: BaseModel, unit: Callable[[Transaction], Answer]
    ) -> dict[str, Any]:
        """Does something once for each `Idempotency-Key`; its text and details in one object."""
        given = idempotency_key(request, caller(request))
        wanted = idempotency.digest(request.path, body.model_dump_json(by_alias=True))

        def flat(tx: Transaction) -> dict[str, Any]:
            done = unit(tx)
            return {"text": done.text, **done.details}

        def work(tx: Transaction) -> idempotency.Answer:
            return idempotency.once(tx, f"http:{given}" if given else None, wanted, lambda: flat(tx))

        try:
            return dict(await request.app[GATEWAY].database.run(work))
        except Refused as refused:
            raise ApiError(403 if refused.status == "forbidden" else 400, str(refused)) from None
        except CommandError as error:
            raise ApiError(409, str(error)) from None
        except idempotency.KeyReused:
            raise ApiError(
                409,
                "another request was accepted under this key",
                field="Idempotency-Key",
                hint="use a new key for every new request",
            ) from None


def _replied(done: dict[str, Any], reply: Reply, seconds: float) -> dict[str, Any]:
    said = reply_text(done["run"]["label"], reply, seconds)
    return {"reply": reply.text, "text": f"{done['text']}\n{said}"}
