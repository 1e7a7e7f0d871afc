"""`Actor` and the life of one: its states, and the moves between them as a table."""

from logging import Logger

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Actor, Life, State, SupervisionError
from actors.actor import MOVES

pytestmark = pytest.mark.anyio


def test_every_state_has_its_row_in_the_table():
    assert set(MOVES) == set(State)


def test_every_state_can_be_reached_from_new():
    reached, at = {State.NEW}, [State.NEW]
    while at:
        for to in MOVES[at.pop()] - reached:
            reached.add(to)
            at.append(to)
    assert reached == set(State)


@pytest.mark.parametrize("state", State)
def test_a_life_moves_as_the_table_says_and_not_otherwise(state):
    for to in State:
        life = Life("worker")
        life.state = state
        if to in MOVES[state]:
            life.move(to)
            assert life.state is to
        else:
            with pytest.raises(SupervisionError, match=f"worker: cannot go from {state} to {to}"):
                life.move(to)
            assert life.state is state


@pytest.mark.parametrize(
    "lived",
    [
        "starting running done",
        "starting done",
        "starting running stopping stopped",
        "starting stopping stopped",
        "starting crashed restarting starting running stopping crashed stopped",
        "starting running crashed restarting stopped starting running",
        "starting running stopping stopped restarting starting running",
        "stopped",
    ],
)
def test_the_lives_that_actors_lead_are_in_the_table(lived):
    life = Life("worker")
    for state in lived.split():
        life.move(State(state))


@given(st.lists(st.sampled_from(State), max_size=30))
def test_restarts_are_counted(states):
    life, restarts = Life("worker"), 0
    for to in states:
        if to in MOVES[life.state]:
            life.move(to)
            restarts += to is State.RESTARTING
    assert life.restarts == restarts
    assert repr(life) == f"<worker: {life.state}, {restarts} restarts>"


def test_nothing_leads_out_of_a_crash_but_its_supervisor():
    assert MOVES[State.CRASHED] == {State.RESTARTING, State.STOPPED}


async def test_an_actor_need_not_do_anything_at_start_and_stop():
    class Plain(Actor):
        async def receive(self, body):
            return body

    actor = Plain()
    await actor.on_start()
    await actor.on_stop()
    assert await actor.receive(1) == 1
    assert actor.context == {}
    assert isinstance(actor.logger, Logger)
