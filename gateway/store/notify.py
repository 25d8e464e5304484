"""The bus on PostgreSQL: LISTEN and NOTIFY, on a connection of its own that is made again whenever it is lost.

The same connection holds the gateway's advisory lock, which dies with it: after a loss the gateway takes it again, or
learns that another one has taken its place. Words of this process are recognised and left out.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql

from gateway.bus import Heard
from gateway.store.database import StoreError, Transaction
from gateway.store.postgres import PostgresDatabase
from gateway.store.postgres_connect import connect_async, explain, server_of
from gateway.store.postgres_transaction import PostgresTransaction

CHANNEL = "laneway"
MOST_BYTES = 7_900
"""The server carries 8,000."""
GATHER_SECONDS = 0.02
"""Fleeting words within this time are carried together."""
FIRST_WAIT_SECONDS = 0.1
LONGEST_WAIT_SECONDS = 5.0

REFUSALS = 5
"""A lost connection may hold its lock a little longer: so many refusals in a row mean that somebody else has it."""

log = logging.getLogger(__name__)


class Taken(Exception):
    """Another process holds the lock that this one wants."""


class PostgresBus:
    """`Bus` over the database's own notifications."""

    def __init__(self, database: PostgresDatabase, own_id: str) -> None:
        """
        Args:
            database: whose processes talk.
            own_id: this process.
        """
        self._database = database
        self._own_id = own_id
        self._handlers: dict[str, list[Heard]] = {}
        self._channels: dict[str, list[Callable[[str], None]]] = {}
        self._returns: list[Callable[[], None]] = []
        self._waiting: list[str] = []
        self._flush: asyncio.TimerHandle | None = None
        self._flushing: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._lock_key: int | None = None
        self._on_displaced: Callable[[], None] = lambda: None

    @property
    def others(self) -> bool:
        """See `Bus.others`."""
        return True

    def send(self, tx: Transaction, kind: str, **words: Any) -> None:
        """See `Bus.send`."""
        if isinstance(tx, PostgresTransaction):
            tx.raw.execute("select pg_notify(%s, %s)", [CHANNEL, self._encoded(kind, words)])

    def say(self, kind: str, **words: Any) -> None:
        """See `Bus.say`."""
        self._waiting.append(self._encoded(kind, words))
        if self._flush is None:
            self._flush = asyncio.get_running_loop().call_later(GATHER_SECONDS, self._carry)

    def on(self, kind: str, heard: Heard) -> None:
        """See `Bus.on`."""
        self._handlers.setdefault(kind, []).append(heard)

    def on_channel(self, channel: str, callback: Callable[[str], None]) -> None:
        """Is called with each notice of another process on a channel that isn't the bus's own: the queue's."""
        self._channels.setdefault(channel, []).append(callback)

    def on_return(self, callback: Callable[[], None]) -> None:
        """See `Bus.on_return`."""
        self._returns.append(callback)

    def hold(self, key: int, on_displaced: Callable[[], None]) -> None:
        """From `start` on the connection holds an advisory lock as well.

        Args:
            key: which.
            on_displaced: is called if another process has it after this one had lost its connection.
        """
        self._lock_key, self._on_displaced = key, on_displaced

    async def start(self) -> None:
        """See `Bus.start`.

        Raises:
            Taken: another process holds the lock.
            StoreError: the server can't be reached.
        """
        self._task = asyncio.create_task(self._run(await self._connected()), name="bus")

    async def stop(self) -> None:
        """See `Bus.stop`."""
        if self._flush is not None:
            self._carry()
        await asyncio.gather(*self._flushing, return_exceptions=True)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    # ---- speaking ----

    def _encoded(self, kind: str, words: dict[str, Any]) -> str:
        text = json.dumps({"from": self._own_id, "kind": kind, **words}, ensure_ascii=False)
        if len(text.encode("utf-8", "replace")) > MOST_BYTES:
            return json.dumps({"from": self._own_id, "kind": kind, "cut": True})
        return text

    def _carry(self) -> None:
        self._flush = None
        waiting, self._waiting = self._waiting, []
        task = asyncio.create_task(self._carried(waiting), name="bus:say")
        self._flushing.add(task)
        task.add_done_callback(self._flushing.discard)

    async def _carried(self, waiting: list[str]) -> None:
        try:
            await self._database.run_relaxed(_notify, waiting)
        except StoreError as error:
            log.info("%d words to other processes were lost: %s", len(waiting), error)

    # ---- listening ----

    async def _connected(self) -> AsyncConnection[Any]:
        connection = await connect_async(self._database.url, "bus")
        try:
            await self._lock(connection)
            for channel in (CHANNEL, *self._channels):
                await connection.execute(sql.SQL("listen {}").format(sql.Identifier(channel)))
        except psycopg.Error as error:
            await connection.close()
            raise explain(error, self._database.url) from error
        except Taken:
            await connection.close()
            raise
        return connection

    async def _lock(self, connection: AsyncConnection[Any]) -> None:
        if self._lock_key is None:
            return
        cursor = await connection.execute("select pg_try_advisory_lock(%s)", [self._lock_key])
        row = await cursor.fetchone()
        if row is None or not row[0]:
            raise Taken

    async def _run(self, connection: AsyncConnection[Any]) -> None:
        while True:
            try:
                async for notice in connection.notifies():
                    self._hear(notice)
            except psycopg.Error as error:
                log.warning("the bus has lost its connection: %s", explain(error, self._database.url))
            finally:
                await connection.close()
            connection = await self._again()
            for callback in self._returns:
                callback()

    async def _again(self) -> AsyncConnection[Any]:
        wait, refusals = FIRST_WAIT_SECONDS, 0
        while True:
            try:
                connection = await self._connected()
            except StoreError as error:
                log.info("the bus waits for the database: %s", error)
            except Taken:
                refusals += 1
                if refusals == REFUSALS:
                    self._on_displaced()
            else:
                log.warning("the bus listens again on %s", server_of(self._database.url))
                return connection
            await asyncio.sleep(wait)  # nothing tells when a server is back
            wait = min(LONGEST_WAIT_SECONDS, wait * 2)

    def _hear(self, notice: psycopg.Notify) -> None:
        if notice.channel != CHANNEL:
            if not self._database.is_own(notice.pid):
                for callback in self._channels.get(notice.channel, ()):
                    callback(notice.payload)
            return
        try:
            words = json.loads(notice.payload)
        except ValueError:
            log.warning("somebody else uses the channel `%s` of this database", CHANNEL)
            return
        if words.pop("from", None) == self._own_id:
            return
        kind = words.pop("kind", "")
        for heard in self._handlers.get(kind, ()):
            heard({} if words.pop("cut", False) else words)


def _notify(tx: Transaction, payloads: list[str]) -> None:
    if isinstance(tx, PostgresTransaction):
        for payload in payloads:
            tx.raw.execute("select pg_notify(%s, %s)", [CHANNEL, payload])
