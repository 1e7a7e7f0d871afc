"""Core NATS: subjects, queues, and answers of and to plain clients."""

import json
from contextlib import suppress
from typing import Any
from uuid import uuid4

import anyio
import nats
import pytest

from actors import BrokerUnavailable, Message
from engine import Engine
from engine.nats.broker import Nats
from tests.brokers.at_nats import client, publish
from tests.brokers.contract import fetched, message, numbers, opened
from tests.servers.nats import Nats as Server
from tests.servers.proxy import Proxy
from topologies import Topology

__all__ = ["client"]  # fixtures
pytestmark = pytest.mark.anyio


# -- core subjects -----------------------------------------------------------------------------------------------


async def test_a_plain_client_gets_its_answer(nats_server: Server, client: Any) -> None:
    endpoint = Nats(nats_server.url).subject(f"price.{uuid4().hex}")
    source, sink = endpoint.source("readers"), endpoint.reply_to("").sink()
    async with opened(source, sink), anyio.create_task_group() as tasks:

        async def answer() -> None:
            (asked,) = await source.fetch(1)
            await sink.publish([message(b"42", asked.reply_to or "")])

        tasks.start_soon(answer)
        reply = await client.request(endpoint.name, b"how much?", timeout=5)
        assert reply.data == b"42"


async def test_a_plain_client_is_asked(nats_server: Server, client: Any) -> None:
    endpoint = Nats(nats_server.url).subject(f"price.{uuid4().hex}")

    async def answer(asked: Any) -> None:
        await asked.respond(json.dumps(json.loads(asked.data) * 2).encode())

    await client.subscribe(endpoint.name, cb=answer)
    await client.flush()
    async with endpoint.broker:
        replies = {number: (await endpoint.request(number, timeout=5)).body for number in range(3)}
    assert replies == {0: 0, 1: 2, 2: 4}


async def test_a_queue_shares_and_without_one_everybody_gets_everything(nats_server: Server) -> None:
    name = f"c.{uuid4().hex}"
    server = Nats(nats_server.url)
    alone = [server.subject(name, queue="").source("readers") for _ in range(2)]
    shared = [server.subject(name).source("readers") for _ in range(2)]
    async with opened(*alone, *shared):
        await publish(server.subject(name), *range(50))
        for source in alone:
            assert numbers(await fetched(source, 50)) == list(range(50))
        got = [numbers(await source.drain()) for source in shared]
        assert sorted(got[0] + got[1]) == list(range(50))


async def test_what_comes_on_top_of_a_full_buffer_is_counted(nats_server: Server) -> None:
    endpoint = Nats(nats_server.url, buffer=10).subject(f"c.{uuid4().hex}")
    source = endpoint.source("readers")
    async with opened(source):
        await publish(endpoint, *range(25))
        assert numbers(await source.drain()) == list(range(10))
        assert source.dropped == 15


async def test_a_subject_is_listened_to_again_without_being_fetched_from(nats_server: Server) -> None:
    name = f"c.{uuid4().hex}"
    async with Proxy(nats_server) as proxy:
        source = Nats(proxy.url).subject(name).source("readers")
        async with opened(source):
            proxy.reset()
            with pytest.raises(BrokerUnavailable):
                await source.fetch(5)
            accepted = proxy.accepted
            with anyio.fail_after(10):
                while proxy.accepted < accepted or proxy.connections < 1:
                    await anyio.sleep(0.01)
            got: list[Message] = []
            async with anyio.create_task_group() as tasks:

                async def read() -> None:
                    got.extend(await source.fetch(5))
                    tasks.cancel_scope.cancel()

                tasks.start_soon(read)
                while True:
                    await publish(Nats(nats_server.url).subject(name), 1)
            assert numbers(got)[0] == 1


async def test_an_engine_answers_and_handles_what_had_come_before_it_stopped(nats_server: Server, client: Any) -> None:
    name, handled = f"c.{uuid4().hex}", []
    first = anyio.Event()
    topology = Topology("core")

    @topology.subscriber(Nats(nats_server.url).subject(name), mailbox=4)
    async def double(number: int) -> int:
        handled.append(number)
        if number:
            await first.wait()
        return number * 2

    engine = Engine(topology.graph())
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(engine.run)
        await engine.started.wait()
        reply = None
        while reply is None:
            with suppress(nats.errors.NoRespondersError):  # until it listens
                reply = await client.request(name, b"0", timeout=10)
        assert reply.data == b"0"
        for number in range(1, 301):
            await client.publish(name, str(number).encode())
        await client.flush()
        await anyio.sleep(0.2)
        engine.drain()
        first.set()
    assert handled == list(range(301))
