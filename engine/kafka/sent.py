"""`KafkaSent`: a run that a producer has taken over, and what becomes of it."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from aiokafka import AIOKafkaProducer

from actors import Message
from engine.kafka.batches import Batch

Landed = Callable[[AIOKafkaProducer, Sequence[BaseException]], None]


class KafkaSent:
    """A run in the hands of a producer, which has each of its batches in a future.

    `failed` is told of a producer what its batches failed with, and raises what is to be raised; what of the run was
    published nevertheless is added to `published`. Within `timeout` seconds from when it is asked all is known.
    """

    def __init__(
        self,
        producer: AIOKafkaProducer,
        run: Sequence[Message],
        batches: Sequence[Batch],
        futures: Sequence[asyncio.Future[Any]],
        timeout: float,
        failed: Landed,
        published: set[Message],
    ) -> None:
        self._producer = producer
        self._run = run
        self._batches = batches
        self._all = asyncio.gather(*futures, return_exceptions=True)
        self._timeout = timeout
        self._failed = failed
        self._published = published

    def then(self, callback: Callable[[], object]) -> None:
        """Call that when all of its batches are confirmed, or have failed."""
        self._all.add_done_callback(lambda _: callback())

    async def confirmed(self) -> bool:
        """Whether all of it is confirmed; else what is not is to be published again."""
        _, late = await asyncio.wait((self._all,), timeout=self._timeout)
        results = self._all.result() if not late else [TimeoutError()]
        errors = [each for each in results if isinstance(each, BaseException)]
        if not errors:
            return True
        for batch, result in zip(self._batches, results, strict=False):
            if not isinstance(result, BaseException):
                self._published.update(self._run[at] for at in batch.indices)
        self._failed(self._producer, errors)
        return False

    def forget(self) -> None:
        """It goes on by itself."""
