"""An OpenTelemetry collector (rotel), and at its far end a receiver of the tests' own that reads what it passes on."""

import gzip
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.servers.ports import LOOPBACK, ask, free_port
from tests.servers.process import Server
from tests.servers.programs import rotel


class Received:
    """One span as it arrived: OTLP's own record of it, and the attributes of the resource it belongs to."""

    def __init__(self, span: Span, resource: dict[str, Any]) -> None:
        self.name = span.name
        self.kind = Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_")
        self.trace_id = span.trace_id.hex()
        self.span_id = span.span_id.hex()
        self.parent_id = span.parent_span_id.hex()
        self.links = [link.span_id.hex() for link in span.links]
        self.events = [event.name for event in span.events]
        self.attributes = _plain(span.attributes)
        self.resource = resource

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name} {self.span_id} below {self.parent_id or 'nothing'}>"


class Receiver:
    """Takes OTLP over HTTP, and keeps the spans, and of each metric the last figures that came."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.metrics: dict[str, Any] = {}
        """OTLP's own record of each metric, by name."""
        self._server = ThreadingHTTPServer((LOOPBACK, 0), self._handler())
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the handler's
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                if self.path.endswith("/metrics"):
                    receiver._keep_metrics(ExportMetricsServiceRequest.FromString(body))
                else:
                    receiver._keep(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *arguments: Any) -> None: ...

        return Handler

    def _keep(self, request: ExportTraceServiceRequest) -> None:
        for group in request.resource_spans:
            resource = _plain(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [Received(span, resource) for span in scope.spans]

    def _keep_metrics(self, request: ExportMetricsServiceRequest) -> None:
        for group in request.resource_metrics:
            for scope in group.scope_metrics:
                self.metrics |= {metric.name: metric for metric in scope.metrics}


class Collector(Server):
    """A collector that takes OTLP over gRPC and HTTP, and passes it on over HTTP to `exports_to`, a port."""

    name = "rotel"
    scheme = "http"
    patience = 15

    def __init__(self, folder: Path, *arguments: Any, exports_to: int, **options: Any) -> None:
        super().__init__(folder, *arguments, **options)
        self.exports_to = exports_to
        self.grpc_port = free_port()

    @property
    def grpc_url(self) -> str:
        """Where OTLP over gRPC goes; `url` takes it over HTTP."""
        return f"http://{self.host}:{self.grpc_port}"

    def prepare(self) -> None:
        """All that it is told stands in its arguments."""

    def command(self) -> list[str]:
        given = {
            "pid-file": self.folder / "pid",
            "log-file": self.folder / "own.log",
            "otlp-http-endpoint": f"{self.host}:{self.port}",
            "otlp-grpc-endpoint": f"{self.host}:{self.grpc_port}",
            "exporter": "otlp",
            "otlp-exporter-endpoint": f"http://{LOOPBACK}:{self.exports_to}",
            "otlp-exporter-protocol": "http",
            "batch-timeout": "50ms",
        }
        return [str(rotel()), "start", *(f"--{name}={value}" for name, value in given.items())]

    def answers(self) -> bool:
        return ask(self.port, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").startswith(b"HTTP/1.1")


def _plain(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
