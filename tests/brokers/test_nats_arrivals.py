"""What has come to a source of JetStream, without a server: handed out as it came, or as it was called back."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Message
from engine.nats.arrivals import Arrivals
from engine.nats.spared import sequence

pytestmark = pytest.mark.anyio


def at(place: int, attempt: int = 1) -> Message:
    return Message(offset=place, attempt=attempt)


def placed(run: list[Message]) -> list[int]:
    return [sequence(message) for message in run]


@given(st.permutations(range(6)))
def test_what_comes_is_fetched_as_it_came(order: list[int]) -> None:
    arrivals = Arrivals(60)
    for place in order:
        arrivals.came(at(place), more=True)
        assert arrivals.ready
    assert arrivals.news.is_set()
    assert placed(arrivals.fetch(4) + arrivals.fetch(4)) == order
    assert not arrivals.ready
    assert arrivals.fetch(1) == []


async def test_what_was_called_back_is_waited_for_and_comes_in_order_with_what_is_new() -> None:
    arrivals = Arrivals(60)
    arrivals.gather(2)
    for message in (at(9), at(3, attempt=2)):
        arrivals.came(message, more=True)
        assert not arrivals.ready
        assert not arrivals.news.is_set()
    arrivals.came(at(2, attempt=2), more=True)
    assert arrivals.ready
    assert arrivals.news.is_set()
    assert not arrivals.called_back
    assert placed(arrivals.fetch(9)) == [2, 3, 9]


async def test_more_is_asked_for_where_not_all_came_that_was_called_back() -> None:
    arrivals = Arrivals(60)
    arrivals.gather(2)
    arrivals.came(at(1, attempt=2), more=False)
    assert arrivals.news.is_set()
    assert not arrivals.ready
    assert arrivals.called_back == 1
    arrivals.clear()


async def test_what_does_not_come_back_in_time_is_waited_for_no_longer() -> None:
    arrivals = Arrivals(0.01)
    arrivals.gather(2)
    arrivals.came(at(1), more=True)
    with anyio.fail_after(5):
        await arrivals.news.wait()
    assert placed(arrivals.fetch(9)) == [1]


async def test_what_is_cleared_is_told_and_waited_for_no_longer() -> None:
    arrivals = Arrivals(60)
    arrivals.gather(3)
    arrivals.came(at(2), more=True)
    arrivals.came(at(1), more=True)
    assert placed(arrivals.clear()) == [1, 2]
    assert not arrivals.gathering
    assert arrivals.clear() == []
