"""A run's places on NATS, by nats-py: streams of JetStream, read by a consumer that is made for it and forgotten."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar

import nats
from nats.aio.client import Client
from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, DiscardPolicy, StreamConfig

from tests.faults.oracle import Arrival
from tests.faults.places import quietly
from tests.servers.nats import Nats as Server


class AtNats:
    """Streams of one NATS server."""

    kind: ClassVar[type[Any]] = Server
    across: ClassVar[bool] = False

    def __init__(self, server: Server, name: str) -> None:
        self.server = server
        self.name = name
        self.source, self.destination = f"{name}.in", f"{name}.out"
        self._client: Client | None = None
        self._read: dict[str, int] = {}
        self._connecting = asyncio.Lock()

    async def prepare(self) -> None:
        """Declare both streams, on file; the engine declares that of the dead letters."""
        stream = (await self._connected()).jetstream()
        await stream.add_stream(StreamConfig(name=self.name, subjects=[self.source]))
        await stream.add_stream(StreamConfig(name=f"{self.name}-out", subjects=[self.destination]))

    async def publish(self, run: Sequence[tuple[str, bytes]]) -> None:
        """Publish all at once on one connection, each under an id of its own, and await every confirm."""
        stream = (await self._connected()).jetstream(timeout=5)
        await asyncio.gather(
            *(stream.publish(self.source, body, headers={"Nats-Msg-Id": f"{hash(body)}"}) for _, body in run)
        )

    async def count(self) -> int:
        """How many are at the destination."""
        return await self._length(f"{self.name}-out")

    async def arrived(self) -> list[Arrival]:
        """What is new at the destination."""
        return await self._new(f"{self.name}-out")

    async def dead(self) -> list[Arrival]:
        """The new dead letters."""
        return await self._new(f"{self.name}-dead")

    async def _length(self, stream: str) -> int:
        info = await (await self._connected()).jetstream(timeout=2).stream_info(stream)
        return int(info.state.last_seq)

    async def _new(self, stream: str) -> list[Arrival]:
        client = await self._connected()
        try:
            waiting = await self._length(stream) - self._read.get(stream, 0)
        except nats.js.errors.NotFoundError:
            return []
        if waiting <= 0:
            return []
        config = ConsumerConfig(
            deliver_policy=DeliverPolicy.BY_START_SEQUENCE,
            opt_start_seq=self._read.get(stream, 0) + 1,
            ack_policy=AckPolicy.NONE,
        )
        messages: list[Any] = []
        full = asyncio.Event()

        async def take(message: Any) -> None:
            messages.append(message)
            if len(messages) >= waiting:
                full.set()

        inbox = client.new_inbox()
        subscription = await client.subscribe(inbox, cb=take, pending_msgs_limit=0, pending_bytes_limit=0)
        await client.jetstream(timeout=5).add_consumer(stream, config.evolve(deliver_subject=inbox))
        async with asyncio.timeout(30):
            await full.wait()
        await subscription.unsubscribe()
        self._read[stream] = self._read.get(stream, 0) + len(messages)
        return [Arrival((message.headers or {}).get("Headrace-Key"), message.data) for message in messages]

    async def _connected(self) -> Client:
        """A connection; one that broke is made anew, for nats-py's own mending hides what was lost."""
        async with self._connecting:
            if self._client is None or not self._client.is_connected:
                if self._client is not None:
                    await quietly(self._client.close())
                self._client = await nats.connect(
                    self.server.open_url, allow_reconnect=False, connect_timeout=2, error_cb=_nothing
                )
            return self._client

    async def forget(self) -> None:
        """Drop what was read at the destination; the source's file may grow."""
        if read := self._read.get(f"{self.name}-out"):
            stream = (await self._connected()).jetstream(timeout=5)
            await stream.purge_stream(f"{self.name}-out", seq=read + 1)

    async def refuse(self) -> None:
        """Let the destination be full, and discard what is new."""
        await self._bounded(1)

    async def accept(self) -> None:
        """Let it have no end."""
        await self._bounded(-1)

    async def _bounded(self, most: int) -> None:
        stream = (await self._connected()).jetstream(timeout=5)
        config = StreamConfig(
            name=f"{self.name}-out",
            subjects=[self.destination],
            discard=DiscardPolicy.NEW if most > 0 else DiscardPolicy.OLD,
            max_bytes=most,
        )
        await stream.update_stream(config)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._client is not None:
            await quietly(self._client.close())


async def _nothing(error: Exception) -> None:
    """What goes wrong shows in the call that it is about."""
