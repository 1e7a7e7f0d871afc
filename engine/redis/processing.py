"""`Processing`: the lists in which what consumers of a list have read lies until it is settled, and whose they are."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from typing import Literal
from uuid import uuid4

from redis.exceptions import ResponseError

from engine.redis.connection import Command
from engine.redis.errors import answer
from engine.redis.values import again, attempt_of
from engine.redis.wire import Wire, chunks

End = Literal["LEFT", "RIGHT"]
LARGE = 1 << 24
"""Bytes of values that go into one script: from there on each goes alone."""
MANY = 256
"""Values in one script, while which the server does nothing else."""
DAY = 24 * 3600

# Each of them once, however often, and however late, the same number arrives while its consumer is open: equal values
# cannot be told apart. One that arrives when a consumer of the same name has opened anew counts as new: it removes what
# was done, or an equal value. A server without memory takes no number, and must be told all the same of what it can
# forget.
_SETTLE = """
if redis.pcall('ZADD', KEYS[2], 'GT', 'CH', ARGV[2], ARGV[1]) == 0 then return end
for i = 3, #ARGV do redis.call('LREM', KEYS[1], 1, ARGV[i]) end"""


class Processing:
    """All of them, as one consumer sees them: `mine` is its own. What it says of being alive holds for `idle` ms.

    What goes back goes to the end that it was taken from, with the number of its next delivery unless it is `plain`.
    """

    def __init__(self, source: str, take: End, plain: bool, idle: int) -> None:
        self._list = source
        self._push = f"{take[0]}PUSH"
        self._plain = plain
        self._idle = idle
        # In a cluster the braces put all of them on the list's own node.
        self._all = f"{source if '{' in source else '{' + source + '}'}.processing"
        self.mine = ""
        self._me = ""
        self._numbers = count(1)

    def name(self, consumer: str) -> None:
        """Become that consumer, and another one than whoever had the name before."""
        self.mine = f"{self._all}.{consumer}"
        self._me = uuid4().hex

    async def begin(self, wire: Wire) -> None:
        """Put back what a former process under this name left; raises here what settling would be refused with."""
        await self.put_back(wire, self.mine)
        await self.exchange(wire, [("DEL", _settled(self.mine)), self._settle(())])

    async def say_alive(self, wire: Wire) -> None:
        """Tell the others that this one is there."""
        mine = self.mine
        alive: Command = ("SET", _alive(mine), 1, "PX", self._idle)
        await self.exchange(wire, [("SADD", self._all, mine), alive, ("EXPIRE", _settled(mine), DAY)])

    async def say_gone(self, wire: Wire) -> None:
        """Tell them that it is not."""
        await wire.exchange((("SREM", self._all, self.mine), ("DEL", _alive(self.mine), _settled(self.mine))))

    def settling(self, values: Sequence[bytes]) -> list[Command]:
        """Remove each of those once from what is its own, however often it is told these same commands."""
        most = MANY if sum(map(len, values)) < LARGE else 1
        return [self._settle(part) for part in chunks(values, most)]

    def _settle(self, values: Sequence[bytes]) -> Command:
        return "EVAL", _SETTLE, 2, self.mine, _settled(self.mine), self._me, next(self._numbers), *values

    async def exchange(self, wire: Wire, commands: Sequence[Command]) -> None:
        """Have those done; raises what the first no means."""
        for reply in await wire.exchange(commands):
            if isinstance(reply, ResponseError):
                raise answer(reply, wire.where)

    async def bury(self, wire: Wire) -> None:
        """Put back what those left who have not said for long that they are alive."""
        known = [name.decode() for name in await wire.ask("SMEMBERS", self._all)]
        others = [name for name in known if name != self.mine]
        if others:
            alive = await wire.exchange([("EXISTS", _alive(name)) for name in others])
            for name, answered in zip(others, alive, strict=True):
                if answered == 0:
                    await self.put_back(wire, name)

    async def put_back(
        self, wire: Wire, processing: str, attempts: Mapping[bytes, int] | None = None, keep: Iterable[bytes] = ()
    ) -> bool:
        """Move all but what is to be kept back, at once or not at all; whether nobody came between.

        `attempts` are the numbers of the next deliveries, where they are not those that the values tell. Without them
        its consumer has crashed: each value had been delivered.
        """
        _, values = await wire.exchange((("WATCH", processing), ("LRANGE", processing, 0, -1)))
        if isinstance(values, ResponseError):
            raise answer(values, wire.where)
        kept, left = _parted(values, keep)
        bring: list[Command] = []
        if left:
            bring = [(self._push, self._list, *reversed(self._counted(left, attempts))), ("DEL", processing)]
        if left and kept:
            bring.append(("RPUSH", processing, *kept))
        leave: list[Command] = [] if processing == self.mine else [("SREM", self._all, processing)]
        *_, moved = await wire.exchange((("MULTI",), *bring, *leave, ("EXEC",)))
        if isinstance(moved, ResponseError):
            raise answer(moved, wire.where)
        return moved is not None

    def _counted(self, values: list[bytes], attempts: Mapping[bytes, int] | None) -> list[bytes]:
        counted = [(value, attempt_of(value)) for value in values]
        if attempts is None:
            run = [(value, attempt + 1) for value, attempt in counted]
        else:
            run = [(value, attempts.get(value, attempt)) for value, attempt in counted]
        return [value if self._plain or attempt == 1 else again(value, attempt) for value, attempt in run]


def _parted(values: Iterable[bytes], keep: Iterable[bytes]) -> tuple[list[bytes], list[bytes]]:
    """Those to keep, each as often as it is to be kept, and the others."""
    due, kept, left = Counter(keep), list[bytes](), list[bytes]()
    for value in values:
        (kept if due[value] > 0 else left).append(value)
        due[value] -= 1
    return kept, left


def _alive(processing: str) -> str:
    return f"{processing}.alive"


def _settled(processing: str) -> str:
    """Which settlings were done there: the number of the last, of whom it was."""
    return f"{processing}.settled"
