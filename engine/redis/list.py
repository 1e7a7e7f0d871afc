"""Redis lists as queues: `ListSource` moves what it reads to a list of its own until it is settled."""

import asyncio
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from time import monotonic
from typing import Literal

from redis.exceptions import ResponseError

from actors import BrokerError, BrokerUnavailable, Message
from engine.redis.connection import Command
from engine.redis.errors import answer
from engine.redis.member import Member
from engine.redis.options import Target
from engine.redis.processing import End, Processing
from engine.redis.reading import GRACE, Reading
from engine.redis.values import element
from engine.redis.wire import Wire

Side = Literal["left", "right"]
BLOCK = 5.0
"""Seconds that a read waits at the server before it looks for what dead consumers left."""
MANY = 1000
"""Messages in one answer."""
TRIES = 5
"""How often a source that is closed puts back what it has, while somebody comes between."""


class ListSource:
    """Reads a list, each message of which goes to one of its sources.

    What is read is moved to `{name}.processing.<consumer>`, and removed from there when it is settled. A consumer says
    every third of `min_idle` that it is alive; the messages of one that no longer does go back to where they were
    taken from, with a count of their deliveries, as do those that this source has when it is closed.
    """

    def __init__(self, target: Target, name: str, push: Side, plain: bool) -> None:
        self._list = name
        self._take: End = "LEFT" if push == "right" else "RIGHT"
        self._idle = round(target.options.min_idle * 1000)
        self._member = Member(target, name, place=name)
        self._processing = Processing(name, self._take, plain, self._idle)
        self._reader, self._teller = self._member.reader, self._member.teller
        self._reading: Reading[list[Message]] = Reading()
        self._held: dict[Message, tuple[int, bytes]] = {}
        """What was read and is not settled: its place in the order of reading, and as it is in the processing list."""
        self._turn = asyncio.Lock()
        """Whoever compares what is held with the processing list, and whoever removes something from both."""
        self._unsure: tuple[Sequence[Command], Sequence[Message]] = (), ()
        """What the server was told to remove, and has not answered."""
        self._places = count()
        self._back: deque[Message] = deque()
        self._ready: deque[Message] = deque()
        self._unfetched: dict[bytes, int] = {}
        """Which delivery comes next of what is no longer held without having been fetched, until it is put back."""
        self._waiting = 0
        """How long the list was when it was last read."""
        self._lost = False
        """Whether there may be something in the processing list whose answer never came."""
        self._look_at = 0.0
        self._most = MANY

    # -- from open to close --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Take a name, and put back what a former process under that name, or any dead one, did not finish."""
        if name := self._member.take_name():
            self._processing.name(name)
        try:
            (kind,) = await self._teller.exchange((("TYPE", self._list),))
            if kind not in (b"none", b"list") and not isinstance(kind, ResponseError):
                wrong = ResponseError(f"WRONGTYPE it is a {kind.decode()}, not a list")
                raise answer(wrong, self._teller.where)
            if not self._member.is_open:
                await self._processing.begin(self._teller)
            await self._processing.say_alive(self._teller)
            await self._tend(self._teller)
        except BaseException:
            await self._member.let_go()
            raise
        self._member.begin(lambda: self._processing.say_alive(self._teller), self._idle / 3000)

    async def close(self) -> None:
        """Put what is not settled back to where it was taken from; lets go of the name."""
        if not self._member.is_open:
            return
        self._reading.wake()
        try:
            await self._member.end()
            self._ready.extend(await self._reading.stop() or ())
            await self._leave()
        except BrokerError:
            pass  # others put it back when this consumer has not been heard of for long enough
        finally:
            for known in (self._held, self._back, self._ready, self._unfetched):
                known.clear()
            self._unsure = (), ()
            await self._member.let_go()

    async def _leave(self) -> None:
        """Say that it is gone only when nothing is left, which nobody would look for; else others find it in time."""
        self._forget_unfetched()
        attempts = {value: message.attempt + 1 for message, (_, value) in self._held.items()} | self._unfetched
        for _ in range(TRIES):
            if await self._put_back(attempts):
                await self._processing.say_gone(self._teller)
                return

    async def release(self) -> None:
        """Put what was read, or returned, and not fetched back to where it was taken from; no try is lost by that."""
        if not self._member.is_open:
            return
        try:
            self._ready.extend(await self._reading.stop(GRACE) or ())
        finally:
            self._lost = True  # an answer may have been on its way
        await self._reader.close()  # while nobody reads by it nobody would notice that it is lost
        self._forget_unfetched()
        async with self._turn:
            await self._make_sure()
            while not await self._put_back(self._unfetched, keep=[value for _, value in self._held.values()]):
                pass  # somebody came between
            self._unfetched.clear()

    async def _put_back(self, attempts: Mapping[bytes, int], keep: Iterable[bytes] = ()) -> bool:
        return await self._processing.put_back(self._teller, self._processing.mine, attempts, keep)

    def _forget_unfetched(self) -> None:
        for message in (*self._back, *self._ready):
            self._unfetched[self._held.pop(message)[1]] = message.attempt
        self._back.clear()
        self._ready.clear()

    # -- fetching ------------------------------------------------------------------------------------------------

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them: what was returned first, then in the order of the list."""
        while True:
            if not self._member.is_open:
                raise BrokerUnavailable(f"this source of {self._list} is closed: open it before fetching")
            if waiting := self._back or self._ready:
                return [waiting.popleft() for _ in range(min(limit, len(waiting)))]
            self._ready.extend(await self._reading.result(lambda: self._next(limit)) or ())

    async def _next(self, limit: int) -> list[Message]:
        try:
            while not (values := await self._look(min(limit, self._most))):
                pass
        except Exception:
            self._lost = True
            self._most = max(1, min(limit, self._most) // 4)  # it may have been too much for a slow connection
            raise
        self._most = min(MANY, self._most * 2)
        tries = self._unfetched  # of these a release did not get through
        run = [element(self._list, value, tries.get(value) if tries else None) for value in values]
        tries.clear()
        self._held.update(zip(run, zip(self._places, values, strict=False), strict=True))
        return run

    async def _look(self, limit: int) -> list[bytes]:
        if self._lost:
            async with self._turn:
                await self._make_sure()
                found = await self._reader.ask("LRANGE", self._processing.mine, 0, -1)
                self._lost = False
                return list((Counter(found) - Counter(value for _, value in self._held.values())).elements())
        if monotonic() >= self._look_at:
            await self._tend(self._reader)
        length: Command = ("LLEN", self._list)
        mine = self._processing.mine
        if self._waiting:
            move: Command = ("LMOVE", self._list, mine, self._take, "RIGHT")
            *found, waiting = await self._reader.exchange([move] * min(limit, self._waiting) + [length])
        else:
            wait = min(max(self._look_at - monotonic(), 0.001), BLOCK)
            move = ("BLMOVE", self._list, mine, self._take, "RIGHT", f"{wait:.3f}")
            *found, waiting = await self._reader.exchange((move, length), wait=wait)
        for reply in (*found, waiting):
            if isinstance(reply, ResponseError):
                raise answer(reply, self._reader.where)
        self._waiting = waiting
        return [value for value in found if value is not None]

    # -- settling ------------------------------------------------------------------------------------------------

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Remove `done` for good, and hand `returned` out again; what is not held is forgotten silently."""
        held = self._held
        async with self._turn:
            await self._make_sure()
            if known := [message for message in done if message in held]:
                self._unsure = self._processing.settling([held[message][1] for message in known]), known
                await self._make_sure()
        if returned:
            self._hand_out_again([message for message in returned if message in held])

    async def _make_sure(self) -> None:
        """Have removed what is to be, and was not known to be when an exchange broke: each once all the same."""
        commands, done = self._unsure
        if commands:
            await self._processing.exchange(self._teller, commands)
            self._unsure = (), ()
            for message in done:
                self._held.pop(message, None)

    def _hand_out_again(self, run: Sequence[Message]) -> None:
        """In the order in which they were read, before anything else."""
        held = self._held
        for message in run:
            place, value = held.pop(message)
            fresh = element(self._list, value, message.attempt + 1)
            held[fresh] = place, value
            self._back.append(fresh)
        self._back = deque(sorted(self._back, key=held.__getitem__))
        self._reading.wake()

    # -- those who are dead, and being alive ---------------------------------------------------------------------

    async def _tend(self, wire: Wire) -> None:
        """Put back what dead consumers left, and see how much there is."""
        await self._processing.bury(wire)
        self._waiting = await wire.ask("LLEN", self._list)
        self._look_at = monotonic() + min(BLOCK, self._idle / 2000)

    async def ping(self) -> None:
        """Return when the server has answered; asked beside whatever is being read."""
        await self._member.ping()

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self._member.reached()

    def pending(self) -> int | None:
        """Not known without asking the server."""
        return None

    def __repr__(self) -> str:
        state = f"{len(self._held)} held" if self._member.is_open else "closed"
        return f"<source of {self._list}: {state}>"
