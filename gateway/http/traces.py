"""Traces that begin outside: what a caller's request leads to belongs to the span that he names."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from gateway.http.keys import GATEWAY
from gateway.telemetry import context

HEADER = "traceparent"


@web.middleware
async def follow_trace(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Takes the caller's trace context (W3C Trace Context), where anything is traced."""
    given = request.headers.get(HEADER) if request.app[GATEWAY].tracing.on else None
    if given is None or (caller := context.valid(given.strip().lower())) is None:
        return await handler(request)
    # The task goes on with the connection's next request.
    token = context.current.set(caller)
    try:
        return await handler(request)
    finally:
        context.current.reset(token)
