"""Redis streams: `StreamSource` reads for a consumer group, and leaves nothing unfinished behind."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from time import monotonic

from redis.exceptions import ResponseError

from actors import BrokerError, BrokerUnavailable, Message
from engine.redis.errors import answer, code
from engine.redis.fields import Entry, entry_message
from engine.redis.group import MANY, Consumer, Start, order
from engine.redis.member import Member
from engine.redis.options import Target
from engine.redis.reading import GRACE, Reading
from engine.redis.search import Search


class StreamSource:
    """Reads a stream as one consumer of a group, which begins at `start` where it is new.

    First comes what a former process under the same name did not finish, then what other consumers have not renewed
    for `min_idle`, then what is new. Whatever is held is renewed every third of that time, so that it may take as long
    as it takes. What is returned stays with this consumer and is handed out again before anything else.

    Where more waits than is asked for, the next run is read while one is handled, so that nobody waits for the server:
    at most as many as were ever asked for at once.
    """

    def __init__(self, target: Target, stream: str, group: str, start: Start) -> None:
        self._me = Consumer(stream, group)
        self._idle = round(target.options.min_idle * 1000)
        self._member = Member(target, stream, place=f"{stream} {group}")
        self._reader, self._teller = self._member.reader, self._member.teller
        self._reading: Reading[list[Message]] = Reading()
        self._held: dict[bytes, Message] = {}
        """What was read and is not settled, by id."""
        self._back: list[Message] = []
        """What was returned, to be handed out again in the order of the stream."""
        self._ready: list[Message] = []
        """What was read and not handed out yet."""
        self._search = Search(self._reader, self._me, self._held, start, self._idle)
        self._most = MANY
        """Entries in one answer; fewer after trouble."""
        self._asked = 1
        """The most that were asked for at once."""
        self._full = 0
        """How many reads in a row brought as many as they asked for."""
        self._renewed = 0.0

    # -- from open to close --------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Make the stream and the group where they are missing, and take a name in it."""
        if name := self._member.take_name():
            self._me = replace(self._me, name=name)
        try:
            await self._search.join(self._teller, self._me)
        except BaseException:
            await self._member.let_go()
            raise
        self._renewed = monotonic()
        self._member.begin(self._renew, self._idle / 3000)

    async def close(self) -> None:
        """Give what is not settled to whichever consumer reads next; lets go of the name."""
        if not self._member.is_open:
            return
        self._reading.wake()
        try:
            await self._member.end()
            self._ready += await self._reading.stop() or ()
            await self._part(keep=())
            await self._teller.exchange((self._me.leave(),))
        except BrokerError:
            pass  # what is left goes to others when it has been idle for long enough
        finally:
            self._held.clear()
            self._back.clear()
            self._ready.clear()
            await self._member.let_go()

    async def release(self) -> None:
        """Give what was read, or returned, and not fetched to whichever consumer looks next for what others left.

        No try of it is lost by that. This one finds what is still there before anything else, when it reads again.
        """
        if not self._member.is_open:
            return
        try:
            self._ready += await self._reading.stop(GRACE) or ()
        finally:
            self._search.restart()
            self._full = 0
        await self._reader.close()  # while nobody reads by it nobody would notice that it is lost
        await self._part(self._held)

    async def _part(self, keep: Collection[bytes]) -> None:
        """Give away what is pending here except that; until then, what was not fetched stays ready."""
        found = await self._search.own(self._teller)
        unfetched = {_entry(message) for message in (*self._back, *self._ready)}
        for entry in unfetched:
            self._held.pop(entry, None)
        self._back.clear()
        self._ready.clear()
        commands = self._search.parting(found, unfetched, keep)
        for reply in await self._teller.exchange(commands) if commands else ():
            if isinstance(reply, ResponseError) and code(reply) != "NOGROUP":
                raise answer(reply, self._teller.where)
        self._search.unfetched.clear()

    # -- fetching ------------------------------------------------------------------------------------------------

    async def fetch(self, limit: int) -> list[Message]:
        """Wait for messages; return 1 to `limit` of them: what was returned first, then in the order of the stream."""
        while True:
            if not self._member.is_open:
                raise BrokerUnavailable(f"this source of {self._me.stream} is closed: open it before fetching")
            if self._back:
                run = self._back[:limit]
                del self._back[:limit]
                return run
            if run := self._ready[:limit]:
                del self._ready[:limit]
                if not self._ready:
                    self._read_ahead(limit)
                return run
            self._ready += await self._reading.result(lambda: self._next(limit)) or ()

    def _read_ahead(self, limit: int) -> None:
        """Have the next run read before it is asked for, where one full run has followed another."""
        most = self._asked = max(self._asked, limit)
        if self._full > 1:
            self._reading.begin(lambda: self._next(most))

    async def _next(self, limit: int) -> list[Message]:
        """Something to hand out; as long as there is nothing, again."""
        try:
            while not (run := await self._search.look(min(limit, self._most))):
                pass
        except Exception:
            self._search.lost()
            self._most = max(1, min(limit, self._most) // 4)  # it may have been too much for a slow connection
            raise
        self._full = self._full + 1 if len(run) >= min(limit, self._most) else 0
        self._most = min(MANY, self._most * 2)
        return run

    # -- settling ------------------------------------------------------------------------------------------------

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Acknowledge `done` in one command, and hand `returned` out again; what is not held is forgotten silently."""
        held, me = self._held, self._me
        acked = [
            message.origin.entry
            for message in done
            if type(message.origin) is Entry and held.get(message.origin.entry) is message
        ]
        back = {entry: self._again(message) for message in returned if held.get(entry := _entry(message)) is message}
        commands = me.acknowledge(acked) + me.count({entry: again.attempt for entry, again in back.items()})
        if commands:
            for reply in await self._teller.exchange(commands):
                if isinstance(reply, ResponseError) and code(reply) != "NOGROUP":
                    raise answer(reply, self._teller.where)
        for entry in acked:
            held.pop(entry, None)
        if back:
            held |= back
            self._back = sorted((*self._back, *back.values()), key=lambda again: order(_entry(again)))
            self._reading.wake()

    def _again(self, message: Message) -> Message:
        """The same message at its next attempt, as it was read."""
        known = message.origin
        assert isinstance(known, Entry)
        return entry_message(self._me.stream, known.entry, known.fields, message.attempt + 1)

    # -- renewing ------------------------------------------------------------------------------------------------

    async def _renew(self) -> None:
        began = monotonic()
        ids = list(self._held)
        if ids and began - self._renewed >= self._idle / 1000:
            ids = await self._still_mine(ids)
        if ids:
            await self._teller.exchange(self._me.renew(ids))
        self._renewed = began

    async def _still_mine(self, ids: Sequence[bytes]) -> list[bytes]:
        """Those that no other consumer has taken over meanwhile; the others are no longer held."""
        rows = await self._teller.exchange(self._me.whose(ids))
        name = self._me.name.encode()
        mine = [row[0][0] for row in rows if isinstance(row, list) and row and row[0][1] == name]
        for entry in set(ids).difference(mine):
            self._held.pop(entry, None)
        return [entry for entry in mine if entry in self._held]

    async def ping(self) -> None:
        """Return when the server has answered; asked beside whatever is being read."""
        await self._member.ping()

    @property
    def remade(self) -> int:
        """How often the group was found deleted, and made anew."""
        return self._search.remade

    def reached(self) -> bool:
        """Whether the server has let it in and not been lost since."""
        return self._member.reached()

    def pending(self) -> int | None:
        """Not known without asking the server."""
        return None

    def __repr__(self) -> str:
        state = f"{len(self._held)} held" if self._member.is_open else "closed"
        return f"<source of {self._me.stream} for {self._me.group}: {state}>"


def _entry(message: Message) -> bytes:
    origin = message.origin
    return origin.entry if isinstance(origin, Entry) else b""
