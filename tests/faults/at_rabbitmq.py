"""A run's places on RabbitMQ, by aiormq: quorum queues, consumed to their end when all is over."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from pamqp.commands import Basic

from tests.faults.oracle import Arrival
from tests.faults.places import quietly
from tests.servers.rabbitmq import RabbitMQ as Server

MOST = 10_000
"""Messages that are taken at once."""
DURABLE = Basic.Properties(delivery_mode=2)


class AtRabbitMQ:
    """Queues of one RabbitMQ node."""

    kind: ClassVar[type[Any]] = Server
    across: ClassVar[bool] = True

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.source, self.destination = name, f"{name}.out"
        self._open_for: dict[str, tuple[AbstractConnection, AbstractChannel]] = {}
        self._connecting = asyncio.Lock()

    async def prepare(self) -> None:
        """Declare the queues; written down, for the node loses what it has declared when it is killed soon after."""
        channel = await self._open()
        await self._declare(channel, self.source, {"x-single-active-consumer": True})
        await self._declare(channel, self.destination, {})
        await self._declare(channel, f"{self.source}.dead", {})
        await asyncio.to_thread(self.server.write_down_declarations)

    async def _declare(self, channel: AbstractChannel, name: str, more: dict[str, Any]) -> None:
        arguments = {"x-queue-type": "quorum"} | more
        await channel.queue_declare(name, durable=True, arguments=arguments)

    async def publish(self, run: Sequence[tuple[str, bytes]]) -> None:
        """Publish in order on one channel, and await every confirm."""
        channel = await self._open()
        async with asyncio.timeout(10):
            await asyncio.gather(
                *(
                    channel.basic_publish(body, routing_key=self.source, properties=DURABLE, mandatory=True)
                    for _, body in run
                )
            )

    async def count(self) -> int:
        """How many are at the destination."""
        return await self._length(self.destination, "count")

    async def arrived(self) -> list[Arrival]:
        """Take what is at the destination."""
        return await self._taken(self.destination)

    async def dead(self) -> list[Arrival]:
        """Take the dead letters."""
        return await self._taken(f"{self.source}.dead")

    async def _length(self, queue: str, use: str = "") -> int:
        channel = await self._open(use)
        async with asyncio.timeout(3):
            return (await channel.queue_declare(queue, passive=True)).message_count or 0

    async def _taken(self, queue: str) -> list[Arrival]:
        """All that is in a queue; acknowledged when it is here, and what could not be comes again."""
        found: list[Arrival] = []
        try:
            while waiting := min(MOST, await self._length(queue)):
                found += await self._run(queue, waiting)
        except Exception:
            await self.close()  # so that what is not acknowledged goes back
            if not found:
                raise
        return found

    async def _run(self, queue: str, count: int) -> list[Arrival]:
        """Exactly so many: what came on top, while the consumer is cancelled, the client would lose."""
        found: list[Arrival] = []
        full: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def take(message: Any) -> None:
            headers = message.header.properties.headers or {}
            found.append(Arrival(headers.get("headrace-key"), message.body))
            if len(found) == count:
                full.set_result(message.delivery.delivery_tag)

        channel = await self._open()
        await channel.basic_qos(prefetch_count=count)
        consumer = await channel.basic_consume(queue, take)
        async with asyncio.timeout(60):
            last = await full
            await channel.basic_cancel(consumer.consumer_tag or "")
            await channel.basic_ack(last, multiple=True)  # no sooner: it would bring more
        return found

    async def forget(self) -> None:
        """What was read is gone already."""

    async def refuse(self) -> None:
        """Let the destination be full: `reject-publish`, by a policy, as an administrator would."""
        definition = '{"max-length": 1, "overflow": "reject-publish"}'
        arguments = ("set_policy", "--apply-to", "queues", "full", f"^{self.destination}$", definition)
        await asyncio.to_thread(self.server.ctl, *arguments)

    async def accept(self) -> None:
        """Let it have no end."""
        with suppress(RuntimeError):  # there is no such policy where `refuse` did not come so far
            await asyncio.to_thread(self.server.ctl, "clear_policy", "full")

    async def _open(self, use: str = "") -> AbstractChannel:
        """The channel for a use: one on which a question was given up is closed by the client, for all."""
        async with self._connecting:
            connection, channel = self._open_for.get(use, (None, None))
            if channel is None or channel.is_closed or connection is None or connection.is_closed:
                if connection is not None:
                    await quietly(connection.close())
                async with asyncio.timeout(5):
                    connection = await aiormq.connect(f"{self.server.url}?heartbeat=10")
                    channel = await connection.channel(publisher_confirms=True)
                self._open_for[use] = connection, channel
            return channel

    async def close(self) -> None:
        """Let go of all connections."""
        connections = [connection for connection, _ in self._open_for.values()]
        self._open_for.clear()
        await quietly(*(connection.close() for connection in connections))
