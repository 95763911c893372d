"""Permits while they are in use: a change of the rules, and what an operator sees."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.usenet.permit_figures import WAIT_BOUNDS_S, Use
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request
from gateway.usenet.shares import Fixed, Policy, Shares
from gateway.usenet.workload import Reservation, Workload

QUEUE, HEALTH = Reservation(Workload.QUEUE), Reservation(Workload.HEALTH)


def viewer(stream: int) -> Reservation:
    return Reservation(Workload.STREAM, stream)


class Taken:
    """A receiver that keeps what it is granted."""

    def __init__(self) -> None:
        self.permits: list[Permit] = []

    def __call__(self, permit: Permit) -> bool:
        self.permits.append(permit)
        return True


# A change of the rules


@pytest.mark.parametrize(
    ("before", "after", "granted"),
    [
        (Shares(queue_cap=2), Shares(queue_cap=7), 7),
        (Shares(queue_cap=2), Shares(), 10),
        (Fixed(3), Fixed(6), 6),
        (Fixed(3), Shares(), 10),
    ],
)
def test_a_raised_cap_wakes_those_who_wait_for_it(
    before: Policy, after: Policy, granted: int
) -> None:
    semaphore, taken = ExtendedSemaphore(10, before), Taken()
    for _ in range(20):
        semaphore.submit(Request(QUEUE), taken)
    assert len(taken.permits) < granted
    semaphore.use(after)
    assert len(taken.permits) == granted


def test_a_raised_cap_wakes_a_thread_that_waits() -> None:
    semaphore = ExtendedSemaphore(10, Shares(queue_cap=1))
    first = semaphore.acquire(None, reservation=QUEUE)
    with ThreadPoolExecutor(1) as thread:
        second = thread.submit(semaphore.acquire, None, reservation=QUEUE)
        arrived = threading.Event()
        while not semaphore.snapshot().waiting[Workload.QUEUE]:
            arrived.wait(0.001)
        semaphore.use(Shares(queue_cap=2))
        second.result(10).release()
    first.release()


def test_a_guarantee_that_comes_live_is_served_before_borrowers() -> None:
    semaphore, taken = ExtendedSemaphore(4, Shares(0, 0, 0)), Taken()
    held = [semaphore.acquire(None, reservation=viewer(1)) for _ in range(4)]
    for reservation in (viewer(1), HEALTH):
        semaphore.submit(Request(reservation), taken)
    semaphore.use(Shares(0, 0, 1))
    held[0].release()
    assert [permit.reservation for permit in taken.permits] == [HEALTH]


def test_a_cap_lowered_below_what_is_held_cuts_nobody_and_holds_as_permits_come_back() -> None:
    semaphore, taken = ExtendedSemaphore(10, Shares()), Taken()
    for _ in range(14):
        semaphore.submit(Request(QUEUE), taken)
    semaphore.use(Shares(queue_cap=3))
    assert semaphore.snapshot().held[Workload.QUEUE] == 10
    for held in range(9, 2, -1):
        taken.permits.pop(0).release()
        assert semaphore.snapshot().held[Workload.QUEUE] == held
    for _ in range(4):
        taken.permits.pop(0).release()
        assert semaphore.snapshot().held[Workload.QUEUE] == 3
    assert semaphore.snapshot().waiting[Workload.QUEUE] == 0


# What an operator sees


def test_the_snapshot_tells_the_guarantees_and_caps_that_apply_to_the_total_of_the_moment() -> None:
    semaphore = ExtendedSemaphore(50, Shares(queue_cap=30))
    seen = semaphore.snapshot()
    assert tuple(seen.guarantee.values()) == (20, 10, 1)
    assert tuple(seen.cap.values()) == (50, 30, 5)
    semaphore.resize(10)
    seen = semaphore.snapshot()
    assert tuple(seen.guarantee.values()) == (4, 2, 1)
    assert tuple(seen.cap.values()) == (10, 10, 1)
    semaphore.use(Fixed(6))
    seen = semaphore.snapshot()
    assert tuple(seen.guarantee.values()) == (0, 0, 0)
    assert tuple(seen.cap.values()) == (6, 6, 6)
    assert tuple(seen.required.values()) == (4, 4, 4)


def test_what_is_available_is_never_below_zero() -> None:
    semaphore = ExtendedSemaphore(3)
    held = [semaphore.acquire(reservation=QUEUE) for _ in range(3)]
    semaphore.resize(1)
    assert (semaphore.snapshot().free, semaphore.snapshot().available) == (-2, 0)
    for permit in held:
        permit.release()
    assert semaphore.snapshot().available == 1


def test_how_long_was_waited_is_counted_by_workload() -> None:
    now = [0.0]
    semaphore, taken = ExtendedSemaphore(1, Shares(), clock=lambda: now[0]), Taken()
    semaphore.submit(Request(viewer(1)), taken)
    for reservation in (viewer(1), QUEUE, QUEUE):
        semaphore.submit(Request(reservation), taken)
    for now[0] in (0.2, 0.5, 60.0):
        taken.permits[-1].release()
    waits = semaphore.snapshot().waits
    stream, queue, health = (waits[workload] for workload in Workload)
    assert (stream.count, queue.count, health.count) == (2, 2, 0)
    assert [stream.sum_s, queue.sum_s] == pytest.approx([0.2, 60.5])
    assert dict(stream.cumulative()) == {bound: 1 + (bound >= 0.2) for bound in WAIT_BOUNDS_S}
    assert dict(queue.cumulative())[0.5] == 1  # a bound belongs to its bucket
    assert dict(queue.cumulative())[0.25] == 0
    assert queue.cumulative()[-1] == (30.0, 1)


def test_every_permit_granted_is_in_the_histogram_however_it_was_asked_for() -> None:
    semaphore = ExtendedSemaphore(3, Shares())
    one = semaphore.acquire(reservation=HEALTH)
    two = semaphore.try_acquire(reservation=HEALTH)
    semaphore.submit(Request(QUEUE), lambda _: False)
    assert two is not None
    seen = semaphore.snapshot()
    assert [seen.waits[workload].count for workload in Workload] == [0, 1, 2]
    assert [seen.granted[workload] for workload in Workload] == [0, 1, 2]
    one.release()
    two.release()


def test_use_is_told_by_workload_and_stream() -> None:
    semaphore, taken = ExtendedSemaphore(4, Shares(max_connections_per_stream=1)), Taken()
    semaphore.submit(Request(viewer(7)), taken)
    for _ in range(3):
        semaphore.submit(Request(viewer(7), demand=False), taken)
    semaphore.submit(Request(viewer(8)), taken)
    semaphore.submit(Request(QUEUE), taken)
    uses = semaphore.uses()
    assert uses == [
        Use(viewer(7), held=2, ahead=1, waiting=2),
        Use(viewer(8), held=1, ahead=0, waiting=0),
        Use(QUEUE, held=1, ahead=0, waiting=0),
    ]
    seen = semaphore.snapshot()
    assert sum(use.held for use in uses) == seen.total - seen.free
    while taken.permits:
        taken.permits.pop().release()
    assert semaphore.uses() == []
