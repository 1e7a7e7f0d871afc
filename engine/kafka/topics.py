"""Seeing to it that a topic is there before it is read or written: made where it is missing and may be made."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from aiokafka import errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.metadata import MetadataRequest

from actors import BrokerError, BrokerRefused
from engine.kafka.client import admin, end
from engine.kafka.errors import diagnosed, explained, mapped, said
from engine.kafka.options import KafkaOptions

_NO_ERROR, _UNKNOWN, _NO_LEADER, _EXISTS = 0, 3, 5, 36


class TopicRefused(BrokerRefused):
    """It is about one topic, and others may be as they should."""


@asynccontextmanager
async def connected(options: KafkaOptions) -> AsyncIterator[AIOKafkaAdminClient]:
    """An admin client as long as the block lasts. Says why there is no connection, if there is none."""
    client = admin(options)
    try:
        try:
            await client.start()
        except Exception as error:
            raise await diagnosed(error, options) from error
        yield client
    finally:
        await end(client)


async def ensure(
    options: KafkaOptions,
    name: str,
    partitions: int | None = None,
    replication: int | None = None,
    config: Mapping[str, str] | None = None,
    create: bool = True,
) -> list[int]:
    """The partitions of a topic, which is made if it is missing: with the server's defaults, or as told.

    Raises `BrokerUnavailable`, and `BrokerRefused` where it may not be made or not be seen.
    """
    async with connected(options) as client:
        if found := await described(client._client, options, name):
            return found
        if not create:
            raise _missing(options, name, "none is made for a message that goes back to where it came from")
        if not options.create_topics:
            raise _missing(options, name, "create_topics=False says that none is to be made")
        with mapped(options, f"topic {name}"):
            # -1 is the server's default; without the empty assignment the client would not take it.
            topic = NewTopic(name, partitions or -1, replication or -1, {}, dict(config or {}))
            answer = await client.create_topics([topic])
        _, code, told = answer.topic_errors[0]
        if code not in (_NO_ERROR, _EXISTS):
            error = errors.for_code(code)(told)
            if isinstance(error, errors.TopicAuthorizationFailedError | errors.ClusterAuthorizationFailedError):
                raise _missing(options, name, f"this user may not make it ({said(error)})")
            raise _refused(error, options, f"topic {name}, which is missing and cannot be made")
        return await described(client._client, options, name) or list(range(partitions or 1))


async def described(client: AIOKafkaClient, options: KafkaOptions, name: str) -> list[int]:
    """The partitions of a topic, none where it is missing."""
    with mapped(options, f"topic {name}"):
        # An admin client's `describe_topics` would have a missing topic made by a server that does so, its own way.
        request = MetadataRequest([name], allow_auto_topic_creation=False)
        answer = await client.send(client.get_random_node(), request)
    code, _, _, parts = answer.topics[0]
    if code == _UNKNOWN:
        return []
    if code not in (_NO_ERROR, _NO_LEADER):
        raise _refused(errors.for_code(code)(), options, f"topic {name}")
    return sorted(part[1] for part in parts)


def _refused(error: Exception, options: KafkaOptions, what: str) -> BrokerError:
    found = explained(error, options, what)
    return TopicRefused(str(found)) if isinstance(found, BrokerRefused) else found


def _missing(options: KafkaOptions, name: str, why: str) -> TopicRefused:
    return TopicRefused(
        f"Kafka at {options.where}, topic {name}: there is none, and {why}; "
        f"make it with kafka-topics.sh --create --topic {name}, or let it be made"
    )
