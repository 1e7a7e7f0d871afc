"""What every broker owes the engine: one suite, and an adapter is one fixture in it.

    class TestKafka(BrokerContract):
        capabilities = KAFKA                      # the tests that it does not owe are not there

        @pytest.fixture
        async def endpoint(self):                 # a destination that no other test uses
            yield kafka.topic(f"t-{uuid4()}")

The suite follows Watermill's `pubsub/tests/test_pubsub.go` (https://github.com/ThreeDotsLabs/watermill).
"""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, TypeVar

import anyio
import pytest
from anyio.lowlevel import checkpoint
from pydantic import BaseModel

from actors import BrokerError, Capabilities, DecodeError, Endpoint, Message, Origin, Sink, Source

T = TypeVar("T", bound=Callable[..., Any])


def needs(*names: str) -> Callable[[T], T]:
    """This test is owed by those brokers only that have all of these capabilities."""

    def mark(test: T) -> T:
        test.needs = names  # type: ignore[attr-defined]
        return test

    return mark


class Price(BaseModel):
    """A reply's body."""

    cents: int


def message(body: Any, destination: str = "", **more: Any) -> Message:
    """A message that is ready to be published: bytes as they are, a number as JSON."""
    made = Message(raw=body if isinstance(body, bytes) else str(body).encode(), **more)
    made.destination = destination
    return made


def numbers(run: Iterable[Message]) -> list[int]:
    """The bodies, where they are numbers."""
    return [int(each.raw or b"") for each in run]


@asynccontextmanager
async def opened(*ports: Any) -> AsyncIterator[None]:
    """Those sources and sinks open as long as the block lasts."""
    for port in ports:
        await port.open()
    try:
        yield
    finally:
        with anyio.CancelScope(shield=True):
            for port in ports:
                await port.close()


async def fetched(source: Source, count: int, limit: int = 256) -> list[Message]:
    """Exactly so many messages, with as many fetches as it takes; nothing is settled."""
    run: list[Message] = []
    while len(run) < count:
        run += await source.fetch(min(limit, count - len(run)))
    return run


async def ready(endpoint: Endpoint, group: str = "readers") -> tuple[Source, Sink]:
    """A source and a sink of that endpoint, both open."""
    source, sink = endpoint.source(group), endpoint.sink()
    await source.open()
    await sink.open()
    return source, sink


def run_of(*bodies: Any, to: str = "orders") -> list[Message]:
    """A run of messages that is ready to be published."""
    return [message(body, to) for body in bodies]


