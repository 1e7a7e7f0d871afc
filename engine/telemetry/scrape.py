"""Metrics as Prometheus text, for whoever scrapes them."""

from dataclasses import dataclass

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder


@dataclass(frozen=True, slots=True)
class Scrape:
    """What a scrape is answered with: a reader for a meter provider, and what it has read as text."""

    reader: PrometheusMetricReader
    registry: CollectorRegistry

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Everything that is measured now, and its content type: OpenMetrics where `accept` asks for that."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


def scrape() -> Scrape:
    """A scrape with a registry of its own: nothing of what else the process has registered is shown."""
    registry = CollectorRegistry()
    return Scrape(PrometheusMetricReader(scope_info_enabled=False, registry=registry), registry)
