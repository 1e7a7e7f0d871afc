"""`Harness`: a topology under test. The same actors, the same bytes, every endpoint in memory, and a clock to move."""

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from anyio import create_task_group, fail_after, sleep
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors import Endpoint, Message, Sink, Source, VirtualClock
from engine.brokers import Memory, MemoryTopic
from engine.engine import Engine
from topologies import Graph, Topology, codec

TURNS = 20
"""Turns of the event loop without anything moving after which the actors count as quiet."""


class Harness:
    """Runs topologies with all of their endpoints in memory, for tests.

    `async with Harness(topology) as harness:` starts the actors and, at the end, drains them. Time stands still: it
    moves by `advance`, and by `settle` to the next retry or batch that is due when nothing else can go on.
    """

    def __init__(self, *topologies: Topology | Graph, drain: float = 5.0) -> None:
        self.graphs = [each.graph() if isinstance(each, Topology) else each for each in topologies]
        self.clock = VirtualClock()
        self.engine = Engine(*self.graphs, drain=drain, clock=self.clock, connect=self)
        self._memories: dict[int, tuple[object, Memory]] = {}
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        await self.engine.started.wait()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None
        if error is None:
            self.engine.drain()
        else:
            self._tasks.cancel_scope.cancel()
        return await self._tasks.__aexit__(kind, error, tb)

    async def _run(self) -> None:
        try:
            await self.engine.run()
        finally:
            self.engine.started.set()

    # -- what the engine asks for: every endpoint in memory ---------------------------------------------------

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source:
        """The source in memory that stands for an endpoint's."""
        return self._topic(endpoint).source(group)

    def sink(self, endpoint: Endpoint) -> Sink:
        """The sink in memory that stands for an endpoint's."""
        return self._topic(endpoint).sink()

    def _topic(self, endpoint: Endpoint) -> MemoryTopic:
        group = endpoint.options.get("group")
        return self._memory(endpoint).topic(endpoint.name, group=group)

    def _memory(self, endpoint: Endpoint) -> Memory:
        broker = endpoint.broker
        # Kept beside its memory, so that its id cannot be given to another broker.
        return self._memories.setdefault(id(broker), (broker, Memory(broker.system)))[1]

    # -- what a test asks for ---------------------------------------------------------------------------------

    async def publish(
        self,
        endpoint: Endpoint,
        body: Any,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        id: str | None = None,
        reply_to: str | None = None,
    ) -> None:
        """Publish a body as somebody outside would; bytes go as they are."""
        memory = self._memory(endpoint)
        async with memory:
            topic = memory.topic(endpoint.name)
            await topic.publish(body, key=key, headers=headers, id=id, reply_to=reply_to)

    async def settle(self, timeout: float = 10.0) -> None:
        """Wait until every message is acknowledged or dead, moving the clock to what is due when all is quiet.

        Raises `TimeoutError` after `timeout` real seconds, and says which stages hold how many messages.
        """
        try:
            with fail_after(timeout):
                while not await self._settled():
                    due = self.clock.next_due()
                    if due is not None and not any(running.pool.busy for running in self.engine.running):
                        self.clock.advance(max(0.0, due - self.clock.now()))
                    else:
                        await sleep(0.001)
        except TimeoutError:
            raise TimeoutError(f"not settled within {timeout:g} s: {self._unsettled()}") from None

    async def advance(self, seconds: float) -> None:
        """Move the clock; retries, batches and timeouts that come due happen, in their order."""
        await self._quiet()
        until = self.clock.now() + seconds
        while (due := self.clock.next_due()) is not None and due <= until:
            self.clock.advance(max(0.0, due - self.clock.now()))
            await self._quiet()
        self.clock.advance(until - self.clock.now())
        await self._quiet()

    def messages(self, endpoint: Endpoint) -> list[Message]:
        """What was published to an endpoint, in order, with key and headers; bodies decoded as its publisher's type."""
        return self._decoded(endpoint, self._memory(endpoint).messages(endpoint.name))

    def published(self, endpoint: Endpoint) -> list[Any]:
        """The bodies that were published to an endpoint, in order, decoded as the type that its publisher takes."""
        return [message.body for message in self.messages(endpoint)]

    def dead_letters(self, endpoint: Endpoint) -> list[Message]:
        """The dead letters of a source: the original `raw`, with the reason in the headers `headrace-...`."""
        letters: list[Message] = []
        for graph in self.graphs:
            for stage in graph.stages:
                if any(_same(source, endpoint) for source in stage.sources):
                    grave = stage.settings.dead_letter or endpoint.dead_letter()
                    letters += self._memory(grave).messages(grave.name)
                    return letters
        grave = endpoint.dead_letter()
        return self._memory(grave).messages(grave.name)

    def _decoded(self, endpoint: Endpoint, messages: list[Message]) -> list[Message]:
        decode = codec(self._type_at(endpoint)).decode
        for message in messages:
            message.body = None if message.raw is None else decode(message.raw)
        return messages

    def _type_at(self, endpoint: Endpoint) -> Any:
        for graph in self.graphs:
            for stage in graph.stages:
                target = stage.endpoint
                if target is None or stage.destination is None or target.broker is not endpoint.broker:
                    continue
                if stage.destination.matches(endpoint.name):
                    for name in stage.upstream:
                        handler = graph.stage(name).handler
                        assert handler is not None
                        return handler.body if graph.stage(name).kind == "router" else handler.returns
        return Any

    async def _settled(self) -> bool:
        await self._quiet()
        ledgers = [ledger for assembly in self.engine.assemblies for ledger in assembly.ledgers]
        return not any(ledger.open or ledger.source.pending() for ledger in ledgers)

    async def _quiet(self) -> None:
        """Let the actors go on until nothing moves any more."""
        quiet, before = 0, self._moved()
        while quiet < TURNS:
            await checkpoint()
            now = self._moved()
            quiet, before = (quiet + 1, now) if now == before else (0, now)

    def _moved(self) -> tuple[int, ...]:
        stages = self.engine.running
        return tuple(
            number
            for stage in stages
            for number in (stage.mailbox.count, len(stage.mailbox), stage.mailbox.held, stage.counts.handled)
        ) + tuple(ledger.counts.settled for stage in stages for ledger in stage.ledgers)

    def _unsettled(self) -> str:
        held = {status.stage: status.depth + status.held for status in self.engine.status()}
        return ", ".join(f"{stage} holds {count}" for stage, count in held.items() if count) or "nothing is held"


def _same(one: Endpoint, other: Endpoint) -> bool:
    return one.broker is other.broker and one.name == other.name
