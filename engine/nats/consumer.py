"""`Consumer`: the consumer that a source reads by, joined on each connection so that it goes on where it was."""

from collections.abc import Sequence

from nats.aio.client import Client

from actors import Message
from engine.nats.client import Link
from engine.nats.declare import Joined, Place, Reader, born, consumer_for, stream_for
from engine.nats.held import Held
from engine.nats.orphans import answer_roll_call, call_back, is_alone
from engine.nats.spared import Spared, sequence


class Consumer:
    """Of one source: found, or declared where it is missing, also where somebody has deleted it meanwhile.

    In a stream that is another all is new: what is `held`, and what was `spared`, is forgotten then.
    """

    def __init__(self, link: Link, place: Place, reader: Reader, held: Held, spared: Spared) -> None:
        self._link = link
        self._place = place
        self._reader = reader
        self._held = held
        self._spared = spared
        self._stream = place.stream
        self._born: str | None = None
        """When the stream was made."""
        self._seen = 0
        """The highest sequence that was fetched, as far as known here."""

    @property
    def name(self) -> str:
        """Its stream's and its own."""
        return f"{self._stream}.{self._reader.name}"

    async def join(self, client: Client) -> Joined:
        """Find the stream and the consumer, or declare them."""
        stream = self._stream = await stream_for(self._link, client, self._place, reading=True)
        first = self._resumed(await born(self._link, client, stream))
        joined = await consumer_for(self._link, client, stream, self._reader, first)
        self._held.ack_wait = joined.ack_wait
        self._seen = max(self._seen, joined.settled_to)
        return joined

    def _resumed(self, born: str) -> int | None:
        """Where a consumer begins that somebody has deleted and that began at the latest; None where it would anyway.

        Were it to begin at the latest again, what came meanwhile would be nobody's. What is held comes again, for the
        new consumer knows nothing of it. Another stream has the sequences of others.
        """
        before, self._born = self._born, born
        if before is not None and before != born:
            self._held.replies.clear()
            self._spared.clear()
            self._seen = 0
        if before is None or self._reader.start == "earliest":
            return None
        return min(self._held.sequences(), default=self._seen + 1)

    async def inherit(self, client: Client) -> int:
        """Call back what an earlier connection had, unless that may be another engine's; how many come at least."""
        roll_call = f"{self._link.target.options.inbox_prefix}.headrace.{self.name}"
        alone = await is_alone(client, roll_call)
        count = await call_back(self._link, client, self.name, self._held.sequences) if alone else 0
        await answer_roll_call(client, roll_call)
        return count

    def fetched(self, run: Sequence[Message]) -> None:
        """These are on their way to whoever handles them."""
        self._seen = max(self._seen, sequence(run[-1]))
        if self._spared:
            self._spared.discount(run)
