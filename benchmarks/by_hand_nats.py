"""NATS JetStream by hand, on nats-py: pushed to a callback, fetched from a pull consumer, and one layer lower."""

import asyncio
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from benchmarks.hands import GROUP, READ, Taken


class Hands:
    """A durable push consumer with a callback, and publishes whose confirms are awaited together."""

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._url, self._source = url, source
        self._came: Taken = []
        self._news = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._client = await nats.connect(self._url)
        self._streams = self._client.jetstream()
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=8 * READ)
        await self._streams.subscribe(
            self._source, durable=GROUP, stream=self._source, config=config, cb=self._arrived, manual_ack=True
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    async def _arrived(self, message: Msg) -> None:
        self._came.append((message, message.data))
        self._news.set()

    async def take(self, most: int) -> Taken:
        while not self._came:
            self._news.clear()
            await self._news.wait()
        run, self._came = self._came[:most], self._came[most:]
        return run

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        publish = self._streams.publish_async
        confirms = [await publish(target, raw) for target in targets for raw in bodies]
        async with asyncio.timeout(30):
            for confirm in confirms:
                await confirm

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        for message in tokens:
            await message.ack()

    async def flush(self) -> None:
        await self._client.flush()


class Fetch:
    """A durable pull consumer, read by `fetch`, the client's own way; publishes side by side."""

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


class Lower:
    """A plain subscription as the inbox of pulls and of confirms, which are counted; the next pull is always under way.

    What nats-py has in public and no more: `publish`, no check of subjects that are known to be right, and a
    `msg_class` which takes what was read, so that nothing goes through a queue, a task and a callback.
    """

    windows = 4

    def __init__(self, url: str, source: str) -> None:
        self._url, self._source = url, source
        self._pull = f"$JS.API.CONSUMER.MSG.NEXT.{source}.{GROUP}"
        self._came: list[tuple[str, bytes]] = []
        self._asked = 0
        self._news = asyncio.Event()
        self._windows: dict[str, Window] = {}
        self._given = 0

    async def __aenter__(self) -> Self:
        self._client = client = Client()
        client.msg_class = self._take  # type: ignore[assignment]
        await client.connect(self._url, skip_subject_validation=True)
        self._inbox = client.new_inbox()
        config = ConsumerConfig(durable_name=GROUP, ack_policy=AckPolicy.EXPLICIT, max_ack_pending=8 * READ)
        await client.jetstream().add_consumer(self._source, config)
        await client.subscribe(f"{self._inbox}.>", cb=_nothing)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.close()

    def _take(self, subject: str, reply: str, data: bytes, headers: dict[str, str] | None, **rest: Any) -> Msg | None:
        """Called for each message that was read; what is None goes no further."""
        if reply.startswith("$JS.ACK."):
            self._came.append((reply, data))
            self._asked -= 1
        elif not subject.startswith(self._inbox):
            return Msg(subject=subject, reply=reply, data=data, headers=headers, **rest)
        elif subject.endswith(".pull"):
            self._asked = 0  # it has expired, or there was nothing for it
        elif data.startswith(b'{"stream"'):
            self._windows[subject].left -= 1
            if not self._windows[subject].left:
                self._windows[subject].confirmed.set()
            return None
        else:
            raise RuntimeError(f"not stored: {headers} {data!r}")
        self._news.set()
        return None

    async def take(self, most: int) -> Taken:
        while not self._came:
            if self._asked <= 0:
                await self._ask(most)
            self._news.clear()
            await self._news.wait()
        if self._asked <= 0:
            await self._ask(most)
        run, self._came = self._came[:most], self._came[most:]
        return list(run)

    async def _ask(self, most: int) -> None:
        self._asked = most
        request = json.dumps({"batch": most, "expires": 10**9}).encode()
        await self._client.publish(self._pull, request, f"{self._inbox}.pull")

    async def give(self, targets: Sequence[str], bodies: Sequence[bytes]) -> None:
        self._given += 1
        confirms, publish = f"{self._inbox}.{self._given}", self._client.publish
        self._windows[confirms] = window = Window(len(targets) * len(bodies))
        for target in targets:
            for raw in bodies:
                await publish(target, raw, confirms)
        await asyncio.wait_for(window.confirmed.wait(), 30)
        del self._windows[confirms]

    async def settle(self, tokens: Sequence[Any], *, ordered: bool) -> None:
        publish = self._client.publish
        for reply in tokens:
            await publish(reply)

    async def flush(self) -> None:
        await self._client.flush()


class Window:
    """Messages that wait for their confirms."""

    def __init__(self, left: int) -> None:
        self.left = left
        self.confirmed = asyncio.Event()


async def _nothing(record: Msg) -> None:
    """Called for what `msg_class` left: nothing."""
