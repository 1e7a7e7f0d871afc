"""The publisher stage: takes all that waits, encodes it, publishes it in one go and awaits the confirms.

Where the sink can, the next run is on its way before the one ahead of it is confirmed. That is the fast way, and one
without second thoughts: whatever goes wrong on it, what is on its way is waited for, and then published again one run
after the other.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from itertools import islice
from time import perf_counter
from typing import Any

from anyio import CancelScope, current_time

from actors.backoff import Link
from actors.errors import BrokerError, HeadraceError, PublishError
from actors.mailbox import Mailbox
from actors.message import Message
from actors.ports import Pipelined, Sent, Sink
from actors.receipt import acknowledge_all
from actors.retries import Retries
from actors.statistics import Counts

Encode = Callable[[Any], bytes | None]
EncoderOf = Callable[[type], Encode]
KeyOf = Callable[[Message], str | bytes | None]


PATIENCE = 1.0
"""Seconds that it waits for more to send before it sees to what is on its way, which may have got lost."""


class Flight:
    """A run in the hands of a publisher: on its way, or to be published when it is its turn."""

    __slots__ = ("began", "confirmed", "refused", "run", "sent")

    def __init__(self, run: list[Message], began: float) -> None:
        self.run = run
        self.began = began
        self.sent: Sent | None = None
        """What tells of it, until it has."""
        self.confirmed = False
        self.refused: dict[int, Exception] = {}

    async def land(self) -> None:
        """Wait until it is known what became of it, if it is on its way. Raises `BrokerError`."""
        if self.sent is None:
            return
        try:
            self.confirmed = await self.sent.confirmed()
        except PublishError as error:
            self.confirmed, self.refused = True, error.failures
        except BrokerError:
            self.sent = None
            raise
        self.sent = None


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
        self.watchers: list[Callable[[list[Message]], object]] = []
        """Told of each run that is published."""
        self._pipelined = sink if isinstance(sink, Pipelined) else None
        self._flights: deque[Flight] = deque()
        """What is in hand, in order."""
        self._counted = 0.0
        """Up to when its time is counted as busy."""
        self._leaving = False
        self._idle: CancelScope | None = None

    @property
    def busy_since(self) -> float | None:
        """Since when the oldest run in hand is; None where there is none."""
        return self._flights[0].began if self._flights else None

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Publish what comes until the mailbox is drained."""
        started()
        if not self.link.connected:
            await self.link.insist(self.sink.open)
        try:
            while True:
                if self._may_take() and (run := await self._take()):
                    await self._begin(run)
                elif self._flights:
                    await self._end()
                else:
                    return
        except BaseException:
            self._give_up()
            raise

    def leave(self) -> None:
        """Publish what is in hand and end; the pool has become smaller."""
        self._leaving = True
        if self._idle is not None:
            self._idle.cancel()

    def _may_take(self) -> bool:
        """Whether one more run could be on its way."""
        flights = self._flights
        if not flights:
            return True
        return self._pipelined is not None and flights[-1].sent is not None and len(flights) < self._pipelined.in_flight

    async def _take(self) -> list[Message]:
        """Wait for messages; for none where there is something to be known of the oldest run."""
        if self._leaving:
            return []
        if run := self.mailbox.take_nowait(self.take):
            return run
        try:
            with CancelScope() as self._idle:
                if self._flights and (sent := self._flights[0].sent) is not None:
                    sent.then(self._idle.cancel)
                    self._idle.deadline = current_time() + PATIENCE
                run = await self.mailbox.take(self.take)
        finally:
            self._idle = None
        return run

    async def _begin(self, run: list[Message]) -> None:
        """Encode a run and send it, or leave it to `_end` where that cannot be done before others have ended."""
        self.counts.handled += len(run)
        flight = Flight(run, perf_counter())
        self._flights.append(flight)
        self._encode(run)
        if not run:
            self._flights.pop()
        elif self._pipelined is not None and self._pipelined.in_flight > 1:
            try:
                flight.sent = await self._pipelined.send(run)
            except (BrokerError, PublishError):
                pass  # what is wrong is told, and counted, when it is published in its turn

    async def _end(self) -> None:
        """Wait until the oldest run is published; what is finished with, or waits for another try, is out of hand."""
        flight = self._flights[0]
        await self.link.insist(partial(self._confirm, flight))
        now = perf_counter()
        run, refused = flight.run, flight.refused
        self._count(flight, now)
        done = run if not refused else [each for at, each in enumerate(run) if at not in refused]
        failed = [(run[at], reason) for at, reason in refused.items()]
        self._flights.popleft()
        for watcher in self.watchers:
            watcher(done)
        acknowledge_all(done)
        self.mailbox.done(done)
        for message, reason in failed:
            self._failed(message, reason)

    async def _confirm(self, flight: Flight) -> None:
        """Return when the oldest run is confirmed, or refused; publish it again where it came to nothing on its way."""
        await flight.land()
        if flight.confirmed:
            return
        for behind in islice(self._flights, 1, None):  # it must not be published again before these have ended
            try:
                await behind.land()
            except BrokerError:
                pass  # it is published again too, and then told of
        try:
            await self.sink.publish(flight.run)
        except PublishError as error:
            flight.refused = error.failures

    def _give_up(self) -> None:
        """Put back all that is in hand, in order."""
        for flight in reversed(self._flights):
            if flight.sent is not None:
                flight.sent.forget()
            self.mailbox.put_back(flight.run)
        self._flights.clear()

    def _count(self, flight: Flight, now: float) -> None:
        counts, messages = self.counts, len(flight.run)
        counts.published += messages - len(flight.refused)
        counts.busy_seconds += now - max(flight.began, self._counted)
        self._counted = now
        if counts.observer is not None:
            counts.observer.published(messages, now - flight.began)

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
