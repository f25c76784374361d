"""Sends spans with OpenTelemetry's SDK as OTLP over HTTP. Needs the extra `otel`."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from projectsetup.observe.logs import get_logger
from projectsetup.observe.spans import Span

FLUSH_LIMIT: Final = 3.0
"""Seconds that an exit may wait for the collector."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_log = get_logger("traces")


class OtlpExporter:
    """Queues spans for a thread of the SDK, which sends them as the variables OTEL_… say.

    Raises ValueError or RuntimeError if one of these is invalid.
    """

    def __init__(self, endpoint: str, *, version: str, scrub: Callable[[str], str]) -> None:
        """`endpoint` is for messages."""
        service = Resource({SERVICE_NAME: "projectsetup-operator", SERVICE_VERSION: version})
        self._ids = _GivenIds()
        self._provider = TracerProvider(
            sampler=ALWAYS_ON,
            resource=service.merge(OTELResourceDetector().detect()),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(_ReportingExporter(OTLPSpanExporter(), endpoint, scrub)))
        self._tracer = self._provider.get_tracer("projectsetup", version)

    def export(self, spans: Iterable[Span]) -> None:
        """See `SpanExporter`. Call it in one thread only."""
        for span in spans:
            self._ids.trace, self._ids.span = span.trace_id, span.id
            started = self._tracer.start_span(
                span.name,
                context=_parent(span),
                attributes=dict(span.attributes),
                start_time=_nanoseconds(span.start),
            )
            if span.error is not None:
                started.set_status(trace.Status(trace.StatusCode.ERROR, span.error))
            started.end(_nanoseconds(span.end))

    def close(self) -> None:
        """See `SpanExporter`."""
        flush = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        flush.start()
        flush.join(FLUSH_LIMIT)


class _GivenIds(IdGenerator):
    """The ids of the next span."""

    def __init__(self) -> None:
        self.trace = self.span = 0

    def generate_trace_id(self) -> int:
        return self.trace

    def generate_span_id(self) -> int:
        return self.span


class _ReportingExporter(SpanExporter):
    """Logs when sending begins to fail and when it works again, in place of the SDK, which logs each try."""

    def __init__(self, exporter: SpanExporter, endpoint: str, scrub: Callable[[str], str]) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._scrub = scrub
        self._failing = False
        self._problems = _Problems()
        library = logging.getLogger("opentelemetry")
        library.handlers[:], library.propagate = [self._problems], False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._problems.first = None
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        if failed and not self._failing:
            why = self._scrub(self._problems.first or "unknown")
            _log.warning("cannot send traces; until this works, spans are dropped", endpoint=self._endpoint, error=why)
        elif self._failing and not failed:
            _log.info("traces are sent again")
        self._failing = failed
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        return self._exporter.force_flush(timeout_millis)


class _Problems(logging.Handler):
    """Keeps the first message about a batch, which names the cause; the last one says only that retries ended."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.first: str | None = None

    def emit(self, record: logging.LogRecord) -> None:
        self.first = self.first or record.getMessage()


def _parent(span: Span) -> Context:
    if span.parent is None:
        return Context()
    sampled = trace.TraceFlags(trace.TraceFlags.SAMPLED)
    parent = trace.SpanContext(span.trace_id, span.parent, is_remote=False, trace_flags=sampled)
    return trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())


def _nanoseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1) * 1000
