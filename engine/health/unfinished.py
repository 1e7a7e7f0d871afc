"""What an engine has fetched and not finished, by stage: how much, how old, and what it waits for."""

from collections.abc import Iterator

from actors import Unfinished
from engine.assembly.assembly import Assembly
from engine.assembly.bounds import reached_from
from engine.assembly.running import Running


def unfinished(assembly: Assembly) -> Iterator[Unfinished]:
    """The stages that have messages of their sources open, sources first; costs a look at each open message."""
    for running in assembly.running:
        count = sum(ledger.unfinished for ledger in running.ledgers)
        if count:
            ages = [age for ledger in running.ledgers if (age := ledger.oldest) is not None]
            yield Unfinished(running.stage.name, count, max(ages, default=0.0), tuple(_waits(assembly, running)))


def _waits(assembly: Assembly, source: Running) -> Iterator[str]:
    """What messages of a stage wait for, there and in the stages behind it."""
    for name in reached_from(assembly.graph, source.stage):
        running = assembly.stages[name]
        for each in (running, running.replies):
            if each is not None:
                where = "" if each is source else f"{each.stage.name}: "
                yield from (f"{where}{wait}" for wait in _waits_in(each))


def _waits_in(running: Running) -> Iterator[str]:
    at_hand = running.mailbox.held - len(running.retries)
    if at_hand > 0 and running.stage.kind == "publisher":
        yield f"{at_hand} not confirmed"
    elif at_hand > 0:
        yield f"{at_hand} in its handler" if running.pool.busy else f"{at_hand} with no room behind it"
    if running.retries:
        yield f"{len(running.retries)} for the next try"
    if len(running.mailbox):
        yield f"{len(running.mailbox)} in its mailbox"
    if running.duplicates is not None and running.duplicates.waiting:
        yield f"{running.duplicates.waiting} for what becomes of those they are duplicates of"
    for link in running.links:
        if link.error is not None:
            yield f"{link.what} out of reach: {str(link.error).partition(chr(10))[0][:200]}"
