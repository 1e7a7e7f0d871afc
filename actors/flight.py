"""`Flight`: a run in the hands of a publisher, and what is known of it."""

from actors.errors import BrokerError, PublishError
from actors.message import Message
from actors.ports import Sent


class Flight:
    """A run in the hands of a publisher: on its way, waiting for its turn to be published, or through."""

    __slots__ = ("began", "heard", "refused", "run", "sent", "through")

    def __init__(self, run: list[Message], began: float) -> None:
        self.run = run
        self.began = began
        self.sent: Sent | None = None
        """What tells what became of it, while it is on its way."""
        self.heard = False
        """Whether that has something to tell."""
        self.through = False
        """Whether all of it is confirmed or refused."""
        self.refused: dict[int, Exception] = {}

    async def land(self) -> None:
        """Wait until it is no longer on its way. Raises `BrokerError`, after which it has to be published."""
        if self.sent is None:
            return
        try:
            self.through = await self.sent.confirmed()
        except PublishError as error:
            self.through, self.refused = True, error.failures
        except BrokerError:
            self.sent = None
            raise
        self.sent = None
