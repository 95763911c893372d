"""Nobody waits for ever and nothing idles: the real semaphore under a model clock."""

from __future__ import annotations

import random
from collections import deque

import pytest

from bench.model import RULES, Crew, Rule, run
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request, Waiter
from gateway.usenet.policy import Policy
from gateway.usenet.shares import Fixed, Shares
from gateway.usenet.workload import Reservation, Workload

STREAM, QUEUE, HEALTH = Workload

# 50 connections, 30 for the queue
FOR_THE_QUEUE = 30

VIEWER = (Crew(STREAM, 1, stream=1), Crew(STREAM, 40, demand=False, stream=1))
IMPORT = Crew(QUEUE, 60, demand=False, stream=1, begins_s=1.0)
CHECKS = Crew(HEALTH, 20, demand=False, begins_s=2.0)


def between(least: float, most: float, chance: random.Random) -> float:
    """Return how long an exchange takes that is neither free nor endless."""
    return chance.uniform(least, most)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_table_of_rules(rule: Rule) -> None:
    assert rule.run().rates == pytest.approx(rule.expected, rel=0.1, abs=0.5)


@pytest.mark.parametrize(
    ("policy", "total"),
    [
        pytest.param(Shares(queue_cap=FOR_THE_QUEUE), 50, id="30 of 50 for the queue"),
        pytest.param(Shares(), 50, id="50, nothing set"),
        pytest.param(Shares(20, 10, 2, FOR_THE_QUEUE), 50, id="every guarantee set"),
        pytest.param(Shares(), 8, id="a small account"),
        pytest.param(Shares(), 3, id="one connection each"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_nobody_waits_longer_than_those_ahead_take_at_its_own_guarantee(
    policy: Shares, total: int, seed: int
) -> None:
    # A viewer, an import and a health check at once, exchanges of 20 to 500 ms.
    outcome = run(
        policy,
        [*VIEWER, IMPORT, CHECKS],
        total=total,
        seconds=120.0,
        warm_up_s=10.0,
        service=lambda chance: between(0.02, 0.5, chance),
        seed=seed,
    )
    assert {wait.workload for wait in outcome.waits} == set(Workload)
    for wait in outcome.waits:
        guarantee = policy.limits(total).entitled[wait.workload]
        assert wait.seconds <= (wait.before / guarantee + 1) * outcome.slowest_s
        if wait.workload is not STREAM or wait.demand:
            # Nobody of its own workload who came later went before it.
            assert wait.before <= wait.ahead
            assert wait.seconds <= (wait.ahead / guarantee + 1) * outcome.slowest_s


def test_under_the_fixed_rule_nobody_waits_longer_than_all_those_ahead_take() -> None:
    outcome = run(
        Fixed(FOR_THE_QUEUE),
        [*VIEWER, IMPORT, CHECKS],
        seconds=60.0,
        warm_up_s=10.0,
        service=lambda chance: between(0.02, 0.5, chance),
    )
    waiting = 41 + 60 + 20
    assert outcome.most_busy == FOR_THE_QUEUE
    longest = max(wait.seconds for wait in outcome.waits)
    assert longest <= (waiting / FOR_THE_QUEUE + 1) * outcome.slowest_s
    assert min(outcome.rates[1:]) > 0


def test_a_health_check_works_at_its_guarantee_beside_everybody_else() -> None:
    outcome = run(Shares(), [*VIEWER, IMPORT, CHECKS], seconds=120.0)
    assert outcome.busy == pytest.approx(50.0)
    assert outcome.health_s == pytest.approx(4.0, rel=0.1)  # one connection's exchanges


# The reservation follows the depth of the queue


class Site:
    """A semaphore of 50 that viewers have filled, and the permits that they hold."""

    def __init__(self, policy: Policy) -> None:
        self.semaphore = ExtendedSemaphore(50, policy)
        self.held: list[Permit] = []
        for _ in range(60):
            self.semaphore.submit(Request(Reservation(STREAM, 1)), self._take)

    def left_to_others_by(self, workload: Workload) -> int:
        return self.semaphore.snapshot().required[workload]

    def _take(self, permit: Permit) -> bool:
        self.held.append(permit)
        return True


def test_what_viewers_must_leave_to_the_queue_follows_its_depth_up_to_its_guarantee() -> None:
    site = Site(Shares(20, 10, 0))
    depth = [site.left_to_others_by(STREAM)]
    waiters = []
    for _ in range(15):
        waiters.append(site.semaphore.submit(Request(Reservation(QUEUE)), lambda permit: True))
        depth.append(site.left_to_others_by(STREAM))
    assert depth == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10, 10, 10, 10, 10]
    for waiter in waiters:
        waiter.cancel()
    assert site.left_to_others_by(STREAM) == 0, "an empty queue reserves nothing"


def test_what_the_queue_has_got_is_reserved_for_it_no_longer() -> None:
    site = Site(Shares(20, 10, 0))
    for _ in range(15):
        site.semaphore.submit(Request(Reservation(QUEUE)), lambda permit: True)
    depth = []
    for permit in site.held[:12]:
        permit.release()
        depth.append(site.left_to_others_by(STREAM))
    assert depth == [9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0, 0]
    assert site.semaphore.snapshot().held[QUEUE] == 10


def test_a_cap_lowers_what_is_reserved_for_the_queue() -> None:
    site = Site(Shares(20, None, 0, queue_cap=3))
    for _ in range(15):
        site.semaphore.submit(Request(Reservation(QUEUE)), lambda permit: True)
    assert site.left_to_others_by(STREAM) == 3


def test_those_whom_their_streams_cap_holds_back_keep_nothing_from_the_queue() -> None:
    semaphore = ExtendedSemaphore(10, Shares(5, 2, 0, max_connections_per_stream=2))
    for _ in range(10):
        semaphore.submit(Request(Reservation(STREAM, 1), demand=False), lambda permit: True)
    for _ in range(10):
        semaphore.submit(Request(Reservation(QUEUE)), lambda permit: True)
    seen = semaphore.snapshot()
    # 8 of the stream wait, and it is owed 3; but it could not take them.
    assert (seen.waiting[STREAM], seen.held[STREAM], seen.held[QUEUE]) == (8, 2, 8)
    assert seen.required[QUEUE] == 0


# The worked example of docs/sharing-connections.md


class Example:
    """50 connections as they come, and who works on them: each asks again when it is done."""

    def __init__(self) -> None:
        self.semaphore = ExtendedSemaphore(50, Shares())
        self.waiters: dict[Workload, list[Waiter]] = {workload: [] for workload in Workload}
        self.held: deque[Permit] = deque()
        self.gone: set[Workload] = set()

    def want(self, workload: Workload, times: int, *, demand: bool = False) -> None:
        for _ in range(times):
            request = Request(Reservation(workload, 1), demand)
            self.waiters[workload].append(self.semaphore.submit(request, self._take))

    def leave(self, workload: Workload) -> None:
        self.gone.add(workload)
        for waiter in self.waiters[workload]:
            waiter.cancel()

    def finish(self, exchanges: int) -> None:
        """Have the oldest exchanges end, one by one."""
        for _ in range(min(exchanges, len(self.held))):
            permit = self.held.popleft()
            permit.release()
            if permit.reservation.workload not in self.gone:
                self.want(permit.reservation.workload, 1, demand=permit.demand)

    def books(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """Return what viewers, queue and checks hold, and what each must leave free."""
        seen = self.semaphore.snapshot()
        held, required = list(seen.held.values()), list(seen.required.values())
        return (held[0], held[1], held[2]), (required[0], required[1], required[2])

    def _take(self, permit: Permit) -> bool:
        self.held.append(permit)
        return True


def test_the_worked_example_for_operators_is_what_happens() -> None:
    example = Example()
    example.want(QUEUE, 100)
    assert example.books() == ((0, 50, 0), (0, 0, 0))
    example.want(STREAM, 1, demand=True)
    assert example.books() == ((0, 50, 0), (0, 1, 0))
    example.finish(1)
    assert example.books() == ((1, 49, 0), (0, 0, 0))
    example.want(STREAM, 60)
    assert example.books() == ((1, 49, 0), (0, 19, 0))
    example.finish(200)
    assert example.books() == ((40, 10, 0), (0, 0, 0))
    example.want(HEALTH, 20)
    assert example.books() == ((40, 10, 0), (1, 1, 0))
    example.finish(100)
    assert example.books() == ((39, 10, 1), (0, 0, 0))
    example.leave(STREAM)
    example.finish(100)
    assert example.books() == ((0, 49, 1), (0, 0, 0))
    example.leave(QUEUE)
    example.finish(100)
    assert example.books() == ((0, 0, 5), (0, 0, 0))
    assert example.semaphore.snapshot().free == 45
