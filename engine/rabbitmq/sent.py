"""`RabbitSent`: a run that is written, and what becomes of it."""

from collections.abc import Callable, Sequence

from actors import Message, PublishError
from engine.rabbitmq.confirms import Run
from engine.rabbitmq.publisher import Publisher
from engine.rabbitmq.refusals import OneRefused


class RabbitSent:
    """A run on its way over one channel.

    It is among those `away` until it was asked what became of it. What of it was taken, where other messages of it were
    refused, is added to `taken`: that need not be published again.
    """

    def __init__(
        self, publisher: Publisher, messages: Sequence[Message], run: Run, away: set["RabbitSent"], taken: set[Message]
    ) -> None:
        self._publisher = publisher
        self._messages = messages
        self._run = run
        self._away = away
        self._taken = taken
        away.add(self)

    def allows(self, publisher: Publisher) -> bool:
        """Whether a run that is written there now overtakes none of this, as far as it is known."""
        return publisher is self._publisher and not self._run.refused

    def then(self, callback: Callable[[], object]) -> None:
        """Call that when all of it is confirmed or refused, or the channel is lost."""
        if self._publisher.error is None:
            self._run.then(callback)
        else:
            callback()

    async def confirmed(self) -> bool:
        """Whether all of it is confirmed; False where the server has refused some, for now or over one of them."""
        run = self._run
        try:
            await self._publisher.land(run)
        except OneRefused:
            return False
        finally:
            self.forget()
        if run.refused:
            left = {*run.refused, *run.failures}
            self._taken.update(message for at, message in enumerate(self._messages) if at not in left)
            return False
        if run.failures:
            raise PublishError(run.failures)
        return True

    def forget(self) -> None:
        """It goes on by itself."""
        self._away.discard(self)
