"""Metrics of an engine, on the OpenTelemetry API: counters and gauges read when they are collected, durations a run.

Counters cost the message path nothing, for the stages keep them anyway. Of what handlers take, a message that one
waited with is recorded by itself, and those in a row that it was through with without waiting at once: their mean,
which counts as many times as they are where the meter provider weighs (`weighing.py`), and once elsewhere.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version

from opentelemetry.metrics import CallbackOptions, Histogram, Meter, MeterProvider, Observation

from actors import Ledger
from engine.assembly.running import Running
from engine.health.health import Health
from engine.telemetry.measured import Attributes, Measured, measured
from engine.telemetry.process import measure_process
from engine.telemetry.weighing import PROCESS, Weighed

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
"""Upper bounds in seconds, as the messaging conventions advise."""
Read = Callable[["Measured"], Iterable[tuple[float, Attributes]]]


@dataclass(frozen=True, slots=True)
class Durations:
    """What a stage tells how long things took; an `Observer`."""

    process: Histogram
    operation: Histogram
    handling: Attributes
    sending: Attributes
    settling: Attributes

    def handled(self, messages: int, seconds: float) -> None:
        self.process.record(Weighed(seconds / messages, messages), self.handling)

    def published(self, messages: int, seconds: float) -> None:
        self.operation.record(seconds, self.sending)

    def settled(self, messages: int, seconds: float) -> None:
        self.operation.record(seconds, self.settling)


class Metrics:
    """Has a meter provider measure an engine: its stages, its health, its process. Attributes are bounded by the
    topology: stages, the destinations they declare, and 100 types of exceptions each."""

    def __init__(
        self, provider: MeterProvider, topologies: Sequence[tuple[str, Sequence[Running]]], health: Callable[[], Health]
    ) -> None:
        meter = provider.get_meter("headrace", version("headrace"))
        self._meter = meter
        self._stages = [measured(topology, running) for topology, stages in topologies for running in stages]
        self._observe(meter)
        self._count()
        self._gauge(health)
        measure_process(meter)

    def _observe(self, meter: Meter) -> None:
        process = _durations(meter, PROCESS, "Time that a handler takes for a message.")
        operation = _durations(
            meter, "messaging.client.operation.duration", "Time that a broker takes for a run of messages."
        )
        for stage in self._stages:
            running, name = stage.running, stage.attributes["headrace.stage"]
            sending = {**_operation("send", _destination(running)), **stage.attributes}
            sources = [_source(ledger) for ledger in running.ledgers]
            handling = {**_operation("process", sources[0] if sources else ("headrace", name)), **stage.attributes}
            settlings = [{**_operation("settle", source, "ack"), **stage.attributes} for source in sources]
            running.counts.observer = Durations(process, operation, handling, sending, {})
            for ledger, settling in zip(running.ledgers, settlings, strict=True):
                ledger.counts.observer = Durations(process, operation, handling, sending, settling)

    def _count(self) -> None:
        count = self._counter
        count("messaging.client.consumed.messages", "{message}", "Messages fetched from a broker.", _consumed)
        count("messaging.client.sent.messages", "{message}", "Messages published and confirmed.", _sent)
        for name, told, read in (
            ("handled", "Tries that a handler made, the failed ones among them.", lambda it: it.counts.handled),
            ("retries", "Messages that were tried again.", lambda it: it.counts.retried),
            ("dropped", "Messages that a handler dropped by name.", lambda it: it.counts.dropped),
            ("restarts", "Workers made anew after a crash.", lambda it: it.pool.supervisor.restarts),
            ("settled", "Messages acknowledged to their broker.", _of_ledgers("settled")),
            ("dead_letters", "Messages whose dead letter is confirmed.", _of_ledgers("dead")),
            ("returned", "Messages given back to their broker.", _of_ledgers("returned")),
            ("redeliveries", "Messages that a broker delivered once more.", _of_ledgers("redelivered")),
        ):
            unit = "{restart}" if name == "restarts" else "{message}"
            count(f"headrace.{name}", unit, told, _plain(read))
        count("headrace.exceptions", "{exception}", "Failures of a stage, by type.", _exceptions)
        count("headrace.stage.time", "s", "Time of a stage's workers: busy, blocked by what is behind, idle.", _times)

    def _gauge(self, health: Callable[[], Health]) -> None:
        for name, unit, told, read in (
            ("mailbox.depth", "{message}", "Messages that wait in a mailbox.", lambda it: len(it.mailbox)),
            ("mailbox.capacity", "{message}", "Messages that a mailbox has room for.", lambda it: it.mailbox.capacity),
            ("workers", "{worker}", "Workers of a stage's pool.", lambda it: it.pool.size),
            ("held", "{message}", "Messages in the hands of a stage's workers.", lambda it: it.mailbox.held),
            ("waiting_for_retry", "{message}", "Messages that wait for their next try.", lambda it: len(it.retries)),
            ("workers.busy", "{worker}", "Workers that have a message in hand.", lambda it: it.pool.busy),
            ("in_flight", "{message}", "Messages fetched and not settled.", _in_flight),
        ):
            self._gauge_of(f"headrace.{name}", unit, told, _plain(read))
        self._gauge_of("headrace.connected", "1", "1 while all brokers of a stage are connected.", _plain(_connected))
        self._gauge_of("headrace.mailbox.wait", "s", "Time that a message waits in a mailbox, estimated.", _waits)
        self._gauge_of("headrace.watermark.age", "s", "Age of a stage's oldest unsettled message.", _ages)
        self._gauge_of("headrace.consumer.lag", "{message}", "Messages that a source has still to deliver.", _lags)

        def truth(name: str) -> Callable[[CallbackOptions], list[Observation]]:
            return lambda options: [Observation(int(getattr(health(), name)))]

        self._meter.create_observable_gauge("headrace.ready", [truth("ready")], "1", "1 while it can be relied on.")
        self._meter.create_observable_gauge(
            "headrace.alive", [truth("alive")], "1", "0 when only a restart could help it."
        )
        self._meter.create_observable_gauge(
            "headrace.stalled",
            [lambda options: _stalled(health())],
            "1",
            "1 while a stage has work and does not move, with what it waits for.",
        )

    def _counter(self, name: str, unit: str, told: str, read: Read) -> None:
        self._meter.create_observable_counter(name, [self._reading(read)], unit, told)

    def _gauge_of(self, name: str, unit: str, told: str, read: Read) -> None:
        self._meter.create_observable_gauge(name, [self._reading(read)], unit, told)

    def _reading(self, read: Read) -> Callable[[CallbackOptions], list[Observation]]:
        stages = self._stages
        return lambda options: [Observation(value, has) for stage in stages for value, has in read(stage)]


def _durations(meter: Meter, name: str, told: str) -> Histogram:
    return meter.create_histogram(name, "s", told, explicit_bucket_boundaries_advisory=BUCKETS)


def _operation(kind: str, destination: tuple[str, str], name: str = "") -> Attributes:
    return {
        "messaging.system": destination[0],
        "messaging.destination.name": destination[1],
        "messaging.operation.type": kind,
        "messaging.operation.name": name or kind,
    }


def _source(ledger: Ledger) -> tuple[str, str]:
    return ledger.origin


def _destination(running: Running) -> tuple[str, str]:
    """Where a publisher publishes; of a template its text, for what is filled in has no bounds."""
    endpoint = running.stage.endpoint
    return ("headrace", running.stage.name) if endpoint is None else (endpoint.broker.system, endpoint.name)


def _plain(read: Callable[[Running], float]) -> Read:
    return lambda stage: [(read(stage.running), stage.attributes)]


def _of_ledgers(name: str) -> Callable[[Running], float]:
    return lambda running: sum(getattr(ledger.counts, name) for ledger in running.ledgers)


def _in_flight(running: Running) -> float:
    return sum(len(ledger.open) for ledger in running.ledgers)


def _connected(running: Running) -> float:
    return int(all(link.connected for link in running.links))


def _consumed(stage: Measured) -> Iterator[tuple[float, Attributes]]:
    for ledger in stage.running.ledgers:
        yield ledger.counts.received, {**_operation("receive", _source(ledger)), **stage.attributes}


def _sent(stage: Measured) -> Iterator[tuple[float, Attributes]]:
    if stage.running.stage.kind == "publisher":
        sent = {**_operation("send", _destination(stage.running)), **stage.attributes}
        yield stage.running.counts.published, sent


def _exceptions(stage: Measured) -> Iterator[tuple[float, Attributes]]:
    for kind, count in list(stage.running.counts.exceptions.items()):  # read in a thread of the reader's
        yield count, {"error.type": kind, **stage.attributes}


def _times(stage: Measured) -> Iterator[tuple[float, Attributes]]:
    for state, seconds in zip(("busy", "blocked", "idle"), stage.times(), strict=True):
        yield seconds, {"headrace.state": state, **stage.attributes}


def _waits(stage: Measured) -> Iterator[tuple[float, Attributes]]:
    if (seconds := stage.wait()) is not None:
        yield seconds, stage.attributes


def _ages(stage: Measured) -> Iterator[tuple[float, Attributes]]:
    for ledger in stage.running.ledgers:
        yield ledger.oldest or 0.0, {"messaging.destination.name": ledger.name, **stage.attributes}


def _lags(stage: Measured) -> Iterator[tuple[float, Attributes]]:
    for ledger in stage.running.ledgers:
        if (pending := ledger.source.pending()) is not None:
            yield pending, {"messaging.destination.name": ledger.name, **stage.attributes}


def _stalled(health: Health) -> list[Observation]:
    return [
        Observation(
            int(stage.stalled),
            {
                "headrace.topology": stage.topology,
                "headrace.stage": stage.stage,
                "headrace.reason": (stage.waiting_for or "") if stage.stalled else "",
            },
        )
        for stage in health.stages
    ]
