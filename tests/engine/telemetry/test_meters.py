"""What `headrace run` measures, where it goes: to Prometheus, to a collector, to nobody."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from httpx import AsyncClient

from tests.engine.cli.conftest import surroundings
from tests.servers.collector import Collector, Receiver
from tests.servers.programs import promtool
from tests.servers.prometheus import Prometheus
from tests.servers.site import Site

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120)]

SHOP = """
import anyio
from headrace import Memory, Topology

memory, topology = Memory(), Topology("shop")


@topology.subscriber(memory.topic("orders"))
async def check(number: int) -> None:
    if number % 10 == 0:
        raise ValueError("no such order")


@topology.lifespan
async def feed(context):
    async with memory:
        for number in range(100):
            await memory.topic("orders").publish(number)
    yield
"""


@contextmanager
def shop(folder: Path, **environment: str) -> Iterator[str]:
    """An engine in a process of its own, and its URL; it is drained at the end."""
    (folder / "shop.py").write_text(SHOP)
    command = [sys.executable, "-P", "-m", "headrace", "run", "shop:topology", "--http", "127.0.0.1:0"]
    around = surroundings(HEADRACE_LOG_FORMAT="json", PYTHONPATH=os.pathsep.join(sys.path), **environment)
    log = folder / "log"
    with log.open("w") as stderr, subprocess.Popen(command, cwd=folder, env=around, stderr=stderr) as process:
        try:
            while True:
                served = [line for line in log.read_text().splitlines() if "serving at" in line]
                if served:
                    break
                assert process.poll() is None, log.read_text()
            yield json.loads(served[0])["message"].split()[-1]
            process.terminate()
            assert process.wait(20) == 0, log.read_text()
        finally:
            process.kill()


async def test_a_real_prometheus_scrapes_it(prometheus_server: Prometheus, tmp_path: Path) -> None:
    with shop(tmp_path) as url:
        prometheus_server.watch(url.removeprefix("http://"))
        settled = 'headrace_settled_total{headrace_stage="check"}'
        with anyio.fail_after(40):
            while [each["value"][1] for each in prometheus_server.query(settled)] != ["100"]:
                await anyio.sleep(0.2)
            while not prometheus_server.query('up{job="headrace"} == 1'):
                await anyio.sleep(0.2)
        (target,) = prometheus_server.targets()
        assert (target["health"], target["lastError"]) == ("up", "")
        failed = prometheus_server.query('headrace_exceptions_total{error_type="ValueError"}')
        assert failed[0]["value"][1] == "10"
        assert prometheus_server.query("headrace_ready == 1")
    prometheus_server.watch()


async def test_what_is_served_is_what_prometheus_advises(tmp_path: Path) -> None:
    with shop(tmp_path) as url:
        async with AsyncClient() as client:
            answer = await client.get(f"{url}/metrics")
    text = answer.content
    assert answer.headers["Content-Type"].startswith("text/plain")
    checked = await anyio.run_process([str(promtool()), "check", "metrics"], input=text, check=False)
    assert (checked.returncode, checked.stderr) == (0, b"")
    assert b'service_name="shop"' in text


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
async def test_a_collector_gets_the_last_figures_when_the_stream_ends(
    servers: Site, tmp_path: Path, protocol: str
) -> None:
    with Receiver() as receiver:
        collector = servers.get(Collector, exports_to=receiver.port)
        url = collector.grpc_url if protocol == "grpc" else collector.url
        with shop(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=url, OTEL_EXPORTER_OTLP_PROTOCOL=protocol) as served:
            await _settled(served, 100)
        with anyio.fail_after(20):
            while "headrace.settled" not in receiver.metrics:
                await anyio.sleep(0.05)
        collector.stop()
    points = receiver.metrics["headrace.settled"].sum.data_points
    assert [point.as_int for point in points] == [100]
    durations = receiver.metrics["messaging.process.duration"].histogram.data_points
    assert sum(point.count for point in durations) > 0


async def test_a_collector_that_is_not_there_holds_up_nothing(tmp_path: Path) -> None:
    with shop(tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1", OTEL_METRIC_EXPORT_INTERVAL="50") as url:
        await _settled(url, 100)


async def test_nonsense_is_told_and_left_out(tmp_path: Path) -> None:
    with shop(tmp_path, OTEL_METRICS_EXPORTER="pigeon", OTEL_METRIC_EXPORT_INTERVAL="soon") as url:
        await _settled(url, 100)
    log = (tmp_path / "log").read_text()
    assert "OTEL_METRICS_EXPORTER is 'pigeon', and is left out" in log
    assert "OTEL_METRIC_EXPORT_INTERVAL is 'soon', and is left out" in log


async def test_switched_off_it_is_not_served(tmp_path: Path) -> None:
    with shop(tmp_path, HEADRACE_HTTP_METRICS="false") as url:
        async with AsyncClient() as client:
            assert (await client.get(f"{url}/metrics")).status_code == 404


async def _settled(url: str, count: int) -> None:
    """Wait until an engine has settled that many."""
    async with AsyncClient() as client:
        with anyio.fail_after(30):
            while True:
                status: Any = (await client.get(f"{url}/api/v1/status")).json()
                if sum(stage["settled"] for stage in status["stages"]) >= count:
                    return
                await anyio.sleep(0.05)
