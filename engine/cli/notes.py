"""What `headrace check` says of a topology without asking a server: what is legal, and may not be what was meant."""

from collections.abc import Iterator
from itertools import combinations

from actors import Endpoint
from engine.assembly.bounds import sizes
from topologies import Graph, Stage


def notes(graph: Graph) -> list[str]:
    """What its brokers do not promise, where the order by key is lost on the way, and what goes round or is shared."""
    said = []
    for stage in graph.stages:
        said += [*_at_most_once(stage), *_braces(stage), *_order(graph, stage), *_circles(graph, stage)]
    return said + list(_shared(graph))


def _at_most_once(stage: Stage) -> Iterator[str]:
    for source in stage.sources:
        if not source.capabilities.redelivery:
            yield f"{stage.name}: {source.name} delivers at most once: what a crash interrupts is lost"
    missed = "whoever does not listen at that moment never gets it"
    if stage.endpoint is not None and not stage.endpoint.capabilities.redelivery:
        yield f"{stage.name}: {stage.endpoint.name} delivers at most once: {missed}"
    grave = stage.settings.dead_letter
    if grave is not None and not grave.capabilities.redelivery:
        yield f"{stage.name}: its dead letters go to {grave.name}, which delivers at most once: {missed}"


def _braces(stage: Stage) -> Iterator[str]:
    """A name that looks like a template, where none is filled in: a pattern's are its own."""
    graves = [] if stage.settings.dead_letter is None else [stage.settings.dead_letter]
    for each in (*stage.sources, *graves):
        if "{" in each.name and not each.capabilities.pattern:
            yield f"{stage.name}: {each.name} is taken as it is: its braces are a part of the name, and no field"


def _order(graph: Graph, stage: Stage) -> Iterator[str]:
    if stage.lane is None:
        return
    if alone := sorted({source.name for source in _origins(graph, stage) if not _partitioned(source)}):
        yield (
            f"{stage.name}: order by key holds within one engine; "
            f"with several, {' and '.join(alone)} would have to be partitioned by it: a topic of Kafka, or a queue "
            "of RabbitMQ with single_active_consumer=True"
        )
    for before in (graph.stage(name) for name in dict.fromkeys(stage.upstream)):
        if before.lane is None and sizes(before.settings.max_workers)[1] > 1:
            yield (
                f"{stage.name}: order by key begins here: {before.name} has several workers and no key=, "
                "so that its results come in any order"
            )


def _circles(graph: Graph, stage: Stage) -> Iterator[str]:
    """A publisher whose messages come back to it, without an end unless a handler makes one."""
    if stage.endpoint is None or stage.destination is None:
        return
    for source in _origins(graph, stage):
        same = type(source) is type(stage.endpoint) and source.broker is stage.endpoint.broker
        if same and (source.name == stage.endpoint.name or stage.destination.matches(source.name)):
            yield f"{stage.name}: publishes to {source.name}, which it is fed from: what is published comes round again"


def _shared(graph: Graph) -> Iterator[str]:
    """Stages with different handlers that take from one group or queue: chance says which of them gets a message."""
    read = [(stage, source) for stage in graph.stages for source in stage.sources]
    for (stage, source), (other, theirs) in combinations(read, 2):
        if stage.handler is None or other.handler is None or stage.handler.function == other.handler.function:
            continue
        if type(source) is type(theirs) and _group(source) is not None and _group(source) == _group(theirs):
            yield (
                f"{stage.name}, {other.name}: both take from {source.name} as one group: "
                "each message goes to one of them alone"
            )


def _group(source: Endpoint) -> tuple[int, str, str] | None:
    """What a source shares its messages by; None where its stage has a group of its own."""
    named = next((str(source.options[each]) for each in ("group", "durable", "queue") if source.options.get(each)), "")
    if source.capabilities.groups and not named:
        return None
    return id(source.broker), source.name, named


def _origins(graph: Graph, stage: Stage) -> Iterator[Endpoint]:
    """The sources of a stage, and of all stages before it."""
    names = [stage.name]
    for name in names:
        found = graph.stage(name)
        yield from found.sources
        names += [upstream for upstream in found.upstream if upstream not in names]


def _partitioned(source: Endpoint) -> bool:
    """Whether all messages of a key go to the same engine: it is partitioned, or there is but this one."""
    return source.capabilities.partitioned or source.capabilities.embedded
