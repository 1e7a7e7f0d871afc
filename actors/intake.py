"""`Intake`: the actor that fetches from a source, as much as its stage has room for, and decodes."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from anyio import CancelScope, Event
from anyio.lowlevel import checkpoint

from actors.backoff import Link
from actors.deadletter import text
from actors.errors import DecodeError
from actors.ledger import Ledger
from actors.mailbox import Mailbox
from actors.message import Message
from actors.sieve import Sieve

MOST = 1024
"""The most messages that are fetched before others get their turn, however much room there is."""


@dataclass(slots=True)
class Intake:
    """Takes from one source into one mailbox; keeps what it has in hand through a crash of its own.

    `decode` makes a body of bytes; what it refuses is dead on arrival, for the reason that `refusal` makes of it.
    `lane` gives the key that order is kept by.
    `max_body` is in bytes. A `sieve` keeps back what was done already.
    """

    stage: str
    ledger: Ledger
    mailbox: Mailbox[Message]
    decode: Callable[[bytes], object]
    refusal: Callable[[Exception], Exception] = lambda error: error
    lane: Callable[[Message], Hashable] | None = None
    max_body: int = 64 * 1024 * 1024
    on_open: Callable[[], object] = lambda: None
    sieve: Sieve | None = None
    _hand: list[Message] = field(default_factory=list)
    _opened: bool = False
    _fetched: int = 0
    _stopping: bool = False
    _fetching: CancelScope | None = None
    _resumed: Event | None = None

    @property
    def link(self) -> Link:
        """The state of the connection."""
        return self.ledger.link

    async def run(self, started: Callable[[], object] = lambda: None) -> None:
        """Fetch until stopped; then hand on what is in hand, and tell the mailbox and the ledger that it was all."""
        started()
        if self.sieve is not None:
            self.sieve.hand_on = self._hand_on
        if self._hand:
            await self.mailbox.put(self._hand)
        while not self._stopping:
            try:
                with CancelScope() as self._fetching:
                    await self._fetch()
            finally:
                self._fetching = None
            while self._hand:
                await self.mailbox.put(self._hand)
            if self._fetched >= MOST:  # a source that always has something, and a mailbox with room, never wait
                self._fetched = 0
                await checkpoint()
        drain = getattr(self.ledger.source, "drain", None)
        if drain is not None and self._opened:  # what such a source holds nobody would deliver again
            self._take(await drain())
        if self.sieve is not None:
            self._hand.extend(await self.sieve.sift(last=True))
            self.sieve.end()
        if self._hand:
            await self.mailbox.put(self._hand)
        self.mailbox.detach()
        self.ledger.end()

    def stop(self) -> None:
        """Fetch no more; what is in hand is still handed on."""
        self._stopping = True
        if self._fetching is not None:
            self._fetching.cancel()

    def pause(self) -> None:
        """Fetch nothing until `resume`; what was fetched goes on, and what was only read ahead goes to others."""
        if self._resumed is None:
            self._resumed = Event()
            if self._fetching is not None:
                self._fetching.cancel()

    def resume(self) -> None:
        """Fetch again."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    @property
    def paused(self) -> bool:
        """Whether it was told to fetch nothing."""
        return self._resumed is not None

    async def _fetch(self) -> None:
        if not self._opened:  # paused or not: what was never connected, nobody could tell from what is gone
            await self.link.insist(self.ledger.source.open)
            if self.sieve is not None:
                await self.sieve.duplicates.open()
            self._opened = True
            self.on_open()
        while (resumed := self._resumed) is not None:
            release = getattr(self.ledger.source, "release", None)
            if release is not None:
                await self.link.insist(release)
            if self.sieve is not None and self.sieve.waiting:  # it was fetched: it goes on, paused or not
                self._hand.extend(await self.sieve.sift())
                return
            await resumed.wait()
        if self.ledger.behind:
            await self.ledger.keep_pace()
        if self.sieve is not None and not await self._may_fetch(self.sieve):
            return
        room = min(await self.mailbox.wait_for_room(), MOST)
        run = await self.link.insist(lambda: self.ledger.source.fetch(room))
        self._fetched += len(run)
        self._take(run)
        if self.sieve is not None:
            self._hand.extend(await self.sieve.sift())

    async def _may_fetch(self, sieve: Sieve) -> bool:
        """Wait until no more duplicates wait than should; False where something in hand has to be handed on first."""
        if sieve.waiting:  # it was cancelled half-way
            self._hand.extend(await sieve.sift())
        if not self._hand:
            await sieve.duplicates.keep_pace()
        return not self._hand

    def _hand_on(self, message: Message) -> None:
        """Put one more into the mailbox, whatever it is waiting for."""
        self._hand.append(message)
        if self._fetching is not None:
            self._fetching.cancel()

    def _take(self, run: list[Message]) -> None:
        self.ledger.issue(run)
        decode, lane, most = self.decode, self.lane, self.max_body
        hand: list[Message] = self._hand if self.sieve is None else []
        for message in run:
            raw = message.raw
            try:
                if raw is None:
                    raw = b""
                if len(raw) > most:
                    raise DecodeError(f"a body of {len(raw)} bytes is over the limit of max_body={most}")
                message.body = decode(raw)
                if lane is not None:
                    message.lane = key = lane(message)
                    if type(key) is not str:
                        hash(key)  # what cannot be, nothing can be kept in order by
            except Exception as error:
                of_key = message.body is not None and not isinstance(error, DecodeError)
                self.ledger.reject(message, _keyless(error) if of_key else self.refusal(error), self.stage)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                self.ledger.reject(message, error, self.stage)
            else:
                hand.append(message)
            if message.attempt > 1:
                self.ledger.counts.redelivered += 1
        if self.sieve is not None:
            self.sieve.enter(hand)


def _keyless(error: Exception) -> DecodeError:
    """What is wrong with a message whose body was decoded, and has no key to keep its order by."""
    refused = DecodeError(f"its key cannot be told: {type(error).__name__}: {text(error)}")
    refused.__cause__ = error
    return refused
