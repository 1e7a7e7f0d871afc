"""`Tracing`: what traces a topology, compiled in where a provider of traces is configured and left out where none is.

Knows what is private to nobody: the API's providers, and the SDK's by their public attributes.
"""

from dataclasses import replace
from importlib.metadata import version

from opentelemetry.sdk.trace import Tracer as SdkTracer
from opentelemetry.sdk.trace import TracerProvider as SdkProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import NoOpTracer, TracerProvider

from actors import Endpoint, Sink, Source
from engine.telemetry.attributes import INBOX_NAME, place_of
from engine.telemetry.handling import TracedStage
from engine.telemetry.processing import Process
from engine.telemetry.publishing import TracedSink
from engine.telemetry.receiving import TracedSource
from engine.telemetry.sampling import rule_of
from engine.telemetry.starting import Asked, Lazily
from engine.telemetry.trail import Carrier
from topologies import Stage

SCOPE = "headrace"
SCHEMA = "https://opentelemetry.io/schemas/1.44.0"


class Tracing:
    """Makes traced what an engine is made of. Spans come from one provider, contexts travel by OTEL_PROPAGATORS."""

    def __init__(self, start: Lazily | Asked, carrier: Carrier | None = None) -> None:
        self.start = start
        self.carrier = carrier or Carrier()

    def source(self, source: Source, endpoint: Endpoint, group: str) -> Source:
        """A source whose messages are followed."""
        return TracedSource(source, place_of(endpoint, group), self.start, self.carrier)

    def sink(self, sink: Sink, endpoint: Endpoint, replies: bool = False) -> Sink:
        """A sink whose messages carry their traces on; one for `replies` publishes to inboxes."""
        place = place_of(endpoint)
        return TracedSink(sink, replace(place, name=INBOX_NAME) if replies else place, self.start, self.carrier)

    def stage(self, topology: str, stage: Stage, late: bool) -> TracedStage:
        """What makes the parts of a stage traced; see there for `late`."""
        return TracedStage(Process(topology, stage, self.start), late)


def tracing_of(provider: TracerProvider) -> Tracing | None:
    """What traces by a provider; None where nobody has configured one, or the SDK is disabled."""
    tracer = provider.get_tracer(SCOPE, version("headrace"), SCHEMA)
    if isinstance(tracer, NoOpTracer) or type(tracer).__name__ == "ProxyTracer":
        return None
    if type(provider) is SdkProvider and type(tracer) is SdkTracer:
        rule = rule_of(provider.sampler)
        if rule is not None:
            scope = InstrumentationScope(SCOPE, version("headrace"), SCHEMA)
            return Tracing(Lazily(provider, tracer, scope, rule))
    return Tracing(Asked(tracer))
