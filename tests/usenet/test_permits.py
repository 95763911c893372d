"""What the semaphore promises, one by one and against a reference model."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import count

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from gateway.errors import PermitTimeout
from gateway.usenet.handover import Permit as PermitByHand
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request, Waiter
from gateway.usenet.shares import Fixed, Policy, Shares
from gateway.usenet.workload import Reservation, Workload, scope

STREAM, QUEUE, HEALTH = (Reservation(workload) for workload in Workload)


class Hand:
    """A receiver that keeps what it is granted, in order."""

    def __init__(self) -> None:
        self.permits: list[Permit] = []

    def __call__(self, permit: Permit) -> bool:
        self.permits.append(permit)
        return True


def sums_up(semaphore: ExtendedSemaphore) -> bool:
    seen = semaphore.snapshot()
    return seen.free + sum(seen.held.values()) == seen.total


def note(order: list[int], number: int) -> Callable[[Permit], bool]:
    """Return a receiver that writes its number down."""

    def granted(permit: Permit) -> bool:
        order.append(number)
        return True

    return granted


# Thresholds


def test_a_permit_is_granted_only_while_more_are_free_than_must_stay_free() -> None:
    semaphore = ExtendedSemaphore(50)
    held = [semaphore.acquire(20, reservation=QUEUE) for _ in range(30)]
    assert semaphore.snapshot().free == 20
    assert semaphore.try_acquire(20, reservation=QUEUE) is None
    one = semaphore.try_acquire(19, reservation=QUEUE)
    assert one is not None
    one.release()
    held[0].release()
    assert semaphore.try_acquire(20, reservation=QUEUE) is not None


def test_whoever_came_first_is_served_first_skipping_those_whose_threshold_is_not_met() -> None:
    semaphore = ExtendedSemaphore(3)
    held = [semaphore.acquire() for _ in range(3)]
    order: list[int] = []
    for arrival, number in enumerate((2, 0, 0)):
        semaphore.submit(Request(QUEUE, required_available=number), note(order, arrival))
    held[0].release()
    held[1].release()
    assert order == [1, 2]
    held[2].release()
    assert order == [1, 2]


@pytest.mark.parametrize(("total", "number"), [(5, 5), (5, 6), (5, -1), (0, 1), (1, 1)])
def test_a_threshold_that_could_never_be_met_is_refused_with_the_reason(
    total: int, number: int
) -> None:
    semaphore = ExtendedSemaphore(total)
    with pytest.raises(ValueError, match=rf"required_available={number} of a total of {total}"):
        semaphore.acquire(number)
    with pytest.raises(ValueError, match=rf"required_available={number} of a total of {total}"):
        semaphore.submit(Request(QUEUE, required_available=number), Hand())
    assert sum(semaphore.snapshot().waiting.values()) == 0


def test_a_promotion_to_an_impossible_threshold_is_refused_and_the_waiter_goes_on() -> None:
    semaphore = ExtendedSemaphore(1)
    held, hand = semaphore.acquire(), Hand()
    waiter = semaphore.submit(Request(QUEUE), hand)
    with pytest.raises(ValueError, match="cannot be met"):
        waiter.promote(Request(STREAM, required_available=1))
    held.release()
    assert len(hand.permits) == 1


def test_a_semaphore_of_none_lets_everybody_wait_until_it_grows() -> None:
    semaphore, hand = ExtendedSemaphore(0, Shares()), Hand()
    semaphore.submit(Request(STREAM), hand)
    semaphore.submit(Request(QUEUE, required_available=0), hand)
    assert not hand.permits
    semaphore.resize(2)
    assert len(hand.permits) == 2


def test_a_negative_total_is_refused() -> None:
    with pytest.raises(ValueError, match="total=-1"):
        ExtendedSemaphore(-1)
    with pytest.raises(ValueError, match="total=-2"):
        ExtendedSemaphore(3).resize(-2)


def test_raising_the_total_wakes_whoever_can_now_be_served() -> None:
    semaphore, hand = ExtendedSemaphore(1), Hand()
    semaphore.acquire()
    for _ in range(3):
        semaphore.submit(Request(QUEUE), hand)
    semaphore.resize(3)
    assert len(hand.permits) == 2
    assert semaphore.snapshot().free == 0


def test_lowering_the_total_below_what_is_held_grants_nothing_until_enough_came_back() -> None:
    semaphore, hand = ExtendedSemaphore(3), Hand()
    held = [semaphore.acquire() for _ in range(3)]
    semaphore.submit(Request(QUEUE), hand)
    semaphore.resize(1)
    assert semaphore.snapshot().free == -2
    held[0].release()
    held[1].release()
    assert not hand.permits
    held[2].release()
    assert len(hand.permits) == 1


def test_a_given_number_beyond_a_shrunk_total_waits_for_the_total_to_grow() -> None:
    semaphore, hand = ExtendedSemaphore(10), Hand()
    held = [semaphore.acquire() for _ in range(10)]
    semaphore.submit(Request(QUEUE, required_available=8), hand)
    semaphore.resize(5)
    for permit in held:
        permit.release()
    assert not hand.permits
    semaphore.resize(9)
    assert len(hand.permits) == 1


# Giving back


def test_a_second_release_does_nothing_and_is_counted() -> None:
    semaphore = ExtendedSemaphore(1)
    permit = semaphore.acquire()
    permit.release()
    permit.release()
    permit.release()
    assert (semaphore.snapshot().free, semaphore.snapshot().double_releases) == (1, 2)


def test_releasing_what_was_never_granted_is_refused() -> None:
    semaphore = ExtendedSemaphore(1)
    with pytest.raises(RuntimeError, match="no semaphore has granted"):
        PermitByHand(semaphore, QUEUE, True, 0.0).release()
    assert sums_up(semaphore)


def test_a_permit_comes_back_at_the_end_of_its_block_even_after_an_error() -> None:
    semaphore = ExtendedSemaphore(1)
    permit = semaphore.acquire()
    with pytest.raises(KeyError), permit:
        raise KeyError
    assert not permit.held
    assert semaphore.snapshot().free == 1


def test_what_its_receiver_declines_goes_to_the_next_who_waits() -> None:
    semaphore, hand = ExtendedSemaphore(1), Hand()
    held = semaphore.acquire()
    semaphore.submit(Request(QUEUE), lambda permit: False)
    semaphore.submit(Request(QUEUE), hand)
    held.release()
    assert len(hand.permits) == 1
    assert semaphore.snapshot().declined == 1


def test_a_receiver_that_fails_loses_nothing_and_disturbs_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    semaphore, hand = ExtendedSemaphore(1), Hand()
    held = semaphore.acquire()

    def fail(permit: Permit) -> bool:
        raise KeyError("receiver")

    semaphore.submit(Request(QUEUE), fail)
    semaphore.submit(Request(QUEUE), hand)
    with caplog.at_level(logging.ERROR):
        held.release()
    assert len(hand.permits) == 1
    assert "a receiver of" in caplog.text


def test_an_interrupt_inside_a_receiver_is_raised_after_the_others_were_served() -> None:
    semaphore, hand = ExtendedSemaphore(0), Hand()

    def interrupted(permit: Permit) -> bool:
        raise KeyboardInterrupt

    semaphore.submit(Request(QUEUE), interrupted)
    semaphore.submit(Request(QUEUE), hand)
    with pytest.raises(KeyboardInterrupt):
        semaphore.resize(2)
    assert len(hand.permits) == 1
    assert semaphore.snapshot().free == 1


def test_a_receiver_may_release_and_ask_again_from_within_without_end() -> None:
    # 5,000 deep: callbacks that nest would end in RecursionError
    semaphore, served = ExtendedSemaphore(1), count()

    def again(permit: Permit) -> bool:
        permit.release()
        if next(served) < 5000:
            semaphore.submit(Request(QUEUE), again)
        return True

    semaphore.submit(Request(QUEUE), again)
    assert next(served) == 5001
    assert semaphore.snapshot().free == 1


def test_five_hundred_who_decline_in_a_row_cost_no_stack() -> None:
    semaphore = ExtendedSemaphore(1)
    held = semaphore.acquire()
    for _ in range(5000):
        semaphore.submit(Request(QUEUE), lambda permit: False)
    held.release()
    assert semaphore.snapshot().free == 1
    assert semaphore.snapshot().declined == 5000


def test_the_receiver_is_called_outside_of_the_lock() -> None:
    semaphore = ExtendedSemaphore(1)
    seen: list[int] = []

    def look(permit: Permit) -> bool:
        thread = threading.Thread(target=lambda: seen.append(semaphore.snapshot().free))
        thread.start()
        thread.join(timeout=10)
        return True

    semaphore.submit(Request(QUEUE), look)
    assert seen == [0]


# Waiting


def test_a_blocked_acquire_gets_what_is_released() -> None:
    calls, in_line = count(1), threading.Event()

    def clock() -> float:
        # read by the thread first at its start, then with the lock held, before it enters its line
        if threading.current_thread() is not threading.main_thread() and next(calls) == 2:
            in_line.set()
        return 0.0

    semaphore = ExtendedSemaphore(1, clock=clock)
    held = semaphore.acquire(reservation=STREAM)
    with ThreadPoolExecutor(1) as pool:
        blocked = pool.submit(semaphore.acquire, reservation=QUEUE)
        assert in_line.wait(30)
        held.release()
        assert blocked.result(30).reservation == QUEUE
    assert semaphore.snapshot().held[Workload.QUEUE] == 1


def test_a_time_out_says_how_long_how_many_and_takes_nothing_with_it() -> None:
    semaphore = ExtendedSemaphore(2)
    held = [semaphore.acquire(), semaphore.acquire()]
    semaphore.submit(Request(QUEUE), Hand())
    deadline = semaphore._clock() + 0.01
    with pytest.raises(PermitTimeout, match=r"no permit within 0\.0\d+ s: 0 of 2 free, 1 others"):
        semaphore.acquire(deadline=deadline)
    assert sum(semaphore.snapshot().waiting.values()) == 1
    held[0].release()
    held[1].release()
    assert semaphore.snapshot().free == 1


def test_a_deadline_in_the_past_still_takes_what_is_free_now() -> None:
    semaphore = ExtendedSemaphore(1, clock=lambda: 100.0)
    with semaphore.acquire(deadline=5.0), pytest.raises(PermitTimeout):
        semaphore.acquire(deadline=5.0)


def test_trying_never_waits_and_never_overtakes_a_threshold() -> None:
    semaphore = ExtendedSemaphore(2)
    first = semaphore.try_acquire(1, reservation=STREAM)
    assert first is not None
    assert semaphore.try_acquire(1, reservation=STREAM) is None
    assert sum(semaphore.snapshot().waiting.values()) == 0


def test_a_waiter_that_gives_up_takes_nothing_with_it() -> None:
    semaphore, hand = ExtendedSemaphore(1), Hand()
    held = semaphore.acquire()
    waiter = semaphore.submit(Request(QUEUE), hand)
    assert waiter.cancel()
    assert waiter.cancel()
    held.release()
    assert not hand.permits
    assert semaphore.snapshot().free == 1


def test_giving_up_after_the_grant_says_so_and_leaves_the_permit_with_its_receiver() -> None:
    semaphore, hand = ExtendedSemaphore(1), Hand()
    waiter = semaphore.submit(Request(QUEUE), hand)
    assert not waiter.cancel()
    assert hand.permits[0].held


def test_a_waiter_that_gives_up_lets_go_of_its_receiver() -> None:
    semaphore = ExtendedSemaphore(0)
    waiter = semaphore.submit(Request(QUEUE), hand := Hand())
    waiter.cancel()
    assert waiter.granted is not hand


# Races, each driven to the instant itself: the receiver's callback runs between grant and return


def test_race_granted_in_the_same_instant_as_the_time_out_the_permit_is_returned_not_lost() -> None:
    now = 0.0
    semaphore = ExtendedSemaphore(1, clock=lambda: now)
    held = semaphore.acquire()
    cancel = Waiter.cancel

    def release_first(waiter: Waiter) -> bool:
        held.release()  # comes between the time-out and the cancel
        return cancel(waiter)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Waiter, "cancel", release_first)
        permit = semaphore.acquire(deadline=0.0)
    assert permit.held
    permit.release()
    assert semaphore.snapshot().free == 1


def test_race_interrupted_in_the_same_instant_as_the_grant_the_permit_comes_back() -> None:
    semaphore = ExtendedSemaphore(1)
    held = semaphore.acquire()
    submit = ExtendedSemaphore._submit

    def interrupted(self: ExtendedSemaphore, waiter: Waiter) -> None:
        submit(self, waiter)
        held.release()  # grants it
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExtendedSemaphore, "_submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            semaphore.acquire()
    assert semaphore.snapshot().free == 1


def test_race_interrupted_while_waiting_it_leaves_the_line() -> None:
    semaphore = ExtendedSemaphore(1)
    held = semaphore.acquire()
    submit = ExtendedSemaphore._submit

    def interrupted(self: ExtendedSemaphore, waiter: Waiter) -> None:
        submit(self, waiter)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ExtendedSemaphore, "_submit", interrupted)
        with pytest.raises(KeyboardInterrupt):
            semaphore.acquire()
    held.release()
    assert semaphore.snapshot().free == 1
    assert sum(semaphore.snapshot().waiting.values()) == 0


def test_race_cancelled_between_grant_and_callback_the_receiver_declines_and_nothing_is_lost() -> (
    None
):
    semaphore = ExtendedSemaphore(0)
    wanted, answers = True, []

    def gives_up_on_the_other(permit: Permit) -> bool:
        nonlocal wanted
        wanted = False
        answers.append(second.cancel())  # already granted, not yet called
        return True

    semaphore.submit(Request(QUEUE), gives_up_on_the_other)
    second = semaphore.submit(Request(QUEUE), lambda permit: wanted)
    semaphore.resize(2)
    assert answers == [False]
    assert semaphore.snapshot().free == 1


def test_race_promoted_after_the_grant_nothing_changes() -> None:
    semaphore, hand = ExtendedSemaphore(1), Hand()
    waiter = semaphore.submit(Request(QUEUE), hand)
    assert not waiter.promote(Request(STREAM))
    assert semaphore.snapshot().held[Workload.QUEUE] == 1
    hand.permits[0].release()
    assert sums_up(semaphore)


def test_race_released_by_its_receiver_before_it_declines_counts_as_one_release() -> None:
    semaphore = ExtendedSemaphore(1)

    def both(permit: Permit) -> bool:
        permit.release()
        return False

    semaphore.submit(Request(QUEUE), both)
    seen = semaphore.snapshot()
    assert (seen.free, seen.double_releases) == (1, 0)


# Extending


def test_a_permit_is_extended_while_nobody_else_could_have_it() -> None:
    semaphore = ExtendedSemaphore(2, Fixed(1))
    permit = semaphore.acquire(None, reservation=QUEUE)
    assert permit.extend()
    semaphore.submit(Request(STREAM), Hand())
    assert not permit.extend()
    assert semaphore.snapshot().held[Workload.QUEUE] == 1


def test_a_waiter_who_could_not_take_it_does_not_hinder_an_extension() -> None:
    semaphore = ExtendedSemaphore(3)
    permits = [semaphore.acquire() for _ in range(3)]
    semaphore.submit(Request(QUEUE, required_available=2), Hand())
    assert permits[0].extend()


def test_no_extension_while_more_is_held_than_there_is_nor_after_the_release() -> None:
    semaphore = ExtendedSemaphore(2)
    first, _second = semaphore.acquire(), semaphore.acquire()
    semaphore.resize(1)
    assert not first.extend()
    first.release()
    assert not first.extend()
    assert sums_up(semaphore)


# Who asks


def test_who_asks_is_taken_from_the_context_when_not_given() -> None:
    semaphore = ExtendedSemaphore(2)
    with scope(Reservation(Workload.STREAM, 7)):
        assert semaphore.acquire().reservation == Reservation(Workload.STREAM, 7)
        permit = semaphore.try_acquire()
    assert permit is not None
    assert permit.reservation == Reservation(Workload.STREAM, 7)
    assert semaphore.snapshot().unattributed == 0


def test_asked_without_a_reservation_it_is_health_and_counted() -> None:
    semaphore, hand = ExtendedSemaphore(4), Hand()
    assert semaphore.acquire().reservation.workload is Workload.HEALTH
    assert semaphore.try_acquire() is not None
    semaphore.submit(Request(None), hand)
    assert hand.permits[0].reservation.workload is Workload.HEALTH
    assert semaphore.snapshot().held[Workload.HEALTH] == 3
    assert semaphore.snapshot().unattributed == 3


def test_a_permit_says_for_whom_it_is_and_how_long_it_was_waited_for() -> None:
    now = 10.0
    semaphore, hand = ExtendedSemaphore(1, clock=lambda: now), Hand()
    held = semaphore.acquire()
    semaphore.submit(Request(Reservation(Workload.STREAM, 3), demand=False), hand)
    now = 12.5
    held.release()
    (permit,) = hand.permits
    assert (permit.reservation.stream, permit.demand, permit.waited_s) == (3, False, 2.5)


def test_five_hundred_queue_fetches_wait_and_a_viewer_asks_for_the_last_of_them() -> None:
    semaphore = ExtendedSemaphore(5, Shares())
    held = [semaphore.acquire(None, reservation=QUEUE) for _ in range(5)]
    order: list[int] = []
    waiters = [semaphore.submit(Request(QUEUE), note(order, number)) for number in range(500)]
    assert waiters[-1].promote(Request(Reservation(Workload.STREAM, 1)))
    held[0].release()
    held[1].release()
    assert order == [499, 0]


def test_a_fetch_that_sinks_again_stands_where_it_stood() -> None:
    semaphore = ExtendedSemaphore(1, Shares())
    held = semaphore.acquire(None, reservation=STREAM)
    order: list[int] = []
    waiters = [semaphore.submit(Request(QUEUE), note(order, number)) for number in range(5)]
    waiters[2].promote(Request(STREAM))
    waiters[2].promote(Request(QUEUE))
    held.release()
    semaphore.resize(5)
    assert order == [0, 1, 2, 3, 4]


# The reference model: the rules as they are written down, over plain lists, nothing clever


@dataclass
class Asked:
    name: int
    request: Request
    since: float
    declines: bool = False

    @property
    def workload(self) -> Workload:
        return self.request.reservation.workload if self.request.reservation else Workload.HEALTH

    @property
    def stream(self) -> int:
        return self.request.reservation.stream if self.request.reservation else 0


@dataclass
class Reference:
    total: int
    policy: Policy
    aging_s: float
    per_stream: int | None
    now: float = 0.0
    waiting: list[Asked] = field(default_factory=list)
    held: list[Asked] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.total - len(self.held)

    def held_by(self, workload: Workload) -> int:
        return sum(one.workload == workload for one in self.held)

    def entitled(self, workload: Workload) -> int:
        assert isinstance(self.policy, Shares)
        limits = self.policy.limits(self.total)
        return min(limits.guarantee[workload], limits.cap[workload])

    def read_ahead(self, stream: int) -> int:
        return sum(
            one.workload == Workload.STREAM and one.stream == stream and not one.request.demand
            for one in self.held
        )

    def read_ahead_cap(self) -> int:
        if self.per_stream is not None:
            return self.per_stream
        with_work = {
            one.stream for one in self.held + self.waiting if one.workload == Workload.STREAM
        }
        return max(1, -(-self.total // max(1, len(with_work))))

    def caps_admit(self, asked: Asked) -> bool:
        """Whether the workload's cap and the stream's cap admit it now."""
        if not isinstance(self.policy, Shares):
            return True
        if self.held_by(asked.workload) >= self.policy.limits(self.total).cap[asked.workload]:
            return False
        if asked.workload == Workload.STREAM and not asked.request.demand:
            return self.read_ahead(asked.stream) < self.read_ahead_cap()
        if asked.workload == Workload.HEALTH and not self.is_owed(Workload.HEALTH):
            return not any(
                one.workload == Workload.STREAM and one.request.demand for one in self.waiting
            )
        return True

    def is_owed(self, workload: Workload) -> bool:
        return self.held_by(workload) < self.entitled(workload)

    def threshold(self, workload: Workload) -> int:
        if isinstance(self.policy, Fixed):
            return self.policy.required_available(_Total(self.total), workload)  # type: ignore[arg-type]
        if self.is_owed(workload):
            return 0
        owed = 0
        for other in Workload:
            if other == workload or not self.is_owed(other):
                continue
            room: dict[int, int] = {}
            eligible = 0
            for one in self.waiting:
                if one.workload != other or one.request.required_available is not None:
                    continue
                if not self.caps_admit(one):
                    continue
                if one.workload == Workload.STREAM and not one.request.demand:
                    cap = self.read_ahead_cap() - self.read_ahead(one.stream)
                    room.setdefault(one.stream, cap)
                    if room[one.stream] == 0:
                        continue
                    room[one.stream] -= 1
                eligible += 1
            owed += min(eligible, self.entitled(other) - self.held_by(other))
        return max(0, min(owed, self.total - 1))

    def is_eligible(self, asked: Asked) -> bool:
        if asked.request.required_available is not None:
            return self.free > asked.request.required_available
        return self.caps_admit(asked) and self.free > self.threshold(asked.workload)

    def key(self, asked: Asked) -> tuple[object, ...]:
        if not isinstance(self.policy, Shares):
            return (asked.name,)
        blocked = asked.workload == Workload.STREAM and asked.request.demand
        aged = asked.since <= self.now - self.aging_s
        holds = sum(
            one.workload == asked.workload and one.stream == asked.stream for one in self.held
        )
        return (
            not self.is_owed(asked.workload),
            not blocked,
            asked.workload,
            not asked.request.demand,
            -1 if aged else holds,
            asked.name,
        )

    def grant(self) -> list[Asked]:
        granted = []
        while self.free > 0 and (able := [one for one in self.waiting if self.is_eligible(one)]):
            one = min(able, key=self.key)
            self.waiting.remove(one)
            self.held.append(one)
            granted.append(one)
        return granted

    def settle(self, first: list[Asked] | None = None) -> list[int]:
        """Grant, let those decline who decline; return the names in the order of delivery."""
        pending = deque(self.grant() if first is None else first)
        delivered = []
        while pending:
            one = pending.popleft()
            delivered.append(one.name)
            if one.declines:
                self.held.remove(one)
                pending.extend(self.grant())
        return delivered


@dataclass
class _Total:
    total: int


RESERVATIONS = st.one_of(
    st.builds(Reservation, st.sampled_from(Workload), st.integers(0, 3)), st.none()
)
LIMIT = st.one_of(st.none(), st.integers(0, 6))
CAP = st.one_of(st.none(), st.integers(1, 6))


@st.composite
def policies(draw: st.DrawFn) -> tuple[Policy, int | None]:
    """Draw a policy, and what it allows one stream to read ahead."""
    caps, per_stream = draw(st.tuples(CAP, CAP)), draw(CAP)
    if draw(st.booleans()):
        return Fixed(draw(CAP)), per_stream
    stream, queue, health = draw(st.tuples(LIMIT, LIMIT, LIMIT))
    # the constructor refuses a guarantee above its own cap
    queue = queue if queue is None or caps[0] is None else min(queue, caps[0])
    health = health if health is None or caps[1] is None else min(health, caps[1])
    chosen = Shares(stream, queue, health, *caps, max_connections_per_stream=per_stream)
    return chosen, per_stream


class SemaphoreMachine(RuleBasedStateMachine):
    """Every step is done by the semaphore and by the model; both must deliver the same."""

    @initialize(total=st.integers(0, 8), chosen=st.one_of(policies(), st.none()))
    def start(self, total: int, chosen: tuple[Policy, int | None] | None) -> None:
        policy, per_stream = chosen or (Fixed(), None)
        self.model = Reference(total, policy, 2.0, per_stream)
        self.semaphore = ExtendedSemaphore(
            total, policy if chosen else None, clock=lambda: self.model.now
        )
        self.names = count()
        self.delivered: list[int] = []
        self.permits: dict[int, Permit] = {}
        self.waiters: dict[int, Waiter] = {}
        self.released: list[Permit] = []
        self.unattributed = 0
        self.double_releases = 0

    def request(self, reservation: Reservation | None, demand: bool, number: int | None) -> Request:
        if number is not None:
            number = number % self.model.total if self.model.total else 0
        self.unattributed += reservation is None
        return Request(reservation, demand, number)

    def check(self, expected: list[int]) -> None:
        assert self.delivered == expected
        self.delivered.clear()

    @rule(
        reservation=RESERVATIONS,
        demand=st.booleans(),
        number=st.one_of(st.none(), st.none(), st.integers(0, 7)),
        declines=st.sampled_from([False, False, False, True]),
    )
    def submit(
        self, reservation: Reservation | None, demand: bool, number: int | None, declines: bool
    ) -> None:
        name = next(self.names)

        def granted(permit: Permit) -> bool:
            self.delivered.append(name)
            if not declines:
                self.permits[name] = permit
            return not declines

        request = self.request(reservation, demand, number)
        self.model.waiting.append(Asked(name, request, self.model.now, declines))
        expected = self.model.settle()
        self.waiters[name] = self.semaphore.submit(request, granted)
        self.check(expected)

    @rule(
        reservation=RESERVATIONS,
        demand=st.booleans(),
        number=st.one_of(st.none(), st.integers(0, 7)),
    )
    def try_acquire(
        self, reservation: Reservation | None, demand: bool, number: int | None
    ) -> None:
        name = next(self.names)
        request = self.request(reservation, demand, number)
        asked = Asked(name, request, self.model.now)
        self.model.waiting.append(asked)
        granted = self.model.grant()
        if asked in self.model.waiting:
            self.model.waiting.remove(asked)
            granted += self.model.grant()
        expected = [n for n in self.model.settle(granted) if n != name]
        permit = self.semaphore.try_acquire(
            request.required_available, reservation=reservation, demand=demand
        )
        assert (permit is not None) == (asked in self.model.held)
        if permit is not None:
            self.permits[name] = permit
        self.check(expected)

    @precondition(lambda self: self.permits)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.permits)))
        permit = self.permits.pop(name)
        self.model.held = [one for one in self.model.held if one.name != name]
        expected = self.model.settle()
        permit.release()
        self.released.append(permit)
        self.check(expected)

    @precondition(lambda self: self.released)
    @rule(data=st.data())
    def release_again(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.released)).release()
        self.double_releases += 1
        self.check([])

    @precondition(lambda self: self.waiters)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.waiters)))
        waits = [one for one in self.model.waiting if one.name == name]
        for one in waits:
            self.model.waiting.remove(one)
        expected = self.model.settle()
        assert self.waiters.pop(name).cancel() == bool(waits)
        self.check(expected)

    @precondition(lambda self: self.waiters)
    @rule(
        data=st.data(),
        reservation=RESERVATIONS,
        demand=st.booleans(),
        number=st.one_of(st.none(), st.integers(0, 7)),
    )
    def promote(
        self,
        data: st.DataObject,
        reservation: Reservation | None,
        demand: bool,
        number: int | None,
    ) -> None:
        name = data.draw(st.sampled_from(sorted(self.waiters)))
        unattributed = self.unattributed
        request = self.request(reservation, demand, number)
        waits = [one for one in self.model.waiting if one.name == name]
        for one in waits:
            self.unattributed = unattributed + (
                request.reservation is None and one.request.reservation is not None
            )
            one.request = request
        if not waits:
            self.unattributed = unattributed
        expected = self.model.settle()
        assert self.waiters[name].promote(request) == bool(waits)
        self.check(expected)

    @precondition(lambda self: self.permits)
    @rule(data=st.data())
    def extend(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.permits)))
        held, waiting = list(self.model.held), list(self.model.waiting)
        expected = self.model.free >= 0
        self.model.held = [one for one in held if one.name != name]
        expected = expected and not self.model.grant()
        self.model.held, self.model.waiting = held, waiting
        assert self.permits[name].extend() == expected
        self.check([])

    @rule(total=st.integers(0, 10))
    def resize(self, total: int) -> None:
        self.model.total = total
        expected = self.model.settle()
        self.semaphore.resize(total)
        self.check(expected)

    @rule(chosen=policies())
    def use(self, chosen: tuple[Policy, int | None]) -> None:
        self.model.policy, self.model.per_stream = chosen
        expected = self.model.settle()
        self.semaphore.use(chosen[0])
        self.check(expected)

    @rule(seconds=st.sampled_from([0.5, 1.0, 2.5]))
    def pass_time(self, seconds: float) -> None:
        self.model.now += seconds

    @invariant()
    def the_books_agree(self) -> None:
        if not hasattr(self, "model"):
            return
        seen, model = self.semaphore.snapshot(), self.model
        assert seen.free + sum(seen.held.values()) == seen.total == model.total
        for workload in Workload:
            assert seen.held[workload] == model.held_by(workload)
            assert seen.waiting[workload] == sum(one.workload == workload for one in model.waiting)
            assert seen.required[workload] == model.threshold(workload)
        assert seen.unattributed == self.unattributed
        assert seen.double_releases == self.double_releases

    @invariant()
    def nobody_waits_who_could_be_served(self) -> None:
        if not hasattr(self, "model") or self.model.free <= 0:
            return
        assert not any(self.model.is_eligible(one) for one in self.model.waiting)
        if isinstance(self.model.policy, Shares):
            # sharper: whom the caps admit waits for nothing but a free permit
            assert not any(
                one.request.required_available is None and self.model.caps_admit(one)
                for one in self.model.waiting
            )


SemaphoreMachine.TestCase.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None
)
TestTheSemaphoreAgreesWithItsModel = SemaphoreMachine.TestCase
