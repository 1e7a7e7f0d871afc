"""The loops by hand on RabbitMQ: what is given is confirmed and arrives, what is not settled comes again."""

import asyncio
from typing import Any

import pytest

from benchmarks.at_rabbitmq import Places
from benchmarks.by_hand_rabbitmq import Done, Hands, Lower
from benchmarks.rounds import Server, stage
from tests.servers.rabbitmq import RabbitMQ

pytestmark = pytest.mark.anyio
BODIES = [b"%d" % number * 50 for number in range(600)]


@pytest.mark.parametrize("kind", [Hands, Lower])
async def test_what_is_given_is_there_and_what_is_not_settled_comes_again(
    kind: type[Hands] | type[Lower], rabbitmq_server: RabbitMQ
) -> None:
    async with stage(Server("rabbitmq", rabbitmq_server.url), 2) as (_, source, targets):
        async with kind(rabbitmq_server.url, source) as mine:
            await asyncio.gather(mine.give([source], BODIES[:300]), mine.give([source], BODIES[300:]))
            taken: list[Any] = []
            while len(taken) < len(BODIES):
                taken += await mine.take(250)
            assert [body for _, body in taken] == BODIES
            await mine.give(targets, [body for _, body in taken])
            await mine.settle([token for token, _ in taken[:200]], ordered=True)
            await mine.flush()
        async with Places(rabbitmq_server.url) as there:
            assert [await there.read(each) for each in targets] == [BODIES, BODIES]
            assert await _left(there, source, 400) == BODIES[200:]


@pytest.mark.parametrize("kind", [Hands, Lower])
async def test_what_is_settled_out_of_order_is_acknowledged_up_to_the_first_that_is_not(
    kind: type[Hands] | type[Lower], rabbitmq_server: RabbitMQ
) -> None:
    async with (
        stage(Server("rabbitmq", rabbitmq_server.url), 0) as (_, source, _),
        Places(rabbitmq_server.url) as there,
    ):
        async with kind(rabbitmq_server.url, source) as mine:
            await mine.give([source], BODIES[:5])
            taken: list[Any] = []
            while len(taken) < 5:
                taken += await mine.take(5)
            tags = [token for token, _ in taken]
            await mine.settle([tags[4], tags[1]], ordered=False)
            await mine.settle([tags[0]], ordered=False)
            await mine.flush()
        assert await _left(there, source, 3) == BODIES[2:5]


async def _left(there: Places, source: str, count: int) -> list[bytes]:
    """What comes out of a queue: so many messages, which come back a moment after their reader has gone."""
    found: list[bytes] = []
    async with asyncio.timeout(10):
        async for run in there.follow(source):
            found += run
            if len(found) >= count:
                break
    return found


def test_one_acknowledgement_stands_for_all_up_to_the_first_that_is_not_done() -> None:
    done = Done()
    assert done.add([2, 3]) == 0
    assert done.add([1]) == 3
    assert done.add([5]) == 0
    assert done.add([6, 4]) == 6
