"""What RabbitMQ says when it refuses something, and what to do about it."""

import ssl

from actors import BrokerError, BrokerRefused, BrokerUnavailable


class OneRefused(BrokerRefused):
    """A channel was closed over one message of those that were published over it; the server does not say which."""


_REMEDIES = {
    "inequivalent arg": "declare it as it is, or with declare=False take it as it is; what it holds stays in it "
    "until somebody deletes it",
    "delivery acknowledgement": "a message was held for longer than the server's consumer_timeout, 30 minutes unless "
    'it was told otherwise: raise that, give the queue arguments={"x-consumer-timeout": milliseconds}, or make '
    "mailbox= smaller so that messages wait at the server; all that was held comes again",
    "larger than": "raise max_message_size in rabbitmq.conf, or send the address of what is in it",
    "NOT_FOUND": "declare it first, or leave declare=False out so that it is declared here",
    "ACCESS_REFUSED": "give the user the rights it needs (rabbitmqctl set_permissions: configure, write, read); "
    "without configure, declare=False does not declare",
    "RESOURCE_LOCKED": "it belongs to another connection alone: choose another name, or end that connection",
    "invalid message": "see to its headers and properties",
    "PRECONDITION_FAILED": "see what the server says of its arguments",
    "Login was refused": "see to the user and the password in the URL; guest may log in from the server's own "
    "machine alone, unless loopback_users says otherwise",
    "vhost": "name a virtual host that there is, and that the user may use: rabbitmqctl add_vhost, set_permissions",
}
"""By a part of what the server says; the first that fits."""

_MAY_PASS = ("delivery acknowledgement", "larger than", "unknown delivery tag", "is down", "inaccessible", "timeout")
"""What a new channel, or some patience, may mend."""
EXCHANGE, TOPIC = "access to exchange", "access to topic"
"""What a user may not publish to, in the words of the server."""
_OF_ONE = ("invalid message", EXCHANGE, TOPIC)
"""What may be so of one message and not of the next."""


def closed(what: object, said: str) -> BrokerError:
    """The error for a channel that the server has closed. What nobody needs to mend is `BrokerUnavailable`."""
    told = f"{what!r}: the server said: {said}"
    remedy = next((remedy for part, remedy in _REMEDIES.items() if part in said), "")
    if not said.startswith(("PRECONDITION", "NOT_FOUND", "ACCESS", "RESOURCE_LOCKED")) or _any(_MAY_PASS, said):
        return BrokerUnavailable(f"{told}; {remedy}" if remedy else told)
    return (OneRefused if _any(_OF_ONE, said) else BrokerRefused)(f"{told}; {remedy}")


def not_taken(what: object) -> BrokerError:
    """The error for a message that the server refused with a negative confirm."""
    return BrokerError(f"{what!r}: the server did not take it: a queue is full (max_length), or has lost its majority")


def full(what: object) -> BrokerUnavailable:
    """The error for a destination that goes on refusing what is published to it."""
    return BrokerUnavailable(
        f"{what!r}: destination refuses for now: a queue is full (max_length), or has lost its majority; it is waited "
        "for: see to those who read it, or raise max_length"
    )


def returned(what: object, said: str, exchange: str, routing_key: str) -> BrokerError:
    """The error for a message that was published and has nowhere to go."""
    place = f"exchange {exchange!r} has none for the routing key {routing_key!r}" if exchange else repr(routing_key)
    return BrokerError(
        f"{what!r}: no queue takes it ({said}): {place}; bind a queue; or mandatory=False, for what may get lost"
    )


def not_let_in(where: str, said: str) -> BrokerError:
    """The error for a connection that the server has ended: a login refused, or else something that may pass."""
    told = f"RabbitMQ at {where}: the server said: {said}"
    for part in ("Login was refused", "vhost"):
        if part in said and "is down" not in said:
            return BrokerRefused(f"{told}; {_REMEDIES[part]}")
    return BrokerUnavailable(told)


def not_reached(where: str, error: OSError) -> BrokerError:
    """The error for a connection that could not be made."""
    what = (
        "nothing listens there"
        if isinstance(error, ConnectionRefusedError)
        else error.strerror or str(error) or type(error).__name__
    )
    told = f"RabbitMQ at {where}: {what}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return BrokerRefused(
            f"RabbitMQ at {where}: {error.verify_message}; name the authority that signed the server's certificate "
            "(cafile=), and the host as the certificate does"
        )
    if isinstance(error, ssl.SSLError):
        return BrokerRefused(f"{told}; amqps:// needs the port that speaks TLS, 5671 unless it was told otherwise")
    return BrokerUnavailable(told)


def not_amqp(where: str, first: bytes) -> BrokerError:
    """The error for a server that answers in another language."""
    if first.startswith(b"AMQP"):
        return BrokerRefused(f"RabbitMQ at {where}: speaks another version of AMQP than 0-9-1: see to host and port")
    return BrokerRefused(
        f"RabbitMQ at {where}: what answers there does not speak AMQP: see to host and port; "
        "for the port with TLS write amqps://"
    )


def again(error: BrokerError) -> BrokerError:
    """The same error once more, for another who waits for the same thing."""
    return type(error)(str(error))


def _any(parts: tuple[str, ...], text: str) -> bool:
    return any(part in text for part in parts)
