"""The publisher stage: takes all that waits, encodes it, publishes it in one go and awaits the confirms."""

from collections.abc import Callable
from typing import Any

from actors.backoff import Link
from actors.errors import PublishError
from actors.mailbox import Mailbox
from actors.message import Message
from actors.ports import Sink
from actors.retries import Retries
from actors.statistics import Counts

Encode = Callable[[Any], bytes | None]
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
        encode: Encode,
        retries: Retries,
        link: Link,
        counts: Counts,
        destination: Callable[[Any], str] | None = None,
        key: KeyOf | None = None,
        take: int = 256,
    ) -> None:
        self.name = name
        self.mailbox = mailbox
        self.sink = sink
        self.encode = encode
        self.retries = retries
        self.link = link
        self.counts = counts
        self.destination = destination
        self.key = key
        self.take = take

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Publish what comes until the mailbox is drained."""
        started()
        if not self.link.connected:
            await self.link.insist(self.sink.open)
        while run := await self.mailbox.take(self.take):
            try:
                await self._publish(run)
            except BaseException:
                self.mailbox.put_back(run)
                raise

    async def _publish(self, run: list[Message]) -> None:
        """Publish a run; what is finished with, or waits for another try, is removed from it."""
        self.counts.handled += len(run)
        self._encode(run)
        if not run:
            return
        refused: dict[int, Exception] = {}
        try:
            await self.link.insist(lambda: self.sink.publish(run))
        except PublishError as error:
            refused = error.failures
        self.counts.published += len(run) - len(refused)
        done = run.copy() if not refused else [each for at, each in enumerate(run) if at not in refused]
        for message in done:
            message.receipt.acknowledge()
        failed = [(run[at], reason) for at, reason in refused.items()]
        run.clear()
        self.mailbox.done(done)
        for message, reason in failed:
            self._failed(message, reason)

    def _encode(self, run: list[Message]) -> None:
        encode, destination, key = self.encode, self.destination, self.key
        failed = []
        for at, message in enumerate(run):
            try:
                message.raw = encode(message.body)
                if destination is not None:
                    message.destination = destination(message.body)
                if key is not None:
                    message.key = key(message)
            except Exception as error:
                failed.append((at, error))
        for at, reason in reversed(failed):
            self._failed(run.pop(at), reason)

    def _failed(self, message: Message, error: Exception) -> None:
        if not self.retries.failed(message, error):
            self.mailbox.done([message])
