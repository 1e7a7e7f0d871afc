"""The real engine and a real collector: one trace from the first broker to the last, and collectors that fail."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest

from headrace import RabbitMQ
from tests.servers import kafka, nats, rabbitmq
from tests.servers.collector import Collector, Received, Receiver

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

ACROSS = """
import os
from headrace import Kafka, Message, Nats, RabbitMQ, Topology

name = os.environ["NAME"]
rabbit, kafka, nats = RabbitMQ(os.environ["RABBITMQ_URL"]), Kafka(os.environ["KAFKA"]), Nats(os.environ["NATS_URL"])
topology = Topology("across")
urgent = topology.publisher(kafka.topic(f"{name}-urgent"), key="customer")
normal = topology.publisher(kafka.topic(f"{name}-normal"), key="customer")


@topology.subscriber(rabbit.queue(name))
async def check(order: dict[str, object]) -> dict[str, object]:
    return order


@topology.router(check, to=[urgent, normal])
def by_priority(order: dict[str, object]) -> object:
    return urgent if order["priority"] == "high" else normal


@topology.publisher(nats.stream(f"{name}-done", subject=f"{name}.done"))
@topology.subscriber(kafka.topic(f"{name}-urgent"))
async def ship(order: dict[str, object]) -> dict[str, object]:
    return order


@topology.subscriber(nats.stream(f"{name}-done", subject=f"{name}.done"))
async def note(order: dict[str, object]) -> None: ...
"""
BUSY = """
from headrace import Memory, Topology

memory = Memory(capacity=50_000)
topology = Topology("busy")


@topology.lifespan
async def filled(context):
    async with memory:
        sink = memory.topic("in").sink()
        await sink.open()
        from headrace import Message
        run = [Message(raw=b"1") for _ in range(20_000)]
        for message in run:
            message.destination = "in"
        await sink.publish(run)
        yield
        print("out", memory.statistics().topics["out"].published, flush=True)


@topology.publisher(memory.topic("out"))
@topology.subscriber(memory.topic("in"))
async def handle(number: int) -> int:
    return number
"""


def engine(folder: Path, source: str, *options: str, **environment: str) -> subprocess.Popen[str]:
    """A real `headrace run` of that module."""
    module = folder / "module.py"
    module.write_text(source)
    clean = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.Popen(
        [sys.executable, "-m", "headrace", "run", f"{module}:topology", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=clean | environment,
    )


@pytest.fixture
def running() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: Any, **environment: str) -> subprocess.Popen[str]:
        started.append(engine(*arguments, **environment))  # type: ignore[arg-type]
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


async def arrived(receiver: Receiver, wanted: Callable[[list[Received]], Any], within: float = 60) -> list[Received]:
    """What is there as soon as it is what the test waits for."""
    with anyio.move_on_after(within):
        while not wanted(receiver.spans):
            await anyio.sleep(0.05)
        return list(receiver.spans)
    raise AssertionError(f"not within {within} s; there are {receiver.spans}")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_one_trace_from_rabbitmq_over_kafka_to_nats(
    protocol: str,
    collector: Collector,
    receiver: Receiver,
    rabbitmq_server: rabbitmq.RabbitMQ,
    kafka_server: kafka.Kafka,
    nats_server: nats.Nats,
    running: Callable[..., subprocess.Popen[str]],
    tmp_path: Path,
) -> None:
    name, trace_id, sender = f"t{uuid4().hex[:8]}", uuid4().hex, uuid4().hex[:16]
    process = running(
        tmp_path,
        ACROSS,
        NAME=name,
        RABBITMQ_URL=rabbitmq_server.url,
        KAFKA=kafka_server.bootstrap,
        NATS_URL=nats_server.url,
        OTEL_TRACES_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.grpc_url if protocol == "grpc" else collector.url,
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    rabbit = RabbitMQ(rabbitmq_server.url)
    async with rabbit:
        headers = {"traceparent": f"00-{trace_id}-{sender}-01"}
        await rabbit.queue(name).publish({"customer": "a", "priority": "high"}, headers=headers, id="order-1")

    def ours(spans: list[Received]) -> list[Received]:
        return [span for span in spans if span.trace_id == trace_id]

    names = {
        f"process {name}": ("CONSUMER", ""),
        "process by_priority": ("INTERNAL", f"process {name}"),
        f"send {name}-urgent": ("PRODUCER", "process by_priority"),
        f"process {name}-urgent": ("CONSUMER", f"send {name}-urgent"),
        f"send {name}.done": ("PRODUCER", f"process {name}-urgent"),
        f"process {name}.done": ("CONSUMER", f"send {name}.done"),
        f"ack {name}": ("CLIENT", f"process {name}"),
        f"ack {name}-urgent": ("CLIENT", f"process {name}-urgent"),
        f"ack {name}.done": ("CLIENT", f"process {name}.done"),
    }
    try:
        spans = ours(await arrived(receiver, lambda spans: len(ours(spans)) >= len(names)))
    finally:
        process.send_signal(signal.SIGTERM)
        _, log = process.communicate(timeout=40)
    assert process.returncode == 0, log
    by_id = {span.span_id: span for span in spans}
    tree = {span.name: (span.kind, by_id[span.parent_id].name if span.parent_id in by_id else "") for span in spans}
    assert tree == names
    found = {span.name: span for span in spans}
    assert found[f"process {name}"].parent_id == sender
    assert found[f"process {name}"].links == [sender]
    assert {span.resource["service.name"] for span in spans} == {"across"}
    assert {span.resource["deployment.environment.name"] for span in spans} == {"test"}
    first = found[f"process {name}"].attributes
    assert first["messaging.system"] == "rabbitmq"
    assert first["messaging.destination.name"] == name
    assert first["messaging.operation.type"] == "process"
    assert first["messaging.message.id"] == "order-1"
    assert first["messaging.rabbitmq.message.delivery_tag"] == 1
    assert (first["server.address"], first["server.port"]) == (rabbitmq_server.host, rabbitmq_server.port)
    second = found[f"process {name}-urgent"].attributes
    assert second["messaging.system"] == "kafka"
    assert second["messaging.consumer.group.name"] == "across.ship"
    assert second["messaging.destination.partition.id"] == "0"
    assert second["messaging.kafka.offset"] == 0
    assert second["messaging.kafka.message.key"] == "a"
    assert second["messaging.message.id"] == "order-1"
    third = found[f"process {name}.done"].attributes
    assert (third["messaging.system"], third["headrace.stage"]) == ("nats", "note")


def listening_and_silent() -> socket.socket:
    """A collector that takes connections, and never answers."""
    silent = socket.create_server(("127.0.0.1", 0), backlog=64)
    return silent


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
@pytest.mark.parametrize("kind", ["dead", "silent"])
async def test_a_collector_that_is_gone_or_silent_does_not_hold_up_the_stream(
    kind: str, protocol: str, running: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    silent = listening_and_silent()
    port = silent.getsockname()[1]
    if kind == "dead":
        silent.close()
    try:
        began = time.monotonic()
        process = running(
            tmp_path,
            BUSY,
            "--burst",
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        )
        out, log = await anyio.to_thread.run_sync(lambda: process.communicate(timeout=60))
        took = time.monotonic() - began
    finally:
        silent.close()
    assert process.returncode == 0, log
    assert "out 20000" in out
    assert "spans dropped so far" in log, "20,000 messages have more spans than may wait"
    assert took < 25, f"it took {took:.1f} s, of which the end may take 5"
