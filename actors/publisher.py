"""The publisher stage: takes all that waits, encodes it, publishes it in one go and awaits the confirms."""

from collections.abc import Callable
from time import perf_counter
from typing import Any

from anyio import CancelScope

from actors.backoff import Link
from actors.errors import HeadraceError, PublishError
from actors.mailbox import Mailbox
from actors.message import Message
from actors.ports import Sink
from actors.receipt import acknowledge_all
from actors.retries import Retries
from actors.statistics import Counts

Encode = Callable[[Any], bytes | None]
EncoderOf = Callable[[type], Encode]
KeyOf = Callable[[Message], str | bytes | None]


class PublishWorker:
    """One actor of a publisher's pool.

    Order is that of its mailbox, except for messages that the broker refused and that are tried again. A broker out of
    reach is waited for, with the run in hand.
    """

    def __init__(
        self,
        name: str,
        mailbox: Mailbox[Message],
        sink: Sink,
        encoder_of: EncoderOf,
        unpublishable: Callable[[Any, BaseException], Exception],
        retries: Retries,
        link: Link,
        counts: Counts,
        destination: str | Callable[[Any], str] | None = None,
        key: KeyOf | None = None,
        take: int = 256,
    ) -> None:
        self.name = name
        self.mailbox = mailbox
        self.sink = sink
        self.encoder_of = encoder_of
        self.unpublishable = unpublishable
        self.retries = retries
        self.link = link
        self.counts = counts
        self.fixed = destination if isinstance(destination, str) else None
        self.fill = None if isinstance(destination, str) else destination
        self.key = key
        self.take = take
        self.busy_since: float | None = None
        self.watchers: list[Callable[[list[Message]], object]] = []
        """Told of each run that is published."""
        self._leaving = False
        self._idle: CancelScope | None = None

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Publish what comes until the mailbox is drained."""
        started()
        if not self.link.connected:
            await self.link.insist(self.sink.open)
        while run := await self._take():
            try:
                await self._publish(run)
            except BaseException:
                self.mailbox.put_back(run)
                raise

    def leave(self) -> None:
        """Publish what is in hand and end; the pool has become smaller."""
        self._leaving = True
        if self._idle is not None:
            self._idle.cancel()

    async def _take(self) -> list[Message]:
        if self._leaving:
            return []
        if run := self.mailbox.take_nowait(self.take):
            return run
        try:
            with CancelScope() as self._idle:
                run = await self.mailbox.take(self.take)
        finally:
            self._idle = None
        return run

    async def _publish(self, run: list[Message]) -> None:
        """Publish a run; what is finished with, or waits for another try, is removed from it."""
        self.counts.handled += len(run)
        self._encode(run)
        if not run:
            return
        refused: dict[int, Exception] = {}
        began = self.busy_since = perf_counter()
        try:
            await self.link.insist(lambda: self.sink.publish(run))
        except PublishError as error:
            refused = error.failures
        finally:
            self.busy_since = None
        self._count(len(run), len(refused), perf_counter() - began)
        done = run.copy() if not refused else [each for at, each in enumerate(run) if at not in refused]
        failed = [(run[at], reason) for at, reason in refused.items()]
        run.clear()
        for watcher in self.watchers:
            watcher(done)
        acknowledge_all(done)
        self.mailbox.done(done)
        for message, reason in failed:
            self._failed(message, reason)

    def _count(self, messages: int, refused: int, seconds: float) -> None:
        counts = self.counts
        counts.published += messages - refused
        counts.busy_seconds += seconds
        if counts.observer is not None:
            counts.observer.published(messages, seconds)

    def _encode(self, run: list[Message]) -> None:
        fixed, fill, key = self.fixed, self.fill, self.key
        kind: type = type(None)
        encode = self.encoder_of(kind)
        failed: list[tuple[int, Exception]] = []
        for at, message in enumerate(run):
            body = message.body
            try:
                if type(body) is not kind:
                    encode = self.encoder_of(type(body))
                    kind = type(body)
                message.raw = encode(body)
                if fixed is not None:
                    message.destination = fixed
                elif fill is not None:
                    message.destination = fill(body)
                if key is not None:
                    message.key = key(message)
            except HeadraceError as error:
                failed.append((at, error))
            except KeyboardInterrupt:
                raise
            except BaseException as error:
                failed.append((at, self.unpublishable(body, error)))
        for at, reason in reversed(failed):
            self._failed(run.pop(at), reason)

    def _failed(self, message: Message, error: Exception) -> None:
        if not self.retries.failed(message, error):
            self.mailbox.done([message])
