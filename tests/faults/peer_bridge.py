"""The bridge of the fault tests, written for FastStream: `python -m tests.faults --peer` runs it in place of ours.

Two settings of each broker. `default` is what one gets who names the queues and no more. `safest` is the best that the
framework offers against loss: acknowledged after the handler, put back when it raises, consumers and streams that are
kept, publishing confirmed, one message at a time; what it shares with `benchmarks/by_faststream.py` is said there. It
is told by the environment what to carry from where to where, like `tests/faults/bridge.py`, and drains on SIGTERM.
"""

import asyncio
import os
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from faststream import FastStream
from pydantic import BaseModel

from benchmarks.by_faststream import AFTER as SAFE
from benchmarks.by_faststream import AHEAD, CONFIRMED

URL, NAME = os.environ["FAULTS_URL"], os.environ["FAULTS_NAME"]
SLOT, PACE = os.environ.get("FAULTS_SLOT", "0"), float(os.environ.get("FAULTS_PACE", "0.0005"))
SAFEST = os.environ.get("FAULTS_SETTING", "safest") == "safest"
AFTER: dict[str, Any] = SAFE if SAFEST else {}
LITTLE = 0.01


class Item(BaseModel):
    """What is carried."""

    id: int
    key: str
    sequence: int
    checksum: str


async def carry(item: Item) -> Item:
    """Take as long as the other bridge does."""
    if random.random() < PACE / LITTLE:
        await asyncio.sleep(random.random() * 2 * max(PACE, LITTLE))
    return item


def kafka() -> Any:
    from faststream.kafka import KafkaBroker, KafkaResponse

    options: dict[str, Any] = CONFIRMED if SAFEST else {}
    broker = KafkaBroker(URL.removeprefix("kafka://"), graceful_timeout=15, **options)

    @broker.publisher(f"{NAME}.out")
    @broker.subscriber(NAME, group_id=NAME, auto_offset_reset="earliest", session_timeout_ms=6000, **AFTER)
    async def bridge(item: Item) -> KafkaResponse:
        return KafkaResponse(await carry(item), key=item.key.encode())

    return broker


def rabbitmq() -> Any:
    from faststream.rabbit import Channel, RabbitBroker, RabbitQueue

    broker = RabbitBroker(URL, graceful_timeout=15, default_channel=Channel(prefetch_count=AHEAD) if SAFEST else None)
    source = RabbitQueue(NAME, declare=False)

    @broker.publisher(RabbitQueue(f"{NAME}.out", declare=False), persist=SAFEST)
    @broker.subscriber(source, **AFTER)
    async def bridge(item: Item) -> Item:
        return await carry(item)

    return broker


def nats() -> Any:
    from faststream.nats import JStream, NatsBroker, PullSub

    broker = NatsBroker(URL, graceful_timeout=15, **({"max_reconnect_attempts": -1} if SAFEST else {}))
    source = JStream(NAME, subjects=[f"{NAME}.in"], declare=False)
    target = JStream(f"{NAME}-out", subjects=[f"{NAME}.out"], declare=False)
    more: dict[str, Any] = {"pull_sub": PullSub(batch_size=10)} if SAFEST else {}

    @broker.publisher(f"{NAME}.out", stream=target)
    @broker.subscriber(f"{NAME}.in", stream=source, durable=NAME, **more, **AFTER)
    async def bridge(item: Item) -> Item:
        return await carry(item)

    return broker


def redis() -> Any:
    from faststream.redis import RedisBroker, StreamSub
    from redis import Redis, ResponseError

    broker = RedisBroker(URL, graceful_timeout=15)
    with suppress(ResponseError), Redis.from_url(URL) as client:
        # It would make the group at the stream's end, and what was published before would not be carried.
        client.xgroup_create(NAME, NAME, id="0", mkstream=True)
    group: dict[str, Any] = {"group": NAME, "consumer": f"{NAME}-{SLOT}", "max_records": 10}

    async def bridge(fields: dict[str, str]) -> str:
        return (await carry(Item.model_validate_json(fields["body"]))).model_dump_json()

    subscribed = broker.subscriber(stream=StreamSub(NAME, **group), **AFTER)(bridge)
    if SAFEST:  # what a consumer that died has left is claimed by a second subscriber: the first never looks at it
        left = StreamSub(NAME, **group, min_idle_time=3000)
        subscribed = broker.subscriber(stream=left, **AFTER)(subscribed)
    broker.publisher(stream=f"{NAME}.out")(subscribed)
    return broker


BROKERS: dict[str, Callable[[], Any]] = {"kafka": kafka, "amqp": rabbitmq, "nats": nats, "redis": redis}


def main() -> None:
    """Run until SIGTERM, then stop gracefully."""
    run: Awaitable[None] = FastStream(BROKERS[URL.partition(":")[0]]()).run()
    asyncio.run(run)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
