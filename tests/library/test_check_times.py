"""When a file is checked again: its age doubles, within bounds, and sooner in doubt."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.library.check_times import (
    CONFIRM_S,
    HOUR_S,
    LEAST_S,
    MOST_S,
    due_again,
    due_to_confirm,
    due_unanswered,
    first_due,
)

DAY = 86_400.0
moments = st.floats(min_value=0, max_value=4e9)
ids = st.text(alphabet="0123456789abcdef", min_size=32, max_size=32)


@given(ids, moments, moments)
def test_two_checks_are_an_hour_apart_at_least_and_thirty_days_at_most(
    file_id: str, published: float, at: float
) -> None:
    wait = due_again(file_id, published, at) - at
    assert LEAST_S - 1e-6 <= wait <= MOST_S + 1e-6


@given(ids, st.floats(min_value=2 * HOUR_S, max_value=MOST_S))
def test_between_these_bounds_the_age_doubles_less_a_fifth_at_most(
    file_id: str, age: float
) -> None:
    assert 0.8 * age - 1e-6 <= due_again(file_id, 1e9, 1e9 + age) - (1e9 + age) <= age + 1e-6


def test_what_was_published_together_comes_apart() -> None:
    due = {due_again(f"{number:032x}", 0.0, 10 * DAY) for number in range(1000)}
    assert len(due) > 990
    assert max(due) - min(due) > 1.8 * DAY


def test_the_first_check_comes_an_hour_after_a_file_was_published() -> None:
    assert first_due(1000.0) == 1000.0 + HOUR_S


@given(ids, moments, st.floats(min_value=0, max_value=DAY))
def test_what_failed_is_due_when_it_can_be_confirmed_and_little_later(
    file_id: str, failed_at: float, later: float
) -> None:
    due = due_to_confirm(file_id, failed_at, failed_at + later)
    assert max(failed_at + CONFIRM_S, failed_at + later) <= due
    assert due <= max(failed_at + CONFIRM_S, failed_at + later) + 300


@pytest.mark.parametrize(
    ("times", "most"), [(1, 300.0), (2, 900.0), (3, 2700.0), (7, DAY), (1_000_000, DAY)]
)
def test_what_got_no_answer_is_tried_again_after_a_pause_that_grows_to_a_day(
    times: int, most: float
) -> None:
    waits = [due_unanswered(f"{number:032x}", 1e9, times) - 1e9 for number in range(100)]
    assert all(0.8 * most <= wait <= most for wait in waits)
