"""How aiokafka's consumers, producers and admin clients are made and ended: what knows their arguments."""

import asyncio
import inspect
import logging
from itertools import chain
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import ProducerClosed

from actors import BrokerRefused, TopologyError
from engine.kafka.options import KafkaOptions

GOODBYE = 3.0
"""Seconds that a client may take to end in good order, before it is cut off."""
_NEVER = 2**31 - 1
_SAID_OTHERWISE = {
    "auto_commit_interval_ms": "commit_interval=",
    "auto_offset_reset": "start= in topic(...)",
    "bootstrap_servers": "the first argument",
    "compression_type": "compression=",
    "enable_auto_commit": "commit_interval=",
    "enable_idempotence": "idempotent=",
    "group_id": "group= in topic(...)",
    "heartbeat_interval_ms": "heartbeat_interval=",
    "isolation_level": "isolation=",
    "key_deserializer": "annotations of the handler",
    "key_serializer": "key= of the publisher",
    "linger_ms": "linger=",
    "loop": "nothing",
    "request_timeout_ms": "request_timeout=",
    "sasl_plain_password": "password=",
    "sasl_plain_username": "user=",
    "session_timeout_ms": "session_timeout=",
    "ssl_context": "ssl=",
    "transactional_id": "transactional= in topic(...)",
    "value_deserializer": "annotations of the handler",
    "value_serializer": "annotations of the handler",
}


def check(options: KafkaOptions) -> None:
    """Raise `TopologyError` where `client` holds what aiokafka does not take, or what an option says."""
    taken = (_arguments(AIOKafkaConsumer) | _arguments(AIOKafkaProducer)) - _SAID_OTHERWISE.keys()
    for name in options.client:
        if name in _SAID_OTHERWISE or name in KafkaOptions.model_fields:
            instead = _SAID_OTHERWISE.get(name, f"{name}=")
            raise TopologyError(f"Kafka(client={{{name!r}: ...}}) is not passed on", remedy=f"write {instead}")
        if name not in taken:
            remedy = f"it takes: {', '.join(sorted(taken - KafkaOptions.model_fields.keys()))}"
            raise TopologyError(f"Kafka(client={{{name!r}: ...}}): aiokafka takes no such argument", remedy=remedy)


def admin(options: KafkaOptions) -> AIOKafkaAdminClient:
    """A client that sees to topics; not started."""
    return AIOKafkaAdminClient(**connection(options) | _passed_on(options, AIOKafkaAdminClient))


def consumer(options: KafkaOptions, group: str | None, instance: str | None = None, **more: Any) -> AIOKafkaConsumer:
    """A consumer that commits only what it is told to; not started, and subscribed to nothing.

    It stays in its group as long as its heartbeats go out: where nothing is fetched there is no room, and no fault.
    """
    session = options.session_timeout
    rebalance = max(session, min(2 * options.revoke_drain + 5, options.request_timeout - 5))
    arguments = connection(options) | {
        "group_id": group,
        "group_instance_id": instance,
        "enable_auto_commit": False,
        "auto_offset_reset": "earliest",  # for a position that the log has lost: rather twice than never
        "isolation_level": options.isolation,
        "session_timeout_ms": _ms(session),
        "heartbeat_interval_ms": _ms(options.heartbeat_interval or min(3.0, session / 3)),
        "rebalance_timeout_ms": _ms(rebalance),
        "max_poll_interval_ms": _NEVER,
    }
    return AIOKafkaConsumer(**arguments | more | _passed_on(options, AIOKafkaConsumer))


def producer(options: KafkaOptions) -> AIOKafkaProducer:
    """A producer that confirms what it has published; not started."""
    arguments = connection(options) | {
        "acks": options.acks,
        "enable_idempotence": options.idempotent,
        "compression_type": options.compression,
        "linger_ms": _ms(options.linger),
        "max_batch_size": options.max_batch_size,
    }
    return AIOKafkaProducer(**arguments | _passed_on(options, AIOKafkaProducer))


def connection(options: KafkaOptions) -> dict[str, Any]:
    """The arguments that all clients share, the password among them. Raises `BrokerRefused`."""
    arguments = {
        "bootstrap_servers": list(options.servers),
        "client_id": options.client_id,
        "request_timeout_ms": _ms(options.request_timeout),
        "security_protocol": options.protocol,
    }
    try:
        arguments["ssl_context"] = options.context()
    except OSError as error:  # ssl.SSLError is one
        raise BrokerRefused(f"Kafka at {options.where}: the files for TLS cannot be read: {error}") from error
    if options.protocol.startswith("SASL"):
        arguments["sasl_mechanism"] = options.sasl_mechanism or "PLAIN"
        arguments["sasl_plain_username"] = options.user
        arguments["sasl_plain_password"] = options.password and options.password.get_secret_value()
    return arguments


