"""A chat platform on loopback and the channel that posts to it, for tests of routes, senders and delivery."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from gateway.channel import Capabilities, Channel, DeliveryError, Intake, Post
from gateway.plugins import Registry
from gateway.routes import Accepted, InboundMessage, Route, Sender

SERVER_ERROR = 500
CLIENT_ERROR = 400
TOO_MANY = 429


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the platform makes of the next post."""

    status: int = 200
    retry_after: str | None = None
    hold: asyncio.Event | None = None
    """Nothing is answered before this is set."""
    reason: str = ""


class ChatPlatform:
    """A platform that takes posts over HTTP. `posts` is what arrived, `taken` what it accepted."""

    def __init__(self) -> None:
        self.posts: list[dict[str, Any]] = []
        self.verdicts: deque[Verdict] = deque()
        """For the next posts, in order; afterwards all are taken."""
        self.url = ""
        self._arrival = asyncio.Condition()

    @property
    def taken(self) -> list[dict[str, Any]]:
        """Posts that were accepted."""
        return [post for post in self.posts if post["status"] == web.HTTPOk.status_code]

    def texts(self, chat: str | None = None) -> list[str]:
        """Texts of the accepted posts, of one chat or of all."""
        return [post["text"] for post in self.taken if chat in (None, post["route"]["chat"])]

    async def wait_posts(self, count: int, matches: Callable[[dict[str, Any]], bool] = lambda _post: True) -> None:
        """Waits until so many posts that match have arrived."""
        async with asyncio.timeout(30), self._arrival:
            await self._arrival.wait_for(lambda: sum(map(matches, self.posts)) >= count)

    async def answer(self, request: web.Request) -> web.Response:
        """Takes a post, or does what the next verdict says."""
        verdict = self.verdicts.popleft() if self.verdicts else Verdict()
        async with self._arrival:
            self.posts.append({**await request.json(), "status": verdict.status})
            self._arrival.notify_all()
        if verdict.hold is not None:
            await verdict.hold.wait()
        headers = {"Retry-After": verdict.retry_after} if verdict.retry_after else None
        return web.json_response(
            {"id": f"m{len(self.posts)}", "reason": verdict.reason}, status=verdict.status, headers=headers
        )


@asynccontextmanager
async def chat_platform() -> AsyncGenerator[ChatPlatform]:
    """A platform that listens."""
    platform = ChatPlatform()
    app = web.Application()
    app.router.add_post("/post", platform.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    platform.url = f"http://127.0.0.1:{runner.addresses[0][1]}/post"
    try:
        yield platform
    finally:
        await runner.cleanup()


class ChatChannel(Channel):
    """The channel `chat`, as a plugin of one channel."""

    name = "chat"
    capabilities = Capabilities()

    def __init__(self, url: str) -> None:
        self._url = url
        self._http: aiohttp.ClientSession | None = None
        self._intake: Intake | None = None
        self._numbers = itertools.count(1)

    def register(self, registry: Registry) -> None:
        """As a plugin it registers itself."""
        registry.channel(self)

    async def receive(
        self,
        text: str,
        chat: str = "room",
        *,
        thread: str | None = None,
        sender: str = "ann",
        owner: bool = True,
        session: str | None = None,
        message_id: str | None = None,
    ) -> Accepted:
        """A person has written something."""
        assert self._intake is not None, "the channel isn't started"
        number = message_id or f"n{next(self._numbers)}"
        key = session or f"agent:main:chat:{chat}"
        route = Route("chat", "default", chat, thread)
        who = Sender(f"chat:{sender}", sender, owner=owner)
        return await self._intake.accept(InboundMessage(route, key, text, who, f"chat:default:{number}"))

    async def start(self, intake: Intake) -> None:
        """Begins to take events."""
        self._intake = intake
        self._http = aiohttp.ClientSession()

    async def stop(self) -> None:
        """Takes no more."""
        self._intake = None
        if self._http is not None:
            await self._http.close()

    async def post(self, post: Post) -> str | None:
        """Posts a text over HTTP."""
        route = {"chat": post.route.chat, "thread": post.route.thread}
        body = {"id": post.id, "route": route, "text": post.text, "recovered": post.recovered}
        assert self._http is not None, "the channel isn't started"
        try:
            async with self._http.post(self._url, json=body) as response:
                answer = await response.json()
                if response.status < CLIENT_ERROR:
                    return str(answer["id"])
                wait = response.headers.get("Retry-After")
                raise DeliveryError(
                    f"{response.status} {answer['reason']}".strip(),
                    permanent=CLIENT_ERROR <= response.status < SERVER_ERROR and response.status != TOO_MANY,
                    retry_after=float(wait) if wait else None,
                )
        except aiohttp.ClientError as error:
            raise DeliveryError(f"can't reach the platform: {error}") from error
