"""Socket Mode: WebSockets that the app opens, with envelopes that it acknowledges.

docs.slack.dev/apis/events-api/using-socket-mode: `hello`, envelopes, `disconnect` before Slack closes, at most ten
connections, of which each event goes to one.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import aiohttp
from aiohttp import web

from tests.standins.slack.model import Json
from tests.standins.slack.workspace import Workspace

MOST_CONNECTIONS = 10
Goodbye = Literal["warning", "refresh_requested", "link_disabled"]


@dataclass(eq=False, slots=True)
class Connection:
    """One open socket."""

    socket: web.WebSocketResponse
    request: web.Request
    leaving: bool = False
    """Was asked to go; gets nothing more."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)


class Sockets:
    """All sockets of the app. `connections` is who is connected, `acknowledged` counts envelopes."""

    def __init__(self, ws: Workspace) -> None:
        self._ws = ws
        self._tickets: set[str] = set()
        self._waiting: dict[str, asyncio.Future[Json]] = {}
        """Who waits for the acknowledgement of an envelope."""
        self._sent: dict[str, bool] = {}
        """Every envelope, and whether it may be answered with a payload."""
        self._turn = 0
        self.connections: list[Connection] = []
        self.opened = 0
        """How many sockets were ever opened."""
        self.acknowledged = 0
        self.listening = True
        """False: new sockets are refused, as in an outage."""

    def link(self) -> str:
        """An address for one connection."""
        ticket = str(uuid.uuid4())
        self._tickets.add(ticket)
        host = self._ws.base_url.removeprefix("http://")
        return f"ws://{host}/link/?ticket={ticket}&app_id={self._ws.app.id}"

    # ------------------------------------------------------------------ connections

    async def accept(self, request: web.Request) -> web.StreamResponse:
        """Serves one socket until it closes."""
        ticket = request.query.get("ticket", "")
        if not self.listening or ticket not in self._tickets:
            if self.listening:
                self._ws.fault(f"a socket with a ticket that is unknown or used: {ticket!r}")
            raise web.HTTPForbidden
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse(autoping=True)
        await socket.prepare(request)
        if len(self.connections) >= MOST_CONNECTIONS:
            await socket.send_json({"type": "disconnect", "reason": "too_many_websockets"})
            await socket.close()
            return socket
        connection = Connection(socket, request)
        await socket.send_json(self._hello())
        self.connections.append(connection)
        self.opened += 1
        self._ws.touch()
        try:
            async for message in socket:
                if message.type is aiohttp.WSMsgType.TEXT:
                    self._heard(str(message.data))
        finally:
            self._remove(connection)
        return socket

    async def say_goodbye(self, reason: Goodbye = "refresh_requested") -> None:
        """Asks every connection to be replaced; after `warning` it still gets events for a while."""
        for connection in tuple(self.connections):
            if reason != "warning":
                connection.leaving = True
            await connection.socket.send_json(
                {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-standin"}}
            )

    async def drop(self) -> int:
        """Cuts every connection without a word. Returns how many there were."""
        cut = tuple(self.connections)
        for connection in cut:
            if connection.request.transport is not None:
                connection.request.transport.abort()
            self._remove(connection)
        return len(cut)

    async def close(self) -> None:
        """Ends every connection in good manner."""
        self.listening = False
        for connection in tuple(self.connections):
            await connection.socket.close(code=aiohttp.WSCloseCode.GOING_AWAY)
            self._remove(connection)

    def _remove(self, connection: Connection) -> None:
        connection.gone.set()
        if connection in self.connections:
            self.connections.remove(connection)
        self._ws.touch()

    def _hello(self) -> Json:
        return {
            "type": "hello",
            "num_connections": len(self.connections) + 1,
            "debug_info": {"host": "applink-standin", "build_number": 1, "approximate_connection_time": 18060},
            "connection_info": {"app_id": self._ws.app.id},
        }

    def _heard(self, text: str) -> None:
        """An acknowledgement has come; on whichever connection."""
        try:
            said = cast("Json", json.loads(text))
        except ValueError:
            self._ws.fault(f"a socket message that is no JSON: {text[:100]!r}")
            return
        envelope = str(said.get("envelope_id"))
        if envelope not in self._sent:
            self._ws.fault(f"an acknowledgement of an unknown envelope: {text[:100]!r}")
            return
        if said.get("payload") and not self._sent[envelope]:
            self._ws.fault(f"a payload in the acknowledgement of an event: {text[:200]!r}")
        self.acknowledged += 1
        waiting = self._waiting.pop(envelope, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(said)
        self._ws.touch()

    # ------------------------------------------------------------------ Transport

    async def event(self, payload: Json, number: int, reason: str) -> str | None:
        """An event, on one of the connections; without any it waits for one."""
        while (connection := self._next()) is None:
            await self._ws.next_change()
        body = {"type": "events_api", "accepts_response_payload": False}
        retry = {"retry_attempt": number, "retry_reason": reason if number else ""}
        answer = await self._send(connection, {**body, **retry, "payload": payload})
        return None if isinstance(answer, dict) else answer

    async def interaction(self, kind: str, payload: Json) -> tuple[bool, Any]:
        """A command or a press; without a connection it fails at once, as in Slack."""
        if (connection := self._next()) is None:
            return False, "dispatch_failed"
        body = {"type": kind, "accepts_response_payload": True, "payload": payload}
        answer = await self._send(connection, body)
        return (True, answer.get("payload")) if isinstance(answer, dict) else (False, answer)

    def _next(self) -> Connection | None:
        open_ones = [one for one in self.connections if not one.leaving]
        if not open_ones:
            return None
        self._turn += 1
        return open_ones[self._turn % len(open_ones)]

    async def _send(self, connection: Connection, envelope: Json) -> Json | str:
        """Sends an envelope; returns its acknowledgement or why there is none."""
        envelope_id = str(uuid.uuid4())
        self._sent[envelope_id] = bool(envelope["accepts_response_payload"])
        waiting = asyncio.get_running_loop().create_future()
        self._waiting[envelope_id] = waiting
        gone = asyncio.create_task(connection.gone.wait(), name="slack-socket-gone")
        try:
            await connection.socket.send_json({"envelope_id": envelope_id, **envelope})
            await asyncio.wait(
                (waiting, gone), timeout=self._ws.options.ack_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if waiting.done():
                return cast("Json", waiting.result())
            return "connection_failed" if gone.done() else "http_timeout"
        except (ConnectionError, RuntimeError):  # the socket closes under the message
            return "connection_failed"
        finally:
            gone.cancel()
            self._waiting.pop(envelope_id, None)
