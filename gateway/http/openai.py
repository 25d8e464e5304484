"""The OpenAI-compatible API: a model is an agent, a conversation is a session.

A request is one message on a route of its own, so that requests of one session queue in order and never mix. The
answer is what the agent posts there; what it posts later (announcements) is returned with the session's next request,
once. A client that leaves cancels nothing: his answer waits like any other post.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aiohttp import web

from gateway.events import Event, Subscription
from gateway.http.auth import caller, scope
from gateway.http.callers import check_key, idempotency_key
from gateway.http.channels import OPENAI
from gateway.http.errors import ApiError
from gateway.http.json import answer as json_answer
from gateway.http.json import read_body
from gateway.http.keys import GATEWAY
from gateway.http.media import keep
from gateway.http.messages import check_same
from gateway.http.openai_answers import Answer, Desk, answer, join, progress
from gateway.http.openai_request import NAME, Asked, ChatBody, agent_of, model_names, read_asked, user_key
from gateway.http.openai_stream import Chunks, Flow, usage_json
from gateway.http.stream import next_event, open_stream
from gateway.inbound import KEY
from gateway.routes import Accepted, InboundMessage, Route
from gateway.store import outbox

if TYPE_CHECKING:
    from gateway.app import Gateway

SESSION_HEADER = "X-Laneway-Session-Key"
DESK: web.AppKey[Desk] = web.AppKey("desk")
RECHECK_SECONDS = 15.0
"""A net below the events, and the rhythm of keep-alives in a stream."""
_STOPPING = ApiError(
    503,
    "the gateway is stopping; the message was accepted and its answer is kept",
    hint="send it again with the same Idempotency-Key, or send the next one, when the gateway runs again",
)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request on its way to its answer."""

    gateway: Gateway
    desk: Desk
    body: ChatBody
    session_key: str
    request_id: str
    created: int

    @property
    def route(self) -> Route:
        """The request's own address."""
        return Route(OPENAI, "default", self.session_key, self.request_id)

    @property
    def head(self) -> dict[str, Any]:
        """What every answer and chunk begins with."""
        return {"id": f"chatcmpl-{self.request_id}", "created": self.created, "model": self.body.model}

    @property
    def headers(self) -> dict[str, str]:
        """Tells a client in which session he is."""
        return {SESSION_HEADER: self.session_key}


@scope("read", "chat")
async def list_models(request: web.Request) -> web.Response:
    """`GET /v1/models`: the agents."""
    gateway = request.app[GATEWAY]
    return json_answer({"object": "list", "data": [_model(name) for name in model_names(gateway.config)]})


@scope("read", "chat")
async def show_model(request: web.Request) -> web.Response:
    """`GET /v1/models/{id}`."""
    name = request.match_info["id"]
    agent_of(request.app[GATEWAY].config, name)
    return json_answer(_model(name))


@scope("chat")
async def chat_completions(request: web.Request) -> web.StreamResponse:
    """`POST /v1/chat/completions`."""
    gateway, who = request.app[GATEWAY], caller(request)
    body = await read_body(request, ChatBody)
    agent_id, asked = agent_of(gateway.config, body.model), read_asked(body)
    request_id = idempotency_key(request, who) or uuid.uuid4().hex
    key = _session_key(request, body, agent_id or gateway.config.default_agent_id, request_id)
    await check_key(request, who, key, SESSION_HEADER)
    _check_agent(key, agent_id)
    exchange = Exchange(gateway, request.app[DESK], body, key, request_id, int(time.time()))
    with exchange.desk.waiting(exchange.route.to_json()):
        async with gateway.events.subscribe(last_id=None, wanted=_wanted(key)) as watch:
            accepted = await _accept(request, exchange, asked)
            respond = _respond_streaming if body.stream else _respond
            return await respond(request, exchange, watch, accepted)


async def _accept(request: web.Request, exchange: Exchange, asked: Asked) -> Accepted:
    pictures = await keep(exchange.gateway.paths, asked.pictures)
    accepted = await exchange.gateway.intake.accept(
        InboundMessage(
            exchange.route,
            exchange.session_key,
            asked.text,
            caller(request).sender(OPENAI),
            f"{OPENAI}:{exchange.request_id}",
            pictures,
        )
    )
    if accepted.duplicate:
        await check_same(exchange.gateway, accepted, exchange.session_key, asked.text)
    return accepted


