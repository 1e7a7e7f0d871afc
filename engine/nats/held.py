"""`Held`: what a source has of its consumer and has not settled, renewed as long as that lasts."""

import asyncio
from collections.abc import Sequence

from actors import BrokerError, Message
from engine.nats.client import Link
from engine.nats.direct import DirectClient
from engine.nats.errors import trouble
from engine.nats.spared import sequence

NAK, RENEW = b"-NAK", b"+WPI"


class Held:
    """Of one source, across its connections. What is not renewed for `ack_wait` seconds the server gives to another."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self.replies: dict[Message, str] = {}
        """The subject that each is acknowledged on."""
        self.ack_wait = link.target.options.ack_wait

    def sequences(self) -> list[int]:
        """Where they are in their stream."""
        return [sequence(message) for message in self.replies]

    async def settle(self, done: Sequence[Message], returned: Sequence[Message]) -> None:
        """Acknowledge `done`, each by a publish that nobody waits for, and give `returned` back."""
        held = self.replies
        acked = [reply for message in done if (reply := held.get(message)) is not None]
        back = [message for message in returned if message in held]
        if not acked and not back:
            return
        client = await self._link.connected()
        try:
            if acked:
                await client.answer_all(acked)
            if back:
                await self.give_back(client, back)
        except Exception as error:
            raise trouble(error, self._link.where) from None
        self.drop(done)
        self.drop(back)

    async def give_back(self, client: DirectClient, run: list[Message]) -> None:
        """Return when the server has taken them, in their order: what is asked for next then brings them first.

        They are held until the caller drops them.
        """
        run.sort(key=sequence)
        if run[1:]:
            await client.answer_all([self.replies[message] for message in run[:-1]], NAK)
        for message in run[-1:]:
            await self._link.request(client, self.replies[message], NAK)

    def drop(self, run: Sequence[Message]) -> None:
        """Hold these no longer."""
        for message in run:
            self.replies.pop(message, None)

    async def renew(self) -> None:
        """Have the server wait for longer, every third of `ack_wait`, until this is cancelled."""
        while True:
            await asyncio.sleep(self.ack_wait / 3)
            if not self.replies:
                continue
            try:
                client = await self._link.connected()
                await client.answer_all(list(self.replies.values()), RENEW)
            except BrokerError:
                continue  # whoever fetches or settles meets the same trouble, and says so
            except Exception as error:
                self._link.unavailable(repr(error))
