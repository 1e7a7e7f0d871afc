"""The publisher stage: takes all that waits, encodes it, publishes it in one go and awaits the confirms.

Where the sink can, the next run is on its way before the one ahead of it is confirmed. When one of them fails, no more
are sent until all in hand are through: what is on its way is heard of first, and then what failed is published, one run
after the other. So none overtakes one that was lost; what a broker refuses may come behind the next, as within a run.
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
from actors.flight import Flight
from actors.mailbox import Mailbox
from actors.message import Message
from actors.ports import Pipelined, Sink
from actors.receipt import acknowledge_all
from actors.retries import Retries
from actors.statistics import Counts

Encode = Callable[[Any], bytes | None]
EncoderOf = Callable[[type], Encode]
KeyOf = Callable[[Message], str | bytes | None]
WORTH = 64
"""Messages of a run on its way from which another is sent behind it. While a smaller one is out, more come together."""
PATIENCE = 1.0
"""Seconds that nothing need be heard of a run on its way; then it is asked for, and nothing more is sent meanwhile."""


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
        self.worth = min(WORTH, take)
        self.watchers: list[Callable[[list[Message]], object]] = []
        """Told of each run that is published."""
        self._pipelined = sink if isinstance(sink, Pipelined) and sink.in_flight > 1 else None
        self._flights: deque[Flight] = deque()
        """What is in hand, in order."""
        self._counted = 0.0
        """Up to when its time is counted as busy."""
        self._leaving = False
        self._waiting: CancelScope | None = None
        """While it waits for messages; cancelled where there is something else to see to."""

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
                    await self._send(run)
                elif self._flights:
                    await self._settle()
                else:
                    return
        except BaseException:
            self._give_up()
            raise

    def leave(self) -> None:
        """Publish what is in hand and end; the pool has become smaller."""
        self._leaving = True
        if self._waiting is not None:
            self._waiting.cancel()

    def _may_take(self) -> bool:
        """Whether one more run could be on its way."""
        flights = self._flights
        if not flights:
            return True
        ahead = flights[-1]
        if self._pipelined is None or ahead.sent is None or len(ahead.run) < self.worth:
            return False
        return len(flights) < self._pipelined.in_flight

    async def _take(self) -> list[Message]:
        """Wait for messages; for none where it leaves, all is drained, or the oldest run is to be seen to."""
        oldest = self._flights[0] if self._flights else None
        if self._leaving or (oldest is not None and (oldest.heard or perf_counter() > oldest.began + PATIENCE)):
            return []
        if run := self.mailbox.take_nowait(self.take):
            return run
        try:
            with CancelScope() as self._waiting:
                if oldest is not None:
                    self._waiting.deadline = current_time() + PATIENCE - (perf_counter() - oldest.began)
                run = await self.mailbox.take(self.take)
        finally:
            self._waiting = None
        return run

    def _heard(self, flight: Flight) -> None:
        """Told when something is known of a run on its way."""
        flight.heard = True
        if self._waiting is not None and self._flights and flight is self._flights[0]:
            self._waiting.cancel()

    async def _send(self, run: list[Message]) -> None:
        """Encode a run and have it on its way, where the sink can; else it waits for its turn."""
        flight = Flight(run, perf_counter())
        self._flights.append(flight)
        self.link.using += 1
        taken = len(run)
        self._encode(run)
        self.counts.handled += taken - len(run)
        if not run:
            self._flights.pop()
            self.link.using -= 1
        elif self._pipelined is not None:
            try:
                flight.sent = await self._pipelined.send(run)
            except (BrokerError, PublishError):
                return  # what is wrong is told, and counted, when it is published
            if flight.sent is not None:
                flight.sent.then(partial(self._heard, flight))

    async def _settle(self) -> None:
        """Wait until the oldest run is through. What is done, or waits for another try, is out of hand then."""
        flight = self._flights[0]
        await self.link.insist(partial(self._see_through, flight))
        self._flights.popleft()
        self.link.using -= 1
        self._finish(flight)

    def _finish(self, flight: Flight) -> None:
        self._count(flight, perf_counter())
        run, refused = flight.run, flight.refused
        done = run if not refused else [each for at, each in enumerate(run) if at not in refused]
        failed = [(run[at], reason) for at, reason in refused.items()]
        for watcher in self.watchers:
            watcher(done)
        acknowledge_all(done)
        self.mailbox.done(done)
        for message, reason in failed:
            self._failed(message, reason)

    async def _see_through(self, flight: Flight) -> None:
        """Have the oldest run confirmed, or refused. Raises `BrokerError`; called again it goes on where it was."""
        await flight.land()
        if flight.through:
            return
        for behind in islice(self._flights, 1, None):  # else these might arrive before it
            try:
                await behind.land()
            except BrokerError:
                pass  # it is published too, and told of then
        try:
            await self.sink.publish(flight.run)
        except PublishError as error:
            flight.refused = error.failures

    def _give_up(self) -> None:
        """Put back all that is in hand and not through, in order."""
        while self._flights:
            flight = self._flights.pop()
            self.link.using -= 1
            if flight.through:
                self._finish(flight)
                continue
            if flight.sent is not None:
                flight.sent.forget()
            self.mailbox.put_back(flight.run)

    def _count(self, flight: Flight, now: float) -> None:
        counts, messages = self.counts, len(flight.run)
        counts.handled += messages
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
