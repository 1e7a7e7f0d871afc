"""What an engine measures of itself, as Prometheus text and by OpenTelemetry's own reader."""

from collections.abc import Iterable
from typing import Any

import anyio
import pytest
from anyio.lowlevel import checkpoint
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from prometheus_client.parser import text_string_to_metric_families

from actors import worker
from engine.telemetry.scrape import scrape
from engine.telemetry.weighing import KIND, views
from headrace import Batch, Engine, Memory, Retry, Supervision, Topology

pytestmark = pytest.mark.anyio


class Shop:
    """Orders in, orders out; and a meter that reads when it is asked to."""

    def __init__(self, count: int = 1000, **options: Any) -> None:
        self.memory, self.topology, self.reader = Memory(capacity=10_000), Topology("shop"), InMemoryMetricReader()
        self.provider = MeterProvider(metric_readers=[self.reader], views=views())
        self.count, self.options = count, options

    def handle(self, handler: Any, **options: Any) -> Engine:
        takes = self.topology.subscriber(self.memory.topic("in"), name="call", **options)
        self.topology.publisher(self.memory.topic("out"))(takes(handler))
        return Engine(self.topology.graph(), meter_provider=self.provider)

    async def fill(self) -> None:
        async with self.memory:
            for number in range(self.count):
                await self.memory.topic("in").publish({"i": number})

    def read(self) -> dict[str, list[Any]]:
        """Data points by metric."""
        data: Any = self.reader.get_metrics_data()
        metrics = [metric for each in data.resource_metrics for scope in each.scope_metrics for metric in scope.metrics]
        return {metric.name: list(metric.data.data_points) for metric in metrics}


def of(points: Iterable[Any], stage: str, **attributes: Any) -> Any:
    """The one data point of a stage that has these attributes."""
    wanted = {"headrace.stage": stage, **{name.replace("_", "."): value for name, value in attributes.items()}}
    found = [point for point in points if wanted.items() <= point.attributes.items()]
    assert len(found) == 1, found
    return found[0]


async def test_counters_say_what_became_of_every_message() -> None:
    shop = Shop()

    async def call(body: dict[str, int]) -> dict[str, int]:
        if body["i"] % 100 == 7:
            raise ValueError("no")
        return body

    engine = shop.handle(call, retry=Retry(attempts=2, first=0, jitter=0))
    await shop.fill()
    await engine.run(burst=True)
    read = shop.read()
    consumed = of(read["messaging.client.consumed.messages"], "call")
    assert (consumed.value, consumed.attributes["messaging.destination.name"]) == (1000, "in")
    assert consumed.attributes["messaging.system"] == "memory"
    assert of(read["messaging.client.sent.messages"], "to:out").value == 990
    assert of(read["headrace.exceptions"], "call", error_type="ValueError").value == 20
    assert of(read["headrace.retries"], "call").value == 10
    assert of(read["headrace.dead_letters"], "call").value == 10
    assert of(read["headrace.settled"], "call").value == 1000
    assert of(read["headrace.handled"], "call").value == 1010
    assert of(read["headrace.in_flight"], "call").value == 0


