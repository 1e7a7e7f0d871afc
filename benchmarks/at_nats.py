"""Streams of JetStream as the harness fills, reads and removes them."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from types import TracebackType
from typing import Self

import nats
from nats.js.api import AckPolicy, ConsumerConfig
from nats.js.errors import NotFoundError


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
        while run := list(islice(waiting, 500)):
            await asyncio.gather(*(self._streams.publish(place, raw, timeout=30) for raw in run))

    async def read(self, place: str) -> list[bytes]:
        there = (await self._streams.stream_info(place)).state.messages
        found: list[bytes] = []
        if there:
            async for run in self.follow(place):
                found += run
                if len(found) >= there:
                    break
        return found

    async def follow(self, place: str) -> AsyncIterator[list[bytes]]:
        config = ConsumerConfig(ack_policy=AckPolicy.NONE)
        subscription = await self._streams.subscribe(place, stream=place, config=config)
        try:
            while True:
                with suppress(TimeoutError):
                    yield [(await subscription.next_msg(timeout=1)).data]
        finally:
            with suppress(Exception):  # the stream may be gone before its reader
                await subscription.unsubscribe()

    async def remove(self, places: Sequence[str]) -> None:
        for name in places:
            with suppress(NotFoundError):
                await self._streams.delete_stream(name)
