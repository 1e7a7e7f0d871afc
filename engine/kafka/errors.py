"""What aiokafka's errors mean to the engine: wait and try again, or somebody has to mend something."""

import asyncio
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

from aiokafka import errors
from aiokafka.conn import collect_hosts, create_conn
from aiokafka.protocol.metadata import MetadataRequest

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine.kafka.client import connection
from engine.kafka.options import KafkaOptions

_PATIENCE = 5.0
"""Seconds that finding out why there is no connection may take."""
_RIGHTS = "grant the user this right, with kafka-acls.sh --add --allow-principal, or log in as another"
_LOGIN = "see user=, password= and sasl_mechanism="

REMEDIES: dict[type[BaseException], str] = {
    errors.AuthenticationFailedError: _LOGIN,
    errors.AuthenticationMethodNotSupported: _LOGIN,
    errors.SaslAuthenticationFailed: _LOGIN,
    errors.UnsupportedSaslMechanismError: _LOGIN,
    errors.IllegalSaslStateError: "this port asks for no login, or for TLS: see security_protocol=",
    errors.ClusterAuthorizationFailedError: _RIGHTS,
    errors.GroupAuthorizationFailedError: _RIGHTS,
    errors.TopicAuthorizationFailedError: _RIGHTS,
    errors.TransactionalIdAuthorizationFailed: _RIGHTS,
    errors.InconsistentGroupProtocolError: "other members use this group in another way: give it a name of its own",
    errors.InvalidGroupIdError: "give the group another name with group=",
    errors.InvalidSessionTimeoutError: "see session_timeout=, and the server's group.min.session.timeout.ms",
    errors.InvalidTopicError: "a topic's name is 1 to 249 letters, digits, dots, underscores and hyphens",
    errors.InvalidPartitionsError: "say how many with partitions=",
    errors.InvalidReplicationFactorError: "the cluster has fewer brokers: see replication=",
    errors.PolicyViolationError: "the server's policy forbids such a topic: make it by hand",
    errors.UnsupportedVersionError: "the server is too old for this: Kafka 2.4 or newer is needed",
    errors.IncompatibleBrokerVersion: "the server is too old for this: Kafka 2.4 or newer is needed",
    errors.UnsupportedCodecError: "the library for this compression is missing: install aiokafka[lz4,snappy,zstd]",
    ssl.SSLCertVerificationError: "the server's certificate is not trusted: give its authority with cafile=",
}
"""What no retry mends, and what does."""


def explained(error: BaseException, options: KafkaOptions, what: str = "") -> BrokerError:
    """The error for the engine: it names the broker, the endpoint, what the server said, and the remedy if any."""
    place = f"Kafka at {options.where}" + (f", {what}" if what else "")
    remedy = next((REMEDIES[kind] for kind in type(error).__mro__ if kind in REMEDIES), None)
    if remedy is not None:
        return BrokerRefused(f"{place}: {said(error)}; {remedy}")
    return BrokerUnavailable(f"{place}: {said(error)}")


def said(error: BaseException) -> str:
    """What went wrong, in words: aiokafka's own are often only a number and a name."""
    name = type(error).__name__
    if isinstance(error, errors.BrokerResponseError):
        told = ": ".join(str(each) for each in error.args if each)
        return f"{name}, {told or error.description or error.message}".rstrip(", ")
    if isinstance(error, TimeoutError | asyncio.TimeoutError):
        return "no answer in time"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) if str(error).startswith(name) else f"{name}: {error}".rstrip(": ")


@contextmanager
def mapped(options: KafkaOptions, what: str = "") -> Iterator[None]:
    """Turn whatever the client raises into an error of ours."""
    try:
        yield
    except BrokerError:
        raise
    except Exception as error:
        raise explained(error, options, what) from error


async def diagnosed(error: Exception, options: KafkaOptions, what: str = "") -> BrokerError:
    """Why no connection was made: aiokafka itself tells that only to its log."""
    if not isinstance(error, errors.KafkaConnectionError):
        return explained(error, options, what)
    arguments = connection(options)
    hosts = collect_hosts(arguments.pop("bootstrap_servers"))
    arguments["request_timeout_ms"] = min(arguments["request_timeout_ms"], int(_PATIENCE * 1000))
    reasons = []
    for host, port, _ in hosts:
        try:
            made = await create_conn(host, port, **arguments)
            try:
                await made.send(MetadataRequest([]))
            finally:
                made.close()
        except Exception as reason:
            if type(reason) in REMEDIES:
                return explained(reason, options, what)
            reasons.append(f"{host}:{port}: {said(reason)}{_hint(reason, options)}")
    return BrokerUnavailable(f"Kafka at {options.where}: no connection: {'; '.join(reasons) or 'it was there again'}")


def _hint(reason: Exception, options: KafkaOptions) -> str:
    """What may be the matter where a server just hangs up."""
    if not isinstance(reason, errors.KafkaConnectionError | ConnectionResetError | ssl.SSLError | EOFError):
        return ""
    if options.protocol.endswith("SSL"):
        return " (does this port speak TLS?)"
    if options.protocol == "PLAINTEXT":
        return " (if it does so every time: this port may ask for TLS, cafile=, or for a login, user=)"
    return " (if it does so every time: this port may ask for TLS, cafile=)"