class BrokerContract:
    """Subclass it once for each kind of endpoint that an adapter has."""

    pytestmark = pytest.mark.anyio

    capabilities: ClassVar[Capabilities]
    patience: ClassVar[float] = 20.0
    """Seconds that a test may wait for something that has to come."""
    moment: ClassVar[float] = 0.02
    """Seconds after which a request gives up, where a test wants it to: long enough for it to be published."""

    def __init_subclass__(cls) -> None:
        for name in dir(cls):
            needed = getattr(getattr(cls, name), "needs", ())
            if not all(getattr(cls.capabilities, capability) for capability in needed):
                setattr(cls, name, None)

    @pytest.fixture
    async def endpoint(self) -> Any:
        """A destination that no other test uses."""
        raise NotImplementedError

    async def quiet(self) -> None:
        """Return when everything that could happen now has; with a server at the other end that is a short wait."""
        await anyio.wait_all_tasks_blocked()

    async def publish(self, endpoint: Endpoint, *run: Message) -> None:
        """Publish through a sink of its own."""
        sink = endpoint.sink()
        async with opened(sink):
            await self.send(sink, run)

    async def send(self, sink: Sink, run: Sequence[Message]) -> None:
        """Publish where the sink's endpoint is."""
        for each in run:
            each.destination = sink.destination
        await sink.publish(run)

    async def nothing_comes(self, source: Source) -> None:
        """Fail if the source still has something."""
        got: list[Message] = []

        async def look() -> None:
            got.extend(await source.fetch(10))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            await self.quiet()
            tasks.cancel_scope.cancel()
        assert got == []

    # -- what a message carries ------------------------------------------------------------------------------

    async def test_what_is_published_is_fetched(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, message(b'{"id": 1}'))
            (got,) = await source.fetch(10)
            assert got.raw == b'{"id": 1}'
            assert got.source == endpoint.name
            assert got.attempt == 1
            await source.settle([got], [])

    async def test_a_key_id_and_correlation_id_arrive(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            origin = Origin("id-1", correlation_id="asked")
            await self.publish(endpoint, message(1, key="Zürich", origin=origin))
            (got,) = await source.fetch(10)
            assert (got.key, got.id, got.correlation_id) == ("Zürich", "id-1", "asked")
            assert got.timestamp is None or got.timestamp > 1_600_000_000

    async def test_a_key_that_is_no_text_arrives_as_bytes(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, message(1, key=b"\xff\x00"), message(2), message(3, key=b"text"))
            assert [each.key for each in await fetched(source, 3)] == [b"\xff\x00", None, "text"]

    async def test_headers_are_text_or_else_bytes(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        headers = {"plain": "a", "text": "grün", "empty": "", "binary": b"\xff\xfe\x00", "utf-8": "ö".encode()}
        async with opened(source):
            await self.publish(endpoint, message(1, headers=headers), message(2))
            first, second = await fetched(source, 2)
            assert first.headers == headers | {"utf-8": "ö"}
            assert second.headers == {}

    @pytest.mark.parametrize(
        "body", [b"", b"\x00", bytes(range(256)), b"x" * 1_000_000], ids=["empty", "zero", "binary", "1 MB"]
    )
    async def test_a_body_arrives_untouched(self, endpoint: Endpoint, body: bytes) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, message(body))
            (got,) = await source.fetch(10)
            assert got.raw == body

    @needs("replies")
    async def test_a_reply_finds_its_way(self, endpoint: Endpoint) -> None:
        asked, answers = endpoint.source("readers"), endpoint.reply_to(f"{endpoint.name}.answers")
        inbox = answers.source("asker")
        async with opened(asked, inbox):
            question = message(1, reply_to=answers.name, origin=Origin(correlation_id="q-1"))
            await self.publish(endpoint, question)
            (got,) = await asked.fetch(10)
            assert got.reply_to == answers.name
            reply = message(2, origin=Origin(correlation_id=got.correlation_id))
            await self.publish(endpoint.reply_to(got.reply_to), reply)
            (answer,) = await inbox.fetch(10)
            assert (answer.raw, answer.correlation_id) == (b"2", "q-1")

    async def test_dead_letters_have_a_place_on_the_same_broker(self, endpoint: Endpoint) -> None:
        place = endpoint.dead_letter()
        assert place.name == f"{endpoint.name}.dead"
        assert place.broker is endpoint.broker
        source = place.source("readers")
        async with opened(source):
            await self.publish(place, message(1))
            assert numbers(await source.fetch(10)) == [1]

    async def test_an_endpoint_is_a_value(self, endpoint: Endpoint) -> None:
        one, other = endpoint.dead_letter(), endpoint.dead_letter()
        assert one == other
        assert len({one, other, endpoint}) == 2
        assert endpoint.capabilities == self.capabilities

    # -- order, and how much comes at once -------------------------------------------------------------------

    @needs("ordered")
    async def test_a_run_comes_in_the_order_it_was_published(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers", 1000)
        async with opened(source):
            await self.publish(endpoint, *(message(number) for number in range(1000)))
            assert numbers(await fetched(source, 1000)) == list(range(1000))

    async def test_a_fetch_brings_no_more_than_its_limit(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, *(message(number) for number in range(10)))
            run: list[Message] = []
            for limit in (1, 3, 2, 1, 3):
                part = await source.fetch(limit)
                assert 1 <= len(part) <= limit
                run += part
            run += await fetched(source, 10 - len(run)) if len(run) < 10 else []
            assert sorted(numbers(run)) == list(range(10))

    async def test_a_fetch_waits_for_what_is_published_later(self, endpoint: Endpoint) -> None:
        source, got = endpoint.source("readers"), []

        async def look() -> None:
            got.extend(await source.fetch(10))

        async with opened(source), anyio.create_task_group() as tasks:
            tasks.start_soon(look)
            await self.quiet()
            assert got == []
            await self.publish(endpoint, message(1))
        assert numbers(got) == [1]

    async def test_two_sinks_publish_side_by_side(self, endpoint: Endpoint) -> None:
        source, sinks = endpoint.source("readers"), (endpoint.sink(), endpoint.sink())

        async def fill(sink: Sink, start: int) -> None:
            for number in range(start, start + 100, 10):
                await self.send(sink, [message(each) for each in range(number, number + 10)])

        async with opened(source, *sinks):
            async with anyio.create_task_group() as tasks:
                for sink, start in zip(sinks, (0, 100), strict=True):
                    tasks.start_soon(fill, sink, start)
            run = numbers(await fetched(source, 200))
        assert sorted(run) == list(range(200))
        if self.capabilities.ordered:
            assert [number for number in run if number < 100] == list(range(100))
            assert [number for number in run if number >= 100] == list(range(100, 200))

    async def test_pending_counts_what_waits_if_it_counts(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, *(message(number) for number in range(5)))
            assert source.pending() in (None, 5)
            run = await fetched(source, 5)
            await source.settle(run, [])
            assert source.pending() in (None, 0)

    # -- who gets what ---------------------------------------------------------------------------------------

    @needs("groups")
    async def test_each_group_gets_every_message(self, endpoint: Endpoint) -> None:
        sources = [endpoint.source(group) for group in ("stock", "billing", "audit")]
        async with opened(*sources):
            await self.publish(endpoint, *(message(number) for number in range(50)))
            for source in sources:
                run = await fetched(source, 50)
                assert sorted(numbers(run)) == list(range(50))
                await source.settle(run, [])

    @needs("redelivery")
    async def test_sources_of_one_group_share_its_messages(self, endpoint: Endpoint) -> None:
        sources, got, all_there = [endpoint.source("readers") for _ in range(3)], [], anyio.Event()

        async def read(source: Source) -> None:
            while True:
                run = await source.fetch(7)
                got.extend(numbers(run))
                await source.settle(run, [])
                if len(got) >= 200:
                    all_there.set()

        async with opened(*sources), anyio.create_task_group() as tasks:
            for source in sources:
                tasks.start_soon(read, source)
            await self.publish(endpoint, *(message(number) for number in range(200)))
            with anyio.fail_after(self.patience):
                await all_there.wait()
            tasks.cancel_scope.cancel()
        assert sorted(got) == list(range(200))

    @needs("redelivery")
    async def test_what_was_published_before_anybody_read_is_there(self, endpoint: Endpoint) -> None:
        await self.publish(endpoint, *(message(number) for number in range(5)))
        source = endpoint.source("readers")
        async with opened(source):
            assert sorted(numbers(await fetched(source, 5))) == list(range(5))

    # -- what is not settled comes again ---------------------------------------------------------------------

    @needs("redelivery")
    async def test_what_is_settled_does_not_come_again(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, message(1), message(2))
            await source.settle(await fetched(source, 2), [])
        async with opened(source):
            await self.publish(endpoint, message(3))
            assert numbers(await source.fetch(10)) == [3]

    @needs("redelivery", "ordered")
    async def test_what_a_closed_source_had_comes_again_in_order_and_first(self, endpoint: Endpoint) -> None:
        first, second = endpoint.source("readers"), endpoint.source("readers")
        async with opened(first):
            await self.publish(endpoint, *(message(number) for number in range(6)))
            assert numbers(await fetched(first, 4)) == [0, 1, 2, 3]
        async with opened(second):
            run = await fetched(second, 6)
        assert numbers(run) == list(range(6))
        assert [each.attempt for each in run[:4]] == [2, 2, 2, 2]

    @needs("redelivery")
    async def test_each_delivery_is_counted(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        await self.publish(endpoint, message(1))
        for attempt in (1, 2, 3, 4):
            async with opened(source):
                (got,) = await source.fetch(10)
                assert got.attempt == attempt

    @needs("redelivery", "ordered")
    async def test_what_is_returned_comes_again_first(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, *(message(number) for number in range(5)))
            zero, one, two = await fetched(source, 3)
            await source.settle([zero], [two, one])
            run = await fetched(source, 4)
            assert numbers(run) == [1, 2, 3, 4]
            assert [each.attempt for each in run[:2]] == [2, 2]

    @needs("redelivery")
    async def test_a_run_may_be_settled_in_any_order(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, *(message(number) for number in range(5)))
            run = await fetched(source, 5)
            await source.settle([run[4]], [])
            await source.settle([run[2], run[0]], [])
        async with opened(source):
            again = await fetched(source, 2)
            assert sorted(numbers(again)) == [1, 3]
            await source.settle(again, [])
            await self.nothing_comes(source)

    @needs("redelivery")
    async def test_settling_what_an_earlier_life_fetched_is_forgotten(self, endpoint: Endpoint) -> None:
        source = endpoint.source("readers")
        async with opened(source):
            await self.publish(endpoint, message(1))
            old = await fetched(source, 1)
        async with opened(source):
            await fetched(source, 1)
            await source.settle(old, [])
            await source.settle([], old)
        async with opened(source):
            assert numbers(await source.fetch(10)) == [1]

    @needs("redelivery")
    async def test_a_cancelled_fetch_loses_nothing(self, endpoint: Endpoint) -> None:
        source, got = endpoint.source("readers"), []

        async def look() -> None:
            got.extend(await source.fetch(3))

        sink = endpoint.sink()
        async with opened(source, sink):
            for number in range(50):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(look)
                    if number % 2:
                        await self.quiet()
                    await self.send(sink, [message(number)])
                    for _ in range(number % 5):
                        await checkpoint()
                    tasks.cancel_scope.cancel()
            got += await fetched(source, 50 - len(got)) if len(got) < 50 else []
        assert sorted(numbers(got)) == list(range(50))

    @needs("redelivery")
    async def test_ten_thousand_survive_two_restarts_of_their_reader(self, endpoint: Endpoint) -> None:
        seen: dict[int, int] = {}
        source, sink = endpoint.source("readers"), endpoint.sink()

        async def fill() -> None:
            async with opened(sink):
                for start in range(0, 10_000, 500):
                    await self.send(sink, [message(number) for number in range(start, start + 500)])

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill)
            for until in (3_333, 6_666, 10_000):
                async with opened(source):
                    with anyio.fail_after(self.patience):
                        while len(seen) < until:
                            run = await source.fetch(256)
                            for number in numbers(run):
                                seen[number] = seen.get(number, 0) + 1
                            # Every other one of the last run before a restart is left unsettled.
                            await source.settle(run if len(seen) < until else run[::2], [])
        assert sorted(seen) == list(range(10_000))
        assert sum(seen.values()) > 10_000

    async def test_sources_and_sinks_open_again(self, endpoint: Endpoint) -> None:
        source, sink = endpoint.source("readers"), endpoint.sink()
        for number in range(3):
            async with opened(source, sink):
                await self.send(sink, [message(number)])
                run = await source.fetch(10)
                assert numbers(run) == [number]
                await source.settle(run, [])

    # -- from outside of an engine ---------------------------------------------------------------------------

    async def test_bodies_are_published_from_outside(self, endpoint: Any) -> None:
        source = endpoint.source("readers")
        async with opened(source), endpoint.broker:
            await endpoint.publish(Price(cents=3), key="k", headers={"a": "b"}, id="i")
            await endpoint.publish("text")
            first, second = await fetched(source, 2)
        assert (json.loads(first.raw or b""), first.key, first.id) == ({"cents": 3}, "k", "i")
        assert first.headers == {"a": "b"}
        assert second.raw == b"text"

    async def test_publishing_needs_an_open_broker(self, endpoint: Any) -> None:
        with pytest.raises(BrokerError, match="async with"):
            await endpoint.publish("text")
        async with endpoint.broker:
            async with endpoint.broker:
                await endpoint.publish("text")
            await endpoint.publish("text")
        with pytest.raises(BrokerError, match="async with"):
            await endpoint.request("text")

    @needs("replies")
    async def test_every_request_gets_its_own_reply(self, endpoint: Any) -> None:
        source, sink = endpoint.source("readers"), endpoint.reply_to(endpoint.name).sink()
        answers: dict[int, int] = {}

        async def ask(number: int) -> None:
            reply = await endpoint.request({"number": number}, timeout=self.patience, returns=Price)
            answers[number] = reply.body.cents

        async def answer() -> None:
            run = await fetched(source, 20)
            for each in reversed(run):
                await sink.publish([self.reply(each, Price(cents=json.loads(each.raw or b"")["number"] * 100))])

        async with opened(source, sink), endpoint.broker, anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            for number in range(20):
                tasks.start_soon(ask, number)
        assert answers == {number: number * 100 for number in range(20)}

    @needs("replies")
    async def test_a_reply_that_comes_late_is_dropped(self, endpoint: Any) -> None:
        source, sink = endpoint.source("readers"), endpoint.reply_to(endpoint.name).sink()
        async with opened(source, sink), endpoint.broker, anyio.create_task_group() as tasks:
            with pytest.raises(TimeoutError, match=endpoint.name):
                await endpoint.request({}, timeout=self.moment)
            (late,) = await source.fetch(1)

            async def answer() -> None:
                (second,) = await source.fetch(1)
                await sink.publish([self.reply(late, Price(cents=1)), self.reply(second, Price(cents=2))])

            tasks.start_soon(answer)
            reply = await endpoint.request({}, timeout=self.patience)
        assert reply.body == {"cents": 2}

    @needs("replies")
    async def test_a_reply_of_another_shape_is_a_decode_error(self, endpoint: Any) -> None:
        source, sink = endpoint.source("readers"), endpoint.reply_to(endpoint.name).sink()

        async def answer() -> None:
            (asked,) = await source.fetch(1)
            reply = message(b"no JSON", asked.reply_to or "", origin=Origin(correlation_id=asked.correlation_id))
            await sink.publish([reply])

        async with opened(source, sink), endpoint.broker, anyio.create_task_group() as tasks:
            tasks.start_soon(answer)
            with pytest.raises(DecodeError, match=endpoint.name):
                await endpoint.request({}, timeout=self.patience, returns=Price)

    def reply(self, asked: Message, body: Price) -> Message:
        """A reply, ready to be published."""
        origin = Origin(correlation_id=asked.correlation_id)
        return message(body.model_dump_json().encode(), asked.reply_to or "", origin=origin)
