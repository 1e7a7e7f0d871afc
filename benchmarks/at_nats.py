"""Streams of JetStream as the harness fills, reads and removes them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Self

import nats
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError

from benchmarks.hands import PREFIX

MANY = 1000
"""Messages from which on they are put without waiting for each."""


class Places:
    """Streams with one subject each, of the same name."""

    def __init__(self, url: str) -> None:
        self._url = url

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(self._url)
        self._streams = self._client.jetstream()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def make(self, source: str, targets: Sequence[str]) -> None:
        for name in (source, *targets):
            await self._streams.add_stream(name=name, subjects=[name])

    async def put(self, place: str, bodies: Iterable[bytes]) -> None:
        waiting = iter(bodies)
        while run := list(islice(waiting, MANY)):
            if len(run) < MANY:
                await asyncio.gather(*(self._streams.publish(place, raw, timeout=30) for raw in run))
                continue
            # Many: without a confirm each, which would take longer than what is measured; the stream counts them.
            there = await self._held(place)
            for raw in run:
                await self._client.publish(place, raw)
            await self._client.flush()
            while await self._held(place) < there + len(run):  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def read(self, place: str) -> list[bytes]:
        there = await self._held(place)
        found: list[bytes] = []
        if there:
            async for run in self.follow(place):
                found += run
                if len(found) >= there:
                    break
        return found

    async def _held(self, place: str) -> int:
        return (await self._streams.stream_info(place)).state.messages

    async def follow(self, place: str) -> AsyncIterator[list[bytes]]:
        config = ConsumerConfig(ack_policy=AckPolicy.NONE)
        arrived: asyncio.Queue[bytes] = asyncio.Queue()

        async def note(message: Msg) -> None:
            arrived.put_nowait(message.data)

        subscription = await self._streams.subscribe(place, stream=place, config=config, cb=note)
        try:
            while True:
                run = [await arrived.get()]
                while not arrived.empty():
                    run.append(arrived.get_nowait())
                yield run
        finally:
            with suppress(Exception):  # the stream may be gone before its reader
                await subscription.unsubscribe()

    async def left(self) -> list[str]:
        names = [info.config.name or "" for info in await self._streams.streams_info()]
        return sorted(name for name in names if name.startswith(PREFIX))

    async def remove(self, places: Sequence[str]) -> None:
        for name in places:
            with suppress(NotFoundError):
                await self._streams.delete_stream(name)
