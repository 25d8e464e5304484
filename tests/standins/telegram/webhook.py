"""Updates sent to the bot's own address: in order per chat, again until the answer is 2xx."""

from __future__ import annotations

import asyncio
import math
from typing import Any

import aiohttp

from tests.standins.telegram.updates import Update
from tests.standins.telegram.world import World

Json = dict[str, Any]

READ_TIMEOUT = 60
UNREACHABLE = 0
SECRET_HEADER = "X-Telegram-Bot-Api-Secret-Token"  # noqa: S105 -- the header's name


class Webhook:
    """The outgoing side. `point` sets where to; nothing is sent while there is no address.

    Args:
        world: whose updates it sends.
        retry_seconds: pause after an answer that wasn't 2xx, unless it carried Retry-After.
    """

    def __init__(self, world: World, *, retry_seconds: float = 0.2) -> None:
        self.url = ""
        self.secret = ""
        self.attempts: list[tuple[int, int]] = []
        """Update id and HTTP status (0: not reached) of every try."""
        self._world = world
        self._retry_seconds = retry_seconds
        self._connections = 40
        self._error: tuple[int, str] | None = None
        self._lanes: dict[int, asyncio.Task[None]] = {}
        self._dispatcher: asyncio.Task[None] | None = None
        self._http: aiohttp.ClientSession | None = None

    def point(self, url: str, secret: str, connections: int) -> None:
        """Sends to this address from now on; an empty one ends it."""
        self.url, self.secret, self._connections = url, secret, connections
        self._error = None
        self._world.changes.mark()

    def info(self) -> Json:
        """As `WebhookInfo`."""
        body: Json = {
            "url": self.url,
            "has_custom_certificate": False,
            "pending_update_count": len(self._world.updates.pending),
        }
        if self.url:
            body |= {"max_connections": self._connections, "ip_address": "127.0.0.1"}
        if self._world.updates.allowed:
            body["allowed_updates"] = list(self._world.updates.allowed)
        if self._error is not None:
            body |= {"last_error_date": self._error[0], "last_error_message": self._error[1]}
        return body

    async def start(self) -> None:
        """Begins to send."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=READ_TIMEOUT))
        self._dispatcher = asyncio.create_task(self._dispatch(), name="telegram webhook")

    async def stop(self) -> None:
        """Sends no more."""
        tasks = [task for task in (self._dispatcher, *self._lanes.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    async def _dispatch(self) -> None:
        """One lane for each chat that has something to send, as many at once as there may be connections."""
        version = -1
        while True:
            version = await self._world.changes.after(version, math.inf)
            self._lanes = {order: task for order, task in self._lanes.items() if not task.done()}
            if not self.url:
                continue
            for order in dict.fromkeys(update.order for update in self._world.updates.pending):
                if order not in self._lanes and len(self._lanes) < self._connections:
                    self._lanes[order] = asyncio.create_task(self._drain(order), name=f"telegram webhook {order}")

    async def _drain(self, order: int) -> None:
        updates = self._world.updates
        while self.url and (update := next((u for u in updates.pending if u.order == order), None)):
            status, wait = await self._deliver(update)
            self.attempts.append((update.id, status))
            if 200 <= status < 300:
                updates.confirm([update.id])
                continue
            self._world.changes.mark()
            await asyncio.sleep(wait)

    async def _deliver(self, update: Update) -> tuple[int, float]:
        """HTTP status, and how long to wait if that was none of 2xx."""
        assert self._http is not None, "the webhook isn't started"
        headers = {SECRET_HEADER: self.secret} if self.secret else {}
        try:
            async with self._http.post(self.url, json=update.to_json(), headers=headers) as answer:
                await answer.read()
                if 200 <= answer.status < 300:
                    self._error = None
                    return answer.status, 0
                self._failed(f"Wrong response from the webhook: {answer.status} {answer.reason}")
                return answer.status, float(answer.headers.get("Retry-After", self._retry_seconds))
        except TimeoutError:
            self._failed("Read timeout expired")
        except aiohttp.ClientConnectorError:
            self._failed("Connection refused")
        except aiohttp.ClientError:
            self._failed("Connection reset by peer")
        return UNREACHABLE, self._retry_seconds

    def _failed(self, reason: str) -> None:
        self._error = (self._world.clock.unix(), reason)
