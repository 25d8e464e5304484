"""Tracing: the seam between what happens and who records it.

Off, which is the default, it makes no ids, keeps nothing and imports nothing. On, spans go to `otlp.py`, which sends
them from a thread of its own; whatever becomes of them there, nobody here waits for it or hears of it. What a process
has not sent when it dies is lost; that the trace goes on after the next start is in the rows (`context.py`).
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Protocol, Self

from gateway.config.telemetry import TelemetryConfig
from gateway.telemetry import context

Kind = Literal["internal", "client", "producer"]
Value = str | int | float | bool | Sequence[str]
STOP_SECONDS = 2.0
"""What a stop gives the last spans to leave."""
CONTENT_CHARS = 20_000
"""Of a text that is captured."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Span:
    """Something that has happened."""

    name: str
    context: str
    """Its own."""
    parent: str | None
    """The context of the span that it belongs to; None: it begins a trace."""
    start: int
    """nanoseconds since the epoch, like `end`"""
    end: int
    kind: Kind = "internal"
    attributes: Mapping[str, Value] | None = None
    links: Sequence[str] = ()
    """Contexts of other spans that led to it."""
    error: str | None = None
    """What sort of error it ended with: no text, which could hold anything."""


@dataclass(frozen=True, slots=True)
class Sent:
    """What became of the spans so far."""

    sent: int
    lost: int
    """Refused, or dropped because the collector was away for too long."""
    error: str | None
    """Why the last ones were lost; None while all goes well."""


class Sender(Protocol):
    """Takes spans and sends them, without anybody waiting for it."""

    def send(self, span: Span) -> None:
        """Takes one."""
        ...

    def stats(self) -> Sent:
        """What became of those that were taken."""
        ...

    def close(self) -> None:
        """Sends what there is, and ends. May block."""
        ...


class Recording(Protocol):
    """A span under way."""

    on: bool
    """Whether anything is recorded: what is costly to find out needs not be."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def set(self, attributes: Mapping[str, Value]) -> None:
        """Adds attributes."""
        ...

    def failed(self, error: str) -> None:
        """It has ended with this sort of error, although nothing is raised."""
        ...


class _Nothing:
    """A span that isn't recorded."""

    on = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return

    def set(self, attributes: Mapping[str, Value]) -> None:
        """See `Recording.set`."""

    def failed(self, error: str) -> None:
        """See `Recording.failed`."""


NOTHING = _Nothing()


class _Span:
    """A span that is recorded; inside it whatever the task does belongs to it."""

    on = True

    def __init__(self, sender: Sender, name: str, kind: Kind, below: str) -> None:
        self._sender = sender
        self._name = name
        self._kind: Kind = kind
        self._parent = below
        self._context = context.child_of(below) or below
        self._attributes: dict[str, Value] = {}
        self._error: str | None = None

    def __enter__(self) -> Self:
        self._token = context.current.set(self._context)
        self._start = time.time_ns()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        context.current.reset(self._token)
        if kind is not None:
            self._error = error_type(kind)
        own, start, end = self._context, self._start, time.time_ns()
        attributes = self._attributes
        self._sender.send(Span(self._name, own, self._parent, start, end, self._kind, attributes, error=self._error))

    def set(self, attributes: Mapping[str, Value]) -> None:
        """See `Recording.set`."""
        self._attributes.update(attributes)

    def failed(self, error: str) -> None:
        """See `Recording.failed`."""
        self._error = error


def error_type(kind: type[BaseException]) -> str:
    """How an exception is called in a span."""
    return "cancelled" if issubclass(kind, asyncio.CancelledError) else kind.__name__


class Tracing:
    """What a gateway's parts ask for spans."""

    def __init__(self, clean: Callable[[str], str] = str) -> None:
        """
        Args:
            clean: takes the known secrets out of a text that is captured.
        """
        self._clean = clean
        self._sender: Sender | None = None
        self._ratio = 0.0
        self.capture = False
        """Whether texts of people, models and tools may be recorded."""

    @property
    def on(self) -> bool:
        """Whether anything is recorded."""
        return self._sender is not None

    def stats(self) -> Sent | None:
        """What became of the spans; None where nothing is traced."""
        return self._sender.stats() if self._sender else None

    async def open(self, config: TelemetryConfig, instance: str) -> None:
        """Begins to record, if a collector is configured. A library that is missing is told in the log: without
        traces everything works as well."""
        if config.otlp.endpoint is None:
            return
        try:
            self.record(await asyncio.to_thread(_open, config, instance), config)
        except ImportError as error:
            log.error(  # noqa: TRY400 - the text says it all
                "telemetry.otlp: no traces are sent, a library is missing (%s); install laneway[otlp]", error.name
            )

    def record(self, sender: Sender, config: TelemetryConfig) -> None:
        """Gives all spans to `sender` from here on."""
        self._sender, self._ratio, self.capture = sender, config.sample_ratio, config.capture_content

    async def close(self) -> None:
        """Ends it; what can't be sent within a moment is lost."""
        sender, self._sender = self._sender, None
        if sender is None:
            return
        loop, closed = asyncio.get_running_loop(), asyncio.Event()

        def close() -> None:
            sender.close()
            if not loop.is_closed():
                loop.call_soon_threadsafe(closed.set)

        # A daemon, not one of the loop's own threads: the process must not wait for a collector that hangs.
        threading.Thread(target=close, name="laneway-traces", daemon=True).start()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await closed.wait()
        except TimeoutError:
            log.warning("the last traces could not be sent")

    def begin(self, cause: str | None = None) -> str | None:
        """The context of something new: below its cause, else in a trace of its own; None where nothing is traced."""
        if self._sender is None:
            return None
        return context.child_of(cause) or context.root(self._ratio)

    def span(self, name: str, kind: Kind = "internal", below: str | None = None) -> Recording:
        """A span to use as `with tracing.span(…) as span`, below that of the task, or below another one."""
        if self._sender is None:
            return NOTHING
        parent = below or context.current.get()
        if parent is None or not context.sampled(parent):
            return NOTHING
        return _Span(self._sender, name, kind, parent)

    def emit(self, span: Span) -> None:
        """Records what has happened."""
        if self._sender is not None and context.sampled(span.context):
            self._sender.send(span)

    def content(self, text: str) -> str:
        """A text as it may be recorded."""
        cleaned = self._clean(text)
        return cleaned if len(cleaned) <= CONTENT_CHARS else cleaned[:CONTENT_CHARS] + "…"


def _open(config: TelemetryConfig, instance: str) -> Sender:
    # Loads the SDK, its exporter and what they need: only where a collector is configured.
    from gateway.telemetry.otlp import OtlpSender

    return OtlpSender(config, instance)