# -- reading ---------------------------------------------------------------------------------------------------


def lean(consumer: AIOKafkaConsumer) -> bool:
    """Have a consumer hand out what it has fetched by now as its parser made it; returns whether there is anything.

    A `ConsumerRecord` of each costs three times as much as all of the parsing. There is no public way to do without; an
    aiokafka that is made otherwise goes on making them.
    """
    waiting = getattr(consumer._fetcher, "_records", None) or {}
    for fetched in list(waiting.values()):
        records = getattr(fetched, "_partition_records", None)
        if records is not None and hasattr(records, "_consumer_record"):
            records._consumer_record = _as_parsed
    return bool(waiting)


def _as_parsed(_: Any, record: Any) -> Any:
    return record


# -- ending ----------------------------------------------------------------------------------------------------


async def end(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient) -> None:
    """End a client in good order; one that does not manage to, because its server does not answer, is cut off."""
    ending = asyncio.ensure_future(client.close() if isinstance(client, AIOKafkaAdminClient) else client.stop())
    try:
        await asyncio.wait((ending,), timeout=GOODBYE)
    finally:
        if not ending.done() or ending.cancelled() or ending.exception() is not None:
            cut_off(client, ending)
        elif isinstance(client, AIOKafkaProducer):
            _fail_what_is_left(client)  # what was handed over while it ended


def cut_off(client: AIOKafkaConsumer | AIOKafkaProducer | AIOKafkaAdminClient, *tasks: Any) -> None:
    """End a client at once: nothing more is sent, and nobody is told.

    aiokafka has no such thing, and a consumer that is merely forgotten goes on with its heartbeats and keeps its
    partitions, a producer goes on publishing.
    """
    client._closed = True
    going: list[Any] = [*tasks]
    inner = client.client if isinstance(client, AIOKafkaProducer) else client._client
    if isinstance(client, AIOKafkaProducer):
        _listen(client)
        if (sender := client._sender.sender_task) is not None:
            sender.add_done_callback(lambda _: _fail_what_is_left(client))
            going.append(sender)
    elif isinstance(client, AIOKafkaConsumer):
        for part in (client._coordinator, client._fetcher):
            found = vars(part).values() if part is not None else ()
            going += [each for each in found if isinstance(each, asyncio.Task)]
            going += getattr(part, "_pending_tasks", ())
    going.append(inner._sync_task)
    for task in going:
        if task is not None:
            _cancel(task)
    for held in list(inner._conns.values()):
        held.close()


def _fail_what_is_left(producer: AIOKafkaProducer) -> None:
    """Have everybody who waits for it know that nothing more comes of a producer."""
    _listen(producer)
    producer._message_accumulator.fail_all(ProducerClosed())


def _listen(producer: AIOKafkaProducer) -> None:
    """Hear how all ends that a producer still has: whoever gave it may have gone, and asyncio would report an error."""
    accumulator = producer._message_accumulator
    for batch in chain(accumulator._pending_batches, *accumulator._batches.values()):
        batch.future.add_done_callback(_heard)
        batch._drain_waiter.add_done_callback(_heard)


def _heard(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()


def _cancel(task: "asyncio.Task[Any]") -> None:
    """Cancel a task that may first wait for others of its own when it is cancelled."""

    def again() -> None:
        if not task.done():
            task.cancel()
            loop.call_later(0.05, again)

    loop = task.get_loop()
    task.add_done_callback(lambda done: done.cancelled() or done.exception())
    again()


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _arguments(kind: type) -> set[str]:
    return set(inspect.signature(kind).parameters)


def _passed_on(options: KafkaOptions, kind: type) -> dict[str, Any]:
    if not options.client:
        return {}
    takes = _arguments(kind)
    return {name: value for name, value in options.client.items() if name in takes}


def _without_logins(record: logging.LogRecord) -> bool:
    """Keep the password out of the log, where aiokafka puts whole requests on level DEBUG."""
    shown = record.args if isinstance(record.args, tuple) else ()
    return not any(type(each).__name__.startswith("Sasl") for each in shown)


logging.getLogger("aiokafka.conn").addFilter(_without_logins)
