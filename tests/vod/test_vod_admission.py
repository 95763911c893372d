"""Waiting for a slot: woken when one comes free, bounded in time and in number."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from gateway.errors import PoolFull
from gateway.leases.held import Held
from gateway.leases.keeper import Keeper
from gateway.leases.lease import Pool, State
from gateway.leases.memory import MemoryLeases
from gateway.vod.admission import Admission, WaitEnded

ONE = [[Pool("profile:a", 1)]]


def ignored(_: State) -> None: ...


@pytest.fixture
def keeper() -> Iterator[Keeper]:
    store = MemoryLeases()
    keeper = Keeper(store, grace_s=0)
    yield keeper
    keeper.close()
    store.close()


class Waiter:
    """Somebody who waits for the slot in a thread."""

    def __init__(self, admission: Admission, session: str) -> None:
        self.outcome: Held | Exception | None = None
        self.gone = False
        self._admission, self._session = admission, session
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._admission.acquire(
                ONE, self._session, ignored, cancelled=lambda: self.gone
            )
        except PoolFull as exc:
            self.outcome = exc
        except WaitEnded as exc:
            self.outcome = exc


def until_waiting(admission: Admission, count: int) -> None:
    waited = threading.Event()
    for _ in range(1000):
        if admission.waiting == count:
            return
        waited.wait(0.01)
    pytest.fail(f"{admission.waiting} wait, not {count}")


def test_a_slot_that_is_given_back_goes_to_who_waits(keeper: Keeper) -> None:
    admission = Admission(keeper, wait_s=60, grace_s=0)
    first = admission.acquire(ONE, "first", ignored)
    waiter = Waiter(admission, "second")
    until_waiting(admission, 1)
    first.release()
    admission.wake()
    waiter.thread.join(10)
    assert isinstance(waiter.outcome, Held)
    assert admission.waiting == 0


def test_a_slot_in_grace_goes_to_who_waits_when_that_is_over(keeper: Keeper) -> None:
    admission = Admission(keeper, wait_s=60, grace_s=0.2)
    first = admission.acquire(ONE, "first", ignored)
    waiter = Waiter(admission, "second")
    until_waiting(admission, 1)
    first.release(0.2)
    admission.wake(after_s=0.2)
    waiter.thread.join(10)
    assert isinstance(waiter.outcome, Held)


def test_who_waits_in_vain_is_told_which_pool_is_full(keeper: Keeper) -> None:
    admission = Admission(keeper, wait_s=0.05, grace_s=0)
    admission.acquire(ONE, "first", ignored)
    with pytest.raises(PoolFull, match="no slot in profile:a: 1 of 1 in use"):
        admission.acquire(ONE, "second", ignored)
    assert admission.waiting == 0


def test_whoever_gives_up_takes_nothing_with_it(keeper: Keeper) -> None:
    admission = Admission(keeper, wait_s=60, grace_s=0)
    first = admission.acquire(ONE, "first", ignored)
    waiter = Waiter(admission, "second")
    until_waiting(admission, 1)
    waiter.gone = True
    admission.wake()
    waiter.thread.join(10)
    assert isinstance(waiter.outcome, WaitEnded)
    first.release()
    assert isinstance(admission.acquire(ONE, "third", ignored), Held)


def test_only_so_many_wait_and_the_next_is_refused_at_once(keeper: Keeper) -> None:
    admission = Admission(keeper, wait_s=60, grace_s=0, waiting=2)
    admission.acquire(ONE, "first", ignored)
    waiters = [Waiter(admission, f"waiter {number}") for number in range(2)]
    until_waiting(admission, 2)
    with pytest.raises(PoolFull):
        admission.acquire(ONE, "one too many", ignored)
    for waiter in waiters:
        waiter.gone = True
    admission.wake()
    for waiter in waiters:
        waiter.thread.join(10)


def test_nobody_waits_for_less_than_a_grace(keeper: Keeper) -> None:
    assert Admission(keeper, wait_s=1, grace_s=5).wait_s > 5
    assert Admission(keeper, wait_s=0, grace_s=5).wait_s == 0