async def test_durations_are_recorded_for_each_message_and_of_a_broker_once_a_run() -> None:
    shop = Shop(count=200)

    async def call(body: dict[str, int]) -> dict[str, int]:
        await anyio.sleep(0.001)
        return body

    engine = shop.handle(call, max_workers=50)
    await shop.fill()
    await engine.run(burst=True)
    read = shop.read()
    process = of(read["messaging.process.duration"], "call")
    assert process.count == 200
    assert process.sum >= 0.2
    assert process.explicit_bounds[0] == 0.005
    sent = of(read["messaging.client.operation.duration"], "to:out")
    settled = of(read["messaging.client.operation.duration"], "call")
    assert 0 < sent.count < 200
    assert settled.attributes["messaging.operation.type"] == "settle"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of the workers, which the test alone moves: no pause of the machine counts."""
    now = [0.0]
    monkeypatch.setattr(worker, "perf_counter", lambda: now[0])
    return now


@pytest.mark.parametrize("workers", [1, 3])
async def test_a_message_that_is_waited_with_is_recorded_by_itself_among_quick_ones(
    workers: int, now: list[float]
) -> None:
    shop = Shop(count=400)

    async def call(body: dict[str, int]) -> None:
        if body["i"] % 50 == 33:
            for _ in range(2):
                await checkpoint()
                now[0] += 0.06

    engine = shop.handle(call, max_workers=workers)
    await shop.fill()
    await engine.run(burst=True)
    process = of(shop.read()["messaging.process.duration"], "call")
    slow = sum(process.bucket_counts[process.explicit_bounds.index(0.1) + 1 :])
    assert (process.count, slow) == (400, 8)
    assert process.sum == pytest.approx(
        of(shop.read()["headrace.stage.time"], "call", headrace_state="busy").value, 0.1
    )


async def test_the_time_of_a_batch_is_shared_by_its_messages() -> None:
    shop = Shop(count=100)

    async def call(bodies: list[dict[str, int]]) -> None:
        await anyio.sleep(0.2)

    shop.topology.subscriber(shop.memory.topic("in"), name="call", batch=Batch(size=10, wait=1), max_workers=5)(call)
    await shop.fill()
    await Engine(shop.topology.graph(), meter_provider=shop.provider).run(burst=True)
    process = of(shop.read()["messaging.process.duration"], "call")
    assert process.count == 100
    assert 0.02 <= process.min <= process.sum / 100 < 0.1


async def test_a_failed_message_that_was_waited_with_is_recorded_by_itself_too(now: list[float]) -> None:
    shop = Shop(count=100)

    async def call(body: dict[str, int]) -> None:
        if body["i"] % 20 == 7:
            await checkpoint()
            now[0] += 0.11
            raise ValueError("no")

    engine = shop.handle(call, retry=Retry(attempts=1))
    await shop.fill()
    await engine.run(burst=True)
    process = of(shop.read()["messaging.process.duration"], "call")
    slow = sum(process.bucket_counts[process.explicit_bounds.index(0.1) + 1 :])
    assert (process.count, slow) == (100, 5)


async def test_with_a_provider_that_does_not_weigh_a_run_counts_once() -> None:
    shop = Shop(count=400)
    shop.reader = InMemoryMetricReader()
    shop.provider = MeterProvider(metric_readers=[shop.reader])

    async def call(body: dict[str, int]) -> None: ...

    engine = shop.handle(call)
    await shop.fill()
    await engine.run(burst=True)
    process = of(shop.read()["messaging.process.duration"], "call")
    assert 0 < process.count < 400
    assert of(shop.read()["headrace.handled"], "call").value == 400


def test_histograms_of_another_kind_are_left_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(KIND, "base2_exponential_bucket_histogram")
    assert views() == []


async def test_time_of_the_workers_is_busy_blocked_or_idle() -> None:
    shop, go = Shop(count=2000), anyio.Event()

    async def call(body: dict[str, int]) -> dict[str, int]:
        return body

    async def slow(body: dict[str, int]) -> None:
        await go.wait()

    shop.topology.subscriber(call, name="slow", mailbox=10)(slow)
    engine = shop.handle(call)
    await shop.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await anyio.wait_all_tasks_blocked()
        await anyio.sleep(0.05)
        depth = of(shop.read()["headrace.mailbox.depth"], "slow")
        before = shop.read()["headrace.stage.time"]
        go.set()
        engine.drain()
    assert depth.value == 10
    assert of(before, "call", headrace_state="blocked").value > 0.04
    assert of(before, "slow", headrace_state="busy").value > 0.04
    times = shop.read()["headrace.stage.time"]
    assert of(times, "call", headrace_state="blocked").value > 0.04
    assert of(times, "slow", headrace_state="busy").value > 0.04
    assert of(times, "call", headrace_state="idle").value >= 0


async def test_a_mailbox_that_nobody_takes_from_is_waited_in_for_long() -> None:
    shop, go = Shop(count=500), anyio.Event()

    async def call(body: dict[str, int]) -> None:
        await go.wait()

    engine = shop.handle(call, mailbox=100)
    await shop.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(20):
            while of(shop.read()["headrace.mailbox.wait"], "call").value < 5:
                await anyio.sleep(0.01)
        assert of(shop.read()["headrace.mailbox.capacity"], "call").value == 100
        go.set()
        engine.drain()
    assert of(shop.read()["headrace.mailbox.wait"], "call").value == 0


async def test_restarts_and_a_bounded_number_of_kinds_of_exceptions() -> None:
    shop = Shop(count=300)
    shop.topology = Topology("shop", supervision=Supervision(intensity=1000, period=1, backoff=0))

    async def call(body: dict[str, int]) -> None:
        raise type(f"Kind{body['i']}", (Exception,), {})("no")

    engine = shop.handle(call)
    await shop.fill()
    await engine.run(burst=True)
    exceptions = shop.read()["headrace.exceptions"]
    assert len(exceptions) == 101
    assert of(exceptions, "call", error_type="other").value == 200


async def test_prometheus_text_has_what_the_reader_has() -> None:
    shop, scraped = Shop(), scrape()
    shop.provider = MeterProvider(metric_readers=[scraped.reader])

    async def call(body: dict[str, int]) -> dict[str, int]:
        return body

    engine = shop.handle(call)
    await shop.fill()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        with anyio.fail_after(20):
            while sum(status.settled for status in engine.status()) < 1000:
                await anyio.sleep(0.01)
        text, kind = scraped.text()
        engine.drain()
    assert kind.startswith("text/plain")
    families = {family.name: family for family in text_string_to_metric_families(text.decode())}
    values = {sample.labels.get("headrace_stage"): sample.value for sample in families["headrace_settled"].samples}
    assert values == {"call": 1000, "to:out": 0}
    assert families["headrace_ready"].samples[0].value == 1
    assert families["process_memory_usage_bytes"].samples[0].value > 10_000_000
    assert {"user", "system"} == {each.labels["cpu_mode"] for each in families["process_cpu_time_seconds"].samples}
    assert scraped.text("application/openmetrics-text; version=1.0.0")[1].startswith("application/openmetrics-text")


async def test_without_a_meter_provider_nothing_observes() -> None:
    shop = Shop(count=1)

    async def call(body: dict[str, int]) -> None:
        return None

    shop.topology.subscriber(shop.memory.topic("in"))(call)
    engine = Engine(shop.topology.graph())
    await engine.run(burst=True)
    assert all(running.counts.observer is None for running in engine.running)
