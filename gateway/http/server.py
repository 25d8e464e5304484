"""The HTTP server: one aiohttp application with the gateway's pages and those of its plugins.

Owns the socket and the middlewares. Nothing of it survives the process; what a request has accepted does.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from typing import TYPE_CHECKING

from aiohttp import web

from gateway.http import control, mcp
from gateway.http.auth import WAYS, Tokens, guard_caller, guard_host, own_token
from gateway.http.configuration import EDITING
from gateway.http.cookies import by_cookie
from gateway.http.details import DOCTOR, Doctor
from gateway.http.keys import GATEWAY
from gateway.http.openai import DESK
from gateway.http.openai_answers import Desk
from gateway.http.platforms import ATTEMPTS, Attempts
from gateway.http.shield import RequestLog, explain_errors, hide_unknown_errors
from gateway.http.traces import follow_trace

if TYPE_CHECKING:
    from gateway.app import Gateway

LARGEST_BODY = 8 * 1024 * 1024
SHUTDOWN_SECONDS = 5.0
_ANYWHERE = ("0.0.0.0", "::", "")  # noqa: S104 - compared with, not bound to


class ListenError(Exception):
    """The gateway can't listen where it should. The text names the setting."""


class HttpServer:
    """Serves the gateway over HTTP."""

    def __init__(self, gateway: Gateway) -> None:
        """Starts nothing."""
        self._gateway = gateway
        self._runner: web.AppRunner | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """Where it listens; empty while it doesn't."""
        return self._url

    async def start(self, *, allow_other_port: bool = False) -> str:
        """Begins to listen and returns the URL.

        Args:
            allow_other_port: take any free port if the configured one is in use.

        Raises:
            ListenError: the address can't be had.
            OSError: the token can't be read or written.
        """
        gateway = self._gateway
        own_token(gateway.config, gateway.paths)
        self._runner = web.AppRunner(
            self._application(),
            access_log=None,
            # A client that leaves is noticed, so that a post isn't taken for delivered that nobody has read.
            handler_cancellation=True,
            shutdown_timeout=SHUTDOWN_SECONDS,
            logger=RequestLog(logging.getLogger(__name__), {}),
        )
        await self._runner.setup()
        try:
            port = await self._listen(gateway.config.gateway.port, allow_other_port=allow_other_port)
        except ListenError:
            await self.stop()
            raise
        self._url = f"http://{_reachable(gateway.config.gateway.host)}:{port}"
        return self._url

    async def stop(self) -> None:
        """Ends every stream, lets short requests finish and stops listening."""
        runner, self._runner = self._runner, None
        self._url = ""
        if runner is not None:
            await runner.cleanup()

    def _application(self) -> web.Application:
        gateway = self._gateway
        app = web.Application(
            middlewares=[explain_errors, guard_host, guard_caller, follow_trace],
            client_max_size=LARGEST_BODY,
        )
        app[GATEWAY] = gateway
        app[WAYS] = (Tokens(gateway.paths).way, by_cookie)
        app[ATTEMPTS] = Attempts()
        app[DOCTOR] = Doctor()
        app[EDITING] = asyncio.Lock()
        app[DESK] = Desk(gateway.database, gateway.events)
        mcp.set_up(app)
        app.on_response_prepare.append(hide_unknown_errors)
        app.on_shutdown.append(self._end_streams)
        app.add_routes([*control.routes(), *gateway.registry.http_routes])
        return app

    async def _end_streams(self, _app: web.Application) -> None:
        await self._gateway.events.close()

    async def _listen(self, port: int, *, allow_other_port: bool) -> int:
        runner, host = self._runner, self._gateway.config.gateway.host
        if runner is None:
            raise ListenError("the server was stopped before it listened")
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            if allow_other_port and error.errno == errno.EADDRINUSE:
                return await self._listen(0, allow_other_port=False)
            raise ListenError(_explain(error, host, port)) from error
        return int(runner.addresses[-1][1])


def _explain(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is in use by another program; stop that, or set gateway.port to another one (0: any)"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"port {port} may not be used by this user; set gateway.port to one above 1023"
    if isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        return f"`{host}` is no address of this machine; correct gateway.host (127.0.0.1 is the default)"
    return f"can't listen on {host}:{port}: {error.strerror or error}; see gateway.host and gateway.port"


def _reachable(host: str) -> str:
    """The configured address as a client on this machine would write it."""
    name = "127.0.0.1" if host in _ANYWHERE else host
    return f"[{name}]" if ":" in name else name
