"""`Tap`: samples of what enters and leaves stages while they run, for whoever wants to look.

A stage that is not tapped pays nothing. In one that is, a worker's way of passing on is exchanged, every `EVERY`
seconds, for one that takes a few samples and then puts the old one back: however many messages there are, the work
stays the same, and large ones are sampled less. A listener that is slow to read misses samples, and is told how many.
"""

from collections import deque
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from time import monotonic, perf_counter, time
from typing import Any

from anyio import Event, move_on_after

from actors import Message, PublishWorker, Send, Worker
from engine.assembly.assembly import Assembly
from engine.assembly.running import Running
from topologies import Stage, encoder_of

EVERY = 0.1
"""Seconds between two looks at a stage."""
SILENCE = 5.0
"""Seconds without a sample after which a listener is told that there is none."""
KEPT = 256
"""Samples that wait for a listener; beyond that the oldest are missed."""
SHARE = 0.02
"""The share of a processor that sampling a stage may take, in the mean."""
SHOWN = 2000
"""Characters of a body that are shown."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A message that entered a stage, or left it; `way` is `in` or `out`.

    `body` is its beginning as text, `size` its whole length in bytes, `to` where a router or a publisher sends it.
    `time` is in seconds since the epoch.
    """

    time: float
    topology: str
    stage: str
    way: str
    body: str
    size: int
    key: str | None
    headers: dict[str, str]
    id: str | None
    attempt: int
    to: str | None = None
    missed: int = 0
    """How many samples were not read in time before this one."""


class Tap:
    """Samples of all stages whose name, or `topology.stage`, matches a glob.

    Of each at most `rate` messages a second.
    """

    def __init__(self, assemblies: Sequence[Assembly], glob: str, rate: float = 10.0) -> None:
        self.takers = [
            _Taker(assembly.graph.name, running, self._add)
            for assembly in assemblies
            for name, running in assembly.stages.items()
            if fnmatchcase(f"{assembly.graph.name}.{name}", glob) or fnmatchcase(name, glob)
        ]
        self.rate = rate
        self._allowed = 1.0
        self._next = 0.0
        self._samples: deque[Sample] = deque()
        self._missed = 0
        self._news = Event()

    @property
    def stages(self) -> list[str]:
        """The stages that match, as `topology.stage`."""
        return [f"{taker.topology}.{taker.stage.name}" for taker in self.takers]

    async def listen(self) -> AsyncGenerator[Sample | None, None]:
        """The samples as they come, until it is closed; None after each `SILENCE` in which there were none."""
        heard = monotonic()
        try:
            while True:
                self._allow()
                while self._samples:
                    heard = monotonic()
                    yield self._told(self._samples.popleft())
                if monotonic() - heard > SILENCE:
                    heard = monotonic()
                    yield None
                self._news = Event()
                with move_on_after(max(0.0, self._next - monotonic())):
                    await self._news.wait()
        finally:
            for taker in self.takers:
                taker.leave()

    def _allow(self) -> None:
        """Allow each stage its samples, a tenth of a second at a time."""
        now = monotonic()
        if now < self._next:
            return
        self._allowed = min(self._allowed + self.rate * EVERY, max(1.0, self.rate * EVERY))
        self._next = now + EVERY
        if self._allowed >= 1:
            for taker in self.takers:
                taker.take(int(self._allowed))
            self._allowed %= 1

    def _add(self, taken: Sample) -> None:
        if len(self._samples) >= KEPT:
            self._samples.popleft()
            self._missed += 1
        self._samples.append(taken)
        self._news.set()

    def _told(self, taken: Sample) -> Sample:
        missed, self._missed = self._missed, 0
        return replace(taken, missed=missed) if missed else taken


class _Taker:
    """Takes the samples of one stage for one tap."""

    def __init__(self, topology: str, running: Running, add: Callable[[Sample], None]) -> None:
        self.topology = topology
        self.running = running
        self.stage: Stage = running.stage
        self.add = add
        self.left = 0
        """How many messages it may still take, until it is allowed more."""
        self.cost = 0.0
        """Seconds that taking samples took, beyond its share."""

    def take(self, messages: int) -> None:
        """Take that many of the next messages."""
        self.cost = max(0.0, self.cost - SHARE * EVERY)
        if self.cost:
            return
        self.left = messages
        for worker in self.running.pool.workers:
            if isinstance(worker, Worker):
                if not isinstance(worker.pass_on, _PassOn):
                    worker.pass_on = _PassOn(worker)
                worker.pass_on.takers.add(self)
            elif isinstance(worker, PublishWorker) and self not in worker.watchers:
                worker.watchers.append(self)

    def leave(self) -> None:
        """Take none any more."""
        self.left = 0
        for worker in self.running.pool.workers:
            if isinstance(worker, Worker) and isinstance(worker.pass_on, _PassOn):
                worker.pass_on.forget(self)
            elif isinstance(worker, PublishWorker) and self in worker.watchers:
                worker.watchers.remove(self)

    def __call__(self, run: list[Message]) -> None:
        """Told by a publisher of what is published."""
        for message in run[: self.left]:
            self._add("in", message, message.body)
            self._add("out", message, message.body, message.destination)
        self.left -= min(self.left, len(run))

    def passed(self, message: Message, result: Any) -> None:
        """Told by a worker of what was handled and what came of it."""
        self.left -= 1
        if isinstance(message.body, list) and self.stage.settings.batch is not None:
            for each in message.record[:SHOWN]:
                self._add("in", each, each.body)
        else:
            self._add("in", message, message.body)
        for choice in result if isinstance(result, list | tuple) and self.stage.targets else [result]:
            if choice is not None:
                self._left(message, choice)

    def _left(self, message: Message, choice: Any) -> None:
        to = None
        if self.stage.targets:
            target = choice.target if isinstance(choice, Send) else choice
            to = self.stage.targets.get(target)
            choice = (
                Message(choice.body, key=choice.key, headers=choice.headers) if isinstance(choice, Send) else message
            )
        made = choice if isinstance(choice, Message) else message
        body = choice.body if isinstance(choice, Message) else choice
        self._add("out", made, body, to)

    def _add(self, way: str, message: Message, body: Any, to: str | None = None) -> None:
        began = perf_counter()
        raw = message.raw if way == "in" and message.raw is not None else _encoded(body)
        text = raw[: SHOWN * 4].decode("utf-8", "replace")[:SHOWN]
        headers = {name: _text(value) for name, value in (message.headers or {}).items()}
        key = None if message.key is None else _text(message.key)
        self.add(
            Sample(
                time(),
                self.topology,
                self.stage.name,
                way,
                text,
                len(raw),
                key,
                headers,
                message.id,
                message.attempt,
                to,
            )
        )
        self.cost += perf_counter() - began


class _PassOn:
    """A worker's way of passing on, with takers of samples; when the last has enough, the worker's own again."""

    def __init__(self, worker: Worker) -> None:
        self.worker = worker
        self.plain = worker.pass_on
        self.takers: set[_Taker] = set()

    def __call__(self, message: Message, result: Any) -> None:
        self.plain(message, result)
        for taker in tuple(self.takers):
            if taker.left > 0:
                taker.passed(message, result)
            if taker.left <= 0:
                self.forget(taker)

    def forget(self, taker: _Taker) -> None:
        self.takers.discard(taker)
        if not self.takers:
            self.worker.pass_on = self.plain


def _encoded(body: Any) -> bytes:
    """A body as bytes; what cannot be published is shown as Python shows it."""
    try:
        return encoder_of(type(body))(body) or b""
    except Exception:
        return repr(body).encode("utf-8", "replace")


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("utf-8", "replace")
