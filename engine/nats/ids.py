"""`Ids`: under which id a message is published to JetStream, which stores an id once within a while."""

from hashlib import sha256
from uuid import uuid4

from actors import Message, only_one


class Ids:
    """Of one sink. `again` says whether a message that is made again after a crash is to have its id again."""

    __slots__ = ("_again", "_given", "_name")

    def __init__(self, again: bool) -> None:
        self._again = again
        self._name = uuid4().hex[:20]
        self._given = 0

    def id_of(self, message: Message, subject: str, headers: dict[str, str]) -> str:
        """A new one; where this is all that is made of another message, one that it has again after a restart.

        All that is published is part of that, so that no two different messages share it.
        """
        made_of = only_one(message) if self._again else None
        if made_of is None:
            self._given += 1
            return f"{self._name}.{self._given}"
        told = f"{made_of!r}{subject!r}{headers!r}".encode()
        return sha256(told + (message.raw or b"")).hexdigest()[:32]
