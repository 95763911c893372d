"""How the name of whoever asks travels with the work."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.usenet.workload import Reservation, Workload, carry, current, scope

VIEWER = Reservation(Workload.STREAM, 7)
IMPORT = Reservation(Workload.QUEUE)


def test_outside_of_every_scope_nobody_is_named() -> None:
    assert current() is None


def test_a_scope_names_who_asks_and_the_outer_one_comes_back() -> None:
    with scope(IMPORT) as outer:
        assert current() is outer
        with scope(VIEWER):
            assert current() == VIEWER
        assert current() == IMPORT
    assert current() is None


def test_a_scope_ends_with_an_error_too() -> None:
    with pytest.raises(KeyError), scope(VIEWER):
        raise KeyError
    assert current() is None


def test_a_new_thread_knows_nobody_unless_the_call_is_carried() -> None:
    seen: list[Reservation | None] = []

    def look() -> None:
        seen.append(current())

    with scope(VIEWER):
        threads = [threading.Thread(target=look), threading.Thread(target=carry(look))]
    for thread in threads:
        thread.start()
        thread.join(timeout=30)
    assert seen == [None, VIEWER]


def test_a_carried_call_leaves_nothing_behind_in_a_pools_thread() -> None:
    def who(number: int) -> tuple[Reservation | None, int]:
        return (current(), number)

    with ThreadPoolExecutor(1) as pool:
        with scope(VIEWER):
            carried = carry(who)
        assert pool.submit(carried, 3).result(30) == (VIEWER, 3)
        assert pool.submit(current).result(30) is None


def test_what_is_carried_from_outside_of_every_scope_names_nobody() -> None:
    carried = carry(current)
    with scope(VIEWER):
        assert carried() is None
        assert current() == VIEWER


def test_the_most_urgent_workload_comes_first() -> None:
    assert sorted(Workload) == [Workload.STREAM, Workload.QUEUE, Workload.HEALTH]
