"""What `headrace top` prints where there is no terminal: the stages once, as lines of text."""

from engine.cli.rates import ORDERS, Rates, Snapshot, count, seconds, state

_TITLES = ("stage", "state", "workers", "mailbox", "handled", "p50", "p99", "retries", "failed", "dead", "restarts")


def plain(status: Snapshot, order: str) -> str:
    """A snapshot as a table without colours; a rate it has none, which would take two."""
    rates = Rates()
    stages = sorted(status["stages"], key=lambda stage: ORDERS[order](stage, rates))
    several = len(status["topologies"]) > 1
    rows = [_TITLES, *(_row(stage, several) for stage in stages)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    engine = status["engine"]
    words = ["ready" if engine["ready"] else "not ready", *(["draining"] if engine["draining"] else [])]
    return "\n".join([*lines, ", ".join([*words, *engine["reasons"]])])


def _row(stage: Snapshot, several: bool) -> tuple[str, ...]:
    name = f"{stage['topology']}.{stage['stage']}" if several else stage["stage"]
    numbers = (count(stage[each]) for each in ("retried", "failed", "dead", "restarts"))
    return (
        "".join(each if each.isprintable() else "?" for each in name),
        state(stage)[0],
        f"{stage['busy']}/{stage['workers']}",
        f"{stage['depth']}/{stage['capacity']}",
        count(stage["handled"]),
        seconds(stage["latency_p50"]),
        seconds(stage["latency_p99"]),
        *numbers,
    )
