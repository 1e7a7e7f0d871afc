"""Metrics as the settings and the standard `OTEL_*` variables have them, for as long as a command runs.

Nothing in it stops the stream: what cannot be set up is told, and left out. A program that embeds the engine gives it a
meter provider, and none of this is called.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from logging import getLogger
from typing import TYPE_CHECKING, Any

from engine.telemetry.environment import look_over
from engine.telemetry.setup import shut_down

if TYPE_CHECKING:  # for type checkers alone
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

    from engine.telemetry.scrape import Scrape

logger = getLogger("headrace")
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
BY_PROTOCOL = {"http/protobuf": "otlp_proto_http", "grpc": "otlp_proto_grpc"}
REMEDY = "pip install 'headrace[otlp]'"


@dataclass(frozen=True, slots=True)
class Meters:
    """What measures an engine; neither is there where nobody asked for figures."""

    provider: "MeterProvider | None" = None
    scrape: "Scrape | None" = None


@contextmanager
def metering(service: str, scraped: bool) -> Iterator[Meters]:
    """What measures while the block runs: for those who scrape, if `scraped`, and for the exporters of the environment.

    `service` names what runs, where OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES do not.
    """
    meters = Meters()
    try:
        meters = _meters(service, scraped)
    except Exception:  # whatever an exporter's package or the SDK makes of its settings
        logger.exception("nothing is measured: OpenTelemetry cannot be set up")
    try:
        yield meters
    finally:
        if meters.provider is not None:
            shut_down(meters.provider, "figures")


def _meters(service: str, scraped: bool) -> Meters:
    names = _wanted()
    if not names and not scraped:
        return Meters()
    look_over()
    readers: list[MetricReader] = []
    found = None
    if scraped:
        from engine.telemetry.scrape import scrape

        found = scrape()
        readers.append(found.reader)
    disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    readers += [made for name in _wanted() if not disabled and (made := _reader(name)) is not None]
    return Meters(_provider(service, readers), found) if readers else Meters()


def _wanted() -> list[str]:
    """The exporters asked for, by the names of their entry points; who wants Prometheus text scrapes `/metrics`."""
    given = os.environ.get("OTEL_METRICS_EXPORTER", "")
    if not given and not any(os.environ.get(name) for name in ENDPOINTS):
        return []
    names = [name.strip() for name in (given or "otlp").split(",")]
    if "none" in names:
        return []
    return [_by_protocol() if name == "otlp" else name for name in names if name != "prometheus"]


def _by_protocol() -> str:
    protocol = next((value for name in PROTOCOLS if (value := os.environ.get(name))), "http/protobuf")
    return BY_PROTOCOL.get(protocol.strip().lower(), BY_PROTOCOL["http/protobuf"])


def _reader(name: str) -> "MetricReader | None":
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    found = next(iter(entry_points(group="opentelemetry_metrics_exporter", name=name)), None)
    if found is None:
        told = "OTEL_METRICS_EXPORTER: the exporter %s is not installed, and nothing goes to it: %s"
        logger.error(told, name, REMEDY)
        return None
    try:
        made: Any = found.load()()
    except Exception as error:
        logger.error("OTEL_METRICS_EXPORTER: the exporter %s cannot be made: %s", name, error)
        return None
    return PeriodicExportingMetricReader(made)


def _provider(service: str, readers: "list[MetricReader]") -> "MeterProvider":
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource

    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "") or os.environ.get("OTEL_SERVICE_NAME")
    resource = Resource.create(None if named else {"service.name": service})
    return MeterProvider(readers, resource, shutdown_on_exit=False)
