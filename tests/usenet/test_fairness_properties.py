"""If a permit is free, no waiter is eligible: whatever is asked, given back, left and resized."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.usenet.permits import ExtendedSemaphore, Permit, Request, Waiter
from gateway.usenet.shares import Shares
from gateway.usenet.workload import Reservation, Workload

STREAM, QUEUE, HEALTH = Workload


@dataclass(eq=False)
class Asked:
    """One request on its way: waiting, then held, then over."""

    request: Request
    waiter: Waiter | None = None
    permit: Permit | None = None
    over: bool = False

    @property
    def reservation(self) -> Reservation:
        assert self.request.reservation is not None
        return self.request.reservation

    @property
    def waits(self) -> bool:
        return self.permit is None and not self.over

    @property
    def holds(self) -> bool:
        return self.permit is not None and not self.over


@dataclass
class Office:
    """A semaphore, and what an onlooker with pencil and paper knows of it."""

    policy: Shares
    total: int
    per_stream: int | None = None
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.semaphore = ExtendedSemaphore(self.total, self.policy)

    def ask(self, reservation: Reservation, *, demand: bool) -> None:
        one = Asked(Request(reservation, demand))

        def granted(permit: Permit) -> bool:
            one.permit = permit
            return True

        self.asked.append(one)
        one.waiter = self.semaphore.submit(one.request, granted)

    def end(self, number: int) -> None:
        """Have one that holds give its permit back, or one that waits give up."""
        under_way = [one for one in self.asked if not one.over]
        if not under_way:
            return
        one = under_way[number % len(under_way)]
        one.over = True
        if one.permit is not None:
            one.permit.release()
        else:
            assert one.waiter is not None
            assert one.waiter.cancel()

    def resize(self, total: int) -> None:
        self.total = total
        self.semaphore.resize(total)

    def held(self, workload: Workload) -> int:
        return sum(one.holds and one.reservation.workload is workload for one in self.asked)

    def read_ahead(self, stream: int) -> int:
        wanted = Reservation(STREAM, stream)
        return sum(
            one.holds and one.reservation == wanted and not one.request.demand for one in self.asked
        )

    def is_eligible(self, one: Asked) -> bool:
        """Whether its workload's cap and its stream's cap would admit it now."""
        workload = one.reservation.workload
        limits = self.policy.limits(self.total)
        if self.held(workload) >= limits.cap[workload]:
            return False
        if workload is STREAM and not one.request.demand:
            streams = {
                other.reservation.stream
                for other in self.asked
                if not other.over and other.reservation.workload is STREAM
            }
            cap = self.per_stream or max(1, -(-self.total // len(streams)))
            return self.read_ahead(one.reservation.stream) < cap
        if workload is HEALTH and self.held(HEALTH) >= limits.entitled[HEALTH]:
            # Beyond its guarantee only while no viewer is blocked.
            return not any(
                other.waits and other.reservation.workload is STREAM and other.request.demand
                for other in self.asked
            )
        return True

    def check(self) -> None:
        holding = sum(one.holds for one in self.asked)
        seen = self.semaphore.snapshot()
        assert sum(seen.held.values()) == holding
        assert seen.free == self.total - holding
        if seen.free > 0:
            waiting = [one.request for one in self.asked if one.waits and self.is_eligible(one)]
            assert not waiting, f"{seen.free} free, and these wait: {waiting}"
        for workload in Workload:
            assert seen.required[workload] <= max(0, self.total - 1)


Step = Callable[[Office], None]


def asking(streams: int) -> st.SearchStrategy[Step]:
    return st.builds(
        lambda workload, stream, demand: (
            lambda office: office.ask(Reservation(workload, stream), demand=demand)
        ),
        st.sampled_from(Workload),
        st.integers(1, streams),
        st.booleans(),
    )


ENDING: st.SearchStrategy[Step] = st.integers(0, 999).map(
    lambda number: lambda office: office.end(number)
)


def resizing(most: int) -> st.SearchStrategy[Step]:
    return st.integers(0, most).map(lambda total: lambda office: office.resize(total))


def work(office: Office, steps: Sequence[Step]) -> None:
    office.check()
    for step in steps:
        step(office)
        office.check()


def finish(office: Office) -> None:
    """Let everybody who holds finish, again and again, until nobody waits."""
    while any(one.waits for one in office.asked):
        holding = next((one for one in office.asked if one.holds), None)
        assert holding is not None, "somebody waits for ever"
        holding.over = True
        assert holding.permit is not None
        holding.permit.release()
        office.check()


@settings(deadline=None)
@given(
    total=st.integers(0, 3),
    steps=st.lists(st.one_of(asking(3), asking(3), ENDING, resizing(3)), max_size=40),
)
def test_totals_of_none_to_three_leave_nothing_idle_and_nobody_out(
    total: int, steps: list[Step]
) -> None:
    office = Office(Shares(), total)
    work(office, steps)
    office.resize(max(1, office.total))
    office.check()
    finish(office)


@settings(deadline=None)
@given(
    total=st.integers(10, 60),
    guarantee=st.integers(4, 30),
    queue_cap=st.integers(1, 3),
    per_stream=st.integers(1, 3),
    steps=st.lists(st.one_of(asking(4), asking(4), ENDING, resizing(60)), max_size=60),
)
def test_a_cap_below_a_guarantee_leaves_to_others_what_it_keeps_its_owner_from(
    total: int, guarantee: int, queue_cap: int, per_stream: int, steps: list[Step]
) -> None:
    # The queue's default guarantee, a fifth of the total, exceeds its cap in most of these.
    policy = Shares(guarantee, None, None, queue_cap, 1, max_connections_per_stream=per_stream)
    office = Office(policy, total, per_stream)
    for number in range(40):
        office.ask(Reservation(QUEUE, number % 2), demand=False)
        office.ask(Reservation(STREAM, 1), demand=False)
    assert office.held(QUEUE) == queue_cap
    work(office, steps)
    office.resize(max(1, office.total))
    finish(office)


@settings(deadline=None, max_examples=30)
@given(
    order=st.permutations(range(1, 101)),
    ahead=st.lists(st.integers(1, 100), max_size=60),
    ends=st.lists(st.integers(0, 999), max_size=60),
)
def test_a_hundred_streams_on_five_connections_are_all_served(
    order: list[int], ahead: list[int], ends: list[int]
) -> None:
    office = Office(Shares(), 5)
    for stream in ahead:
        office.ask(Reservation(STREAM, stream), demand=False)
    for stream in order:
        office.ask(Reservation(STREAM, stream), demand=True)
    office.check()
    for number in ends:
        office.end(number)
        office.check()
    finish(office)


@given(raised=st.integers(1, 60), waiting=st.integers(1, 80))
def test_raising_the_total_wakes_as_many_as_there_is_room_for(raised: int, waiting: int) -> None:
    office = Office(Shares(), 0)
    for number in range(waiting):
        office.ask(Reservation(STREAM, number), demand=True)
    assert office.held(STREAM) == 0
    office.resize(raised)
    assert office.held(STREAM) == min(raised, waiting)
