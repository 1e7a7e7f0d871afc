"""`broker(url)`: a broker chosen by the scheme of its URL, so that a topology can take it from settings."""

import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from actors import Broker, TopologyError
from engine.memory import Memory

_SCHEME = re.compile(r"[a-z][a-z0-9+.-]{0,19}(?=:)", re.IGNORECASE)


def broker(url: str) -> Broker:
    """The broker at that URL. Opens nothing.

    `memory:` makes a new embedded broker each time, `memory://name` the same one for the same name throughout the
    process; `?capacity=` and `?max_bytes=` may follow. `redis:`, `rediss:` and their like make a `Redis`, whose options
    may be the URL's query. Raises `TopologyError`, which never tells the URL
    itself: there may be a password in it.
    """
    if not isinstance(url, str):
        raise TopologyError(
            f"broker(url): expected the URL of a broker as text, and not {type(url).__name__}",
            remedy=f"Write one of: {_schemes()}; where it comes from the environment, see that it is set there",
        )
    found = _SCHEME.match(url)
    scheme = found.group().lower() if found else ""
    make = SCHEMES.get(scheme)
    if make is None:
        problem = f"no broker is known by the scheme {scheme}:" if scheme else "a broker's URL without a scheme"
        raise TopologyError(problem, remedy=f"Write one of: {_schemes()}")
    return make(url)


def _schemes() -> str:
    return ", ".join(f"{known}:" for known in SCHEMES)


def _memory(url: str) -> Memory:
    try:
        parts = urlsplit(url)
        given = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=True) if parts.query else ())
        options = {name: int(value) for name, value in given.items()}
        if unknown := options.keys() - {"capacity", "max_bytes"}:
            raise ValueError(f"no option of it is called {min(unknown)}")
        # What stands before an @ would be a user and a password: not part of a name that is shown.
        name = parts.netloc.rpartition("@")[2] + parts.path
        made = Memory(name or "memory", **options)
    except ValueError as error:
        raise TopologyError(f"a memory: URL: {error}", remedy="memory://name?capacity=10000") from None
    if not name:
        return made
    known = _named.setdefault(name, made)
    if (known.capacity, known.max_bytes) != (made.capacity, made.max_bytes):
        raise TopologyError(f"memory://{name} has other options already", remedy="Give it the same ones everywhere")
    return known


def _redis(url: str) -> Broker:
    from engine.redis import Redis  # here, as its client takes a while to import

    return Redis(url)


def _kafka(url: str) -> Broker:
    from engine.kafka import Kafka

    return Kafka.of_url(url)


def _rabbitmq(url: str) -> Broker:
    from engine.rabbitmq import RabbitMQ

    return RabbitMQ(url)


def _nats(url: str) -> Broker:
    from engine.nats import Nats

    return Nats(url)


_named: dict[str, Memory] = {}

SCHEMES: dict[str, Callable[[str], Broker]] = {
    "memory": _memory,
    "kafka": _kafka,
    "amqp": _rabbitmq,
    "amqps": _rabbitmq,
    "nats": _nats,
    "tls": _nats,
    "redis": _redis,
    "rediss": _redis,
    "redis+sentinel": _redis,
    "rediss+sentinel": _redis,
    "redis-cluster": _redis,
    "rediss-cluster": _redis,
}
"""What makes a broker of a URL, by scheme; each adapter adds its own."""
