"""Telemetry as the standard `OTEL_*` variables have it, for as long as a command runs. Nothing in it stops the stream.

A program that embeds the engine configures OpenTelemetry itself, and none of this is called.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from logging import getLogger
from typing import TYPE_CHECKING, Any

from engine.telemetry.environment import look_over
from engine.telemetry.exporters import disabled, exporter, resource, shut_down, wanted
from engine.telemetry.provider import configured

if TYPE_CHECKING:  # for type checkers alone
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

logger = getLogger("headrace")
BATCHES = {"MAX_QUEUE_SIZE": 2048, "MAX_EXPORT_BATCH_SIZE": 512, "SCHEDULE_DELAY": 5000}
"""The variables for how spans are exported, and what OpenTelemetry has where they say nothing."""


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
    if not wanted("TRACES"):
        return None
    look_over()
    names = wanted("TRACES")
    if disabled() or not names:
        return None
    if configured() is not None:
        return None  # a module that was loaded has seen to it
    exporters = [made for name in names if (made := exporter("TRACES", name)) is not None]
    if not exporters:
        return None
    return _provider(service, exporters)


def _provider(service: str, exporters: "list[SpanExporter]") -> "TracerProvider":
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from engine.telemetry.export import Outbound
    from engine.telemetry.spans import limits

    provider = TracerProvider(_sampler(), resource(service), shutdown_on_exit=False, span_limits=limits())
    room, batch, delay = (int(float(os.environ.get(f"OTEL_BSP_{name}") or usual)) for name, usual in BATCHES.items())
    for each in exporters:
        provider.add_span_processor(Outbound(each, max(room, batch), batch, delay / 1000))
    trace.set_tracer_provider(provider)
    return provider


def _sampler() -> Any:
    """A sampler that a package brings; None for the SDK's own, which it reads from the environment."""
    name = os.environ.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    found = next(iter(entry_points(group="opentelemetry_traces_sampler", name=name)), None) if name else None
    if found is None or found.value.startswith("opentelemetry.sdk."):
        return None
    return found.load()(os.environ.get("OTEL_TRACES_SAMPLER_ARG", ""))
