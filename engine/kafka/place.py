"""`Place`: what a source and a sink have to know of an endpoint."""

import re
from dataclasses import dataclass

from engine.brokers.endpoint import INBOX

LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")
"""What a topic may be called, but for `.` and `..`."""


@dataclass(frozen=True, slots=True)
class Place:
    """A topic, or all topics whose whole name matches a pattern; and how a missing one is made.

    `start` is where a group begins that has committed nothing yet. `dead` is where its dead letters go. Unless it may
    `create` one, no missing topic is made for it.
    """

    name: str
    pattern: str | None = None
    start: str = "earliest"
    partitions: int | None = None
    replication: int | None = None
    dead: str = ""
    create: bool = True

    @property
    def template(self) -> bool:
        """Whether it depends on the message which topic is meant."""
        return "{" in self.name

    @property
    def matching(self) -> str | None:
        """The pattern as aiokafka takes it; never matches inboxes, nor where the dead letters go."""
        if self.pattern is None:
            return None
        return f"(?!{re.escape(INBOX)}|{re.escape(self.dead)}$)(?:{self.pattern})$"

    def instance(self, process: str | None) -> str | None:
        """The name of this process's static member that reads it, if there is to be one."""
        return None if process is None else re.sub(r"[^A-Za-z0-9._-]", "-", f"{process}-{self.name}")[:249]

    def __str__(self) -> str:
        return f"topic {self.name}" if self.pattern is None else f"topics matching {self.pattern}"
