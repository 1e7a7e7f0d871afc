"""The fixtures through which tests get at the servers; loaded by tests/conftest.py."""

from collections.abc import Generator, Iterator

import pytest

from tests.servers.collector import Collector, Receiver
from tests.servers.fleet import Fleet
from tests.servers.kafka import Kafka
from tests.servers.nats import Nats
from tests.servers.process import Server
from tests.servers.prometheus import Prometheus
from tests.servers.rabbitmq import RabbitMQ
from tests.servers.redis import Redis
from tests.servers.site import Site


@pytest.fixture(scope="session")
def servers() -> Iterator[Site]:
    """All servers of this session; `servers.get(Redis, required=True)` starts a variant."""
    with Site() as site:
        yield site


@pytest.fixture
def redis_server(servers: Site) -> Redis:
    """A running Redis, shared by the session."""
    return servers.get(Redis)


@pytest.fixture
def nats_server(servers: Site) -> Nats:
    """A running NATS with JetStream, shared by the session."""
    return servers.get(Nats)


@pytest.fixture
def rabbitmq_server(servers: Site) -> RabbitMQ:
    """A running RabbitMQ, shared by the session."""
    return servers.get(RabbitMQ)


@pytest.fixture
def kafka_server(servers: Site) -> Kafka:
    """A running Kafka, shared by the session."""
    return servers.get(Kafka)


@pytest.fixture
def prometheus_server(servers: Site) -> Prometheus:
    """A running Prometheus, shared by the session; tell it by `watch` what to scrape."""
    return servers.get(Prometheus)


@pytest.fixture(scope="session")
def receiver() -> Iterator[Receiver]:
    """What takes the spans at the far end of the collector, from all tests of the session."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def collector(servers: Site, receiver: Receiver) -> Collector:
    """A running collector for OpenTelemetry, shared by the session."""
    return servers.get(Collector, exports_to=receiver.port)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add to a failure what the servers of the test have logged."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, Server | Fleet):
                report.sections.append((f"End of the log of {value!r}", value.log(15)))
    return report
