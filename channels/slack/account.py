"""One Slack app in one workspace: its connection, and what comes in over it.

Everything that Slack sends is committed before it is acknowledged: a middleware of bolt's does the work and answers
itself, and no listener follows it (spec/channels.md 1). It stands before bolt's own authorization, which acknowledges
what comes while Slack can't be asked. A connection that can't be made is tried again for ever, and says in `state`
why; one that the library doesn't get back is made anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

import aiohttp
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier

from channels.slack.client import SECONDS, Api
from channels.slack.events import Events
from channels.slack.identity import Identity, Names
from channels.slack.posts import Posts
from gateway.channel import DeliveryError, Intake, Live, Mark, Opening, Post
from gateway.config.channels import SlackAccount
from gateway.routes import Route
from gateway.tasks import TaskSet
from gateway.waiting import rung

FIRST_RETRY_SECONDS = 1.0
LONGEST_RETRY_SECONDS = 60.0
PING_SECONDS = 2
"""How soon the library sees that its socket is gone."""
OPEN_SECONDS = 30.0
"""How long the library may take to open a socket."""
LOOK_SECONDS = 20.0
"""Between two looks at the socket; nothing tells of its end."""
LOST_LOOKS = 3
"""Looks without a socket after which it is given up. The library asks for an address once, and may try it for ever."""
UNAVAILABLE = 503
STOP_SECONDS = 5.0
"""What a stop gives to what has come in and isn't committed yet."""
CONNECTED = "connected"

log = logging.getLogger(__name__)


class Account:
    """A connection to Slack."""

    def __init__(self, name: str, settings: SlackAccount, intake: Intake, policy: Callable[[], SlackAccount]) -> None:
        """
        Args:
            name: of the account.
            settings: what it is connected with.
            intake: gets what comes in.
            policy: its settings as they are now.
        """
        self._state = "connecting"
        self._name = name
        self._settings = settings
        self._intake = intake
        self._policy = policy
        self._tasks = TaskSet()
        self._stopping = asyncio.Event()
        self._taking: set[asyncio.Task[Any]] = set()
        """Who is at something that has come in; the tasks are the library's."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SECONDS))
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
        """Takes no more, commits what has come in, and disconnects."""
        self._stopping.set()
        await self._tasks.stop()
        if self._taking:
            await asyncio.wait(tuple(self._taking), timeout=STOP_SECONDS)
        await self._close_socket()
        await self._http.close()

    @property
    def state(self) -> str:
        """For people: `connected`, or what is wrong."""
        lost = self._socket is not None and not _is_open(self._socket)
        return "reconnecting" if lost and self._state == CONNECTED else self._state

    @property
    def live(self) -> int:
        """How many answers are being written."""
        return self._posts.live

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
        """Connects, and goes on to see to it that the account stays so."""
        wait = FIRST_RETRY_SECONDS
        while not self._stopping.is_set():
            try:
                await self._try_to_connect()
            except DeliveryError as error:
                self._state = str(error)
                log.warning("slack account %s isn't connected: %s", self._name, error)
                await self._close_socket()
                await self._pause(wait)
                wait = min(LONGEST_RETRY_SECONDS, wait * 2)
            else:
                self._state, wait = CONNECTED, FIRST_RETRY_SECONDS
                if self._socket is None:
                    return
                await self._watch(self._socket)

    async def _try_to_connect(self) -> None:
        identity = Identity.of(await self._api("auth_test"))
        self._posts.identity = identity
        self._events = Events(self._name, self._policy, identity, self._intake, self._names, self._posts, self._tasks)
        self._app = AsyncApp(
            client=self._api.client,
            signing_secret="unused",  # noqa: S106 - `signed` has checked it
            request_verification_enabled=False,
            process_before_response=True,
            before_authorize=self._middleware,
        )
        if self._settings.mode != "http":
            await self._open_socket(self._app)

    async def _middleware(self, body: dict[str, Any], next: Callable[[], Awaitable[Any]]) -> BoltResponse | None:
        """Commits what came, and answers; what the gateway breaks at is not acknowledged, so that it comes again."""
        if body.get("type") == "url_verification":
            await next()  # bolt answers
            return None
        task = asyncio.current_task()
        if self._events is None or task is None or self._stopping.is_set():
            return BoltResponse(status=UNAVAILABLE, body="")
        self._taking.add(task)
        try:
            answer = await self._events.take(body)
        finally:
            self._taking.discard(task)
        if answer is None:
            return BoltResponse(status=200, body="")
        return BoltResponse(status=200, body=json.dumps(answer), headers={"content-type": "application/json"})

    async def _open_socket(self, app: AsyncApp) -> None:
        """Opens a socket, which the library keeps open from then on.

        Raises:
            DeliveryError: it can't.
        """
        token = self._settings.app_token.get_secret_value() if self._settings.app_token else ""
        api = Api(token, self._settings.api_url)
        # Asked here, because the library's own errors don't say what is wrong.
        address = str((await api("apps_connections_open", app_token=token)).get("url", ""))
        socket = self._socket = AsyncSocketModeHandler(app, token, web_client=api.client, ping_interval=PING_SECONDS)
        cast("Any", socket.client).wss_uri = address
        try:
            async with asyncio.timeout(OPEN_SECONDS):
                await socket.connect_async()
        except TimeoutError:
            raise DeliveryError("Slack's socket can't be opened") from None

    async def _watch(self, socket: AsyncSocketModeHandler) -> None:
        """Returns when the library has been without a socket for long, and it is closed."""
        lost = 0
        while lost < LOST_LOOKS:
            await self._pause(LOOK_SECONDS)
            if self._stopping.is_set():
                return
            lost = 0 if _is_open(socket) else lost + 1
        self._state = "reconnecting"
        log.warning("slack account %s has lost its socket; it is opened anew", self._name)
        await self._close_socket()

    async def _close_socket(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            await socket.close_async()

    async def _pause(self, seconds: float) -> None:
        await rung(self._stopping, seconds)

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


def _is_open(socket: AsyncSocketModeHandler) -> bool:
    session = socket.client.current_session
    return session is not None and not session.closed
