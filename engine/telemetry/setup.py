"""Telemetry as the standard `OTEL_*` variables have it, for as long as a command runs. Nothing in it stops the stream.

A program that embeds the engine configures OpenTelemetry itself, and none of this is called.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from logging import getLogger
from threading import Thread
from typing import TYPE_CHECKING, Any

from engine.telemetry.environment import look_over
from engine.telemetry.provider import configured

if TYPE_CHECKING:  # for type checkers alone
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

logger = getLogger("headrace")
FLUSH = 5.0
"""Seconds that the last spans, or figures, have to reach the collector when the stream has ended."""
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
BY_PROTOCOL = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
BATCHES = {"MAX_QUEUE_SIZE": 2048, "MAX_EXPORT_BATCH_SIZE": 512, "SCHEDULE_DELAY": 5000}
"""The variables for how spans are exported, and what OpenTelemetry has where they say nothing."""
REMEDY = "pip install 'headrace[otlp]'"


@contextmanager
def telemetry(service: str) -> Iterator[None]:
    """Have traces exported while the block runs, where the environment asks for it and the program did not see to it.

    `service` names what runs, where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES do not.
    """
    provider = None
    try:
        provider = _traces(service)
    except Exception:  # whatever an exporter's package or the SDK makes of its settings
        logger.exception("nothing is traced: OpenTelemetry cannot be set up")
    try:
        yield
    finally:
        if provider is not None:
            shut_down(provider, "spans")


def _traces(service: str) -> "TracerProvider | None":
    if not any(os.environ.get(name) for name in ("OTEL_TRACES_EXPORTER", *ENDPOINTS)):
        return None
    look_over()
    names = _wanted()
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or not names:
        return None
    if configured() is not None:
        return None  # a module that was loaded has seen to it
    exporters = [made for name in names if (made := _exporter(name)) is not None]
    if not exporters:
        return None
    return _provider(service, exporters)


def _wanted() -> list[str]:
    """The exporters asked for, by the names of their entry points."""
    given = os.environ.get("OTEL_TRACES_EXPORTER", "")
    if not given and not any(os.environ.get(name) for name in ENDPOINTS):
        return []
    names = [name.strip() for name in (given or "otlp").split(",")]
    return [] if "none" in names else [_by_protocol() if name == "otlp" else name for name in names]


def _by_protocol() -> str:
    protocol = next((value for name in PROTOCOLS if (value := os.environ.get(name))), "http/protobuf")
    return BY_PROTOCOL[protocol.strip().lower()]


def _exporter(name: str) -> "SpanExporter | None":
    found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
    if found is None:
        logger.error("OTEL_TRACES_EXPORTER: the exporter %s is not installed, and nothing goes to it: %s", name, REMEDY)
        return None
    try:
        exporter: SpanExporter = found.load()()
    except Exception as error:
        logger.error("OTEL_TRACES_EXPORTER: the exporter %s cannot be made: %s", name, error)
        return None
    return exporter


def _provider(service: str, exporters: "list[SpanExporter]") -> "TracerProvider":
    from opentelemetry import trace
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from engine.telemetry.export import Outbound
    from engine.telemetry.spans import limits

    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or os.environ.get("OTEL_SERVICE_NAME")
    resource = Resource.create(None if named else {"service.name": service})
    provider = TracerProvider(_sampler(), resource, shutdown_on_exit=False, span_limits=limits())
    room, batch, delay = (int(float(os.environ.get(f"OTEL_BSP_{name}") or usual)) for name, usual in BATCHES.items())
    for exporter in exporters:
        provider.add_span_processor(Outbound(exporter, max(room, batch), batch, delay / 1000))
    trace.set_tracer_provider(provider)
    return provider


def _sampler() -> Any:
    """A sampler that a package brings; None for the SDK's own, which it reads from the environment."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    found = next(iter(entry_points(group="opentelemetry_traces_sampler", name=name)), None) if name else None
    if found is None or found.value.startswith("opentelemetry.sdk."):
        return None
    return found.load()(os.environ.get("OTEL_TRACES_SAMPLER_ARG", ""))


def shut_down(provider: "TracerProvider | MeterProvider", what: str) -> None:
    """Flush and end, for a bounded time: in a thread, for an exporter in the middle of a call hears nobody."""
    ending = Thread(target=provider.shutdown, name=f"headrace-{what}-end", daemon=True)
    ending.start()
    ending.join(FLUSH)
    if ending.is_alive():
        logger.warning("the collector has not taken the last %s within %g s; they are lost", what, FLUSH)
