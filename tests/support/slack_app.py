"""A small Slack app made with the real libraries, for tests of the Slack stand-in: it keeps what it hears.

As a process of its own, `python -m tests.support.slack_app API_URL BOT_TOKEN APP_TOKEN`, it answers each message of a
person in its thread with `heard: …`, and acknowledges it only then; one that says `hang` it never acknowledges.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, cast

from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp, AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from tests.standins.slack import SlackWorkspace

PATH = "/slack/events"
Json = dict[str, Any]


class Heard:
    """An app that acknowledges everything. `bodies` is what it got, with the headers of redeliveries.

    Args:
        client: an `AsyncWebClient` with the bot's token.
        secret: that requests are signed with.
    """

    def __init__(self, client: Any, secret: str) -> None:
        self.client = client
        self.bodies: list[Json] = []
        self.headers: list[dict[str, Any]] = []
        self.say: str | Json = ""
        """What acknowledgements say."""
        self.deaf: asyncio.Event | None = None
        """Nothing is acknowledged before this is set."""
        self._arrival = asyncio.Condition()
        self.bolt = AsyncApp(
            client=client, signing_secret=secret, process_before_response=True, ignoring_self_events_enabled=False
        )
        self.bolt.use(self._hear)  # pyright: ignore[reportUnknownMemberType]

    @property
    def events(self) -> list[Json]:
        """The events among what it got."""
        return [body["event"] for body in self.bodies if "event" in body]

    def kinds(self) -> list[str]:
        """Type and subtype of each event."""
        return [event.get("subtype") or event["type"] for event in self.events]

    async def wait(self, enough: Callable[[list[Json]], bool]) -> None:
        """Waits until the bodies are enough."""
        async with asyncio.timeout(10), self._arrival:
            await self._arrival.wait_for(lambda: enough(self.bodies))

    async def _hear(self, req: AsyncBoltRequest) -> BoltResponse:
        async with self._arrival:
            self.bodies.append(req.body)
            self.headers.append(dict(req.headers))
            self._arrival.notify_all()
        if self.deaf is not None:
            await self.deaf.wait()
        return BoltResponse(status=200, body=self.say if "event" not in req.body else "")


def web_client(ws: SlackWorkspace, token: str | None = None) -> Any:
    """The client library on the stand-in; the bot's unless another token is given. `Any`, because its methods and
    answers have no usable types: a strict checker would object to every line of a test."""
    return AsyncWebClient(ws.app.bot_token if token is None else token, base_url=ws.api_url, retry_handlers=[])


async def refused(call: Awaitable[Any]) -> Json:
    """The answer of a call that is refused.

    Raises:
        AssertionError: it isn't.
    """
    try:
        await call
    except SlackApiError as error:
        return cast("Any", error).response.data
    raise AssertionError("the call was not refused")


@asynccontextmanager
async def by_socket(ws: SlackWorkspace) -> AsyncGenerator[Heard]:
    """An app in Socket Mode, connected."""
    heard = Heard(web_client(ws), ws.app.signing_secret)
    handler = AsyncSocketModeHandler(heard.bolt, ws.app.app_token, ping_interval=0.2)
    await handler.connect_async()  # pyright: ignore[reportUnknownMemberType]
    try:
        await ws.wait_connected()
        yield heard
    finally:
        await handler.close_async()  # pyright: ignore[reportUnknownMemberType]


@asynccontextmanager
async def by_http(ws: SlackWorkspace) -> AsyncGenerator[Heard]:
    """An app with a request URL, verified."""
    heard = Heard(web_client(ws), ws.app.signing_secret)
    runner = web.AppRunner(heard.bolt.web_app(PATH), access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        assert await ws.verify_url(f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}")
        yield heard
    finally:
        await runner.cleanup()


async def _answer(api_url: str, bot_token: str, app_token: str) -> None:
    client: Any = AsyncWebClient(bot_token, base_url=api_url)
    bolt = AsyncApp(client=client, process_before_response=True)

    async def hear(event: Json) -> None:
        if "hang" in event["text"]:
            await client.reactions_add(channel=event["channel"], timestamp=event["ts"], name="eyes")
            await asyncio.Event().wait()
        text = f"heard: {event['text']}"
        await client.chat_postMessage(channel=event["channel"], thread_ts=event["ts"], text=text)

    bolt.event("message")(hear)  # pyright: ignore[reportUnknownMemberType]
    await AsyncSocketModeHandler(bolt, app_token).start_async()  # pyright: ignore[reportUnknownMemberType]


if __name__ == "__main__":
    asyncio.run(_answer(*sys.argv[1:4]))
