"""Figures as tables for the terminal, and the cells that the page has too. Pure."""

from collections.abc import Iterable, Sequence

from rich.table import Table as Drawn

from benchmarks.contenders import IN_PROCESS
from benchmarks.figures import Change, Figure
from benchmarks.goals import Held
from benchmarks.store import Table
from benchmarks.work import WORKS

TITLES = {
    "redis": "Redis streams",
    "nats": "NATS JetStream",
    "rabbitmq": "RabbitMQ, quorum queues",
    "kafka": "Kafka",
    IN_PROCESS: "In process",
}


def mark(figure: Figure) -> str:
    """What is wrong with a contender, in a few words; empty where nothing is."""
    if figure.failure:
        return figure.failure.splitlines()[0]
    found = [
        f"{number:,} {what}"
        for number, what in ((figure.lost, "lost"), (figure.disordered, "out of order"), (figure.twice, "twice"))
        if number
    ]
    return ", ".join(found)


def rate(figure: Figure) -> str:
    """The median, and from where to where."""
    return f"{figure.rate:,.0f} ({figure.least:,.0f}–{figure.most:,.0f})" if figure.rate else "–"


def ratio(figure: Figure) -> str:
    """The ratio; one that was won by losing is in brackets."""
    if figure.ratio is None:
        return "–"
    text = f"{figure.ratio:.2f}"
    return text if figure.honest else f"({text})"


def micro(seconds: float | None) -> str:
    """Microseconds."""
    return "–" if seconds is None else f"{seconds * 1e6:,.0f}"


def took(figure: Figure, when: str) -> str:
    """p50 and p99 in milliseconds."""
    found = figure.half_load if when == "half load" else figure.idle
    return "–" if found is None else f"{found.p50 * 1e3:.1f} / {found.p99 * 1e3:.1f}"


COLUMNS = ("contender", "messages/s", "× best", "client µs", "server µs", "MB", "half load ms", "idle ms", "")


def row(figure: Figure) -> tuple[str, ...]:
    """A figure as the cells of its row."""
    return (
        figure.contender,
        rate(figure),
        ratio(figure),
        micro(figure.cpu) if figure.rate else "–",
        micro(figure.server_cpu),
        f"{figure.memory:.0f}" if figure.memory else "–",
        took(figure, "half load"),
        took(figure, "idle"),
        mark(figure),
    )


def ordered(figures: Iterable[Figure]) -> list[Figure]:
    """The ranked ones first, by rank."""
    return sorted(figures, key=lambda figure: (figure.rank is None, figure.rank or 0))


def drawn(table: Table) -> Drawn:
    """A table for the terminal."""
    work, rounds = WORKS[table.work], max((each.rounds for each in table.figures), default=0)
    shown = Drawn(
        title=f"{TITLES[table.broker]}, {table.work}: {work.says}",
        caption=f"median (min–max) of {rounds}; p50 / p99" if rounds else "",
    )
    shown.add_column("#", justify="right")
    rows = [(each, row(each)) for each in ordered(table.figures)]
    used = [at for at in range(len(COLUMNS)) if any(cells[at] not in ("", "–") for _, cells in rows)]
    for at in used:
        shown.add_column(COLUMNS[at], justify="left" if COLUMNS[at] in ("", "contender") else "right")
    for each, cells in rows:
        shown.add_row(str(each.rank or ""), *(cells[at] for at in used), style=None if each.honest else "red")
    return shown


def left_out(table: Table) -> str:
    """Who did not take part, and why; a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in table.left_out.items():
        by_reason.setdefault(why, []).append(name)
    return "\n".join(f"  left out: {', '.join(names)} ({why})" for why, names in by_reason.items())


def compared(found: Sequence[Change]) -> Drawn:
    """Ratios beside the stored ones."""
    shown = Drawn(title="× the best loop by hand, beside the stored figures")
    for name in ("broker", "work", "contender", "stored", "now", ""):
        shown.add_column(name, justify="right" if name in ("stored", "now") else "left")
    for each in found:
        before = "–" if each.before is None else f"{each.before:.2f}"
        word = mark(each.figure) or ("fell by more than 20 %" if each.fell else "")
        cells = (each.figure.broker, each.figure.work, each.figure.contender, before, ratio(each.figure), word)
        shown.add_row(*cells, style="yellow" if each.fell else None)
    return shown


def goals(reached: Sequence[Held]) -> Drawn:
    """What we hold ourselves to, and whether it does."""
    shown = Drawn(title="what we hold ourselves to (docs/performance.md)")
    for name in ("broker", "work", "", "wanted", "measured", ""):
        shown.add_column(name, justify="right" if name in ("wanted", "measured") else "left")
    for each in reached:
        goal = each.goal
        style = {False: "yellow", None: "dim"}.get(each.holds)
        shown.add_row(goal.broker, goal.work, goal.says, goal.wanted, each.shown, each.word, style=style)
    return shown
