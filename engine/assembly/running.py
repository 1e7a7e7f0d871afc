"""`Running`: one stage as it runs, with all its parts."""

from dataclasses import dataclass, field

from actors import Counts, Duplicates, Intake, Ledger, Link, Mailbox, Message, Pool, Retries, Sizer
from topologies import Stage


@dataclass(slots=True, eq=False)
class Running:
    """One stage as it runs."""

    stage: Stage
    mailbox: Mailbox[Message]
    pool: Pool
    retries: Retries
    counts: Counts
    intakes: list[Intake] = field(default_factory=list)
    ledgers: list[Ledger] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    duplicates: Duplicates | None = None
    """Where it is not to handle again what was done."""
    replies: "Running | None" = None
    """Its publisher of answers, where a source of it may bring questions."""
    sizer: Sizer | None = None
    """Of a pool that finds its own size."""

    def __post_init__(self) -> None:
        self.pool.supervisor.on_crash = self.counts.faults.crashed

    def __repr__(self) -> str:
        return f"<{self.stage.name}: {self.pool!r}, {self.mailbox!r}, {len(self.retries)} waiting to be retried>"
