"""The log of the embedded broker against a model that is as simple as can be."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from engine.memory.log import Log, Stored

CAPACITY = 6
GROUPS = st.sampled_from(["a", "b", "c"])


def stored(count: int) -> list[Stored]:
    return [Stored() for _ in range(count)]


class ModelGroup:
    """Every message that the group is owed, each in one of three places."""

    def __init__(self, start: int, end: int) -> None:
        self.waiting = set(range(start, end))
        self.held: dict[int, Stored] = {}
        self.attempt: dict[int, int] = {}


class LogAgainstModel(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.log = Log(CAPACITY)
        self.end = 0
        self.lost = 0
        self.groups: dict[str, ModelGroup] = {}

    @rule(count=st.integers(0, 20))
    def publish(self, count: int) -> None:
        count = min(count, self.log.room())
        before = max(0, self.end - CAPACITY)
        self.log.append(stored(count))
        self.end += count
        if not self.groups:
            self.lost += max(0, self.end - CAPACITY) - before
        for group in self.groups.values():
            group.waiting |= set(range(self.end - count, self.end))

    @rule(name=GROUPS)
    def join(self, name: str) -> None:
        self.log.join(name)
        self.groups.setdefault(name, ModelGroup(max(0, self.end - CAPACITY), self.end))

    @precondition(lambda self: self.groups)
    @rule(name=GROUPS, limit=st.integers(1, 9))
    def take(self, name: str, limit: int) -> None:
        if name in self.groups:
            model, group = self.groups[name], self.log.groups[name]
            run = group.take(limit)
            expected = sorted(model.waiting)[:limit]
            assert [each.offset for each in run] == expected
            assert [group.attempts.get(offset, 1) for offset in expected] == [
                model.attempt.get(offset, 1) for offset in expected
            ]
            model.waiting -= set(expected)
            model.held |= {each.offset: each for each in run}

    @precondition(lambda self: any(group.held for group in self.groups.values()))
    @rule(data=st.data(), again=st.booleans())
    def settle(self, data: st.DataObject, again: bool) -> None:
        name = data.draw(st.sampled_from([name for name, group in self.groups.items() if group.held]))
        model, group = self.groups[name], self.log.groups[name]
        offsets = data.draw(st.lists(st.sampled_from(sorted(model.held)), unique=True))
        run = [model.held.pop(offset) for offset in offsets]
        if again:
            group.give_back(run)
            model.waiting |= set(offsets)
            for offset in offsets:
                model.attempt[offset] = model.attempt.get(offset, 1) + 1
        else:
            group.acknowledge(run)

    @invariant()
    def agrees(self) -> None:
        assert [each.offset for each in self.log.retained] == list(range(max(0, self.end - CAPACITY), self.end))
        lags = {name: len(model.waiting) + len(model.held) for name, model in self.groups.items()}
        assert {name: group.lag for name, group in self.log.groups.items()} == lags
        assert {name: group.waiting for name, group in self.log.groups.items()} == {
            name: len(model.waiting) for name, model in self.groups.items()
        }
        assert not lags or self.log.room() == CAPACITY - max(lags.values())
        assert self.log.expired == self.lost
        told = self.log.statistics()
        assert (told.published, told.retained) == (self.end, min(self.end, CAPACITY))

    @invariant()
    def remembers_attempts_only_of_what_is_owed(self) -> None:
        for name, model in self.groups.items():
            assert set(self.log.groups[name].attempts) <= model.waiting | set(model.held)


TestLogAgainstModel = LogAgainstModel.TestCase


def test_a_passing_log_keeps_nothing_for_later_and_lets_the_oldest_go() -> None:
    log = Log(3, passing=True)
    log.append(stored(2))
    group = log.join("late")
    assert (group.waiting, log.expired) == (0, 2)
    log.append(stored(5))
    assert (group.waiting, log.expired) == (3, 4)
    assert [each.offset for each in group.take(10)] == [4, 5, 6]
