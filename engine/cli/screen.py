"""`Top`: the screen of `headrace top`."""

from time import monotonic
from typing import Any, ClassVar

from rich.text import Text
from textual import work
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import DataTable, Footer, Static

from engine.cli.exits import CommandError
from engine.cli.rates import ORDERS, Rates, Snapshot, bar, count, fill, key_of, seconds, state, steps
from engine.cli.remote import Remote, stage_path

EVERY = 1.0
"""Seconds between two looks."""
SAID = 6.0
"""Seconds for which an error stays."""
COLUMNS = ("stage", "state", "workers", "mailbox", "", "msg/s", "p50", "p99", "retries", "failed", "dead", "restarts")


class Top(App[None]):
    """Asks the engine every second, and shows what it says; goes on asking while it is away."""

    CSS = "#engine { height: auto; padding: 0 1; } #told { height: auto; padding: 0 1; } DataTable { height: 1fr; }"
    TITLE = "headrace"
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "quit"),
        Binding("p", "pause", "pause or resume"),
        Binding("plus,+", "scale(True)", "more workers", key_display="+"),
        Binding("minus,-", "scale(False)", "fewer", key_display="-"),
        Binding("s", "sort", "sort"),
    ]

    def __init__(self, remote: Remote, status: Snapshot, order: str) -> None:
        super().__init__()
        self.remote = remote
        self.status = status
        self.order = order
        self.rates = Rates()
        self.rates.add(status, monotonic())
        self.away: str | None = None
        self.said: tuple[str, float] = "", 0.0
        """What there was to say last, and until when it stays."""

    def compose(self) -> ComposeResult:
        yield Static(id="engine")
        yield DataTable(cursor_type="row", zebra_stripes=True)
        yield Static(id="told")
        yield Footer()

    def on_mount(self) -> None:
        """Show what is known, and begin to ask."""
        self.query_one(DataTable).add_columns(*COLUMNS)
        self.show()
        self.set_interval(EVERY, self.look)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def look(self) -> None:
        """Ask in a thread, so that an engine that is slow to answer does not hold up the keys."""
        try:
            status, away = self.remote.status(), None
        except CommandError as error:
            status, away = None, error.problem
        self.call_from_thread(self.take, status, away)

    def take(self, status: Snapshot | None, away: str | None) -> None:
        """Show what came of asking."""
        self.away = away
        if status is not None:
            self.rates.add(status, monotonic())
            self.status = status
        self.show()

    def show(self) -> None:
        """Draw all of it; what is selected stays selected."""
        stages = sorted(self.status["stages"], key=lambda stage: ORDERS[self.order](stage, self.rates))
        table = self.query_one(DataTable)
        selected, at = self.selected(), table.scroll_offset
        table.clear()
        for stage in stages:
            table.add_row(*self._row(stage), key="\n".join(key_of(stage)))
        if selected is not None:
            names = [key_of(stage) for stage in stages]
            if key_of(selected) in names:
                table.move_cursor(row=names.index(key_of(selected)), scroll=False)
        table.scroll_to(at.x, at.y, animate=False)
        self.query_one("#engine", Static).update(self._head())
        self.tell()

    def on_data_table_row_highlighted(self) -> None:
        """Say more of what is selected."""
        self.tell()

    def tell(self) -> None:
        """What the selected stage waits for, unless there is something else to say."""
        text, until = self.said
        if monotonic() < until:
            told = Text(text, style="red")
        else:
            told = Text(((self.selected() or {}).get("health") or {}).get("told", ""), style="dim")
        self.query_one("#told", Static).update(told)

    def say(self, text: str) -> None:
        """Say it, for some seconds."""
        self.said = text, monotonic() + SAID
        self.tell()

    def selected(self) -> Snapshot | None:
        """The stage that the cursor is at."""
        table = self.query_one(DataTable)
        if not table.row_count:
            return None
        key = table.coordinate_to_cell_key(table.cursor_coordinate).row_key.value or ""
        return next((stage for stage in self.status["stages"] if "\n".join(key_of(stage)) == key), None)

    def _head(self) -> Text:
        engine = self.status["engine"]
        if self.away is not None:
            return Text.assemble(("away ", "bold red"), self.away)
        words = [("ready ", "bold green") if engine["ready"] else ("not ready ", "bold yellow")]
        words += [("draining ", "bold yellow")] if engine["draining"] else []
        words += [] if engine["alive"] else [("not alive ", "bold red")]
        flow = sum(self.rates.of(stage) for stage in self.status["stages"] if stage["received"])
        waiting = sum(stage["depth"] + stage["held"] for stage in self.status["stages"])
        dead = sum(stage["dead"] for stage in self.status["stages"])
        told = f"{count(flow)} msg/s in, {count(waiting)} at hand, {count(dead)} dead, sorted by {self.order}"
        return Text.assemble(*words, told, *[f"\n{reason}" for reason in engine["reasons"]])

    def _row(self, stage: Snapshot) -> list[Text]:
        word, style = state(stage)
        share = fill(stage)
        full = "red" if share >= 1 else "yellow" if share > 0.5 else "green"
        topology = f"{stage['topology']}." if len(self.status["topologies"]) > 1 else ""
        bad = [Text(count(stage[name]), "red" if stage[name] else "dim") for name in ("failed", "dead", "restarts")]
        return [
            Text(f"{topology}{stage['stage']}", "bold"),
            Text(word, style),
            Text(f"{stage['busy']}/{stage['workers']}", justify="right"),
            Text(bar(share), full),
            Text(f"{stage['depth']}/{stage['capacity']}", "dim"),
            Text(count(self.rates.of(stage)), justify="right"),
            Text(seconds(stage["latency_p50"]), justify="right"),
            Text(seconds(stage["latency_p99"]), justify="right"),
            Text(count(stage["retried"]), "yellow" if stage["retried"] else "dim"),
            *bad,
        ]

    # -- keys ----------------------------------------------------------------------------------------------------

    def action_sort(self) -> None:
        """Sort by the next thing."""
        orders = list(ORDERS)
        self.order = orders[(orders.index(self.order) + 1) % len(orders)]
        self.show()

    def action_pause(self) -> None:
        """Pause the selected stage, or resume it."""
        if (stage := self.selected()) is not None:
            self.steer(stage, "resume" if stage["paused"] else "pause")

    def action_scale(self, up: bool) -> None:
        """Have more workers in the selected stage, or fewer."""
        if (stage := self.selected()) is not None:
            stage["workers"] = steps(stage["workers"], up)  # for the next key, which may come before the answer
            self.steer(stage, "scale", workers=stage["workers"])

    @work(thread=True, exit_on_error=False)
    def steer(self, stage: Snapshot, does: str, **body: Any) -> None:
        """Tell the engine, and look at once what came of it."""
        try:
            self.remote.post(stage_path(*key_of(stage), does), **body)
        except CommandError as error:
            self.call_from_thread(self.say, str(error))
        else:
            self.call_from_thread(self.look)
