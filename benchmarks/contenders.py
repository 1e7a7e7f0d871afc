"""Who takes part: each contender as a record of what it is, what it cannot do, and how fast it is expected to be."""

from dataclasses import dataclass
from importlib.util import find_spec

from benchmarks.hands import goes
from benchmarks.work import WORKS, Work

IN_PROCESS = "in process"
"""What stands where others name a broker."""
COMPARED = ("bridge", "consume", "io-100")
"""The works of the loops that go another way than the best: those that the engine is held against."""
WAYS = {"fetch": "Fetch", "lower": "Lower"}
"""The hands of each."""
FEATURES = ("key", "retry", "metrics", "tracing", "all")


@dataclass(frozen=True, slots=True)
class Contender:
    """One program that does the works. `kind` says whose, `setting` how it is set up."""

    name: str
    says: str
    kind: str
    setting: str = ""
    uvloop: bool = False
    streaming: bool = True
    """Whether the garbage collector is set for a stream of messages, as `headrace run` does; else as Python has it."""

    def cannot(self, broker: str, work: Work) -> str:
        """Why it does not do this work on this broker; empty where it does."""
        if self.uvloop and find_spec("uvloop") is None:
            return "uvloop is not installed: pip install uvloop"
        if self.kind == "faststream" and find_spec("faststream") is None:
            return "FastStream is not installed: pip install -e '.[peer]'"
        if broker == IN_PROCESS:
            return "" if self.name in ("best", "headrace") else "there is nothing to measure without a server"
        if self.kind == "naive" and work.tasks > 1:
            return "it handles one at a time"
        if self.kind == "naive" and work.batch:
            return "it has no batches"
        if self.kind in WAYS and work.name not in COMPARED:
            return f"it is measured on {', '.join(COMPARED)}"
        if self.kind in WAYS and not goes(broker, WAYS[self.kind]):
            return f"benchmarks/by_hand_{broker}.py has no class `{WAYS[self.kind]}`"
        if self.kind == "faststream":
            return self._faststream_cannot(broker, work)
        if self.kind == "headrace" and self.setting and work.name not in ("bridge", "io-100"):
            return "features are measured on bridge and io-100"
        return ""

    def _faststream_cannot(self, broker: str, work: Work) -> str:
        if self.setting != "batch":
            return "its handlers of batches are the contender `faststream-batch`" if work.batch else ""
        if broker == "rabbitmq":
            return "it has no batches on RabbitMQ"
        return "it would be the same as one at a time" if work.wait else ""

    def expected(self, broker: str, work: Work) -> float:
        """About how many messages a second: it decides how many it gets in its first round, so that none takes long."""
        alone = self.kind == "naive" or (self.kind == "faststream" and self.setting != "batch")
        rate = 700.0 if alone else IN_RUNS[broker]
        if work.wait:
            tasks = 1 if work.keyed and alone else work.tasks
            rate = min(rate, 0.8 * tasks / work.wait)
        return rate / max(1, work.targets)


CONTENDERS = {
    each.name: each
    for each in (
        Contender("naive", "a loop by hand, one message at a time", "naive", streaming=False),
        Contender("best", "the best loop by hand on the client's ordinary API", "best"),
        Contender("best-uvloop", "the same on uvloop", "best", uvloop=True),
        Contender("best-fetch", "the best loop by the client's own fetches, where those are not its fastest", "fetch"),
        Contender("lower", "the same loop, one layer below the client's ordinary API", "lower"),
        Contender("faststream", "FastStream as it comes", "faststream", streaming=False),
        Contender("faststream-safe", "FastStream, its best setting with at least once", "faststream", "safe"),
        Contender("faststream-batch", "FastStream, the same in batches", "faststream", "batch"),
        Contender("headrace", "Headrace as it comes", "headrace"),
        Contender("headrace-uvloop", "the same on uvloop", "headrace", uvloop=True),
        *(Contender(f"headrace-{name}", f"the same with {name}", "headrace", name) for name in FEATURES[:-1]),
        Contender("headrace-all", "the same with key, retry and metrics", "headrace", "all"),
    )
}
BEST = "best"
"""The one that ratios are taken to."""


IN_RUNS = {"redis": 20_000.0, "nats": 10_000.0, "rabbitmq": 2_500.0, "kafka": 20_000.0, IN_PROCESS: 100_000.0}
"""About how many messages a second there are in it for who takes them in runs."""


class Unknown(Exception):
    """A name that nothing has. Says which there are."""

    def __init__(self, what: str, name: str, known: list[str]) -> None:
        super().__init__(f"There is no {what} {name!r}. Choose from {', '.join(known)}.")


def chosen(what: str, wanted: str, known: list[str]) -> list[str]:
    """Names from a list with commas; `all` is all of them, and `io` is `io-1`, `io-10` and `io-100`."""
    if wanted == "all":
        return known
    names = []
    for name in (each.strip() for each in wanted.split(",")):
        found = [name] if name in known else [each for each in known if name == "io" and each.startswith("io-")]
        if not found:
            raise Unknown(what, name, known)
        names += found
    return [name for name in known if name in names]


def works_of(broker: str, names: list[str]) -> list[Work]:
    """Which of these works there are on a broker."""
    return [WORKS[name] for name in names if (name == "in-process") == (broker == IN_PROCESS)]
