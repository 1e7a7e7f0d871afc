"""`BatchWorker`: one actor of a pool whose handler takes batches, each as one joint message."""

from time import perf_counter
from typing import Any

from actors.batch import Batch
from actors.bound import Invoke
from actors.message import Message
from actors.outcomes import BatchError, Crash
from actors.receipt import Receipt, join
from actors.worker import Worker


class BatchWorker(Worker):
    """A worker that has each batch handled as one joint message. What fails, fails whole or by `BatchError`."""

    def __init__(self, batch: Batch, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.batch = batch

    async def _take(self) -> list[Message]:
        if self._leaving:
            return []
        return await self._idle(self.mailbox.take_batch(self.batch.size, self.batch.wait, self.clock, self.lane))

    async def _handle(self, invoke: Invoke, run: list[Message]) -> None:
        joint = _joint(run)
        began = self._begin(1)
        failures: dict[int, BaseException] = {}
        crash: BaseException | None = None
        try:
            self.pass_on(joint, await invoke(joint))
        except BatchError as error:
            joint.receipt.acknowledge()
            failures = _within(error.errors, run)
        except (Exception, SystemExit) as error:
            joint.receipt.acknowledge()
            failures = dict.fromkeys(range(len(run)), error)
            crash = error if isinstance(error, Crash | SystemExit) else None
        except BaseException as error:
            joint.receipt.acknowledge()
            if not self._failure(error):
                self.mailbox.put_back(run)
                self._set_down()
                raise
            failures = dict.fromkeys(range(len(run)), error)
        self._settle(run, failures)
        self._pace(perf_counter() - began, len(run))
        if crash is not None:
            raise crash

    def _settle(self, run: list[Message], failures: dict[int, BaseException]) -> None:
        for index, message in enumerate(run):
            error = failures.get(index)
            if error is None:
                message.receipt.acknowledge()
                self._handled.append(message)
            else:
                self._failed(message, error)


HANDLING = frozenset({Worker._handle.__code__, BatchWorker._handle.__code__})
"""The code that calls handlers: in its frames `self` is the worker."""


def _joint(run: list[Message]) -> Message:
    """One message for a batch. Each part keeps a branch of its own, settled when the handler is through with it."""
    receipts: list[Receipt] = [message.receipt for message in run]
    for receipt in receipts:
        receipt.split(1)
    first = run[0]
    joint = Message([message.body for message in run], record=run, source=first.source, timestamp=first.timestamp)
    joint.receipt = join(receipts)
    return joint


def _within(errors: dict[int, Exception], run: list[Message]) -> dict[int, BaseException]:
    wrong = [index for index in errors if index not in range(len(run))]
    if wrong:
        error = IndexError(f"BatchError names index {wrong[0]!r}, the batch has {len(run)} messages")
        return dict.fromkeys(range(len(run)), error)
    return dict(errors)
