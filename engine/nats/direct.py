"""`DirectClient`: nats-py's client with short ways in and out, and one that knows whether it speaks TLS.

Of what nats-py keeps to itself two names are used: where its parser is put, and what appends to all that waits to be
written. Where a release of it lacks one of them messages go its own way, in or out: slower, and otherwise the same.
Four more serve to hang up, and one to hear of the end; without them what nats-py leaves behind stays.
"""

import ssl
from asyncio import StreamWriter
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from nats.aio.client import Client
from nats.protocol.parser import Parser

from engine.nats.commands import Publication, answered, published
from engine.nats.parser import DirectParser, Take

PARSER, APPEND = "_ps", "_send_command"
"""What is used of nats-py that is not public."""
TRANSPORT, WRITER = "_transport", "_io_writer"
SUBSCRIPTIONS, TASK = "_subs", "_wait_for_msgs_task"
"""The same, to hang up."""


class DirectClient(Client):
    """Publishes many at once, offers what comes to `take` before anybody else gets it, and tells `ended` of its end.

    nats-py speaks TLS only where the server insists, whatever the URL says: `secured` tells.
    """

    secured = False

    def __init__(
        self, context: Callable[[], ssl.SSLContext], ended: Callable[[], Awaitable[None]], take: Take | None = None
    ) -> None:
        super().__init__()
        self._context = context
        self._ended = ended
        self._append: Any = getattr(self, APPEND, None)
        if take is not None and type(getattr(self, PARSER, None)) is Parser:
            setattr(self, PARSER, DirectParser(self, take))

    @property
    def ssl_context(self) -> ssl.SSLContext:
        """Asked for when TLS begins; where that fails so does the connection. Made no sooner, as it takes 50 ms."""
        context = self._context()
        self.secured = True
        return context

    def hang_up(self) -> None:
        """Let go at once of what `close` still holds: it waits until all is written, though nobody may read it."""
        writer = getattr(getattr(self, TRANSPORT, None), WRITER, None)
        if isinstance(writer, StreamWriter):
            writer.transport.abort()
        for subscription in getattr(self, SUBSCRIPTIONS, {}).values():
            if (task := getattr(subscription, TASK, None)) is not None:
                task.cancel()

    async def _process_op_err(self, e: Exception) -> None:
        """As nats-py has it. Where something waits to be written it tries to, and fails before it has told anybody."""
        try:
            await super()._process_op_err(e)
        except (OSError, RuntimeError):
            self.hang_up()
            await self._ended()

    async def publish_all(self, run: Sequence[Publication]) -> None:
        """Publish some messages in order, at least one; raises as `publish` does."""
        if self._append is not None and len(run) > 1 and not self.is_closed:
            await self._append(published(run[:-1]))
            run = run[-1:]  # with which nats-py is told to write
        for subject, reply, headers, body in run:
            await self.publish(subject, body, reply, dict(headers) or None)

    async def answer_all(self, subjects: Sequence[str], body: bytes = b"") -> None:
        """Publish the same body to some subjects, at least one; raises as `publish` does."""
        if self._append is not None and len(subjects) > 1 and not self.is_closed:
            await self._append(answered(subjects[:-1], body))
            subjects = subjects[-1:]
        for subject in subjects:
            await self.publish(subject, body)
