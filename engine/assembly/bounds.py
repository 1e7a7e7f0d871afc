"""How much at the most: the workers of a pool, and the messages that a stage and all behind it hold. Pure."""

from actors import RUN
from topologies import Graph, Settings, Stage, Workers

AUTO = (1, 64)
"""The bounds of a pool with `max_workers="auto"`."""


def reached_from(graph: Graph, stage: Stage) -> list[str]:
    """A stage and all that are behind it, however far, by name."""
    reached, names = {stage.name}, [stage.name]
    for name in names:
        new = [behind.name for behind in graph.downstream(name) if behind.name not in reached]
        reached.update(new)
        names.extend(new)
    return names


def bound_of(graph: Graph, stage: Stage) -> int:
    """The most messages from one source that this stage and all behind it hold when everything is full."""
    settings = [graph.stage(name).settings for name in reached_from(graph, stage)]
    waiting = stage.settings.mailbox if stage.settings.deduplicate is not None else 0
    return waiting + sum(each.mailbox + max(min(RUN, each.mailbox), _at_work(each)) for each in settings)


def _at_work(settings: Settings) -> int:
    """How many messages all workers of a stage can be at once at."""
    return sizes(settings.max_workers)[1] * (settings.batch.size if settings.batch is not None else 1)


def sizes(workers: Workers) -> tuple[int, int]:
    """The least and the most workers of a pool."""
    if workers == "auto":
        return AUTO
    return workers if isinstance(workers, tuple) else (workers, workers)
