"""A collector for traces: takes OTLP over HTTP on loopback, keeps the spans, and can be told to be unwell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Message

PATIENCE = 15.0
"""seconds after which waiting is a fault"""


@dataclass(frozen=True, slots=True)
class Seen:
    """One span as it arrived."""

    name: str
    trace: str
    id: str
    parent: str
    kind: int
    start: int
    """nanoseconds, like `end`"""
    end: int
    attributes: Mapping[str, Any]
    links: tuple[tuple[str, str], ...]
    """Trace and span."""
    failed: bool
    resource: Mapping[str, Any]


class Collector:
    """The stand-in. Use it as an async context manager."""

    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.headers: list[Mapping[str, str]] = []
        """Of each request."""
        self.status = 200
        """What it answers."""
        self.hang = False
        """It takes requests and answers none."""
        self._arrived = asyncio.Condition()
        self._let_go = asyncio.Event()
        self._runner: web.AppRunner | None = None
        self.url = ""

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes([web.post("/v1/traces", self._take)])
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def named(self, start: str) -> list[Seen]:
        """The spans whose names begin so, in the order of their beginnings."""
        return sorted((span for span in self.spans if span.name.startswith(start)), key=lambda span: span.start)

    async def wait(self, holds: Callable[[], object]) -> None:
        """Waits for a request after which a condition holds."""
        async with asyncio.timeout(PATIENCE), self._arrived:
            await self._arrived.wait_for(lambda: bool(holds()))

    async def _take(self, request: web.Request) -> web.Response:
        body = await request.read()
        if self.hang:
            await self._let_go.wait()
        async with self._arrived:
            self.headers.append(dict(request.headers))
            if self.status == 200:
                self.spans += read(body)
            self._arrived.notify_all()
        return web.Response(status=self.status)


def read(body: bytes) -> list[Seen]:
    """The spans of one request."""
    sent = ExportTraceServiceRequest.FromString(body)
    return [
        _seen(span, _values(resource.resource.attributes))
        for resource in sent.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _seen(span: Message, resource: Mapping[str, Any]) -> Seen:
    return Seen(
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        span.kind,
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        _values(span.attributes),
        tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
        span.status.code == 2,
        resource,
    )


def _values(pairs: Any) -> dict[str, Any]:
    found: list[KeyValue] = list(pairs)
    return {pair.key: _value(pair.value) for pair in found}


def _value(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    if which == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, which) if which else None
