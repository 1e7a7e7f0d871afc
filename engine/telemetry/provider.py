"""Whether anything is traced: told without OpenTelemetry's SDK, which takes a third of a second to import."""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # for type checkers alone
    from opentelemetry.trace import TracerProvider

    from engine.telemetry.outside import Outside
    from engine.telemetry.tracing import Tracing


def tracing_by(provider: "TracerProvider | None") -> "Tracing | None":
    """What traces by that provider, or else by the global one; None where nobody has configured one."""
    provider = provider or configured()
    if provider is None:
        return None
    from engine.telemetry.tracing import tracing_of

    return tracing_of(provider)


def outside() -> "Outside | None":
    """What traces those who publish from outside of an engine; None where nothing is traced."""
    provider = configured()
    if provider is None:
        return None
    from engine.telemetry.outside import outside_by

    return outside_by(provider)


def configured() -> "TracerProvider | None":
    """The global provider. Whoever has set one has imported the API; or an environment variable names one."""
    if "opentelemetry.trace" not in sys.modules and "OTEL_PYTHON_TRACER_PROVIDER" not in os.environ:
        return None
    from opentelemetry import trace

    provider = trace.get_tracer_provider()
    return None if isinstance(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider) else provider
