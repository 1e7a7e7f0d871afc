"""`Pool`: as many workers as its stage may have at once, all on one mailbox, supervised; it can change its size."""

from collections.abc import Callable, Sequence
from logging import Logger, LoggerAdapter
from typing import Any, Protocol

from anyio import Lock, move_on_after

from actors.actor import State
from actors.child import Child, Started
from actors.clock import Clock
from actors.lanes import Lanes
from actors.mailbox import AnyMailbox
from actors.restarts import Supervision
from actors.supervisor import Supervisor
from actors.worker import Worker


class Runs(Protocol):
    """What a pool is made of."""

    async def run(self, started: Started = ...) -> None: ...

    def leave(self) -> None:
        """Finish what is in hand and end."""
        ...


class Pool:
    """The workers of one stage. When they have drained its mailbox, it detaches from the mailboxes behind.

    `make(number)` makes a worker. With `sticky` each worker has a lane of the mailbox of its own, so that the
    messages of one key always meet the same one; resizing deals the keys anew.
    """

    def __init__(
        self,
        name: str,
        size: int,
        make: Callable[[int], Runs],
        mailbox: AnyMailbox,
        behind: Sequence[AnyMailbox],
        policy: Supervision,
        clock: Clock,
        logger: "Logger | LoggerAdapter[Any]",
        sticky: bool = False,
    ) -> None:
        self.name = name
        self.mailbox = mailbox
        self.sticky = sticky
        self._make = make
        self._behind = tuple(behind)
        self._made = 0
        self._workers: list[tuple[Child, Runs]] = []
        self._resizing = Lock()
        self.supervisor = Supervisor(name, [self._new() for _ in range(size)], policy, clock, logger, True)
        for mailbox_behind in self._behind:
            mailbox_behind.attach()
        self._settle_in()

    @property
    def size(self) -> int:
        """How many workers it has."""
        return len(self._workers)

    @property
    def workers(self) -> list[Runs]:
        """Its workers."""
        return [worker for _, worker in self._workers]

    @property
    def busy(self) -> int:
        """How many of its workers have a message in hand."""
        return sum(getattr(worker, "busy_since", None) is not None for worker in self.workers)

    @property
    def running(self) -> bool:
        """Whether any of its workers has started and is not being restarted."""
        return any(child.life.state is State.RUNNING for child, _ in self._workers)

    async def run(self, started: Started = lambda: None) -> None:
        """Run the workers until the mailbox is drained. Raises `IntensityExceeded`."""
        await self.supervisor.run(started)
        if self.mailbox.drained:
            behind, self._behind = self._behind, ()
            for mailbox in behind:
                mailbox.detach()

    async def stop(self) -> None:
        """Stop the workers at once; what they had in hand is put back into the mailbox."""
        await self.supervisor.stop()

    def leave(self) -> None:
        """Have the workers begin nothing more; they end when they are through with what they have in hand."""
        for worker in self.workers:
            worker.leave()

    def cut(self) -> None:
        """Cancel the workers, and wait for none of them."""
        self.supervisor.cut()

    async def resize(self, size: int, within: float = 5.0) -> None:
        """Have that many workers from now on. Those that leave finish what they have in hand.

        With `sticky` they have `within` seconds for that before their keys go to others. Cancelled while it grows, it
        has the workers that it has by then, and still one for each key.
        """
        if size < 1:
            raise ValueError(f"{self.name}: a pool of {size} workers would never be drained; expected at least 1")
        async with self._resizing:
            leaving, self._workers = self._workers[size:], self._workers[:size]
            for _, worker in leaving:
                worker.leave()
            if self.sticky:
                await self._see_off([child for child, _ in leaving], within)
            self.supervisor.prune({child for child, _ in leaving})
            await self._grow(size)

    async def _grow(self, size: int) -> None:
        """Add workers one after the other; all lanes are there at once, so that keys are dealt anew only once."""
        added = len(self._workers)
        new = [self._new() for _ in range(added, size)]
        self._settle_in()
        try:
            for child in new:
                added += 1
                await self.supervisor.add(child)
        finally:
            if added < size:  # somebody has lost patience with a start: the others are never begun
                del self._workers[added:]
                self._settle_in()

    async def _see_off(self, leaving: list[Child], within: float) -> None:
        # Shielded: left half-way, there would be lanes that nobody takes from.
        with move_on_after(within, shield=True):
            for child in leaving:
                if child.scope is not None:
                    await child.ended.wait()

    def _new(self) -> Child:
        number = self._made if not self.sticky else len(self._workers)
        self._made += 1
        worker = self._make(number)
        child = Child(f"{self.name}/{self._made}", worker.run)
        self._workers.append((child, worker))
        return child

    def _settle_in(self) -> None:
        """Have as many lanes as workers, and each worker know which is its own."""
        if self.sticky and isinstance(self.mailbox, Lanes):
            self.mailbox.resize(len(self._workers))
        for number, (_, worker) in enumerate(self._workers):
            if isinstance(worker, Worker):
                worker.lane = number if self.sticky else 0
                worker.alone = self.sticky or len(self._workers) == 1

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {self.size} workers, {self.busy} busy>"
