"""`Retries`: what becomes of a message whose handling failed: it waits for its next try, or is dead."""

from collections.abc import Callable, Hashable
from functools import partial
from logging import DEBUG, Logger, LoggerAdapter
from random import random
from time import time
from typing import Any

from actors.clock import Clock, Timer
from actors.mailbox import Mailbox
from actors.message import Message
from actors.outcomes import Drop, RetryAfter
from actors.ports import Sink
from actors.receipt import Failure
from actors.retry import Retry, next_try
from actors.statistics import Counts


class Retries:
    """The failed messages of one stage, each waiting for its time in the clock's heap.

    A waiting message stays held by its mailbox: it keeps its key's order and the stage from being drained. At most
    `policy.waiting` wait at once; what fails beyond that is dead.
    """

    def __init__(
        self,
        stage: str,
        mailbox: Mailbox[Message],
        clock: Clock,
        counts: Counts,
        logger: "Logger | LoggerAdapter[Any]",
        policy: Retry | None = None,
        dead_letters: Sink | None = None,
        renew: Callable[[Message], object] = lambda message: None,
    ) -> None:
        self.stage = stage
        self.mailbox = mailbox
        self.clock = clock
        self.counts = counts
        self.logger = logger
        self.policy = policy
        self.dead_letters = dead_letters
        self.renew = renew
        """Called before a message is tried again: makes its body anew, which a handler may have changed."""
        self.cap = (policy or Retry()).waiting
        self._waiting: dict[Hashable, tuple[list[Message], Timer]] = {}
        """By key, so that the messages of one key come again together and in order; by itself what has none."""
        self._count = 0
        self._until: float | None = None

    def __len__(self) -> int:
        return self._count

    def failed(self, message: Message, error: BaseException) -> bool:
        """Settle a failed message, or have it wait for its next try: True if it waits, still held."""
        error = alone(error)
        if isinstance(error, Drop):
            self.counts.dropped += 1
            message.receipt.acknowledge()
            return False
        self.counts.failed += 1
        self.counts.count_exception(error)
        if isinstance(error, RetryAfter):
            self.counts.asked_to_wait += 1
        now = time()
        receipt = message.receipt
        # Noted on the receipt from the first failure on; it counts only if the last try fails too.
        first = receipt.failure.first if receipt.failure is not None else now
        failure = Failure(error, self.stage, message.attempt, first, max(first, now), self.dead_letters)
        delay = next_try(self.policy, message.attempt, error, random())
        if delay is not None and self._count < self.cap:
            if receipt.failure is None:
                receipt.failure = failure
            self._wait(message, delay)
            return True
        receipt.fail(failure)
        if self.logger.isEnabledFor(DEBUG):
            self.logger.debug("dead after %d attempts: %r", message.attempt, error)
        return False

    def _wait(self, message: Message, delay: float) -> None:
        due = self.clock.now() + delay
        message.attempt += 1
        self._count += 1
        lane = getattr(message, "lane", None)
        slot: Hashable = message if lane is None else lane
        together: list[Message] = []
        if slot in self._waiting:  # another of its key, out of the same batch
            together, timer = self._waiting[slot]
            timer.cancel()
            due = max(due, timer.when)
        together.append(message)
        self._waiting[slot] = together, self.clock.at(due, partial(self._again, slot))
        if self._until is not None and due > self._until:
            self._give_back(slot)

    def _again(self, slot: Hashable) -> None:
        messages, _ = self._waiting.pop(slot)
        self._count -= len(messages)
        if renewed := [message for message in messages if self._renewed(message)]:
            self.counts.retried += len(renewed)
            self.mailbox.put_back(renewed)

    def _renewed(self, message: Message) -> bool:
        try:
            self.renew(message)
        except Exception as error:
            if not self.failed(message, error):
                self.mailbox.done([message])
            return False
        return True

    def drain(self, until: float) -> None:
        """Give back, now and from now on, what would be tried again only after that time of the clock.

        Where order is kept by key, whatever waits or comes behind it goes back as well.
        """
        self._until = until
        for slot, (_, timer) in list(self._waiting.items()):
            if timer.when > until:
                self._give_back(slot)

    def _give_back(self, slot: Hashable) -> None:
        messages, timer = self._waiting.pop(slot)
        self._count -= len(messages)
        timer.cancel()
        for message in messages:
            message.receipt.give_back()
        for message in messages:
            self.mailbox.abandon(message)


def alone(error: BaseException) -> BaseException:
    """The error out of a task group of the handler's: what counts is what was raised in it, where that is one."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
