"""The life of an item."""

from __future__ import annotations

from itertools import product

import pytest

from gateway_queue.item import HISTORY, PENDING, STEPS, WORKING, State, before, pause_s, rested_s

G, Q, A, V, P = State.GRABBING, State.QUEUED, State.ANALYSING, State.VERIFYING, State.PAUSED
L, R, U = State.DOWNLOADING, State.REPAIRING, State.UNPACKING
C, F, D = State.COMPLETED, State.FAILED, State.DELETED

# Every step that exists, row by row: from, and to where.
ALLOWED = {
    G: {Q, F, P, D},
    Q: {A, P, D},
    A: {V, Q, F, P, D},
    V: {C, L, Q, F, P, D},
    L: {R, Q, F, P, D},
    R: {U, Q, F, P, D},
    U: {C, Q, F, P, D},
    P: {G, Q, D},
    C: {D},
    F: {G, Q, D},
    D: set(),
}


@pytest.mark.parametrize(("start", "end"), list(product(State, State)))
def test_a_step_exists_if_and_only_if_the_life_of_an_item_has_it(start: State, end: State) -> None:
    assert ((start, end) in STEPS) == (end in ALLOWED[start])
    assert (start in before(end)) == (end in ALLOWED[start])


def test_every_state_is_of_the_queue_or_of_the_history_or_nowhere() -> None:
    assert PENDING | HISTORY | {State.DELETED} == set(State)
    assert not PENDING & HISTORY
    assert WORKING < PENDING


def test_what_is_being_worked_on_can_always_be_queued_again_and_never_skips_a_step() -> None:
    assert all((state, State.QUEUED) in STEPS for state in WORKING)
    assert before(State.COMPLETED) == {State.VERIFYING, State.UNPACKING}


def test_an_item_rests_longer_after_each_failure_and_is_patient_for_a_day() -> None:
    assert [pause_s(attempts) // 60 for attempts in range(7)] == [1, 2, 5, 15, 60, 60, 60]
    assert rested_s(0) == 0
    assert rested_s(5) == (1 + 2 + 5 + 15 + 60) * 60
