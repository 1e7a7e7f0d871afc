"""The pre-flight: which edges to servers a topology has, and what each server's own settings make of them."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from anyio import create_task_group

from actors import Broker, BrokerError, BrokerUnavailable, Remembers
from engine.assembly.bounds import bound_of
from engine.brokers.findings import Edge, Found, Verdict
from topologies import Graph

Inspect = Callable[[Any, Sequence[Edge]], Awaitable[list[Verdict]]]

_INSPECTED = ("kafka", "memory", "nats", "rabbitmq", "redis")
"""Kinds of broker with a module `engine.<kind>.preflight`; each is imported when it is needed, with its client."""


@dataclass(frozen=True, slots=True)
class Preflight:
    """What was found: a verdict for each edge, by topology, and the servers that could not be asked."""

    verdicts: tuple[tuple[Verdict, ...], ...]
    failures: tuple[tuple[object, BrokerError], ...]

    @property
    def kept(self) -> bool:
        """Whether the promise of every edge that could be looked at is true."""
        return all(verdict.kept for each in self.verdicts for verdict in each)


def edges_of(graph: Graph) -> Iterator[Edge]:
    """Every way between a stage and a server: sources, destinations and dead letters, in the order of the stream."""
    longest: dict[str, int] = {}
    for stage in graph.stages:
        settings = stage.settings
        arriving = [longest[name] for name in stage.upstream if name in longest]
        longest[stage.name] = max([settings.max_body] if stage.sources else arriving or [settings.max_body])
        most = longest[stage.name]
        for source in stage.sources:
            group = f"{graph.name}.{stage.name}"
            ordered = stage.lane is not None
            yield Edge("source", stage.name, source, group, bound_of(graph, stage), most, ordered)
        if stage.endpoint is not None:
            yield Edge("destination", stage.name, stage.endpoint, max_body=most)
        graves = [settings.dead_letter] if settings.dead_letter else [each.dead_letter() for each in stage.sources]
        for at, grave in enumerate(graves):
            if grave not in graves[:at]:
                yield Edge("dead", stage.name, grave, max_body=most)


async def preflight(graphs: Sequence[Graph], timeout: float) -> Preflight:
    """Look at all servers side by side, each for at most `timeout` seconds. Changes nothing on any of them."""
    edges = [list(edges_of(graph)) for graph in graphs]
    by_broker: dict[int, list[Edge]] = {}
    for edge in (edge for each in edges for edge in each):
        by_broker.setdefault(id(edge.endpoint.broker), []).append(edge)
    verdicts: dict[int, Verdict] = {}
    failures: list[tuple[object, BrokerError]] = []

    async def look(mine: Sequence[Edge]) -> None:
        broker = mine[0].endpoint.broker
        try:
            found = await _inspected(broker, mine, timeout)
        except BrokerError as error:
            failures.append((broker, error))
            found = [Verdict(edge, problem=str(error)) for edge in mine]
        verdicts.update(zip(map(id, mine), found, strict=True))

    async def remember(store: Remembers, stage: str, name: str) -> None:
        try:
            await _remembers(store, name, timeout)
        except BrokerError as error:
            failures.append((store, type(error)(f"deduplicate= of {stage}: {error}")))

    async with create_task_group() as tasks:
        for mine in by_broker.values():
            tasks.start_soon(look, mine)
        for graph in graphs:
            for stage, store in _stores(graph):
                tasks.start_soon(remember, store, stage, f"{graph.name}.{stage}")
    return Preflight(tuple(tuple(verdicts[id(edge)] for edge in each) for each in edges), tuple(failures))


def _stores(graph: Graph) -> Iterator[tuple[str, Remembers]]:
    """The stages that leave duplicates out by what is written down elsewhere, and where."""
    for stage in graph.stages:
        given = stage.settings.deduplicate
        if given is not None and given.store is not None:
            yield stage.name, given.store


async def _remembers(store: Remembers, name: str, timeout: float) -> None:
    """Ask a store as the engine would that opens it: it looks something up, and writes nothing."""
    seen = store.seen(name, 1.0, 1)
    try:
        async with asyncio.timeout(timeout):
            await seen.open()
    except TimeoutError:
        raise BrokerUnavailable(f"{store!r}: no answer within {timeout:g} s") from None
    except BrokerError:
        raise
    except Exception as error:  # a store of somebody else's hides no other
        raise BrokerError(f"{store!r} cannot be asked: {error!r}") from error
    finally:
        await seen.close()


async def _inspected(broker: Broker, edges: Sequence[Edge], timeout: float) -> list[Verdict]:
    if broker.system not in _INSPECTED or not type(broker).__module__.startswith("engine."):
        return [_by_kind(edge) for edge in edges]
    inspect: Inspect = import_module(f"engine.{broker.system}.preflight").inspect
    first: BrokerUnavailable | None = None
    try:
        # Not anyio's: it cancels what says goodbye to the server as well, and would leave connections behind.
        async with asyncio.timeout(timeout):
            try:
                return await inspect(broker, edges)
            except BrokerUnavailable as error:
                # A server that hangs up on a wrong login may do so before its reason has come through.
                first = error
            return await inspect(broker, edges)
    except TimeoutError:
        raise first or BrokerUnavailable(f"{broker!r}: no answer within {timeout:g} s") from None
    except BrokerError:
        raise
    except Exception as error:  # what a server answers that nobody has thought of hides no other server
        raise BrokerError(f"{broker!r} cannot be looked at: {error!r}") from error


def _by_kind(edge: Edge) -> Verdict:
    """What is known of an endpoint of somebody else's broker: what it says it can do."""
    found = Found("at least once" if edge.endpoint.capabilities.redelivery else "at most once")
    found.unread("the server's settings", f"{edge.endpoint.broker!r} cannot be looked at")
    return found.verdict(edge)
