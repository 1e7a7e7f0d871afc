"""`Spared`: deliveries that the server counts, and that were no tries: nobody fetched what came."""

from collections.abc import Iterable, Sequence

from actors import Message


def sequence(message: Message) -> int:
    """Where it is in its stream."""
    return int(message.origin.offset or 0)


class Spared:
    """By sequence, how many deliveries of it one source has had and given back unfetched.

    Of what it neither holds nor has just given back nothing is kept: that is others' by now, or finished.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}

    def __bool__(self) -> bool:
        return bool(self._counts)

    def clear(self) -> None:
        """The sequences are those of another stream."""
        self._counts.clear()

    def spare(self, run: Iterable[Message], held: Iterable[Message]) -> None:
        """These are given back unfetched; what else is held stays."""
        before = self._counts
        self._counts = {at: before[at] for at in map(sequence, held) if at in before}
        self._counts |= {at: before.get(at, 0) + 1 for at in map(sequence, run)}

    def discount(self, run: Sequence[Message]) -> None:
        """Have these tell the number of their try, where they tell that of their delivery."""
        for message in run:
            message.attempt = max(1, message.attempt - self._counts.get(sequence(message), 0))
