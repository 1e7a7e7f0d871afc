"""How long probes take while an engine works at full load in the same process; asked from another process.

`python -m benchmarks.http --workers 10 --seconds 8` prints the median and the 99th percentile of each path, and the
messages a second meanwhile.
"""

import argparse
import sys
import time

import anyio
from anyio import create_task_group, run_process
from opentelemetry.sdk.metrics import MeterProvider

from actors import Message
from benchmarks.work import Order, body
from engine.collector import set_for_streams
from engine.http.app import http_app
from engine.http.metrics import metrics
from engine.http.server import Address, Connections, listen, serving
from engine.telemetry.scrape import scrape
from headrace import Engine, Memory, Topology

PATHS = ("/livez", "/readyz", "/api/v1/status", "/metrics", "/")
ASKING = """
import http.client, statistics, sys, time
port, path, seconds, fresh = int(sys.argv[1]), sys.argv[2], float(sys.argv[3]), sys.argv[4] == "fresh"
connection, took, end = http.client.HTTPConnection("127.0.0.1", port, timeout=30), [], time.time() + seconds
while time.time() < end:
    began = time.perf_counter()
    connection.request("GET", path)
    answer = connection.getresponse()
    answer.read()
    took.append(time.perf_counter() - began)
    if fresh:
        connection.close()
    time.sleep(0.01)
cuts = statistics.quantiles(took, n=100)
print(f"{answer.status} {len(took):5d} asked, p50 {cuts[49] * 1e3:6.1f} ms, p99 {cuts[98] * 1e3:6.1f} ms")
"""
"""A probe as a cluster sends it: every time on a connection of its own, or on one that is kept."""


def load(workers: int) -> tuple[Memory, Topology]:
    """A topology whose source never runs dry."""
    memory, topology = Memory(), Topology("load")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("in"), max_workers=workers)
    async def handle(order: Order) -> Order:
        return order

    return memory, topology


async def feed(memory: Memory) -> None:
    """Publish for as long as it is let."""
    sink = memory.topic("in").sink()
    await sink.open()
    while True:
        run = [Message(raw=body(number)) for number in range(500)]
        for message in run:
            message.destination = "in"
        await sink.publish(run)


async def measure(workers: int, seconds: float) -> None:
    """Ask each path in turn while the engine works, and print what it took."""
    memory, topology = load(workers)
    sockets = listen(Address("127.0.0.1", 0))
    port = sockets[0].getsockname()[1]
    scraped = scrape()
    engine = Engine(topology, meter_provider=MeterProvider(metric_readers=[scraped.reader]))
    app = Connections(http_app(engine, documents={"/metrics": metrics(scraped, engine)}))
    async with memory, engine, serving(app, sockets), create_task_group() as tasks:
        tasks.start_soon(feed, memory)
        for path in PATHS:
            for connection in ("fresh", "kept"):
                settled, began = engine.status()[0].settled, time.perf_counter()
                asked = await run_process([sys.executable, "-c", ASKING, str(port), path, str(seconds), connection])
                rate = (engine.status()[0].settled - settled) / (time.perf_counter() - began)
                print(f"{path:16} {connection:5} {asked.stdout.decode().strip()}, at {rate:,.0f} messages a second")
        tasks.cancel_scope.cancel()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each path and kind of connection")
    given = parser.parse_args()
    set_for_streams()
    anyio.run(measure, given.workers, given.seconds)
