"""The embedded broker: the contract of all of them, and what it promises beyond: see also its bounds."""

from typing import Any

import anyio
import pytest

from actors import BrokerUnavailable, Message, Origin, PublishError, Source
from engine.brokers.endpoint import INBOX
from engine.memory import Memory, MemoryTopic
from engine.memory.broker import MEMORY
from tests.brokers.contract import BrokerContract, fetched, message, numbers, opened, ready, run_of

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module", params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    """The embedded broker stands on anyio alone."""
    backend: str = request.param
    return backend


class TestMemoryContract(BrokerContract):
    capabilities = MEMORY

    @pytest.fixture
    def endpoint(self) -> MemoryTopic:
        return Memory().topic("orders")


# -- reading ---------------------------------------------------------------------------------------------------


async def test_waiting_sources_of_one_group_are_served_in_turn() -> None:
    topic = Memory().topic("orders")
    one, sink = await ready(topic)
    other, _ = await ready(topic)
    got: dict[str, list[int]] = {"one": [], "other": []}

    async def read(name: str, source: Source) -> None:
        while True:
            run = await source.fetch(1)
            got[name] += numbers(run)
            await source.settle(run, [])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read, "one", one)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(read, "other", other)
        await anyio.wait_all_tasks_blocked()
        for number in range(4):
            await sink.publish(run_of(number))
            await anyio.wait_all_tasks_blocked()
        await sink.publish(run_of(4, 5))
        await anyio.wait_all_tasks_blocked()
        tasks.cancel_scope.cancel()
    assert got == {"one": [0, 2, 4], "other": [1, 3, 5]}


async def test_what_a_closing_source_gives_back_goes_to_one_that_waits() -> None:
    topic = Memory().topic("orders")
    one, sink = await ready(topic)
    other, _ = await ready(topic)
    await sink.publish(run_of(1, 2))
    assert numbers(await one.fetch(2)) == [1, 2]
    got: list[Message] = []

    async def wait() -> None:
        got.extend(await other.fetch(5))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await one.close()
    assert [(each.raw, each.attempt) for each in got] == [(b"1", 2), (b"2", 2)]


async def test_what_is_returned_goes_to_one_that_waits() -> None:
    topic = Memory().topic("orders")
    one, sink = await ready(topic)
    other, _ = await ready(topic)
    await sink.publish(run_of(1))
    run = await one.fetch(1)
    got: list[Message] = []

    async def wait() -> None:
        got.extend(await other.fetch(5))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await one.settle([], run)
    assert numbers(got) == [1]


async def test_two_sources_may_give_back_in_any_order() -> None:
    topic = Memory().topic("orders")
    one, sink = await ready(topic)
    other, _ = await ready(topic)
    await sink.publish(run_of(*range(8)))
    await one.fetch(3)
    await other.fetch(3)
    await one.close()
    await other.close()
    third, _ = await ready(topic)
    assert numbers(await third.fetch(10)) == list(range(8))


async def test_a_source_that_is_closed_says_so_also_to_a_fetch_under_way() -> None:
    source, _ = await ready(Memory().topic("orders"))
    async with anyio.create_task_group() as tasks:

        async def wait() -> None:
            with pytest.raises(BrokerUnavailable, match="closed"):
                await source.fetch(1)

        tasks.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        await source.close()
    await source.close()
    await source.settle([], [])
    assert source.pending() is None
    with pytest.raises(BrokerUnavailable, match="open it"):
        await source.fetch(1)


async def test_an_endpoint_with_a_group_of_its_own_keeps_to_it() -> None:
    memory = Memory()
    source, sink = await ready(memory.topic("orders", group="mine"), "stage")
    await sink.publish(run_of(1))
    assert list(memory.statistics().topics["orders"].groups) == ["mine"]
    assert numbers(await source.fetch(1)) == [1]


async def test_what_a_handler_does_to_a_message_changes_nothing_that_is_stored() -> None:
    memory = Memory()
    source, sink = await ready(memory.topic("orders"))
    headers: dict[str, str | bytes] = {"a": "b"}
    sent = message(1, "orders", key="k", headers=headers)
    await sink.publish([sent])
    headers["a"] = "changed by the publisher"
    (got,) = await source.fetch(1)
    got.headers["a"] = "changed by the handler"  # type: ignore[index]
    got.attempt, got.raw = 7, b"other"
    await source.settle([], [got])
    (again,) = await source.fetch(1)
    assert (again.raw, again.key, again.headers, again.attempt) == (b"1", "k", {"a": "b"}, 2)
    assert memory.messages("orders")[0].headers == {"a": "b"}


async def test_offsets_and_timestamps_tell_where_a_message_was() -> None:
    source, sink = await ready(Memory().topic("orders"))
    await sink.publish(run_of("a", "b"))
    first, second = await source.fetch(2)
    assert (first.offset, second.offset, first.partition, first.source) == (0, 1, 0, "orders")
    assert first.timestamp is not None
    assert second.timestamp is not None
    assert first.timestamp <= second.timestamp
    assert first.record is None


def test_what_it_holds_outlives_its_sources_and_their_event_loop(anyio_backend: str) -> None:
    memory = Memory()

    async def first_engine() -> None:
        source, sink = await ready(memory.topic("orders"))
        await sink.publish(run_of(*range(6)))
        run = await source.fetch(4)
        await source.settle(run[:2], [])
        await source.close()

    async def second_engine() -> list[Message]:
        source, _ = await ready(memory.topic("orders"))
        return await source.fetch(10)

    anyio.run(first_engine, backend=anyio_backend)
    run = anyio.run(second_engine, backend=anyio_backend)
    assert [(int(each.raw or b""), each.attempt) for each in run] == [(2, 2), (3, 2), (4, 1), (5, 1)]


# -- writing ---------------------------------------------------------------------------------------------------


async def test_a_run_may_have_many_destinations() -> None:
    memory = Memory()
    sink = memory.topic("tenant.{id}", capacity=7).sink()
    async with opened(sink):
        run = [message(number, f"tenant.{number % 3}") for number in range(9)]
        await sink.publish(run)
    assert [numbers(memory.messages(f"tenant.{each}")) for each in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert memory.statistics().topics["tenant.0"].capacity == 7


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (Message(raw=b"x" * 101), "max_bytes=100"),
        (Message(raw="text"), "the body is str"),  # type: ignore[arg-type]
        (Message(raw=b"", key=7), "the key is int"),  # type: ignore[arg-type]
        (Message(raw=b"", key="\udc80"), "surrogates"),
        (Message(raw=b"", headers={"a": "\udc80"}), "surrogates"),
        (Message(raw=b"", headers={"a": 1}), "header a is int"),  # type: ignore[dict-item]
        (Message(raw=b"", headers={1: "a"}), "header 1 is int"),  # type: ignore[dict-item]
    ],
    ids=[
        "too long",
        "text",
        "number as key",
        "half a pair",
        "half a pair in header",
        "number in header",
        "number as header",
    ],
)
async def test_what_no_wire_could_carry_is_refused_and_the_rest_is_published(wrong: Message, why: str) -> None:
    memory = Memory(max_bytes=100)
    sink = memory.topic("orders").sink()
    wrong.destination = "orders"
    run = [message(0, "other"), message(1, "orders"), wrong, message(b"x" * 100, "orders")]
    async with opened(sink):
        with pytest.raises(PublishError, match=why) as refused:
            await sink.publish(run)
    assert list(refused.value.failures) == [2]
    assert [each.raw for each in memory.messages("orders")] == [b"1", b"x" * 100]
    assert numbers(memory.messages("other")) == [0]


async def test_a_tombstone_is_no_empty_body() -> None:
    source, sink = await ready(Memory().topic("orders"))
    tombstone = Message(raw=None, key="gone")
    tombstone.destination = "orders"
    await sink.publish([tombstone, message(b"", "orders")])
    assert [each.raw for each in await source.fetch(2)] == [None, b""]


async def test_a_sink_has_to_be_open() -> None:
    sink = Memory().topic("orders").sink()
    with pytest.raises(BrokerUnavailable, match="open it"):
        await sink.publish(run_of(1))
    assert sink.destination == "orders"
    async with opened(sink):
        await sink.publish([])


# -- from outside ----------------------------------------------------------------------------------------------


async def test_an_inbox_goes_with_its_broker_and_what_comes_after_is_counted() -> None:
    memory = Memory()
    topic = memory.topic("price")
    asked, sink = await ready(topic)
    async with memory:
        with pytest.raises(TimeoutError, match=r"memory.topic\('price'\) within 0.01 s"):
            await topic.request({}, timeout=0.01)
        assert any(name.startswith(INBOX) for name in memory.statistics().topics)
    assert list(memory.statistics().topics) == ["price"]
    (question,) = await asked.fetch(1)
    origin = Origin(correlation_id=question.correlation_id)
    await sink.publish([message(b"{}", question.reply_to or "", origin=origin)])
    assert list(memory.statistics().topics) == ["price"]
    assert memory.statistics().undeliverable == 1


async def test_late_replies_never_hold_up_who_sends_them() -> None:
    memory = Memory(capacity=5)
    asked, sink = await ready(memory.topic("price"))
    async with memory:
        with pytest.raises(TimeoutError):
            await memory.topic("price").request({}, timeout=0.01)
        (question,) = await asked.fetch(1)
        for _ in range(20):
            await sink.publish([message(b"{}", question.reply_to or "", origin=Origin(correlation_id="other"))])
        inbox = memory.statistics().topics[question.reply_to or ""]
        assert (inbox.retained, inbox.groups["inbox"].waiting) == (0, 5)


async def test_when_the_request_that_reads_gives_up_another_reads_on() -> None:
    topic = Memory().topic("price")
    asked, sink = await ready(topic)
    replies: list[Message] = []
    async with topic.broker, anyio.create_task_group() as tasks:
        first = anyio.CancelScope()

        async def give_up() -> None:
            with first:
                await topic.request(1, timeout=None)

        async def persist() -> None:
            replies.append(await topic.request(2, timeout=None))

        tasks.start_soon(give_up)
        await anyio.wait_all_tasks_blocked()
        tasks.start_soon(persist)
        await anyio.wait_all_tasks_blocked()
        first.cancel()
        await anyio.wait_all_tasks_blocked()
        _, second = await fetched(asked, 2)
        origin = Origin(correlation_id=second.correlation_id)
        await sink.publish([message(b"[3]", second.reply_to or "", origin=origin)])
        await anyio.wait_all_tasks_blocked()
        inbox = topic.broker.statistics().topics[second.reply_to or ""].groups["inbox"]
        assert (inbox.held, inbox.acknowledged) == (0, 1)
    assert [reply.body for reply in replies] == [[3]]


async def test_a_template_is_no_place_to_publish_to() -> None:
    topic = Memory().topic("tenant.{id}")
    async with topic.broker:
        with pytest.raises(ValueError, match="template"):
            await topic.publish("text")


# -- what it is, and what it says of itself ----------------------------------------------------------------------


def test_topics_are_equal_by_broker_name_and_group() -> None:
    memory = Memory()
    assert memory.topic("a") == memory.topic("a", capacity=5)
    assert hash(memory.topic("a")) == hash(memory.topic("a"))
    assert len({memory.topic("a"), memory.topic("a", "g"), memory.topic("b"), Memory().topic("a")}) == 4
    assert memory.topic("a", "g", 5).options == {"group": "g", "capacity": 5}
    assert repr(memory.topic("a", "g", 5)) == "memory.topic('a', group='g', capacity=5)"
    assert (memory.system, memory.name) == ("memory", "memory")


async def test_a_topic_has_one_capacity() -> None:
    memory = Memory()
    memory.topic("a", capacity=5)
    with pytest.raises(ValueError, match="has one of 5 already"):
        memory.topic("a", capacity=6)
    await memory.topic("b").source("g").open()
    with pytest.raises(ValueError, match="has one of 10000 already"):
        memory.topic("b", capacity=6)
    source = memory.topic("a").source("g")
    async with opened(source):
        assert memory.statistics().topics["a"].capacity == 5


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Memory(capacity=0),
        lambda: Memory(capacity=True),
        lambda: Memory(max_bytes=0),
        lambda: Memory().topic(""),
        lambda: Memory().topic("a", capacity=-1),
        lambda: Memory().topic("a", capacity=1.5),  # type: ignore[arg-type]
    ],
)
def test_sizes_and_names_that_make_no_sense_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="expected a"):
        wrong()


async def test_a_fetch_of_nothing_is_refused() -> None:
    source, _ = await ready(Memory().topic("orders"))
    with pytest.raises(ValueError, match="at least 1"):
        await source.fetch(0)


async def test_it_says_what_it_holds() -> None:
    memory = Memory("shop", capacity=100)
    assert memory.messages("orders") == []
    source, sink = await ready(memory.topic("orders"))
    await sink.publish(run_of(*range(10)))
    run = await source.fetch(5)
    await source.settle(run[:3], run[3:4])
    await source.fetch(1)
    statistics = memory.statistics().topics["orders"]
    group = statistics.groups["readers"]
    assert (statistics.published, statistics.retained, statistics.expired, statistics.capacity) == (10, 10, 0, 100)
    assert (group.waiting, group.held, group.delivered, group.redelivered, group.acknowledged) == (5, 2, 6, 1, 3)
    assert repr(source) == "<source of orders for readers: 5 waiting, 2 held>"
    await source.close()
    assert repr(source) == "<source of orders for readers: closed>"
    assert repr(memory) == "<Memory shop: 1 topics>"
