"""The API client against a small server on loopback: refusals, lost connections, events that come once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager

import pytest
from aiohttp import web

from gateway.client import ApiClient, ApiError, Unreachable
from gateway.client.events import Event, EventParser, Subscription

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler) -> AsyncGenerator[ApiClient]:
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", handler)
    runner = web.AppRunner(application, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with ApiClient(f"http://127.0.0.1:{runner.addresses[0][1]}", "secret") as client:
            yield client
    finally:
        await runner.cleanup()


def parse(text: str) -> list[Event]:
    parser = EventParser()
    found = (parser.feed(line) for line in text.split("\n"))
    return [event for event in found if event is not None]


def test_events_are_parsed() -> None:
    text = (
        ': keep-alive\n\nid: 7\nevent: message\ndata: {"text":\ndata: "hi"}\n\nid: 9\n\n'
        "event: delta\ndata: {}\n\ndata: broken\n\n"
    )
    assert parse(text) == [
        Event("message", {"text": "hi"}, 7),
        Event("position", {}, 9),
        Event("delta", {}, None),
    ]


async def test_a_refusal_tells_what_to_do() -> None:
    async def refuse(request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer secret"
        return web.json_response({"error": {"message": "no such session", "hint": "list them"}}, status=404)

    async with serving(refuse) as client:
        with pytest.raises(ApiError, match=r"no such session \(list them\)") as caught:
            await client.session("agent:main:main")
    assert caught.value.status == 404


async def test_something_else_at_the_address_is_told_apart() -> None:
    async def other(_request: web.Request) -> web.Response:
        return web.Response(text="<html>")

    async with serving(other) as client:
        with pytest.raises(ApiError, match="not JSON"):
            await client.status()
    with pytest.raises(Unreachable, match="doesn't answer"):
        await client.status()


async def test_a_new_connection_goes_on_where_the_last_one_ended() -> None:
    asked: list[str | None] = []

    async def stream(request: web.Request) -> web.StreamResponse:
        asked.append(request.headers.get("Last-Event-ID"))
        response = web.StreamResponse()
        await response.prepare(request)
        if len(asked) == 1:
            await response.write(b"id: 41\n\n")
        elif len(asked) == 2:
            await response.write(b'id: 42\nevent: message\ndata: {"n": 1}\n\nevent: delta\ndata: {"n": 2}\n\n')
        else:
            await response.write(
                b'id: 42\nevent: message\ndata: {"n": 1}\n\nid: 43\nevent: message\ndata: {"n": 3}\n\n'
            )
            await asyncio.sleep(60)
        return response

    lost: list[str] = []
    async with serving(stream) as client:

        async def connect() -> ApiClient:
            return client

        subscription = Subscription(connect, "agent:main:main", on_lost=lost.append)
        async with aclosing(subscription.events()) as events:
            numbers = [(await anext(events)).data["n"] for _ in range(3)]
    assert numbers == [1, 2, 3]
    assert asked == [None, "41", "42"]
    assert len(lost) == 2


async def test_a_long_event_arrives_whole() -> None:
    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'event: message\ndata: {"text": "' + b"x" * 3_000_000 + b'"}\n\n')
        return response

    async with serving(stream) as client, aclosing(client.stream(None, None, lambda: None)) as events:
        assert len((await anext(events)).text("text")) == 3_000_000
