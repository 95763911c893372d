"""How guarantees and caps divide a provider's permits."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import ConfigurationError
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request
from gateway.usenet.shares import Fixed, Policy, Shares
from gateway.usenet.workload import Reservation, Workload

QUEUE, HEALTH = Reservation(Workload.QUEUE), Reservation(Workload.HEALTH)


def viewer(stream: int) -> Reservation:
    return Reservation(Workload.STREAM, stream)


class Site:
    """A semaphore whose clock is moved by hand, and what it has granted, in order."""

    def __init__(self, total: int, policy: Policy) -> None:
        self.now = 0.0
        self.semaphore = ExtendedSemaphore(total, policy, clock=lambda: self.now)
        self.granted: list[Permit] = []

    def ask(self, reservation: Reservation, times: int = 1, *, demand: bool = True) -> None:
        for _ in range(times):
            self.semaphore.submit(Request(reservation, demand), self._take)

    def give_back(self, workload: Workload, times: int = 1) -> None:
        for _ in range(times):
            permit = next(p for p in self.granted if p.reservation.workload is workload and p.held)
            permit.release()

    def held(self) -> tuple[int, int, int]:
        held = self.semaphore.snapshot().held
        return (held[Workload.STREAM], held[Workload.QUEUE], held[Workload.HEALTH])

    def _take(self, permit: Permit) -> bool:
        self.granted.append(permit)
        return True


# The limits


@pytest.mark.parametrize(
    ("total", "guarantee", "cap"),
    [
        (0, (0, 0, 0), (0, 0, 0)),
        (1, (1, 0, 0), (1, 1, 1)),
        (2, (1, 1, 0), (2, 2, 1)),
        (3, (1, 1, 1), (3, 3, 1)),
        (4, (1, 1, 1), (4, 4, 1)),
        (8, (3, 1, 1), (8, 8, 1)),
        (20, (8, 4, 1), (20, 20, 2)),
        (50, (20, 10, 1), (50, 50, 5)),
    ],
)
def test_the_defaults_follow_the_total(
    total: int, guarantee: tuple[int, int, int], cap: tuple[int, int, int]
) -> None:
    limits = Shares().limits(total)
    assert (limits.guarantee, limits.cap) == (guarantee, cap)


@pytest.mark.parametrize(
    ("total", "guarantee"),
    [
        (50, (20, 10, 2)),
        (32, (20, 10, 2)),
        (31, (20, 10, 1)),
        (25, (20, 4, 1)),
        (8, (6, 1, 1)),
        (3, (1, 1, 1)),
        (2, (1, 1, 0)),
        (1, (1, 0, 0)),
        (0, (0, 0, 0)),
    ],
)
def test_a_shrinking_total_cuts_health_then_queue_then_stream_and_nobody_to_nothing_before_all(
    total: int, guarantee: tuple[int, int, int]
) -> None:
    assert Shares(20, 10, 2).limits(total).guarantee == guarantee


def test_a_given_guarantee_is_met_before_the_defaults_of_the_others() -> None:
    assert Shares(stream_guarantee=45).limits(50).guarantee == (45, 4, 1)
    assert Shares(queue_guarantee=48).limits(50).guarantee == (1, 48, 1)
    assert Shares(stream_guarantee=0).limits(50).guarantee == (0, 10, 1)


def test_a_guarantee_for_health_raises_its_default_cap() -> None:
    assert Shares(health_guarantee=12).limits(50).cap[Workload.HEALTH] == 12


@given(
    total=st.integers(0, 60),
    guarantees=st.tuples(*[st.one_of(st.none(), st.integers(0, 60))] * 3),
)
def test_guarantees_never_add_up_to_more_than_there_is(
    total: int, guarantees: tuple[int | None, int | None, int | None]
) -> None:
    limits = Shares(*guarantees).limits(total)
    assert sum(limits.guarantee) <= total
    assert min(limits.guarantee) >= 0
    assert max(limits.cap) <= total


def test_guarantees_that_no_provider_can_meet_are_refused_with_the_sum() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Shares(stream_guarantee=40, queue_guarantee=15).check({"main": 50, "block": 8})
    assert str(caught.value) == (
        "GATEWAY_STREAM_GUARANTEE=40 + GATEWAY_QUEUE_GUARANTEE=15 = 55, but the largest provider, "
        "'main', has 50 connections: lower the guarantees to 50 together"
    )
    Shares(stream_guarantee=35, queue_guarantee=15).check({"main": 50, "block": 8})
    Shares(stream_guarantee=35).check({})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shares(stream_guarantee=-1), "GATEWAY_STREAM_GUARANTEE=-1 is too small: write 0"),
        (lambda: Shares(health_cap=0), "GATEWAY_HEALTH_CAP=0 is too small: write 1"),
        (lambda: Shares(max_connections_per_stream=0), "GATEWAY_MAX_CONNECTIONS_PER_STREAM=0"),
        (
            lambda: Shares(queue_guarantee=12, queue_cap=10),
            "GATEWAY_QUEUE_GUARANTEE=12 exceeds GATEWAY_MAX_QUEUE_CONNECTIONS=10",
        ),
        (
            lambda: Shares(health_guarantee=3, health_cap=2),
            "GATEWAY_HEALTH_GUARANTEE=3 exceeds GATEWAY_HEALTH_CAP=2",
        ),
        (lambda: Fixed(0), "GATEWAY_MAX_QUEUE_CONNECTIONS=0 is too small: write 1"),
    ],
)
def test_limits_that_contradict_themselves_are_refused(
    make: Callable[[], Policy], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=message):
        make()


# Who is served


def test_one_workload_alone_has_everything_that_its_cap_allows() -> None:
    site = Site(50, Shares())
    site.ask(QUEUE, 60)
    assert site.held() == (0, 50, 0)
    assert site.semaphore.snapshot().required[Workload.QUEUE] == 0


def test_the_queue_leaves_viewers_their_share() -> None:
    site = Site(10, Shares(stream_guarantee=4, queue_guarantee=2, health_guarantee=1))
    site.ask(QUEUE, 30)
    site.ask(viewer(1), 20)
    assert site.semaphore.snapshot().required[Workload.QUEUE] == 4
    site.give_back(Workload.QUEUE, 4)
    assert site.held() == (4, 6, 0)


def test_viewers_leave_the_queue_its_share() -> None:
    site = Site(10, Shares(stream_guarantee=4, queue_guarantee=2, health_guarantee=1))
    site.ask(viewer(1), 30)
    site.ask(QUEUE, 20)
    site.ask(HEALTH, 20)
    site.give_back(Workload.STREAM, 8)
    assert site.held() == (7, 2, 1)


def test_two_who_are_both_owed_do_not_wait_for_each_other() -> None:
    site = Site(1, Shares(stream_guarantee=1))
    site.ask(HEALTH)
    site.ask(viewer(1))
    site.ask(QUEUE)
    site.give_back(Workload.HEALTH)
    assert site.held() == (1, 0, 0)


def test_waiters_whom_their_cap_holds_back_keep_no_permit_idle() -> None:
    site = Site(10, Shares(stream_guarantee=2, queue_guarantee=6, queue_cap=6))
    site.ask(QUEUE, 30)
    site.ask(viewer(1), 30)
    assert site.held() == (4, 6, 0)
    assert site.semaphore.snapshot().free == 0


def test_a_blocked_viewer_comes_before_read_ahead_and_both_before_the_queue() -> None:
    site = Site(1, Shares(stream_guarantee=1, queue_guarantee=0, health_guarantee=0))
    site.ask(HEALTH)
    site.ask(QUEUE)
    site.ask(viewer(1), demand=False)
    site.ask(viewer(2))
    for _ in range(3):
        site.granted[-1].release()
    assert [(p.reservation.workload.name, p.demand) for p in site.granted] == [
        ("HEALTH", True),
        ("STREAM", True),
        ("STREAM", False),
        ("QUEUE", True),
    ]


def test_the_stream_that_holds_fewest_is_served_first() -> None:
    site = Site(3, Shares(stream_guarantee=3, max_connections_per_stream=3))
    site.ask(viewer(1), 5)
    site.ask(viewer(2), 1)
    site.give_back(Workload.STREAM)
    assert site.granted[-1].reservation.stream == 2


def test_who_has_waited_for_the_ageing_time_is_served_by_arrival() -> None:
    site = Site(3, Shares(stream_guarantee=3, aging_s=2.0))
    site.ask(viewer(1), 4)
    site.ask(viewer(2))
    site.now = 1.9
    site.give_back(Workload.STREAM)
    assert site.granted[-1].reservation.stream == 2
    site.ask(viewer(3))
    site.now = 2.0
    site.give_back(Workload.STREAM)
    assert site.granted[-1].reservation.stream == 1


def test_age_does_not_bring_read_ahead_before_a_blocked_viewer_nor_queue_before_stream() -> None:
    site = Site(1, Shares(stream_guarantee=1, queue_guarantee=0))
    site.ask(viewer(1))
    site.ask(QUEUE)
    site.ask(viewer(2), demand=False)
    site.now = 100.0
    site.ask(viewer(3))
    site.give_back(Workload.STREAM)
    assert site.granted[-1].reservation.stream == 3
    site.give_back(Workload.STREAM)
    assert site.granted[-1].reservation.stream == 2


def test_the_read_ahead_of_one_stream_is_capped_by_the_streams_with_work() -> None:
    site = Site(8, Shares())
    site.ask(viewer(1), 20, demand=False)
    assert site.held() == (8, 0, 0)
    site.ask(viewer(2), 20, demand=False)
    site.give_back(Workload.STREAM, 4)
    held = [p.reservation.stream for p in site.granted if p.held]
    assert (held.count(1), held.count(2)) == (4, 4)


def test_a_blocked_viewer_is_not_held_back_by_the_cap_on_its_read_ahead() -> None:
    site = Site(4, Shares(max_connections_per_stream=1))
    site.ask(viewer(1), 3, demand=False)
    assert site.held() == (1, 0, 0)
    site.ask(viewer(1), 3)
    assert site.held() == (4, 0, 0)


def test_a_stream_that_leaves_makes_room_for_the_read_ahead_of_the_others() -> None:
    site = Site(4, Shares())
    site.ask(viewer(1), 4, demand=False)
    site.ask(viewer(2), 1)
    site.give_back(Workload.STREAM, 4)
    assert site.semaphore.snapshot().free == 3
    site.ask(viewer(1), 4, demand=False)
    assert site.held() == (3, 0, 0)
    site.give_back(Workload.STREAM)  # of viewer 2, who asks for nothing more
    assert site.held() == (4, 0, 0)


def test_a_waiting_stream_that_gives_up_makes_room_for_the_read_ahead_of_the_others() -> None:
    site = Site(6, Shares())
    site.ask(QUEUE, 3)
    others = [
        site.semaphore.submit(Request(viewer(stream), required_available=5), lambda permit: True)
        for stream in (2, 3)
    ]
    site.ask(viewer(1), 4, demand=False)
    assert site.held() == (2, 3, 0)
    assert others[0].cancel()
    assert site.held() == (3, 3, 0)


def test_health_checks_have_their_guarantee_and_borrow_only_while_no_viewer_is_blocked() -> None:
    site = Site(20, Shares(health_guarantee=1, health_cap=6))
    site.ask(viewer(1), 20)
    site.ask(viewer(2), 1)
    site.ask(HEALTH, 20)
    site.give_back(Workload.STREAM, 2)
    assert site.held() == (19, 0, 1)
    site.give_back(Workload.STREAM, 10)
    assert site.held() == (9, 0, 6)  # its cap; nobody else waits
    assert site.semaphore.snapshot().free == 5


def test_health_borrows_nothing_while_a_viewer_waits_for_more_than_is_free() -> None:
    site = Site(10, Shares(health_guarantee=1, health_cap=6))
    site.ask(QUEUE, 7)
    viewing = site.semaphore.submit(Request(viewer(1), required_available=5), lambda permit: True)
    site.ask(HEALTH, 5)
    assert site.held() == (0, 7, 1)
    viewing.cancel()
    assert site.held() == (0, 7, 3)


def test_a_threshold_is_never_more_than_could_be_met() -> None:
    site = Site(2, Shares(stream_guarantee=2, queue_guarantee=0, health_guarantee=0))
    site.ask(QUEUE, 3)
    site.ask(viewer(1), 2)
    assert site.semaphore.snapshot().required[Workload.QUEUE] == 1


def test_a_hundred_streams_share_five_connections_without_one_starving() -> None:
    site = Site(5, Shares())
    for stream in range(1, 101):
        site.ask(viewer(stream), 2)
        site.ask(viewer(stream), 2, demand=False)
    for _ in range(395):
        site.give_back(Workload.STREAM)
    assert len(site.granted) == 400
    # the first of all found nobody before it and took two for read-ahead
    blocked = [permit for permit in site.granted[:202] if permit.demand]
    assert len(blocked) == 200
    assert {permit.reservation.stream for permit in blocked} == set(range(1, 101))


def test_fixed_is_first_come_first_served_over_everybody() -> None:
    site = Site(3, Fixed(2))
    site.ask(QUEUE)
    site.ask(HEALTH)
    assert site.held() == (0, 1, 1)
    site.ask(HEALTH)
    site.ask(viewer(1))
    site.give_back(Workload.QUEUE)
    site.give_back(Workload.HEALTH)
    assert site.held() == (1, 0, 1)


@pytest.mark.parametrize(("limit", "total", "usable"), [(30, 50, 30), (None, 50, 50), (70, 50, 50)])
def test_fixed_leaves_unused_what_exceeds_the_queues_connections(
    limit: int | None, total: int, usable: int
) -> None:
    site = Site(total, Fixed(limit))
    site.ask(viewer(1), 100)
    assert site.semaphore.snapshot().free == total - usable
    assert site.semaphore.snapshot().required[Workload.STREAM] == total - usable
