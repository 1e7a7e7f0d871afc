"""Streams and consumers of JetStream: found, declared where they are missing, refused where they are otherwise."""

import asyncio
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from random import random
from typing import Any, Literal

from nats.aio.client import Client

from actors import BrokerError, BrokerRefused, BrokerUnavailable
from engine.nats.client import Link
from engine.nats.errors import refused

Start = Literal["earliest", "latest"]
MARK = "headrace"
"""The key in a stream's metadata that says who has declared it."""
_NO_STREAM, _NO_CONSUMER = 10059, 10014
_TAKEN, _OVERLAP, _OTHERWISE = 10058, 10065, 10148
_STORE = 10049
"""A stream of that name is being deleted, and its files are not gone yet."""
_DISABLED = frozenset((10039, 10076))
_TRIES = 20
PAUSE = 0.05
"""Seconds between two of them."""


@dataclass(frozen=True, slots=True)
class Place:
    """A subject of a stream. `given` tells whether the subject was named, or is the stream's name for want of one.

    `declare`: make the stream where it is missing, and add the subject where it lacks it: None does so for streams
    that Headrace has made, True for any, False for none. `anywhere`: the stream that has the subject already goes
    before the one that is named.
    """

    stream: str
    subject: str
    given: bool = True
    declare: bool | None = None
    anywhere: bool = False

    @property
    def pattern(self) -> str:
        """The subject with a wildcard for each part that is filled in."""
        return ".".join("*" if "{" in token else token for token in self.subject.split("."))


def is_pattern(subject: str) -> bool:
    """Whether it stands for many subjects."""
    return not {"*", ">"}.isdisjoint(subject.split("."))


def covers(pattern: str, subject: str) -> bool:
    """Whether each subject that the second stands for matches the first."""
    wanted, given = pattern.split("."), subject.split(".")
    for at, token in enumerate(wanted):
        if token == ">":
            return len(given) > at
        if at >= len(given) or given[at] == ">" or (token != "*" and token != given[at]):
            return False
    return len(wanted) == len(given)


def durable_name(group: str, subject: str) -> str:
    """The name of the consumer of a group: readable, and another one for each group and subject."""
    text = re.sub(r"[^A-Za-z0-9_-]+", "_", f"{group}-{subject}")
    return f"{text[:100]}-{sha256(f'{group} {subject}'.encode()).hexdigest()[:8]}"


def answer(error: Mapping[str, Any], where: str, remedy: str = "") -> BrokerError:
    """The error for what JetStream's API said."""
    said, code = str(error.get("description", "no reason")), error.get("err_code")
    if code in _DISABLED:
        return refused(where, said, "start the server with -js, and give this account JetStream")
    if error.get("code") in (429, 503):
        return BrokerUnavailable(f"{where}: the server said: {said}")
    return refused(where, f"{said} ({code})", remedy)


async def stream_for(link: Link, client: Client, place: Place, *, reading: bool) -> str:
    """The name of the stream that has that subject, declared where that is needed and allowed."""
    if place.anywhere and (found := await _having(link, client, place.pattern)):
        return found
    for _ in range(_TRIES):  # others may declare the same stream at the same time
        info = await link.ask(client, f"STREAM.INFO.{place.stream}")
        if "error" in info:
            if await _create(link, client, place, info["error"]):
                return place.stream
            continue
        config = info["config"]
        subjects = config.get("subjects") or []
        if any(covers(subject, place.pattern) for subject in subjects) or (reading and not place.given):
            return place.stream
        if reading and (config.get("mirror") or config.get("sources")):
            return place.stream
        await _extend(link, client, place, config)
    raise BrokerUnavailable(f"{link.where}: the stream {place.stream} cannot be made, or others keep changing it")


async def _having(link: Link, client: Client, subject: str) -> str:
    found = await link.ask(client, "STREAM.NAMES", {"subject": subject})
    names: list[str] = found.get("streams") or []
    return names[0] if names else ""


async def _create(link: Link, client: Client, place: Place, error: Mapping[str, Any]) -> bool:
    if error.get("err_code") != _NO_STREAM:
        raise answer(error, link.where)
    if place.declare is False:
        raise answer(error, link.where, f"make the stream {place.stream}, or allow it: stream(..., declare=True)")
    config = {
        "name": place.stream,
        "subjects": [place.pattern],
        "retention": "limits",
        "storage": "file",
        "discard": "old",
        "num_replicas": link.target.options.replicas,
        "metadata": {MARK: "declared"},
    }
    made = await link.ask(client, f"STREAM.CREATE.{place.stream}", config)
    if "error" not in made:
        return True
    if made["error"].get("err_code") in (_TAKEN, _STORE):
        await asyncio.sleep(PAUSE * (0.5 + random()))
        return False
    raise await _overlap(link, client, place, made["error"])


async def _extend(link: Link, client: Client, place: Place, config: dict[str, Any]) -> None:
    subjects = config.get("subjects") or []
    ours = MARK in (config.get("metadata") or {})
    if place.declare is False or (place.declare is None and not ours):
        raise BrokerRefused(
            f"{link.where}: the stream {place.stream} is bound to other subjects: {', '.join(subjects) or 'none'}\n"
            f"  add {place.pattern} to it, or allow that: stream({place.stream!r}, subject=..., declare=True)"
        )
    async with _turn():
        info = await link.ask(client, f"STREAM.INFO.{place.stream}")
        config = info.get("config") or config
        wanted = [*(config.get("subjects") or []), place.pattern]
        kept = [each for each in dict.fromkeys(wanted) if not any(o != each and covers(o, each) for o in wanted)]
        updated = await link.ask(client, f"STREAM.UPDATE.{place.stream}", {**config, "subjects": kept})
    if "error" in updated:
        raise await _overlap(link, client, place, updated["error"])


