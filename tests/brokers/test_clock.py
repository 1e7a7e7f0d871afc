"""A wall clock that jumps: it is told in timestamps and headers, and decides nothing."""

import time
from datetime import datetime

import anyio
import pytest

from headrace import Batch, Retry
from tests.brokers.test_engine import Item, Site, ids, run_until, settled, site

pytestmark = pytest.mark.anyio
assert site  # the fixture
HOUR = 3600.0


class Jumping:
    """A wall clock an hour off, in the other direction at each of its calls."""

    def __init__(self) -> None:
        self.real = time.time
        self.calls = 0

    def __call__(self) -> float:
        self.calls += 1
        return self.real() + (HOUR if self.calls % 2 else -HOUR)


@pytest.fixture
def jumping(monkeypatch: pytest.MonkeyPatch) -> Jumping:
    clock = Jumping()
    monkeypatch.setattr(time, "time", clock)
    for module in ("actors.ledger", "actors.retries", "engine.rabbitmq.publisher", "engine.memory.ports"):
        monkeypatch.setattr(f"{module}.time", clock)
    return clock


async def test_retries_timeouts_batches_and_ages_know_no_wall_clock(site: Site, jumping: Jumping) -> None:
    topology, tries, sizes, ages = site.topology(), dict[int, int](), list[int](), list[float]()

    @topology.subscriber(site.place("in"), retry=Retry(attempts=3, first=0.05, cap=0.1), timeout=0.5, max_workers=4)
    async def handle(item: Item) -> Item:
        tries[item.id] = tries.get(item.id, 0) + 1
        if item.id == 0:
            await anyio.sleep_forever()
        if tries[item.id] < 2:
            raise ValueError("once more")
        return item

    @topology.subscriber(handle, batch=Batch(size=1000, wait=0.2))
    async def collect(items: list[Item]) -> None:
        sizes.append(len(items))

    await site.fill(20)
    began = time.monotonic()

    def done(engine: object) -> bool:
        ages.extend(status.oldest for status in engine.status() if status.oldest is not None)  # type: ignore[attr-defined]
        return settled(20)(engine)  # type: ignore[arg-type]

    await run_until(topology, done)
    assert time.monotonic() - began < 30
    assert jumping.calls > 0
    assert sum(sizes) == 19
    assert max(ages) < 30
    assert min(ages) >= 0
    (letter,) = await site.read(site.place("in").dead_letter(), 1)
    headers = letter.headers or {}
    assert ids([letter]) == [0]
    assert headers["headrace-attempts"] == "3"
    first, last = (datetime.fromisoformat(str(headers[f"headrace-{which}-failure"])) for which in ("first", "last"))
    assert first <= last, "in this order, whatever the clock said"
