"""Dead letters are listed where they lie, and put back where they came from."""

import pytest
from pydantic import BaseModel

from engine.deadletters import graves, letters, redrive
from headrace import Engine, Memory, Topology

pytestmark = pytest.mark.anyio


class Order(BaseModel):
    id: int


def orders(memory: Memory, mended: set[int]) -> Topology:
    topology = Topology("orders")

    @topology.publisher(memory.topic("out"))
    @topology.subscriber(memory.topic("orders"))
    async def check(order: Order) -> Order:
        if order.id not in mended:
            raise ValueError(f"order {order.id} is odd")
        return order

    return topology


async def three_dead(memory: Memory, mended: set[int]) -> Topology:
    topology = orders(memory, mended)
    async with memory:
        for number in (1, 2, 3):
            await memory.topic("orders").publish({"id": number}, key=f"k{number}", headers={"tenant": "7"})
    await Engine(topology.graph()).run(burst=True)
    return topology


async def test_listing_leaves_them_where_they_are() -> None:
    memory = Memory()
    topology = await three_dead(memory, set())
    (grave,) = graves(topology.graph())
    for _ in range(2):
        found = await letters(grave, 100)
        assert [letter.reason for letter in found] == [f"order {number} is odd" for number in (1, 2, 3)]
        first = found[0]
        assert (first.origin, first.stage, first.attempts, first.key) == ("orders", "check", 1, "k1")
        assert first.headers == {"tenant": "7"}
        assert first.body == '{"id":1}'
        assert "ValueError" in first.traceback
    assert len(await letters(grave, 2)) == 2


async def test_redriven_letters_are_handled_as_if_they_had_never_died() -> None:
    memory, mended = Memory(), set[int]()
    topology = await three_dead(memory, mended)
    mended |= {1, 2, 3}
    (grave,) = graves(topology.graph())
    result = await redrive(grave, 100)
    assert (result.redriven, result.refused, result.left) == (3, 0, 0)
    assert await letters(grave, 100) == []
    await Engine(topology.graph()).run(burst=True)
    out = memory.messages("out")
    assert [message.raw for message in out] == [b'{"id":1}', b'{"id":2}', b'{"id":3}']
    assert out[0].key == "k1"
    assert out[0].headers == {"tenant": "7"}, "without the headers that said why it was dead"


async def test_only_those_wanted_are_redriven_and_the_others_stay() -> None:
    memory = Memory()
    topology = await three_dead(memory, set())
    (grave,) = graves(topology.graph())
    result = await redrive(grave, 100, wanted=lambda message: message.key == "k2")
    assert (result.redriven, result.left) == (1, 2)
    assert [letter.key for letter in await letters(grave, 100)] == ["k1", "k3"]
