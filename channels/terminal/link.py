"""The way to the gateway: joins the one that runs on the state folder, or runs one in this process.

Owns the client and, if this process hosts, the gateway. Whoever uses it always speaks HTTP to whatever gateway there is
now. When the process that held the gateway is gone, the first chat that gets the lock takes over; the others join it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from channels.terminal import texts
from channels.terminal.host import HostedGateway
from gateway.cli.context import CliContext, CliError
from gateway.client import ApiClient, ApiError, Unreachable
from gateway.client.find import answering
from gateway.store.lock import LockHeld

STARTING_SECONDS = 10.0
"""How long a gateway that is just starting is waited for (issue part 12)."""
LEAVING_SECONDS = 60.0
"""The same after a gateway was lost: one that stops gracefully holds its lock until it has drained."""
GRACE_SECONDS = 1.0
"""A lost gateway may be restarting: it gets this long before a chat takes over."""
POLL_SECONDS = 0.1
RETRIES = 5

T = TypeVar("T")


class Link:
    """The connection of one chat.

    Args:
        context: where the state folder and the configuration are.
        tell: shows a sentence to the person.
    """

    def __init__(self, context: CliContext, tell: Callable[[str], None]) -> None:
        self._context = context
        self._tell = tell
        self._client: ApiClient | None = None
        self._host: HostedGateway | None = None
        self._attaching = asyncio.Lock()
        self.pid = 0
        """Process of the gateway in use."""

    @property
    def hosting(self) -> bool:
        """Whether the gateway is inside this process."""
        return self._host is not None and self._host.alive

    async def connect(self) -> ApiClient:
        """A client to a gateway that answers; starts or joins one if need be.

        Raises:
            CliError: somebody holds the state folder but doesn't answer.
            Exception: what keeps a gateway in this process from starting.
        """
        async with self._attaching:
            known = self._client
            if known is None:
                return await self._attach(STARTING_SECONDS)
            if await self._answers(known):
                return known
            await known.close()
            return await self._attach_again()

    async def call(self, action: Callable[[ApiClient], Awaitable[T]]) -> T:
        """Does something idempotent with the gateway, again if that gateway goes away in the middle.

        Raises:
            ApiError: the gateway refuses it.
            CliError: there is no gateway to be had.
        """
        for _ in range(RETRIES):
            client = self._client or await self.connect()
            try:
                return await action(client)
            except Unreachable:
                await self.connect()
            except ApiError as error:
                if error.status != 503:
                    raise
                await asyncio.sleep(POLL_SECONDS)
        raise CliError("the gateway went away again and again; see `laneway doctor`")

    async def close(self) -> None:
        """Closes the connection, and stops the gateway if it is inside this process."""
        if self._client is not None:
            await self._client.close()
        if self._host is not None and self._host.alive:
            await self._host.stop()

    async def _attach_again(self) -> ApiClient:
        """A gateway was lost: joins its successor, or becomes it."""
        until = time.monotonic() + GRACE_SECONDS
        while not self.hosting and time.monotonic() < until:
            if (client := await self._join()) is not None:
                self._tell(texts.REJOINED)
                return client
            await asyncio.sleep(POLL_SECONDS)
        client = await self._attach(LEAVING_SECONDS)
        self._tell(texts.TOOK_OVER if self.hosting else texts.REJOINED)
        return client

    async def _attach(self, patience: float) -> ApiClient:
        deadline = time.monotonic() + patience
        while True:
            client = await self._join() or await self._host_one(deadline)
            if client is not None:
                return client
            await asyncio.sleep(POLL_SECONDS)

    async def _join(self) -> ApiClient | None:
        client = await answering(self._context.paths, self._context.token())
        return await self._adopt(client) if client else None

    async def _host_one(self, deadline: float) -> ApiClient | None:
        """Runs a gateway here; None if another process has the state folder and there is time to wait for it."""
        host = HostedGateway(self._context)
        try:
            await host.start()
        except LockHeld as error:
            if time.monotonic() > deadline:
                raise CliError(texts.holder_silent(error.pid, str(self._context.paths.state))) from error
            return None
        self._host = host
        client = await answering(self._context.paths, self._context.token())
        if client is None:
            raise CliError("the gateway in this process doesn't answer; see `laneway doctor`")
        return await self._adopt(client)

    async def _adopt(self, client: ApiClient) -> ApiClient:
        self._client = client
        self.pid = (await client.status()).pid
        return client

    async def _answers(self, client: ApiClient) -> bool:
        try:
            return (await client.status()).pid == self.pid
        except Unreachable:
            return False
