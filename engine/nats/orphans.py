"""What the server has given to a connection that is gone: called back at once, so that nothing later overtakes it.

Left alone it comes again when `ack_wait` is over, and whoever reads meanwhile gets what is behind it first.
"""

from asyncio import sleep
from collections.abc import Callable, Collection
from logging import getLogger
from time import monotonic
from typing import Any

from nats import errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from engine.nats.client import Link

logger = getLogger("headrace.nats")
NAK = b"-NAK"
FAR = 200_000
"""The most sequences that are called back; of more, as in a stream of many subjects, the server takes care in time."""
POLL = 0.05
"""Seconds between two looks at a consumer of which something is still asked."""
ANSWER = 1.0
"""Seconds that another source of the consumer has to say that it is there."""


async def answer_roll_call(client: Client, subject: str) -> None:
    """From now on tell other sources of the consumer, when they ask, that this one is there."""

    async def here(question: Msg) -> None:
        await question.respond(b"")

    await client.subscribe(subject, cb=here)


async def is_alone(client: Client, subject: str) -> bool:
    """Whether no other source of the consumer is there. Where nobody listens, the server says so at once."""
    try:
        await client.request(subject, b"", timeout=ANSWER)
    except (errors.NoRespondersError, errors.TimeoutError):
        return True
    return False


async def _quiet(link: Link, client: Client, consumer: str) -> dict[str, Any]:
    """How the consumer is, when nothing is asked of it any more; after `timeout`, as it is then.

    The server goes on delivering to a connection what that had asked for until it sees that it is gone; it forgets
    the request then, and not before. Whatever were called back earlier might not be all.
    """
    until = monotonic() + link.target.options.timeout
    while True:
        info = await link.ask(client, f"CONSUMER.INFO.{consumer}")
        if not info.get("num_waiting") or monotonic() > until:
            return info
        await sleep(POLL)


async def call_back(link: Link, client: Client, consumer: str, held: Callable[[], Collection[int]]) -> int:
    """Give back all that is unsettled and not held: what is asked for next brings them first.

    `consumer` is its stream and its name. Only for a source that is alone: what others hold would come again too.
    Returns how many there were, at least. Which they are the server does not tell; to give back what it has not given
    is no error there, so all are given back that it may be. They come in their order, except for those that had been
    given back before: these come first.
    """
    info = await _quiet(link, client, consumer)
    ours = set(held())
    pending = int(info.get("num_ack_pending", 0))
    if "error" in info or not pending:
        return 0
    # Not exact: of what is held here some may be settled there, by an acknowledgement not known to have arrived.
    lost = max(0, pending - len(ours))
    settled, delivered = info["ack_floor"], info["delivered"]
    orphans = [each for each in range(settled["stream_seq"] + 1, delivered["stream_seq"] + 1) if each not in ours]
    if len(orphans) > FAR:
        logger.warning("%s: %d messages of a lost connection come again when ack_wait is over", link.where, lost)
        return 0
    # $JS.ACK.<stream>.<consumer>.<attempt>.<sequence>.<delivery>.<timestamp>.<pending>; of the delivery the server
    # only asks that there was one.
    told = f"$JS.ACK.{consumer}.1.{{}}.{delivered['consumer_seq']}.0.0"
    for sequence in orphans[:-1]:
        await client.publish(told.format(sequence), NAK)
    for sequence in orphans[-1:]:
        await link.request(client, told.format(sequence), NAK)
    if lost:
        logger.info("%s: %d messages of a lost connection are called back", link.where, lost)
    return lost
