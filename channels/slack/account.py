"""One Slack app in one workspace: its connection, and what comes in over it.

Everything that Slack sends is committed before it is acknowledged: a middleware of bolt's does the work and answers
itself, and no listener follows it (spec/channels.md 1). A connection that can't be made is tried again for ever, and
says in `state` why.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier

from channels.slack.client import Api
from channels.slack.events import Events
from channels.slack.identity import Identity, Names
from channels.slack.posts import Posts
from gateway.channel import DeliveryError, Intake, Live, Mark, Opening, Post
from gateway.config.channels import SlackAccount
from gateway.routes import Route
from gateway.tasks import TaskSet

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
PING_SECONDS = 5
UNAVAILABLE = 503

log = logging.getLogger(__name__)


class Account:
    """A connection to Slack."""

    def __init__(self, name: str, settings: SlackAccount, intake: Intake) -> None:
        self.state = "connecting"
        """For people: `connected`, or what is wrong."""
        self._name = name
        self._settings = settings
        self._intake = intake
        self._tasks = TaskSet()
        self._stopping = asyncio.Event()
        self._http = aiohttp.ClientSession()
        token = settings.bot_token.get_secret_value() if settings.bot_token else ""
        self._api = Api(token, settings.api_url, self._http)
        self._names = Names(self._api)
        secret = settings.signing_secret.get_secret_value() if settings.signing_secret else ""
        self._verifier = SignatureVerifier(secret) if secret else None
        self._app: AsyncApp | None = None
        self._socket: AsyncSocketModeHandler | None = None
        self._events: Events | None = None
        self._posts = Posts(name, self._api, self._names, self._http)

    def start(self) -> None:
        """Begins to connect."""
        self._tasks.spawn(self._connect(), f"slack:{self._name}")

    async def stop(self) -> None:
        """Disconnects; what is still being answered is given up."""
        self._stopping.set()
        if self._socket is not None:
            await self._socket.close_async()
        await self._tasks.stop()
        await self._http.close()

    # ---- what comes in ----

    def signed(self, body: str, headers: Mapping[str, str]) -> bool:
        """Whether an HTTP request carries this account's signature."""
        return self._verifier is not None and self._verifier.is_valid_request(body, dict(headers))

    async def take(self, body: str, headers: Mapping[str, str]) -> web.Response:
        """Handles an HTTP request of Slack's; one that comes too early is sent again by Slack."""
        if self._app is None:
            return web.json_response({"error": "not connected yet"}, status=UNAVAILABLE)
        multiple: dict[str, str | Sequence[str]] = {key: [value] for key, value in headers.items()}
        answer = await self._app.async_dispatch(AsyncBoltRequest(body=body, headers=multiple, mode="http"))
        kind = answer.headers.get("content-type", ["text/plain"])[0].partition(";")[0]
        return web.Response(text=answer.body, status=answer.status, content_type=kind)

    async def _connect(self) -> None:
        wait = FIRST_RETRY_SECONDS
        while not self._stopping.is_set():
            try:
                await self._try_to_connect()
            except DeliveryError as error:
                self.state = str(error)
                log.warning("slack account %s isn't connected: %s", self._name, error)
            else:
                self.state = "connected"
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), wait)
            wait = min(LONGEST_RETRY_SECONDS, wait * 2)

    async def _try_to_connect(self) -> None:
        identity = Identity.of(await self._api("auth_test"))
        self._events = Events(self._name, self._settings, identity, self._intake, self._names, self._posts, self._tasks)
        self._posts.identity = identity
        self._app = self._make_app()
        if self._settings.mode != "http":
            await self._open_socket(self._app)

    def _make_app(self) -> AsyncApp:
        secret = self._settings.signing_secret.get_secret_value() if self._settings.signing_secret else "unused"
        app = AsyncApp(
            client=self._api.client,
            signing_secret=secret,
            request_verification_enabled=self._settings.mode == "http",
            process_before_response=True,
            ignoring_self_events_enabled=True,
        )
        use: Callable[..., Any] = getattr(app, "use")  # noqa: B009 - the library leaves it untyped
        use(self._middleware)
        return app

    async def _middleware(self, body: dict[str, Any], next: Callable[[], Awaitable[None]]) -> BoltResponse:
        """Commits what came, and answers; what the gateway breaks at is not acknowledged, so that it comes again."""
        if self._events is None:
            return BoltResponse(status=UNAVAILABLE, body="")
        answer = await self._events.take(body)
        if answer is None:
            return BoltResponse(status=200, body="")
        return BoltResponse(status=200, body=json.dumps(answer), headers={"content-type": "application/json"})

    async def _open_socket(self, app: AsyncApp) -> None:
        token = self._settings.app_token.get_secret_value() if self._settings.app_token else ""
        api = Api(token, self._settings.api_url)
        handler = AsyncSocketModeHandler(app, token, web_client=api.client, ping_interval=PING_SECONDS)
        # Asked first: the library's own errors don't say what is wrong.
        await api("apps_connections_open", app_token=token)
        self._socket = handler
        await handler.connect_async()

    # ---- what goes out ----

    async def post(self, post: Post) -> str | None:
        """See `Channel.post`."""
        return await self._posts.post(post)

    async def stream(self, post: Post) -> Live:
        """See `Channel.stream`."""
        return await self._posts.stream(post)

    async def status(self, route: Route, *, active: bool) -> None:
        """See `Channel.typing`."""
        await self._posts.status(route, active=active)

    async def mark(self, route: Route, message_id: str, mark: Mark) -> None:
        """See `Channel.mark`."""
        await self._posts.mark(route, message_id, mark)

    async def open_thread(self, opening: Opening) -> Route:
        """See `Channel.open_thread`."""
        return await self._posts.open_thread(opening)

    async def close_thread(self, route: Route) -> None:
        """See `Channel.close_thread`."""
        await self._posts.close_thread(route)