async def _respond(
    request: web.Request, exchange: Exchange, watch: Subscription, accepted: Accepted
) -> web.StreamResponse:
    """The whole answer at once, after everything that was still to be told."""
    own = await _finished(exchange, watch, accepted)
    async with exchange.desk.earlier(exchange.session_key) as earlier:
        text = "\n\n".join(part for part in (join(earlier), own.text) if part)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        body = {"object": "chat.completion", "choices": [choice], "usage": usage_json(own.usage)}
        response = json_answer({**exchange.head, **body}, headers=exchange.headers)
        # Written here and not by aiohttp, so that the posts count as delivered only if that has worked.
        await response.prepare(request)
        await response.write_eof()
        await exchange.desk.delivered([*earlier, *own.posts])
    return response


async def _respond_streaming(
    request: web.Request, exchange: Exchange, watch: Subscription, accepted: Accepted
) -> web.StreamResponse:
    """The answer as it is written, after everything that was still to be told."""
    flow, options = Flow(), exchange.body.stream_options
    response = await open_stream(request, exchange.headers)
    chunks = Chunks(response, exchange.head, include_usage=bool(options and options.include_usage))
    await chunks.begin()
    async with exchange.desk.earlier(exchange.session_key) as earlier:
        await chunks.text(flow.show(join(earlier)))
        await exchange.desk.delivered(earlier)
    flow.end_part()
    try:
        own = await _finished(exchange, watch, accepted, _Writer(exchange, chunks, flow))
    except ApiError as error:
        await chunks.fail(error)
        return response
    await chunks.text(flow.show(own.text))
    await chunks.end(own.usage)
    await exchange.desk.delivered(own.posts)
    return response


class _Writer:
    """Shows what the agent writes, as long as it is this request's answer."""

    def __init__(self, exchange: Exchange, chunks: Chunks, flow: Flow) -> None:
        self._exchange = exchange
        self._chunks = chunks
        self._flow = flow
        self._own: dict[str, bool] = {}

    async def see(self, event: Event | None) -> None:
        """Takes the next event of the session; None is a silence."""
        if event is None:
            await self._chunks.alive()
        elif event.type in ("delta", "snapshot") and await self._is_own(str(event.data["messageId"])):
            await self._chunks.text(self._flow.follow(event))

    async def _is_own(self, message_id: str) -> bool:
        if message_id not in self._own:
            post = None
            if message_id.isdecimal():
                post = await self._exchange.gateway.database.read(outbox.find, int(message_id))
            self._own[message_id] = post is not None and post.route == self._exchange.route.to_json()
        return self._own[message_id]


async def _finished(
    exchange: Exchange, watch: Subscription, accepted: Accepted, writer: _Writer | None = None
) -> Answer:
    """Waits until the request's turn is over; a slash command has none.

    Raises:
        ApiError: 503 if the gateway stops first.
    """
    notice = accepted.reply or ""
    if accepted.inbox_id is None:
        return Answer(notice=notice)
    database = exchange.gateway.database
    reached = await database.read(progress, accepted.inbox_id)
    while not reached.over:
        try:
            event = await next_event(watch, RECHECK_SECONDS)
        except StopAsyncIteration:
            raise _STOPPING from None
        if writer is not None:
            await writer.see(event)
        if event is None or event.type in ("message", "idle"):
            reached = await database.read(progress, accepted.inbox_id)
    return await database.read(answer, exchange.route.to_json(), reached, notice)


def _wanted(key: str) -> Callable[[Event], bool]:
    kinds = ("message", "idle", "delta", "snapshot")
    return lambda event: event.session_key == key and event.type in kinds


def _session_key(request: web.Request, body: ChatBody, agent_id: str, request_id: str) -> str:
    given = request.headers.get(SESSION_HEADER)
    if given is not None:
        return given.strip()
    if body.user is not None:
        return user_key(agent_id, body.user)
    return f"agent:{agent_id}:api:{request_id}"


def _check_agent(key: str, agent_id: str | None) -> None:
    """A session has one agent: the model may name that one, or leave it open."""
    match = KEY.fullmatch(key)
    if agent_id is not None and match is not None and match["agent"] != agent_id:
        raise ApiError(
            400,
            f"this session belongs to agent `{match['agent']}`, not to `{agent_id}`",
            field="model",
            hint=f"use `{NAME}:{match['agent']}`, or another session",
        )


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": NAME}
