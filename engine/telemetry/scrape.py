"""Metrics as Prometheus text, for whoever scrapes them."""

from dataclasses import dataclass

from opentelemetry.exporter.prometheus import PrometheusMetricReader
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

OPEN_METRICS, TEXT = "application/openmetrics-text; version=1.0.0", "text/plain"


@dataclass(frozen=True, slots=True)
class Scrape:
    """What a scrape is answered with: a reader for a meter provider, and what it has read as text."""

    reader: PrometheusMetricReader
    registry: CollectorRegistry

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Everything that is measured now, and its content type, of the `form` that is accepted."""
        encode, content_type = choose_encoder(form(accept))
        return encode(self.registry), content_type


def scrape() -> Scrape:
    """A scrape with a registry of its own: nothing of what else the process has registered is shown."""
    registry = CollectorRegistry()
    return Scrape(PrometheusMetricReader(scope_info_enabled=False, registry=registry), registry)


def form(accept: str) -> str:
    """Which of the two forms a client is given: OpenMetrics 1.0, or the text that every Prometheus reads."""
    quality = {OPEN_METRICS: 0.0, TEXT: 0.0}
    for each in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in each.split(";"))
        given = dict(pair.partition("=")[::2] for pair in parameters)
        if kind == "application/openmetrics-text" and given.get("version", "1.0.0") == "1.0.0":
            quality[OPEN_METRICS] = _quality(given)
        elif kind in ("text/plain", "text/*", "*/*"):
            quality[TEXT] = max(quality[TEXT], _quality(given))
    return OPEN_METRICS if quality[OPEN_METRICS] and quality[OPEN_METRICS] >= quality[TEXT] else TEXT


def _quality(given: dict[str, str]) -> float:
    try:
        return float(given.get("q", "1"))
    except ValueError:
        return 1.0
