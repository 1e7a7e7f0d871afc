"""`Wire`: one connection to RabbitMQ.

aiormq logs in, keeps the connection alive, opens channels and declares. Messages go past it, over the `Line` that both
have: in through its `Tap`, out by writing their frames behind one another.
"""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from ssl import SSLContext
from typing import Any, TypeVar

import aiormq
from aiormq.exceptions import ChannelInvalidStateError

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine.rabbitmq import refusals
from engine.rabbitmq.line import Line
from engine.rabbitmq.options import RabbitMQOptions
from engine.rabbitmq.tap import Listener

T = TypeVar("T")
CLOSING = 2.0
"""Seconds that saying goodbye may take."""
LEAVING = 0.8
"""Seconds that it may take where nothing is wanted any more, or where the server has not answered another goodbye."""
PROBE = 5.0
"""Seconds in which a server that is there opens a channel, whatever its queues do."""
_LIMIT = re.compile(r"larger than .*max size (\d+)")
_FRAME = 131_072
"""Bytes of a frame where the server sets no limit."""


class Wire:
    """A connection, from its opening to its end. A lost one is not mended: another takes its place."""

    def __init__(self, options: RabbitMQOptions) -> None:
        self.options = options
        self.max_size = sys.maxsize
        """The longest body that the server takes, as far as it has told."""
        self.line = line = Line(options)
        self.lost = line.lost
        """Done with the reason when the connection is gone."""
        self._tap = line.tap
        self._left: set[asyncio.Task[None]] = set()  # closing, and not answered yet
        self._waited = 0.0
        """Since when a goodbye was waited for in vain, by the event loop's clock."""
        self._connection: aiormq.Connection

    async def open(self, context: SSLContext | None, purpose: str) -> None:
        """Connect and log in; raises `BrokerUnavailable` or `BrokerRefused`."""
        options, line = self.options, self.line
        properties: dict[str, Any] = {"connection_name": f"{options.name}: {purpose}"}
        rest = dict(options.client)
        properties |= rest.pop("client_properties", {})
        await line.connect(context, rest)
        self._connection = aiormq.Connection(options.url, transport_factory=line, client_properties=properties)
        try:
            await self.ask(self._connection.connect(), options.connect_timeout)
        except BaseException:
            line.lose("given up")
            line.writer.transport.abort()
            raise

    async def ask(
        self,
        question: Coroutine[Any, Any, T],
        timeout: float | None = None,
        about: object = None,
        heard: Callable[[], bool] = lambda: False,
    ) -> T:
        """Await what aiormq does, and make its errors ours.

        `about` is the endpoint that something is asked for, on its channel: then a missing answer is the channel's
        trouble alone, as long as the server answers on another one. It has a task of its own: aiormq cancels
        whoever waits for it when the connection goes. Where the server was `heard` meanwhile, a missing answer is no
        reason to give the connection up.
        """
        if self.lost.done():
            question.close()
            raise refusals.again(self.lost.result())
        patience = timeout or self.options.timeout
        task = asyncio.ensure_future(question)
        task.add_done_callback(_heard)
        try:
            await asyncio.wait((task, self.lost), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        finally:
            in_time = task.done()
            if self.lost.done():  # it ends by itself; cancelled now, aiormq would warn of that
                asyncio.get_running_loop().call_later(CLOSING, task.cancel)
            else:
                task.cancel()
        if in_time and not task.cancelled() and task.exception() is None:
            return task.result()
        if not in_time and heard():
            raise BrokerUnavailable(f"no answer within {patience:g} s, though the server was heard")
        raise await self._reason(task if in_time else None, patience, about) from None

    async def _reason(self, task: "asyncio.Future[Any] | None", patience: float, about: object) -> BrokerError:
        """Why there is no answer: that task has failed, or there is none in time."""
        error = task.exception() if task is not None and not task.cancelled() else None
        if self.lost.done():
            return refusals.again(self.lost.result())
        if isinstance(error, aiormq.AMQPChannelError | ChannelInvalidStateError):
            return refusals.closed(about, str(error.args[-1] if error.args else error))
        if isinstance(error, ValueError | TypeError):  # what was asked cannot even be written
            return BrokerRefused(f"{about!r}: {error}")
        why = f"{type(error).__name__}: {error}" if error else f"no answer within {patience:g} s"
        if about is None or error is not None or not await self.alive():
            self.line.lose(why)
            return refusals.again(self.lost.result())
        return BrokerUnavailable(f"{about!r}: {why}; the server is there: is the queue without a leader?")

    async def alive(self) -> bool:
        """Whether the server answers at all. If it does not, the connection is lost."""
        try:
            channel = await self.open_channel(timeout=min(PROBE, self.options.timeout))
        except BrokerError:
            return False
        await self.close_channel(channel)
        return True

    async def ping(self) -> None:
        """Return when the server has answered. Raises `BrokerUnavailable`: then the connection is lost.

        Nothing is asked while it is heard, or has much to read, and no silence counts in which it was heard: others use
        the connection, and an answer may be late because they do, or because the event loop is.
        """
        clock, tap = asyncio.get_running_loop().time, self._tap
        if not self.lost.done() and (self.line.unsent or clock() - tap.heard < PROBE):
            return
        patience = min(PROBE, self.options.timeout) / 2
        for last in (False, True):  # the first question may not even have been written in time
            began = clock()

            def heard(began: float = began, last: bool = last) -> bool:
                return tap.heard > began or not last

            try:
                channel = await self.open_channel(timeout=patience, heard=heard)
            except BrokerError:
                if self.lost.done():
                    raise
            else:
                await self.close_channel(channel)
                return

    async def open_channel(
        self, confirms: bool = False, timeout: float | None = None, heard: Callable[[], bool] = lambda: False
    ) -> aiormq.Channel:
        """A new channel; end it with `close_channel`."""
        patience = timeout or self.options.timeout
        opened = self._connection.channel(publisher_confirms=confirms, timeout=2 * patience)
        channel = await self.ask(opened, patience, heard=heard)
        assert isinstance(channel, aiormq.Channel)
        return channel

    async def close_channel(self, channel: aiormq.Channel) -> None:
        """Close a channel; what was delivered to it and is not acknowledged goes back to its queue."""
        if self._forget(channel):
            try:
                await self.ask(channel.close(), CLOSING, "a channel")
            except BrokerError:
                pass  # it is gone either way

    async def leave_channel(self, channel: aiormq.Channel) -> bool:
        """Close a channel, and be no trouble to those who use others; whether it is closed already.

        A server that hangs is not waited for long, and not at all where another has waited and nothing was heard since.
        The channel keeps its number until the server answers, and what still comes to it is dropped.
        """
        if not self._forget(channel):
            return channel.is_closed
        task, began = asyncio.ensure_future(channel.close()), asyncio.get_running_loop().time()
        self._left.add(task)
        task.add_done_callback(self._left.discard)
        task.add_done_callback(_heard)
        patience = 0 if self._silent else LEAVING
        await asyncio.wait((task, self.lost), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
        if not task.done() and patience:  # not cancelled: aiormq would say it once more, of a channel that is gone
            self._waited = began
        return task.done()

    def _forget(self, channel: aiormq.Channel) -> bool:
        """Listen to it no more; whether there is anything to close."""
        if channel.is_closed:  # its listener is gone, and its number may be another's by now
            return False
        self._tap.listeners.pop(channel.number, None)
        return not self.lost.done()

    @property
    def _silent(self) -> bool:
        """Whether nothing came since a goodbye was waited for in vain."""
        return self._tap.heard < self._waited

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[aiormq.Channel]:
        """A channel to ask something on, as long as the block lasts; what is refused ends it too."""
        channel = await self.open_channel()
        try:
            yield channel
        finally:
            await self.close_channel(channel)

    def listen(self, channel: aiormq.Channel, listener: Listener) -> None:
        """Hand over to it what comes on that channel; it is told at once where the connection is lost already."""
        self._tap.listeners[channel.number] = listener
        if self.lost.done():
            listener.lost(refusals.again(self.lost.result()))

    @property
    def blocked(self) -> str | None:
        """Why the server takes no messages for now, if it does not."""
        return self._tap.blocked

    @property
    def frame(self) -> int:
        """The most bytes of a frame."""
        return self._connection.connection_tune.frame_max or _FRAME

    @property
    def version(self) -> tuple[int, ...]:
        """The server's version; (0,) for one that does not tell."""
        told = self._connection.server_properties.get("version")
        numbers = str(told).split("-")[0].split(".")
        return tuple(int(number) for number in numbers) if all(map(str.isdecimal, numbers)) else (0,)

    def learn(self, said: str) -> None:
        """Note a limit that the server has told of when it closed a channel over it."""
        if found := _LIMIT.search(said):
            self.max_size = int(found[1])

    async def close(self) -> None:
        """Take leave of the server."""
        self._tap.listeners.clear()
        try:
            if not self.lost.done():
                await self.ask(self._connection.close(), LEAVING if self._silent else CLOSING)
        except BrokerError:
            pass
        finally:  # also where it is cancelled: nobody else knows of the connection
            self.line.lose("closed")


def _heard(task: "asyncio.Future[Any]") -> None:
    """Nobody waits for it any more: no complaint that nobody has heard of its error."""
    if not task.cancelled():
        task.exception()
