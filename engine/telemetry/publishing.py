"""Where messages go out, traced: `TracedSink`, in front of a broker's own."""

from collections.abc import Callable, Mapping, Sequence
from time import time_ns
from typing import Any

from opentelemetry.trace import Span, SpanKind

from actors import BrokerUnavailable, Message, Pipelined, PublishError, Sent, Sink
from engine.telemetry.attributes import Place, of_sent
from engine.telemetry.ending import finish
from engine.telemetry.spans import Shape
from engine.telemetry.starting import Asked, Lazily
from engine.telemetry.trail import TRACEPARENT, Carrier, Trail, unsampled

_AGAIN = BrokerUnavailable("it was not confirmed, and is published again")
_LEFT = BrokerUnavailable("its publisher ended before it was confirmed")


class Sending:
    """The spans of a run that is being published, with the trails that its messages had. They end once."""

    __slots__ = ("_run", "_spans")

    def __init__(self, run: Sequence[Message], spans: Sequence[tuple[int, Trail, Span]]) -> None:
        self._run = run
        self._spans = spans

    def __bool__(self) -> bool:
        return bool(self._spans)

    def confirmed(self) -> None:
        """All of it was."""
        now = time_ns()
        for _, _, span in self._spans:
            span.end(now)
        self._spans = ()

    def refused(self, failures: Mapping[int, Exception]) -> None:
        """All of it was confirmed, but for some."""
        for at, trail, span in self._spans:
            self._run[at].origin = trail  # it may be published again
            finish(span, failures.get(at))
        self._spans = ()

    def failed(self, error: BaseException) -> None:
        """Nothing is known of it."""
        for at, trail, span in self._spans:
            self._run[at].origin = trail
            finish(span, error)
        self._spans = ()

    def undone(self) -> None:
        """Nothing was sent, and no span is told of."""
        for at, trail, _ in self._spans:
            self._run[at].origin = trail


class TracedSent:
    """A run on its way, whose spans end when it is known what became of it."""

    def __init__(self, sent: Sent, sending: Sending) -> None:
        self._sent = sent
        self._sending = sending

    def then(self, callback: Callable[[], object]) -> None:
        self._sent.then(callback)

    async def confirmed(self) -> bool:
        try:
            confirmed = await self._sent.confirmed()
        except PublishError as error:
            self._sending.refused(error.failures)
            raise
        except Exception as error:
            self._sending.failed(error)
            raise
        if confirmed:
            self._sending.confirmed()
        else:
            self._sending.failed(_AGAIN)
        return confirmed

    def forget(self) -> None:
        self._sending.failed(_LEFT)
        self._sent.forget()


class TracedSink:
    """A sink that makes a span of each message that it publishes, and puts the span's context into the headers."""

    def __init__(self, sink: Sink, place: Place, start: Lazily | Asked, carrier: Carrier) -> None:
        self._sink = sink
        self._pipelined = sink if isinstance(sink, Pipelined) else None
        self._place = place
        self._start = start
        self._carrier = carrier
        self._shape = Shape(f"send {place.shown}", SpanKind.PRODUCER, place.attributes("send", "send"), of_sent)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._sink, name)  # what only some sinks have

    @property
    def destination(self) -> str:
        return self._sink.destination

    @property
    def in_flight(self) -> int:
        return 1 if self._pipelined is None else self._pipelined.in_flight

    async def open(self) -> None:
        await self._sink.open()

    async def close(self) -> None:
        await self._sink.close()

    async def publish(self, run: Sequence[Message]) -> None:
        sending = self._begin(run)
        if not sending:
            await self._sink.publish(run)
            return
        try:
            await self._sink.publish(run)
        except PublishError as error:
            sending.refused(error.failures)
            raise
        except BaseException as error:
            sending.failed(error)
            raise
        sending.confirmed()

    async def send(self, run: Sequence[Message]) -> Sent | None:
        if self._pipelined is None:
            return None
        sending = self._begin(run)
        sent: Sent | None = None
        try:
            sent = await self._pipelined.send(run)
        finally:
            if sent is None:
                sending.undone()
        return TracedSent(sent, sending) if sent is not None and sending else sent

    def _begin(self, run: Sequence[Message]) -> Sending:
        """Start the spans of those messages of a run that are traced."""
        start, place, inject, shape = self._start, self._place, self._carrier.inject, self._shape
        plain = self._carrier.w3c and start.rule is not None
        # One for all of a run that nobody traces: it says no more than that they are not sampled.
        headers_of_untraced = {TRACEPARENT: unsampled()} if plain else None
        spans: list[tuple[int, Trail, Span]] = []
        now = time_ns()
        for at, message in enumerate(run):
            trail = message.origin
            if type(trail) is Trail:
                context, origin = trail.context, trail.origin
                facts = place, origin, message.destination, message.key, message.raw is None
                span = start(shape, context, trail.above, facts, (), now)
                inject(message, context, span)
                message.origin = origin  # adapters know their own
                spans.append((at, trail, span))
            elif headers_of_untraced is not None:
                if not message.headers:
                    message.headers = headers_of_untraced
                elif TRACEPARENT not in message.headers:
                    message.headers = {**message.headers, **headers_of_untraced}
        return Sending(run, spans)

    def __repr__(self) -> str:
        return f"<traced {self._sink!r}>"
