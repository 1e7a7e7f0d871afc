"""Publishing to a stream with three replicas, on a cluster: while it elects a leader all waits, and none is lost."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import nats
import pytest

from engine.nats.broker import Nats
from tests.brokers.at_nats import names, run_of
from tests.brokers.contract import opened
from tests.brokers.surviving import eventually
from tests.servers.nats import NatsCluster
from tests.servers.site import Site

pytestmark = pytest.mark.anyio


async def insisted(attempt: Callable[[], Awaitable[Any]]) -> Any:
    """What an attempt returns, as soon as the cluster can."""
    found: list[Any] = []

    async def done() -> bool:
        with suppress(nats.js.errors.APIError, nats.errors.Error):
            found.append(await attempt())
        return bool(found)

    await eventually(done, patience=30)
    return found[0]


async def test_while_a_stream_elects_a_leader_nothing_is_refused_and_all_is_stored(servers: Site) -> None:
    cluster = servers.get(NatsCluster)
    stream, subject = names()
    client = await nats.connect([node.url for node in cluster.nodes])
    jetstream = client.jetstream()
    try:
        info = await insisted(lambda: jetstream.add_stream(name=stream, subjects=[subject], num_replicas=3))
        leader = cluster.named(info.cluster.leader)
        other = next(node for node in cluster.nodes if node is not leader)
        sink = Nats(other.url, publish_timeout=50).stream(stream, subject=subject).sink()
        async with opened(sink):
            await sink.publish(run_of(subject, 0))
            leader.kill()
            for start in range(100, 500, 100):
                await sink.publish(run_of(subject, start))
        info = await insisted(lambda: jetstream.stream_info(stream))
        assert info.state.messages == 500
    finally:
        await client.close()
