"""The fault proxy: each fault takes place, is counted, ends when it should, and leaves the server alone."""

import asyncio
import time
from collections.abc import AsyncIterator

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.servers.kafka import Kafka
from tests.servers.ports import ask
from tests.servers.proxy import Proxy
from tests.servers.redis import Redis

pytestmark = pytest.mark.anyio


class Caller:
    """A connection through the proxy that asks Redis in plain words."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def ask(self, question: str, timeout: float = 5) -> str:
        self.writer.write(f"{question}\r\n".encode())
        return await self.answer(timeout)

    async def answer(self, timeout: float = 5) -> str:
        return (await asyncio.wait_for(self.reader.readline(), timeout)).decode().strip()


@pytest.fixture
async def proxy(redis_server: Redis) -> AsyncIterator[Proxy]:
    async with Proxy(redis_server) as proxy:
        yield proxy


async def call(proxy: Proxy) -> Caller:
    return Caller(*await asyncio.open_connection(proxy.host, proxy.port))


@pytest.fixture
async def caller(proxy: Proxy) -> AsyncIterator[Caller]:
    caller = await call(proxy)
    yield caller
    caller.writer.transport.abort()


async def test_a_proxy_carries_both_ways_and_counts(proxy: Proxy, caller: Caller) -> None:
    assert await caller.ask("PING") == "+PONG"
    assert proxy.accepted == proxy.connections == 1
    assert proxy.carried == {"requests": 6, "answers": 7}
    assert f":{proxy.port}/" in proxy.url


async def test_a_reset_breaks_what_there_is_and_takes_what_comes(proxy: Proxy, caller: Caller) -> None:
    assert await caller.ask("PING") == "+PONG"
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await caller.answer()
    assert proxy.resets == 1
    again = await call(proxy)
    assert await again.ask("PING") == "+PONG"
    again.writer.transport.abort()


async def test_a_cut_lasts_until_mended(proxy: Proxy, caller: Caller) -> None:
    assert await caller.ask("PING") == "+PONG"
    proxy.cut()
    refused = await call(proxy)
    for broken in (caller, refused):
        with pytest.raises(ConnectionResetError):
            await broken.answer()
    assert (proxy.resets, proxy.refused) == (1, 1)
    proxy.mend()
    mended = await call(proxy)
    assert await mended.ask("PING") == "+PONG"
    mended.writer.transport.abort()


async def test_a_stall_holds_everything_until_mended(proxy: Proxy, caller: Caller, redis_server: Redis) -> None:
    assert await caller.ask("SET stalled 0") == "+OK"
    proxy.stall()
    with pytest.raises(TimeoutError):
        await caller.ask("INCR stalled", timeout=0.1)
    assert ask(redis_server.port, b"GET stalled\r\n") == b"$1\r\n0\r\n"
    proxy.mend()
    assert await caller.answer() == ":1"


async def test_a_one_way_stall_lets_requests_arrive_and_a_reset_loses_the_answers(
    proxy: Proxy, caller: Caller, redis_server: Redis
) -> None:
    assert await caller.ask("SET lost 0") == "+OK"
    proxy.stall("answers")
    with pytest.raises(TimeoutError):
        await caller.ask("INCR lost", timeout=0.1)
    assert ask(redis_server.port, b"GET lost\r\n") == b"$1\r\n1\r\n"
    proxy.reset()
    proxy.mend()
    with pytest.raises(ConnectionResetError):
        await caller.answer()


async def test_a_slow_line_carries_no_more_than_told(proxy: Proxy, caller: Caller) -> None:
    assert await caller.ask("PING") == "+PONG"
    proxy.slow(bytes_per_second=100_000)
    began = time.monotonic()
    assert await caller.ask("SET slow " + "x" * 20_000) == "+OK"
    assert 0.15 < time.monotonic() - began < 5


async def test_connections_end_where_the_server_is_gone(proxy: Proxy, caller: Caller, redis_server: Redis) -> None:
    assert await caller.ask("PING") == "+PONG"
    redis_server.kill()
    assert await caller.answer() == ""
    refused = await call(proxy)
    with pytest.raises(ConnectionResetError):
        await refused.answer()


async def test_the_end_of_what_one_side_says_is_carried(proxy: Proxy, caller: Caller) -> None:
    caller.writer.write(b"PING\r\n")
    caller.writer.write_eof()
    assert await caller.answer() == "+PONG"
    assert await caller.answer() == ""


async def test_all_traffic_of_a_kafka_client_goes_through_its_proxy(kafka_server: Kafka) -> None:
    async with Proxy(kafka_server) as proxy:
        where = f"{proxy.host}:{proxy.port}"
        admin = AIOKafkaAdminClient(bootstrap_servers=where)
        await admin.start()
        await admin.create_topics([NewTopic("proxied", num_partitions=1, replication_factor=1)])
        await admin.close()
        async with AIOKafkaProducer(bootstrap_servers=where) as producer:
            await producer.send_and_wait("proxied", b"1")
            proxy.stall("answers")
            sent = await producer.send("proxied", b"2")
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(asyncio.shield(sent), 0.2)
            proxy.mend()
            assert (await sent).offset == 1
        assert proxy.carried["requests"] > 0
