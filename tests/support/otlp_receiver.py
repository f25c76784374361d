"""A collector that keeps the spans it receives as OTLP over HTTP, read with the official protobuf package."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.support.operator_process import wait_for


class OtlpReceiver:
    """The spans in the order of their arrival; `status` is what requests are answered with."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.url = f"http://127.0.0.1:{server.server_port}"
        self.spans: list[Span] = []
        self.resources: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.requests = 0
        self.status = 200

    def of(self, project: str) -> list[Span]:
        """The spans of this project."""
        return [span for span in self.spans if values(span.attributes).get("project") == project]

    def was_asked_after(self, requests: int) -> bool:
        """Whether there were more requests than these."""
        return self.requests > requests

    def series_of(self, project: str) -> tuple[Span, list[Span]]:
        """The span of a series that has ended, and all spans of its trace."""

        def roots() -> list[Span]:
            return [span for span in self.of(project) if not span.parent_span_id]

        wait_for(roots, f"the trace of {project}")
        root = roots()[-1]
        return root, [span for span in self.of(project) if span.trace_id == root.trace_id]


def values(attributes: Any) -> dict[str, Any]:
    """Attributes of a span or resource as Python values."""

    def value(one: AnyValue) -> Any:
        return getattr(one, one.WhichOneof("value") or "string_value")

    pairs: list[KeyValue] = list(attributes)
    return {pair.key: value(pair.value) for pair in pairs}


@contextmanager
def otlp_receiver() -> Iterator[OtlpReceiver]:
    """A receiver that listens on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests += 1
            if receiver.status == 200:
                assert self.path == "/v1/traces"
                assert self.headers["Content-Type"] == "application/x-protobuf"
                receiver.headers.append(dict(self.headers.items()))
                for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                    receiver.resources.append(values(resource.resource.attributes))
                    receiver.spans += [span for scope in resource.scope_spans for span in scope.spans]
            answer = ExportTraceServiceResponse().SerializeToString()
            self.send_response(receiver.status)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver = OtlpReceiver(server)
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()
