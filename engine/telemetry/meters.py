"""Metrics as the settings and the standard `OTEL_*` variables have them, for as long as a command runs.

Nothing in it stops the stream: what cannot be set up is told, and left out. A program that embeds the engine gives it a
meter provider, and none of this is called.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from logging import getLogger
from typing import TYPE_CHECKING

from engine.telemetry.environment import look_over
from engine.telemetry.exporters import disabled, exporter, resource, shut_down, wanted

if TYPE_CHECKING:  # for type checkers alone
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import MetricReader

    from engine.telemetry.scrape import Scrape

logger = getLogger("headrace")


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
    readers += [made for name in _wanted() if not disabled() and (made := _reader(name)) is not None]
    return Meters(_provider(service, readers), found) if readers else Meters()


def _wanted() -> list[str]:
    """The exporters asked for; who wants Prometheus text scrapes `/metrics`."""
    return [name for name in wanted("METRICS") if name != "prometheus"]


def _reader(name: str) -> "MetricReader | None":
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    made = exporter("METRICS", name)
    return None if made is None else PeriodicExportingMetricReader(made)


def _provider(service: str, readers: "list[MetricReader]") -> "MeterProvider":
    from opentelemetry.sdk.metrics import MeterProvider

    from engine.telemetry.weighing import views

    return MeterProvider(readers, resource(service), shutdown_on_exit=False, views=views())
