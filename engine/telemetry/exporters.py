"""Exporters of traces and metrics: which ones the `OTEL_*` variables ask for, made, for what service, and ended."""

import os
from importlib.metadata import entry_points
from logging import getLogger
from threading import Thread
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:  # for type checkers alone
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

logger = getLogger("headrace")
Signal = Literal["TRACES", "METRICS"]
FLUSH = 5.0
"""Seconds that the last spans, or figures, have to reach the collector when the stream has ended."""
BY_PROTOCOL = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
REMEDY = "pip install 'headrace[otlp]'"


def disabled() -> bool:
    """Whether all of OpenTelemetry is turned off."""
    return os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"


def wanted(signal: Signal) -> list[str]:
    """The exporters asked for, by the names of their entry points."""
    given = os.environ.get(f"OTEL_{signal}_EXPORTER", "")
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    if not given and not any(os.environ.get(name) for name in endpoints):
        return []
    names = [name.strip() for name in (given or "otlp").split(",")]
    return [] if "none" in names else [_by_protocol(signal) if name == "otlp" else name for name in names]


def _by_protocol(signal: Signal) -> str:
    protocols = (f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next((value for name in protocols if (value := os.environ.get(name))), "http/protobuf")
    return BY_PROTOCOL.get(protocol.strip().lower(), BY_PROTOCOL["http/protobuf"])


def exporter(signal: Signal, name: str) -> Any:
    """The exporter of that name; None, which the log tells, where it is not installed or cannot be made."""
    found = next(iter(entry_points(group=f"opentelemetry_{signal.lower()}_exporter", name=name)), None)
    if found is None:
        told = "OTEL_%s_EXPORTER: the exporter %s is not installed, and nothing goes to it: %s"
        logger.error(told, signal, name, REMEDY)
        return None
    try:
        return found.load()()
    except Exception as error:
        logger.error("OTEL_%s_EXPORTER: the exporter %s cannot be made: %s", signal, name, error)
        return None


def resource(service: str) -> "Resource":
    """What it is that tells of itself: that service, where the environment does not name another."""
    from opentelemetry.sdk.resources import Resource

    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or os.environ.get("OTEL_SERVICE_NAME")
    return Resource.create(None if named else {"service.name": service})


def shut_down(provider: "TracerProvider | MeterProvider", what: str) -> None:
    """Flush and end, for a bounded time: in a thread, for an exporter in the middle of a call hears nobody."""
    ending = Thread(target=provider.shutdown, name=f"headrace-{what}-end", daemon=True)
    ending.start()
    ending.join(FLUSH)
    if ending.is_alive():
        logger.warning("the collector has not taken the last %s within %g s; they are lost", what, FLUSH)
