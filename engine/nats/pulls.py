"""`Pulls`: what one source asks its consumer for, a request at a time, and what the server says about it."""

import json
from typing import Literal

from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.nats.errors import trouble
from engine.nats.options import Target

EXPIRES = 30.0
"""Seconds after which the server forgets a request that it could not fill."""
FULL = 2
"""Requests in a row that came full, from which on the next one goes out before anybody waits for it."""

_WRONG = ("400", "412")
"""Of a request that the server would not take again either; 409 may be that, or pass, as a change of leaders does."""
_LIMITS = ("Exceeded MaxRequest", "push based")


class Pulls:
    """Requests for messages. A message does not say which request it belongs to, so there is one at a time.

    `bound` is the most that may be held unsettled, whatever was asked for.
    """

    def __init__(self, target: Target, bound: int) -> None:
        self._beat = target.options.timeout / 2
        self._terms: dict[str, int] = {}
        self._batch = 0
        self._bound = bound
        self.subject = ""
        """Where requests go."""
        self.asked = 0
        """Messages that the request under way may still bring."""
        self.inbox = ""
        """What the answers to them begin with."""
        self.said = ""
        """What the server said when it took none."""
        self._number = 0
        self._most = 0
        """The most that a fetch had room for."""
        self._full = 0
        """Requests in a row that came full."""

    def begin(self, inbox: str) -> None:
        """Begin anew, on a new connection."""
        self.inbox = inbox
        self.asked = self._full = 0

    def within(self, batch: int, expires: float) -> None:
        """Ask for so many at most, for so many seconds at most."""
        expires = min(EXPIRES, expires)
        self._batch = batch
        self._terms = {"expires": int(expires * 1e9), "idle_heartbeat": int(min(self._beat, expires / 3) * 1e9)}

    async def ask(self, client: Client, most: int, where: str) -> None:
        """Ask for so many, or as many as the consumer allows. Raises `BrokerUnavailable` and `BrokerRefused`."""
        self.asked = min(most, self._batch)
        self._number += 1
        request = json.dumps({"batch": self.asked, **self._terms}).encode()
        try:
            await client.publish(self.subject, request, reply=f"{self.inbox}.{self._number}")
        except Exception as error:
            self.asked = 0
            raise trouble(error, where) from None

    def came(self) -> None:
        """A message has come."""
        self.asked -= 1
        if not self.asked:
            self._full += 1

    def ahead(self, limit: int, held: int) -> int:
        """How many to ask for before anybody waits for them; 0 unless there seems to be more than is asked for."""
        self._most = max(self._most, limit)
        room = min(self._most, self._bound - held)
        return room if self.asked <= 0 and self._full >= FULL and 4 * room >= self._most else 0

    def told(self, record: Msg) -> Literal["", "over", "missing", "busy", "refused"]:
        """What the server says: the request is over, there is no consumer, it takes none now, or never takes such."""
        headers = record.headers or {}
        status, said = headers.get("Status"), headers.get("Description", "")
        if status == "100" or record.subject != f"{self.inbox}.{self._number}":
            return ""
        self.asked = self._full = 0
        if status == "503" or "Deleted" in said:
            return "missing"
        if status in ("404", "408"):
            return "over"
        self.said = f"{status} {said}"
        return "refused" if status in _WRONG or any(each in said for each in _LIMITS) else "busy"
