"""The works as topologies of Headrace, by default and with one feature on."""

from collections.abc import AsyncIterator
from typing import Any

import anyio

from benchmarks.hands import GROUP
from benchmarks.work import WORKS, Job, Lap, Order, Work, handler, many
from headrace import Batch, Engine, Kafka, Memory, Message, Nats, RabbitMQ, Redis, Retry, Topology

OPTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "key": {"key": "customer"},
    "retry": {"retry": Retry(attempts=5)},
    "metrics": {},
    "tracing": {},
    "all": {"key": "customer", "retry": Retry(attempts=5)},
}
"""What each setting gives the subscriber."""
MEASURED = ("metrics", "all")


def loaded(job: Job, lap: Lap, setting: str) -> Engine:
    """The engine of a work's topology, with what it measures and traces by; not running yet."""
    takes, gives = endpoints(job)
    topology = declare(WORKS[job.work], lap, takes, gives, OPTIONS[setting])
    return Engine(topology.graph(), **providers(setting))


async def run(job: Job, lap: Lap, engine: Engine) -> None:
    """Run it until all messages are settled."""
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        # It tells nobody when all is settled, and asking takes time: not before the last one has been handled.
        while len(lap.seen) < job.count or sum(status.settled for status in engine.status()) < job.count:  # noqa: ASYNC110
            await anyio.sleep(0.002)
        lap.finish()
        engine.drain()


def declare(work: Work, lap: Lap, takes: Any, gives: list[Any], options: dict[str, Any]) -> Topology:
    """The topology of a work."""
    topology = Topology("bench")
    if work.tasks > 1:
        options = options | {"max_workers": work.tasks}
    if work.keyed:
        options = options | {"key": "customer"}
    if work.batch:
        handle_many = many(lap)

        async def handle_batch(orders: list[Order]) -> AsyncIterator[Order]:
            for order in await handle_many(orders):
                yield order

        subscribed: Any = topology.subscriber(takes, batch=Batch(work.batch, 0.01), **options)(handle_batch)
    elif gives:
        subscribed = topology.subscriber(takes, **options)(handler(work, lap))
    else:

        async def consume(order: Order) -> None:
            lap.saw(order.id)

        subscribed = topology.subscriber(takes, **options)(consume)
    for place in gives:
        subscribed = topology.publisher(place)(subscribed)
    return topology


def endpoints(job: Job) -> tuple[Any, list[Any]]:
    """The places of a job as endpoints."""
    match job.broker:
        case "redis":
            redis = Redis(job.url)
            return redis.stream(job.source, group=GROUP), [redis.stream(name) for name in job.targets]
        case "nats":
            nats = Nats(job.url)
            stream = nats.stream(job.source, subject=job.source)
            return stream, [nats.stream(name, subject=name) for name in job.targets]
        case "rabbitmq":
            rabbit = RabbitMQ(job.url)
            return rabbit.queue(job.source), [rabbit.queue(name) for name in job.targets]
        case _:
            kafka = Kafka(job.url.removeprefix("kafka://"))
            return kafka.topic(job.source, group=GROUP), [kafka.topic(name) for name in job.targets]


def providers(setting: str) -> dict[str, Any]:
    """What the engine of a setting is given to measure and trace with."""
    given: dict[str, Any] = {}
    if setting in MEASURED:
        from opentelemetry.sdk.metrics import MeterProvider

        from engine.telemetry.scrape import scrape

        given["meter_provider"] = MeterProvider(metric_readers=[scrape().reader])
    if setting == "tracing":
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

        from engine.telemetry.export import Outbound

        provider = TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.01)), shutdown_on_exit=False)
        provider.add_span_processor(Outbound(InMemorySpanExporter()))
        given["tracer_provider"] = provider
    return given


async def run_in_process(job: Job, lap: Lap) -> None:
    """The bridge on the embedded broker, from a full topic to the last one acknowledged."""
    from benchmarks.work import body

    memory = Memory(capacity=job.count)
    topology = declare(WORKS[job.work], lap, memory.topic(job.source), [memory.topic(job.targets[0])], {})
    async with memory:
        sink = memory.topic(job.source).sink()
        await sink.open()
        for start in range(0, job.count, 1000):
            messages = [Message(raw=body(number)) for number in range(start, min(start + 1000, job.count))]
            for message in messages:
                message.destination = job.source
            await sink.publish(messages)
        await Engine(topology.graph()).run(burst=True)
        lap.finish()
    arrived = memory.statistics().topics[job.targets[0]].published
    if arrived != job.count:
        raise SystemExit(f"{job.count} messages went in, {arrived} came out")
