"""Threads that ask, give up, promote, release and resize at once: nothing is lost, nobody stays."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.errors import PermitTimeout
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request
from gateway.usenet.shares import Fixed, Policy, Shares
from gateway.usenet.workload import Reservation, Workload

THREADS = 12
ROUNDS = 400


class Gauge:
    """How many hold a permit at once, seen from outside of the semaphore."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.now = 0
        self.most = 0

    def enter(self) -> None:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def leave(self) -> None:
        with self._lock:
            self.now -= 1


def in_threads(work: Callable[[random.Random], None]) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        for future in [pool.submit(work, random.Random(seed)) for seed in range(THREADS)]:
            future.result(timeout=100)


def anybody(chance: random.Random) -> Reservation:
    return Reservation(chance.choice(list(Workload)), chance.randrange(4))


def assert_idle(semaphore: ExtendedSemaphore, gauge: Gauge) -> None:
    seen = semaphore.snapshot()
    assert seen.free == seen.total
    assert sum(seen.held.values()) == sum(seen.waiting.values()) == gauge.now == 0
    assert seen.double_releases == 0


@pytest.mark.parametrize("policy", [Fixed(), Fixed(3), Shares()], ids=["free", "fixed", "shares"])
def test_blocking_threads_never_hold_more_than_there_is_and_all_finish(policy: Policy) -> None:
    total, gauge = 5, Gauge()
    semaphore = ExtendedSemaphore(total, policy)

    def work(chance: random.Random) -> None:
        for _ in range(ROUNDS):
            with semaphore.acquire(None, reservation=anybody(chance), demand=chance.random() < 0.7):
                gauge.enter()
                gauge.leave()

    in_threads(work)
    assert gauge.most <= total
    assert sum(semaphore.snapshot().granted.values()) == THREADS * ROUNDS
    assert_idle(semaphore, gauge)


def test_deadlines_that_run_out_at_the_moment_of_the_grant_lose_no_permit() -> None:
    gauge = Gauge()
    semaphore = ExtendedSemaphore(2, Shares())
    outcomes = {"granted": 0, "late": 0}
    counting = threading.Lock()

    def work(chance: random.Random) -> None:
        for _ in range(ROUNDS):
            try:
                permit = semaphore.acquire(
                    None,
                    reservation=anybody(chance),
                    # as long as an exchange of the others takes, so that both happen at once
                    deadline=semaphore._clock() + chance.random() * 2e-4,
                )
            except PermitTimeout:
                outcome = "late"
            else:
                outcome = "granted"
                gauge.enter()
                gauge.leave()
                permit.release()
            with counting:
                outcomes[outcome] += 1

    in_threads(work)
    assert sum(outcomes.values()) == THREADS * ROUNDS
    assert outcomes["granted"] > 0
    assert_idle(semaphore, gauge)


def test_cancels_and_promotions_at_the_moment_of_the_grant_lose_no_permit() -> None:
    gauge = Gauge()
    semaphore = ExtendedSemaphore(3, Shares())

    def work(chance: random.Random) -> None:
        for _ in range(ROUNDS):
            answered = threading.Event()
            granted: list[Permit] = []

            def take(
                permit: Permit,
                answered: threading.Event = answered,
                granted: list[Permit] = granted,
                accept: bool = chance.random() < 0.8,
            ) -> bool:
                if accept:
                    gauge.enter()
                    granted.append(permit)
                answered.set()
                return accept

            waiter = semaphore.submit(Request(anybody(chance), chance.random() < 0.5), take)
            if chance.random() < 0.5:
                waiter.promote(Request(anybody(chance)))
            if chance.random() < 0.5 and waiter.cancel():
                assert not granted
                continue
            assert answered.wait(60)
            for permit in granted:
                permit.extend()
                gauge.leave()
                permit.release()

    in_threads(work)
    assert gauge.most <= 3
    assert_idle(semaphore, gauge)


def test_a_total_that_changes_all_the_time_keeps_its_count() -> None:
    gauge = Gauge()
    semaphore = ExtendedSemaphore(4, Shares())
    stop = threading.Event()

    def resize() -> None:
        chance = random.Random(99)
        while not stop.is_set():
            semaphore.resize(chance.randrange(0, 9))
        semaphore.resize(4)

    resizer = threading.Thread(target=resize)
    resizer.start()

    def work(chance: random.Random) -> None:
        for _ in range(ROUNDS):
            with semaphore.acquire(None, reservation=anybody(chance)):
                gauge.enter()
                gauge.leave()
            permit = semaphore.try_acquire(None, reservation=anybody(chance))
            if permit is not None:
                permit.release()

    try:
        in_threads(work)
    finally:
        stop.set()
        resizer.join(timeout=60)
    assert gauge.most <= 8
    assert_idle(semaphore, gauge)
