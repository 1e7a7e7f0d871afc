"""`Spared`: deliveries that the server counts, and that were no tries: nobody fetched what came."""

from collections.abc import Iterable, Sequence

from actors import Message


def sequence(message: Message) -> int:
    """Where it is in its stream."""
    return int(message.origin.offset or 0)


class Spared:
    """By sequence, how many deliveries of it one source has had and given back unfetched.

    What is given back comes before what is new. Of what has come by since, and is not held, nothing is kept: that is
    finished, or others'.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._fetched = 0
        """The highest sequence that was fetched since something was given back."""

    def __bool__(self) -> bool:
        return bool(self._counts)

    def clear(self) -> None:
        """The sequences are those of another stream."""
        self._counts.clear()
        self._fetched = 0

    def spare(self, run: Iterable[Message], held: Iterable[Message]) -> None:
        """These are given back unfetched; what else is held stays."""
        given = list(map(sequence, run))
        if not given:
            return
        before, here = self._counts, set(map(sequence, held))
        self._counts = {at: count for at, count in before.items() if at > self._fetched or at in here}
        self._counts |= {at: before.get(at, 0) + 1 for at in given}
        self._fetched = 0

    def discount(self, run: Sequence[Message]) -> None:
        """Have these tell the number of their try, where they tell that of their delivery."""
        self._fetched = max(self._fetched, max(map(sequence, run), default=0))
        for message in run:
            message.attempt = max(1, message.attempt - self._counts.get(sequence(message), 0))
