"""The figures as Markdown, for docs/performance.md: what is to be quoted first, then a table a work. Pure."""

from collections.abc import Iterable, Sequence

from benchmarks.contenders import BEST, CONTENDERS
from benchmarks.figures import Figure, against
from benchmarks.goals import BATCH, HEADRACE, SAFE, held
from benchmarks.store import Stored, Table
from benchmarks.tables import TITLES, left_out, mark, micro, ordered, ratio, took
from benchmarks.work import WORKS

LOWER = "lower"


def markdown(stored: Stored) -> str:
    """All that is stored."""
    if not stored.tables:
        return ""
    brokers = [broker for broker in TITLES if any(table.broker == broker for table in stored.tables)]
    parts = [_summary(stored, brokers), _goals(stored)]
    for work in WORKS.values():
        tables = [
            table for broker in brokers for table in stored.tables if (table.broker, table.work) == (broker, work.name)
        ]
        if tables:
            parts += [f"### {work.name}", f"{work.says[0].upper()}{work.says[1:]}.", _work(tables)]
            parts += [_cost(table) for table in tables if work.name == "bridge"]
            parts.append(_conditions(tables))
    return "\n\n".join(part for part in parts if part)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * left}{'---:|' * (len(head) - left)}"]
    lines += [f"| {' | '.join(cell.replace('|', '/') for cell in row)} |" for row in rows]
    return "\n".join(lines)


def _summary(stored: Stored, brokers: Sequence[str]) -> str:
    """Headrace on the bridge, beside those that it is asked about."""
    head = (
        "bridge",
        "messages/s",
        "/ best loop",
        "/ one layer lower",
        "/ FastStream safe",
        "/ FastStream batch",
        "µs CPU",
    )
    rows = []
    for broker in brokers:
        by_name = {each.contender: each for each in stored.figures if (each.broker, each.work) == (broker, "bridge")}
        if mine := by_name.get(HEADRACE):
            ratios = [_times(mine, by_name.get(name)) for name in (BEST, LOWER, SAFE, BATCH)]
            costs = [micro(by_name[name].cpu) if name in by_name else "–" for name in (HEADRACE, BEST, SAFE)]
            rows.append((TITLES[broker], f"{mine.rate:,.0f}", *ratios, " / ".join(costs)))
    if not rows:
        return ""
    says = "Headrace as it comes, on the bridge. CPU a message: Headrace / the best loop / FastStream safe."
    return f"### In short\n\n{says}\n\n{_table(head, rows)}"


def _times(mine: Figure, other: Figure | None) -> str:
    found = against(mine, other) if other else None
    return "–" if found is None else f"{found:.2f}" if found < 10 else f"{found:.0f}"


def _goals(stored: Stored) -> str:
    rows = [
        (TITLES[each.goal.broker], each.goal.work, each.goal.says, each.goal.wanted, each.shown, each.word)
        for each in held(stored.figures)
    ]
    if not rows:
        return ""
    return "### Whether it holds\n\n" + _table(("broker", "work", "", "wanted", "measured", ""), rows, left=3)


def _work(tables: Sequence[Table]) -> str:
    """One work: contenders as rows, brokers as columns."""
    found = {(table.broker, each.contender): each for table in tables for each in table.figures}
    names = [name for name in CONTENDERS if any((table.broker, name) in found for table in tables)]
    rows = [(name, *(_cell(found.get((table.broker, name))) for table in tables)) for name in names]
    return _table(("", *(TITLES[table.broker] for table in tables)), rows)


def _cell(figure: Figure | None) -> str:
    """Median, least and most, ratio to the best loop, and what is wrong with it."""
    if figure is None:
        return ""
    wrong = mark(figure)
    if not figure.rate:
        return wrong or "–"
    times = ratio(figure) if figure.contender == BEST else f"**{ratio(figure)}**"
    return f"{times} · {figure.rate:,.0f} ({figure.least:,.0f}–{figure.most:,.0f}){f'; {wrong}' if wrong else ''}"


def _cost(table: Table) -> str:
    head = (TITLES[table.broker], "client µs", "server µs", "MB", "half load ms", "idle ms")
    rows = [
        (
            each.contender,
            micro(each.cpu) if each.rate else "–",
            micro(each.server_cpu),
            f"{each.memory:.0f}" if each.memory else "–",
            took(each, "half load"),
            took(each, "idle"),
        )
        for each in ordered(table.figures)
    ]
    return _table(head, rows)


def _conditions(tables: Sequence[Table]) -> str:
    """How these tables came about, and who is not in them; said once where it is the same."""
    said: dict[str, list[str]] = {}
    for table in tables:
        under = table.conditions
        versions = ", ".join(f"{name} {number}" for name, number in under.versions.items())
        messages = max((each.messages for each in table.figures), default=0)
        rounds = max((each.rounds for each in table.figures), default=0)
        taken = f"`{under.command}`, {under.date}, on {under.machine}; {versions}"
        text = f"{taken}; median of {rounds}, up to {messages:,} messages."
        said.setdefault(text, []).append(TITLES[table.broker])
        for line in left_out(table).splitlines():
            said.setdefault(line.strip(), []).append(TITLES[table.broker])
    return "\n".join(f"* {', '.join(names)}: {text}" for text, names in said.items())
