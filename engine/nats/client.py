"""`Link`: one connection to NATS, made anew when it breaks.

nats-py's own reconnecting is off: it would send what was buffered before the break after what is published since, and
close the client for good where a server says no. A link makes a new client instead, as often as it takes.
"""

import asyncio
import json
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from logging import getLogger
from typing import Any

from nats import errors
from nats.aio.client import Client

from actors import BrokerRefused, BrokerUnavailable
from engine.nats.denials import Denials
from engine.nats.direct import DirectClient
from engine.nats.errors import Unsafe, refused, trouble
from engine.nats.options import Target
from engine.nats.parser import Take

CLOSING = 1.0
"""Seconds that closing a connection may take: nats-py waits for ever where TLS has failed, or where nobody reads."""
ANSWER = 5.0
"""Seconds in which a server that is there answers a question that costs it nothing."""
TURNS = 10
"""Turns in which an event loop that was held up reads what has come meanwhile, an answer among it."""
_logger = getLogger("headrace")


class Link:
    """A connection that is made when it is needed. `start` sets up each new one; `lost` is told when it has gone.

    `denied` is told what the server says of a right that it denies, once `start` is through. `take` is offered what
    comes before anybody else is; what it takes reaches no callback.
    """

    def __init__(
        self,
        target: Target,
        endpoint: str,
        start: Callable[[DirectClient], Awaitable[None]],
        lost: Callable[[], None] = lambda: None,
        denied: Callable[[str], None] = lambda said: None,
        take: Take | None = None,
    ) -> None:
        self.target = target
        self.where = f"NATS at {target.where}" + (f", {endpoint}" if endpoint else "")
        self.stuck = False
        """Whether the server takes nothing more: each further publish would wait as long again."""
        self._start = start
        self._lost = lost
        self._denied = denied
        self._listening: list[Denials] = []
        self._take = take
        self._client: DirectClient | None = None
        self._lock: asyncio.Lock | None = None
        self._last: BaseException | None = None

    @property
    def client(self) -> DirectClient | None:
        """The connection, if there is one that works."""
        client = self._client
        return client if client is not None and client.is_connected else None

    async def connected(self) -> DirectClient:
        """The connection, made anew where there is none. Raises `BrokerUnavailable` and `BrokerRefused`."""
        client = self._client
        if client is not None and client.is_connected:
            return client
        if self._lock is None:
            self._lock = asyncio.Lock()
        async with self._lock:
            if self._client is not None and self._client.is_connected:
                return self._client
            lost = self._client is not None
            await self.close()
            client = await self._connect()
            try:
                await self._start(client)
            except BaseException as error:
                await _shut(client)
                if isinstance(error, Exception):
                    raise trouble(error, self.where) from None
                raise
            self._client = client
            if lost:
                _logger.info("%s: connected anew", self.where)
            return client

    async def _connect(self) -> DirectClient:
        async def ended() -> None:
            if client is self._client:
                self._lost()

        client = DirectClient(self._context, ended, self._take)
        self._last = None
        self.stuck = False
        try:
            settings = self._settings(client) | {"closed_cb": ended}
            async with asyncio.timeout(self.target.options.connect_timeout):
                await client.connect(**settings)
            if self.target.tls and not client.secured:
                raise Unsafe
        except BaseException as error:
            await _shut(client)
            if isinstance(error, OSError) and error.filename is not None:
                raise self._unusable(error) from None
            if isinstance(error, Exception):
                cause = self._last if isinstance(error, errors.NoServersError | TimeoutError) else error
                raise trouble(cause or error, self.where) from None
            raise
        return client

    def _context(self) -> ssl.SSLContext:
        try:
            return self.target.context()
        except OSError as error:
            raise self._unusable(error) from None

    def _unusable(self, error: OSError) -> BrokerRefused:
        name = error.filename or "cafile=, certfile= or keyfile="
        return BrokerRefused(f"{self.where}: {name}: {error.strerror or error}\n  correct the paths in Nats(...)")

    def _settings(self, client: DirectClient) -> dict[str, Any]:
        options = self.target.options

        async def failed(error: Exception) -> None:
            self._note(client, error)

        settings: dict[str, Any] = {"ping_interval": options.ping_interval, "name": options.name, **options.client}
        settings |= {"servers": list(self.target.servers), "error_cb": failed}
        settings |= {"allow_reconnect": False, "max_reconnect_attempts": 1, "reconnect_time_wait": 0.05}
        settings |= {"connect_timeout": options.connect_timeout, "flush_timeout": options.timeout}
        settings |= {
            "tls_hostname": options.tls_hostname,
            "tls_handshake_first": options.tls_first,
            "inbox_prefix": options.inbox_prefix,
        }
        return settings | self._login(client)

    def _login(self, client: DirectClient) -> dict[str, Any]:
        """Who logs in: asked for when all is encrypted that has to be."""
        options = self.target.options

        def secret(value: str) -> Callable[[], str]:
            def tell() -> str:
                if self.target.tls and not client.secured:
                    raise Unsafe
                return value

            return tell

        login: dict[str, Any] = {}
        if options.user is not None:
            password = options.password.get_secret_value() if options.password else ""
            login |= {"user": secret(options.user), "password": secret(password)}
        if options.token is not None:
            login["token"] = secret(options.token.get_secret_value())
        if options.credentials is not None:
            login["user_credentials"] = str(options.credentials)
        if options.nkey is not None:
            login["nkeys_seed"] = str(options.nkey)
        return login

    def _note(self, client: Client, error: Exception) -> None:
        self._last = error
        if client is self._client:
            self.stuck = self.stuck or isinstance(error, errors.FlushTimeoutError)
        if isinstance(error, errors.Error) and "permissions violation" in str(error).lower():
            said = str(error).removeprefix("nats: ")
            for each in self._listening:
                each.note(said)
            if client is self._client:
                self._denied(said)

    @contextmanager
    def denials(self) -> Iterator[Denials]:
        """What the server denies while the block lasts. It says so before it answers anything that is asked later."""
        found = Denials()
        self._listening.append(found)
        try:
            yield found
        finally:
            self._listening.remove(found)

    def unavailable(self, why: str = "") -> BrokerUnavailable:
        """The error for a connection that has broken."""
        text = why or " ".join(str(self._last or "").split()).removeprefix("nats: ") or "the connection broke"
        return BrokerUnavailable(f"{self.where}: {text}")

    async def ask(self, client: Client, subject: str, request: Any = None) -> dict[str, Any]:
        """A request to JetStream's API: its answer, which may be an `error`."""
        payload = b"" if request is None else json.dumps(request).encode()
        try:
            found: dict[str, Any] = json.loads(await self.request(client, f"{self.target.api}.{subject}", payload))
        except errors.NoRespondersError:
            said = "no responders: nobody answers for JetStream here"
            raise refused(self.where, said, "start the server with -js, or write jetstream {} in its file") from None
        except Exception as error:
            raise trouble(error, self.where) from None
        return found

    async def request(self, client: Client, subject: str, payload: bytes) -> bytes:
        """What is answered. Raises `BrokerRefused` where the right to ask, or to hear, is denied; else as nats-py."""
        with self.denials() as denied:
            try:
                return (await client.request(subject, payload, timeout=self.target.options.timeout)).data
            except Exception:
                if said := denied.of(subject) or denied.other:
                    raise refused(self.where, said) from None
                raise

    async def ping(self, heard: Callable[[], bool] = lambda: False) -> None:
        """Return when the server has answered, connected anew where need be; one that does not is given up.

        Unless it was heard meanwhile: the answer may come behind much else.
        """
        client = await self.connected()
        try:
            await flushed(client, min(ANSWER, self.target.options.timeout))
        except Exception as error:
            if heard() and client.is_connected:
                return
            await self.close()
            self._lost()
            raise trouble(error, self.where) from None

    async def close(self) -> None:
        """Let go of the connection, within a second or so."""
        client, self._client = self._client, None
        if client is not None:
            await _shut(client)


async def flushed(client: Client, patience: float) -> None:
    """Return when the server has taken all that was published.

    nats-py's own `flush` lets its PING overtake what is still waiting to be written; and one that is cancelled has
    nats-py stop reading when the answer comes.
    """
    flushing: asyncio.Future[None] | None = None
    try:
        async with asyncio.timeout(patience):
            wait = 0.0
            while client.pending_data_size and client.is_connected:
                await asyncio.sleep(wait)
                wait = min(0.01, wait + 0.0001)
            flushing = asyncio.ensure_future(client.flush(round(patience) + 1))
            flushing.add_done_callback(lambda done: done.cancelled() or done.exception())
            await asyncio.shield(flushing)
    except TimeoutError:
        for _ in range(TURNS):
            await asyncio.sleep(0)
        if flushing is None or not flushing.done() or flushing.cancelled() or flushing.exception() is not None:
            raise


async def _shut(client: DirectClient) -> None:
    try:
        async with asyncio.timeout(CLOSING):
            await client.close()
    except Exception as error:
        _logger.debug("closing a connection to NATS: %r", error)
    finally:
        client.hang_up()
