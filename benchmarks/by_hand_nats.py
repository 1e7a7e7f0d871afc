"""NATS JetStream by hand, on nats-py: fetches of many, publishes side by side."""

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import nats
from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks.hands import GROUP, READ, Taken


class Hands:
    """A durable pull consumer."""

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._url, self._source = url, source

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(self._url)
        self._streams = self._client.jetstream()
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=8 * READ)
        self._pull = await self._streams.pull_subscribe(self._source, durable=GROUP, stream=self._source, config=config)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def take(self, most: int) -> Taken:
        while True:
            try:
                return [(message, message.data) for message in await self._pull.fetch(most, timeout=0.5)]
            except TimeoutError:  # nats-py raises its own, which is one of these, or a plain one
                continue

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        publish = self._streams.publish
        if len(bodies) == 1 and len(targets) == 1:
            await publish(targets[0], bodies[0])
        else:
            await asyncio.gather(*(publish(target, raw, timeout=30) for target in targets for raw in bodies))

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        for message in tokens:
            await message.ack()

    async def flush(self) -> None:
        await self._client.flush()
