"""What nats-py's errors and a server's words mean: out of reach for now, or a no that somebody has to mend."""

import ssl

from nats import errors

from actors import BrokerError, BrokerRefused, BrokerUnavailable

_TLS = "correct cafile=, certfile=, keyfile= of Nats(...), or the host's name"
_REMEDIES = (
    ("authorization violation", "correct user, password, token or credentials in the URL or in Nats(...)"),
    ("authentication", "correct user, password, token or credentials in the URL or in Nats(...)"),
    ("authorization timeout", "correct user, password, token or credentials in the URL or in Nats(...)"),
    ('"$js.ack.', "give this user the right to publish to $JS.ACK.>"),
    ("permissions violation", "give this user the right to that subject, or log in as another one"),
    ("maximum connections", "raise max_connections of the server"),
    ("secure connection", "write tls:// in the URL"),
)
_REFUSALS = ("authorization violation", "authentication", "authorization timeout", "permissions violation")


class Unsafe(Exception):
    """A server without TLS where the URL asked for it: nothing secret is said to it."""


def refused(where: str, said: str, remedy: str = "") -> BrokerRefused:
    """The error for a no of the server; its remedy is found by what it said."""
    remedy = remedy or next((then for text, then in _REMEDIES if text in said.lower()), "")
    return BrokerRefused(f"{where}: the server said: {said}" + (f"\n  {remedy}" if remedy else ""))


def trouble(error: BaseException, where: str) -> BrokerError:
    """The error for whatever went wrong with a connection."""
    if isinstance(error, BrokerError):
        return error
    if isinstance(error, Unsafe):
        return BrokerRefused(
            f"{where}: the server speaks no TLS, which tls:// asks for\n  give it TLS or write nats://"
        )
    if isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return BrokerRefused(f"{where}: no TLS with it: {error.reason or error}\n  {_TLS}")
    said = " ".join(str(error).split()).removeprefix("nats: ")
    if isinstance(error, errors.AuthorizationError | errors.Error) and any(text in said.lower() for text in _REFUSALS):
        return refused(where, said)
    if isinstance(error, TimeoutError | errors.TimeoutError):
        return BrokerUnavailable(f"{where}: no answer in time")
    return BrokerUnavailable(f"{where}: {said or type(error).__name__}")