async def _overlap(link: Link, client: Client, place: Place, error: Mapping[str, Any]) -> BrokerError:
    remedy = ""
    if error.get("err_code") == _OVERLAP:
        other = await _having(link, client, place.pattern)
        remedy = f"write stream({other!r}, ...), which has {place.pattern}, or choose another subject"
    return answer(error, link.where, remedy)


_turns: dict[asyncio.AbstractEventLoop, asyncio.Lock] = {}


def _turn() -> asyncio.Lock:
    """Held while subjects are added: an update says all there are, and would take back those of another."""
    loop = asyncio.get_running_loop()
    for other in [each for each in _turns if each.is_closed()]:
        del _turns[other]
    return _turns.setdefault(loop, asyncio.Lock())


@dataclass(frozen=True, slots=True)
class Reader:
    """The consumer that a source needs."""

    name: str
    filter: str | None
    start: Start
    pending: int
    """The most that may be unsettled, of all its sources together."""


@dataclass(frozen=True, slots=True)
class Joined:
    """The consumer as it is: its `ack_wait` in seconds, and the sequence up to which all is settled.

    A request may be for `max_batch` messages and wait for `max_expires` seconds, at most.
    """

    ack_wait: float
    settled_to: int
    max_batch: int
    max_expires: float


async def born(link: Link, client: Client, stream: str) -> str:
    """When the stream was made: one of the same name that was made at another time is another."""
    info = await link.ask(client, f"STREAM.INFO.{stream}")
    if "error" in info:
        raise answer(info["error"], link.where)
    return str(info.get("created", ""))


async def consumer_for(link: Link, client: Client, stream: str, reader: Reader, first: int | None = None) -> Joined:
    """Declare the consumer where it is missing, to begin at the sequence `first`, if that is given."""
    where = f"{stream}.{reader.name}"
    for _ in range(_TRIES):
        info = await link.ask(client, f"CONSUMER.INFO.{where}")
        if "error" not in info:
            return await _joined(link, client, stream, reader, info)
        if info["error"].get("err_code") not in (_NO_CONSUMER, _NO_STREAM):
            raise answer(info["error"], link.where)
        config: dict[str, Any] = {
            "durable_name": reader.name,
            "name": reader.name,
            "ack_policy": "explicit",
            "ack_wait": round(link.target.options.ack_wait * 1e9),
            "deliver_policy": "all" if reader.start == "earliest" else "new",
            "replay_policy": "instant",
            "max_deliver": -1,
            "max_ack_pending": reader.pending,
        }
        if first is not None:
            config |= {"deliver_policy": "by_start_sequence", "opt_start_seq": first}
        if reader.filter:
            config["filter_subject"] = reader.filter
        made = await _write(link, client, stream, reader, config, "create")
        if "error" not in made:
            return _as_it_is(made)
        if made["error"].get("err_code") != _OTHERWISE:
            raise answer(made["error"], link.where, "choose another durable=, or change the stream")
    raise BrokerUnavailable(f"{link.where}: others keep changing the consumer {reader.name}")


def _settled_to(info: Mapping[str, Any]) -> int:
    """Of a consumer that is at nothing, all that was delivered; it begins behind that, whatever came before."""
    return int(info.get("ack_floor" if info.get("num_ack_pending") else "delivered", {}).get("stream_seq", 0))


async def _write(
    link: Link, client: Client, stream: str, reader: Reader, config: dict[str, Any], action: str
) -> dict[str, Any]:
    filtered = config.get("filter_subject")
    subject = f"CONSUMER.CREATE.{stream}.{reader.name}" + (f".{filtered}" if filtered else "")
    return await link.ask(client, subject, {"stream_name": stream, "config": config, "action": action})


async def _joined(link: Link, client: Client, stream: str, reader: Reader, info: dict[str, Any]) -> Joined:
    """Read by a consumer that is there, if it is what is needed; one with less room gets more."""
    config = info["config"]
    filters = config.get("filter_subjects") or [config.get("filter_subject") or ""]
    otherwise = {
        "filter_subject": (", ".join(filters), reader.filter or ""),
        "ack_policy": (config.get("ack_policy", ""), "explicit"),
        "deliver_subject": (config.get("deliver_subject") or "", ""),
        "max_deliver": (str(config.get("max_deliver", -1)), "-1"),
    }
    wrong = [f"{name} {is_!r}, not {should!r}" for name, (is_, should) in otherwise.items() if is_ != should]
    if wrong:
        raise BrokerRefused(
            f"{link.where}: the consumer {reader.name} of {stream} is configured otherwise: {'; '.join(wrong)}\n"
            f"  choose another durable=, or delete it (nats consumer rm {stream} {reader.name})"
        )
    if 0 < config.get("max_ack_pending", -1) < reader.pending:
        await _write(link, client, stream, reader, {**config, "max_ack_pending": reader.pending}, "update")
    return _as_it_is(info)


def _as_it_is(info: dict[str, Any]) -> Joined:
    config = info["config"]
    return Joined(
        ack_wait=(config.get("ack_wait") or 30e9) / 1e9,
        settled_to=_settled_to(info),
        max_batch=config.get("max_batch") or sys.maxsize,
        max_expires=(config.get("max_expires") or inf) / 1e9,
    )
