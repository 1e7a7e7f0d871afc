"""`Harness`: a topology under test. The same actors, the same bytes, every endpoint in memory, and a clock to move."""

from collections.abc import Callable, Iterable, Mapping
from math import inf
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from anyio import Event, create_task_group, fail_after, sleep
from anyio.abc import TaskGroup
from anyio.lowlevel import checkpoint

from actors import (
    DEAD_LETTER_PREFIX,
    Clock,
    DecodeError,
    Deduplicate,
    Endpoint,
    Message,
    Seen,
    SeenHere,
    Sink,
    Source,
    VirtualClock,
)
from engine.engine import Engine
from engine.memory import Memory, MemoryTopic
from engine.places import Places
from topologies import Graph, Topology, codec, guess

if TYPE_CHECKING:  # for type checkers alone
    from opentelemetry.trace import TracerProvider

TURNS = 20
"""Turns of the event loop without anything moving after which the actors count as quiet."""


class Harness:
    """Runs topologies with all of their endpoints in memory, for tests.

    `async with Harness(topology) as harness:` starts the actors and, at the end, drains them. Time stands still: it
    moves by `advance`, and by `settle` to the next retry or batch that is due when nothing else can go on. What the
    topologies do is traced by `tracer_provider`, as `Engine` has it.
    """

    def __init__(
        self, *topologies: Topology | Graph, drain: float = 5.0, tracer_provider: "TracerProvider | None" = None
    ) -> None:
        self.graphs = [each.graph() if isinstance(each, Topology) else each for each in topologies]
        self.clock = VirtualClock()
        self.engine = Engine(*self.graphs, drain=drain, clock=self.clock, connect=self, tracer_provider=tracer_provider)
        self._memories: dict[int, tuple[object, Memory]] = {}
        self._places = Places(self.graphs)
        self._asked: set[str] = set()
        """Where tests wanted replies: names that no stage declares."""
        self._tasks: TaskGroup | None = None
        self._ended = Event()

    async def __aenter__(self) -> Self:
        self._tasks = create_task_group()
        await self._tasks.__aenter__()
        self._tasks.start_soon(self._run)
        try:
            await self.engine.started.wait()
        except BaseException as error:
            await self.__aexit__(type(error), error, error.__traceback__)
            raise
        if self._ended.is_set():
            await self.__aexit__(None, None, None)  # raises what it could not start for
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None
        try:
            if error is None:
                self._tasks.start_soon(self._drain)
            else:
                self._tasks.cancel_scope.cancel()
            return await self._tasks.__aexit__(kind, error, tb)
        except BaseExceptionGroup as group:
            others = [each for each in group.exceptions if each is not error]
            if not others:
                return False  # the test's own error, as it is
            if len(others) == 1 and not isinstance(error, Exception):
                raise others[0] from None
            raise

    async def _run(self) -> None:
        try:
            await self.engine.run()
        finally:
            self.engine.started.set()
            self._ended.set()

    async def _drain(self) -> None:
        """Drain, moving the clock to what still waits for its time."""
        self.engine.drain()
        while not self._ended.is_set():
            await self._quiet()
            if not self._on_to_what_is_due():
                await sleep(0.001)

    # -- what the engine asks for: every endpoint in memory ---------------------------------------------------

    def source(self, endpoint: Endpoint, group: str, bound: int) -> Source:
        """The source in memory that stands for an endpoint's."""
        return self._topic(endpoint).source(group)

    def sink(self, endpoint: Endpoint) -> Sink:
        """The sink in memory that stands for an endpoint's."""
        return self._topic(endpoint).sink()

    def seen(self, given: Deduplicate, name: str, clock: Clock) -> Seen:
        """What was done already, in this process's memory wherever it is declared to be."""
        return SeenHere(given.window, given.most, clock)

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
        """Publish a body as somebody outside would; bytes go as they are.

        Raises `TopologyError` for an endpoint that no stage takes from. To a stage that takes from a pattern, publish
        by that pattern.
        """
        self._places.check_source("publish", endpoint)
        if reply_to is not None:
            self._asked.add(reply_to)
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
                    if not self._on_to_what_is_due():
                        await sleep(0.001)
        except TimeoutError:
            raise TimeoutError(f"not settled within {timeout:g} s: {self._unsettled()}") from None

    async def advance(self, seconds: float) -> None:
        """Move the clock; retries, batches and timeouts that come due happen, in their order."""
        if not 0 <= seconds < inf:
            raise ValueError(f"advance({seconds!r}): expected seconds, zero or more")
        await self._quiet()
        until = self.clock.now() + seconds
        while (due := self.clock.next_due()) is not None and due <= until:
            self.clock.advance(max(0.0, due - self.clock.now()))
            await self._quiet()
        self.clock.advance(until - self.clock.now())
        await self._quiet()

    def messages(self, endpoint: Endpoint) -> list[Message]:
        """What was published to an endpoint, in order, with key and headers.

        Bodies are decoded as the type that the endpoint's publisher takes; what is none of it, from JSON if they are
        that, else they are text, else bytes. Raises `TopologyError` for an endpoint that no stage knows, unless
        the test wanted replies there, or a reply that a handler wanted is there.
        """
        return self._messages("messages", endpoint)

    def published(self, endpoint: Endpoint) -> list[Any]:
        """The bodies that were published to an endpoint, in order, decoded as `messages` has them."""
        return [message.body for message in self._messages("published", endpoint)]

    def dead_letters(self, endpoint: Endpoint) -> list[Message]:
        """The dead letters of a source, wherever a stage puts them: the original, untouched, as `raw`.

        The headers `headrace-...` say why; `body` is what can be made of `raw`, as in `messages`. Raises
        `TopologyError` for an endpoint that no stage takes from.
        """
        self._places.check_source("dead_letters", endpoint)
        stages = [stage for graph in self.graphs for stage in graph.stages]
        graves = [stage.settings.dead_letter for stage in stages if stage.settings.dead_letter is not None]
        letters = {
            (id(grave.broker), grave.name): self._memory(grave).messages(grave.name)
            for grave in (*graves, endpoint.dead_letter())
        }
        return _decoded([letter for found in letters.values() for letter in found if _from(letter, endpoint)], guess)

    def _messages(self, asked: str, endpoint: Endpoint) -> list[Message]:
        self._places.check(asked, endpoint, self._answered)
        hint = self._type_at(endpoint)
        return _decoded(self._memory(endpoint).messages(endpoint.name), guess if hint is Any else _or_guess(hint))

    def _answered(self, endpoint: Endpoint) -> bool:
        return endpoint.name in self._asked or bool(self._memory(endpoint).messages(endpoint.name))

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
                        return handler.passes
        return Any

    def _on_to_what_is_due(self) -> bool:
        """Move the clock to the next timer; not while a handler is at work, which may take as long as it likes."""
        due = self.clock.next_due()
        if due is None or any(running.pool.busy for running in self.engine.running):
            return False
        self.clock.advance(max(0.0, due - self.clock.now()))
        return True

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


def _from(letter: Message, endpoint: Endpoint) -> bool:
    headers = letter.headers or {}
    origin = [headers.get(f"{DEAD_LETTER_PREFIX}origin-{what}") for what in ("broker", "destination")]
    return origin == [endpoint.broker.system, endpoint.name]


def _or_guess(hint: Any) -> Callable[[bytes], Any]:
    """Decode as that type, and what is none of it by what it looks like: a router may send another body."""
    decode = codec(hint).decode

    def either(raw: bytes) -> Any:
        try:
            return decode(raw)
        except DecodeError:
            return guess(raw)

    return either


def _decoded(messages: Iterable[Message], decode: Callable[[bytes], Any]) -> list[Message]:
    found = list(messages)
    for message in found:
        message.body = None if message.raw is None else decode(message.raw)
    return found
