"""Sends spans to a collector over OTLP/HTTP, with OpenTelemetry's SDK. Imported only where one is configured.

The SDK's batch processor sends from a thread of its own, and drops what a collector that is away for too long leaves
over. Its own complaints are many; here one line says that sending has begun to fail, and one that it works again.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import Link, NonRecordingSpan, SpanContext, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.span import TraceFlags

from gateway import __version__
from gateway.config.telemetry import TelemetryConfig
from gateway.telemetry import context, names
from gateway.telemetry.tracing import Sent, Span

PATH = "/v1/traces"
WAITING_SPANS = 4096
"""Spans that may wait for a collector before the oldest are dropped."""
DELAY_MS = 1000
"""So long spans are gathered before they are sent together."""

_KINDS = {"internal": SpanKind.INTERNAL, "client": SpanKind.CLIENT, "producer": SpanKind.PRODUCER}
log = logging.getLogger(__name__)


class OtlpSender:
    """See `tracing.Sender`. `send` is for the event loop's thread."""

    def __init__(self, config: TelemetryConfig, instance: str) -> None:
        """
        Args:
            config: where to; it names an endpoint.
            instance: this process.
        """
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        otlp = config.otlp
        exporter = OTLPSpanExporter(
            endpoint=address(otlp.endpoint or ""),
            headers={name: value.get_secret_value() for name, value in otlp.headers.items()},
            timeout=otlp.timeout_seconds,
        )
        self._exporter = _Counting(exporter)
        self._processor = BatchSpanProcessor(
            self._exporter, max_queue_size=WAITING_SPANS, schedule_delay_millis=DELAY_MS
        )
        self._ids = _Ids()
        about = {SERVICE_NAME: config.service_name, SERVICE_VERSION: __version__, SERVICE_INSTANCE_ID: instance}
        provider = TracerProvider(ALWAYS_ON, Resource.create(about), shutdown_on_exit=False, id_generator=self._ids)
        provider.add_span_processor(self._processor)
        self._tracer = provider.get_tracer("laneway", __version__)

    def send(self, span: Span) -> None:
        """See `Sender.send`."""
        own = _span_context(span.context)
        self._ids.trace, self._ids.span = own.trace_id, own.span_id
        parent = Context()
        if span.parent is not None:
            parent = set_span_in_context(NonRecordingSpan(_span_context(span.parent)), parent)
        made = self._tracer.start_span(
            span.name,
            parent,
            _KINDS[span.kind],
            dict(span.attributes or {}),
            [Link(_span_context(link)) for link in span.links],
            span.start,
        )
        if span.error is not None:
            made.set_attribute(names.ERROR_TYPE, span.error)
            made.set_status(Status(StatusCode.ERROR))
        made.end(max(span.start, span.end))

    def stats(self) -> Sent:
        """See `Sender.stats`."""
        return Sent(self._exporter.sent, self._exporter.lost, self._exporter.error)

    def close(self) -> None:
        """See `Sender.close`."""
        self._processor.shutdown()


class _Ids(IdGenerator):
    """Gives a span the ids that were made for it."""

    trace = 0
    span = 0

    def generate_span_id(self) -> int:
        """The next span's."""
        return self.span

    def generate_trace_id(self) -> int:
        """The next trace's."""
        return self.trace


class _Counting(SpanExporter):
    """Passes spans on and counts what becomes of them; runs in the processor's thread."""

    def __init__(self, inner: OTLPSpanExporter) -> None:
        self._inner = inner
        self.sent = 0
        self.lost = 0
        self.error: str | None = None

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See the SDK."""
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.sent += len(spans)
            if self.error is not None:
                log.info("traces are sent again")
            self.error = None
        else:
            self.lost += len(spans)
            if self.error is None:
                log.warning("traces can't be sent to telemetry.otlp.endpoint; they are dropped until it takes them")
            self.error = "the collector can't be reached, or refuses them"
        return result

    def shutdown(self) -> None:
        """See the SDK."""
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See the SDK."""
        return self._inner.force_flush(timeout_millis)


def address(endpoint: str) -> str:
    """Where traces go: the usual path is added to an address that names none."""
    plain = endpoint.rstrip("/")
    return plain if plain.endswith(PATH) else plain + PATH


def _span_context(text: str) -> SpanContext:
    trace, span = context.trace_id(text) or "0", context.span_id(text) or "0"
    return SpanContext(int(trace, 16), int(span, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
