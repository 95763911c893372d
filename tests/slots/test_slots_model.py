"""Gateways that share an account, in a model whose time a test moves: never too many, fairly."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from gateway.errors import LeaseStoreDown
from gateway.leases.fair import fair_shares
from gateway.leases.held import OnStoreError
from gateway.leases.lease import Claim, LeaseStore, Pool
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases
from gateway.slots import PoolSlots, SlotTimes, warm
from gateway.usenet.limit import Slots
from gateway.usenet.pool_status import PoolStatus

CAP = 10
TIMES = SlotTimes()
STEP_S = 0.25
_REAL_TIME = time.time


@dataclass
class Clock:
    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Line:
    """The way to the store, which can be cut: before a call arrives, or before its answer does."""

    store: LeaseStore
    is_down: bool = False
    loses_answers: bool = False
    asked: Callable[[], object] = bool

    def claim(
        self, pool: Pool, owner: str, wanted: int, held: Sequence[str], ttl_s: float
    ) -> Claim:
        self.asked()
        self._check(self.is_down)
        claim = self.store.claim(pool, owner, wanted, held, ttl_s)
        self._check(self.loses_answers)
        return claim

    def release(self, session: str, ref: str, grace_s: float) -> None:
        self._check(self.is_down)
        self.store.release(session, ref, grace_s)
        self._check(self.loses_answers)

    def _check(self, fails: bool) -> None:
        if fails:
            raise LeaseStoreDown("the line is cut")


@dataclass
class Site:
    """A pool of connections, as far as slots see one: dials up to its limit what is wanted."""

    name: str = "main"
    demand: int = 0
    configured: int = CAP
    limit: int = 0
    live: int = 0

    def share(self, slots: Slots) -> None:
        pass

    def allow(self, slots: int, *, cut: bool = False) -> None:
        self.limit = min(slots, self.configured)
        if cut:
            self.live = min(self.live, self.limit)

    def wanted(self) -> int:
        return min(self.demand, self.configured)

    def status(self) -> PoolStatus:
        return PoolStatus(self.configured, self.configured, self.limit, self.live, 0, 0, 0)

    def work(self, ends: int) -> None:
        """Let *ends* exchanges end, and dial where there is demand."""
        self.live -= min(ends, max(0, self.live - min(self.demand, self.limit)))
        self.live = max(self.live, min(self.demand, self.limit))


@dataclass
class House:
    """Gateways on one account; each is a site, its slots and its line to the store."""

    store: LeaseStore
    clock: Clock
    policy: OnStoreError = OnStoreError.REFUSE
    gateways: list[tuple[Site, PoolSlots, Line]] = field(default_factory=list)
    born: int = 0

    def add(self, demand: int = 0) -> tuple[Site, PoolSlots, Line]:
        site, line = Site(demand=demand), Line(self.store)
        owner = f"host-{self.born}"
        self.born += 1
        slots = PoolSlots(cast("LeaseStore", line), site, owner, TIMES, self.policy, self.clock)
        self.gateways.append((site, slots, line))
        return self.gateways[-1]

    def live(self) -> int:
        return sum(site.live for site, _, _ in self.gateways)

    def held_in_store(self, slots: PoolSlots) -> int:
        present = self.store.sessions("provider:main")
        return sum(one.session.startswith(f"{slots.owner}:") for one in present)

    def run(self, seconds: float, ends: int = CAP, *, flushed: bool = False) -> None:
        """Let time pass in steps, and hold the invariant at each; *flushed*: as far as it goes."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            self.clock.now += STEP_S
            for site, slots, _ in self.gateways:
                slots.turn()
                site.work(ends)
                assert self.live() <= CAP, self.lives()
            self.check(flushed=flushed)

    def check(self, *, flushed: bool = False) -> None:
        present = [slot.session for slot in self.store.sessions("provider:main")]
        assert len(present) <= CAP
        if flushed:  # until its next heartbeat, the store does not know what a gateway holds
            return
        held = Counter(slot.rpartition(":")[0] for slot in present)
        for site, slots, _ in self.gateways:
            assert site.live <= held[slots.owner], (site, slots.figures())

    def lives(self) -> list[int]:
        return [site.live for site, _, _ in self.gateways]

    def held(self) -> list[int]:
        return [slots.figures().held for _, slots, _ in self.gateways]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory", "fakeredis"])
def store(
    request: pytest.FixtureRequest, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LeaseStore]:
    if request.param == "memory":
        yield MemoryLeases(clock=clock)
        return
    begun = _REAL_TIME()
    monkeypatch.setattr(time, "time", lambda: begun + clock.now)
    client = cast("Redis", fakeredis.FakeRedis(decode_responses=True))
    made = RedisLeases(client, recover_s=0)
    yield made
    made.close()


def test_a_gateway_that_is_alone_has_all_connections(store: LeaseStore, clock: Clock) -> None:
    house = House(store, clock)
    site, _, _ = house.add(demand=CAP)
    house.run(STEP_S)
    assert site.live == CAP


def test_an_idle_gateway_keeps_a_slot_for_the_next_viewer_and_leaves_the_rest(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock)
    house.add(demand=CAP)
    house.run(1)
    house.add()
    house.run(10)
    assert house.held() == [CAP - warm(CAP), warm(CAP)]


@pytest.mark.parametrize("demands", [(10, 10), (10, 3), (10, 10, 10), (2, 9, 4), (7, 1, 1)])
def test_ten_seconds_after_demand_rises_everybody_has_a_fair_share(
    store: LeaseStore, clock: Clock, demands: tuple[int, ...]
) -> None:
    house = House(store, clock)
    house.add(demand=demands[0])
    house.run(30)
    for demand in demands[1:]:
        house.add(demand)
    house.run(10)
    expected = fair_shares({f"host-{n}": demand for n, demand in enumerate(demands)}, CAP)
    assert house.lives() == [expected[f"host-{n}"] for n in range(len(demands))]


def test_ten_seconds_after_demand_falls_the_others_have_what_it_left(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock)
    first, _, _ = house.add(demand=CAP)
    house.add(demand=CAP)
    house.run(20)
    assert house.lives() == [5, 5]
    first.demand = 0
    house.run(10)
    assert house.lives()[1] == CAP - warm(CAP)


def test_a_new_viewer_waits_for_no_heartbeat(store: LeaseStore, clock: Clock) -> None:
    house = House(store, clock)
    site, _, _ = house.add()
    house.run(32)  # the next heartbeat is seconds away
    site.demand = 6
    house.run(2 * STEP_S)
    assert site.live == 6


def test_a_slot_is_given_back_only_after_its_connection_is_closed(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock)
    first, slots, _ = house.add(demand=CAP)
    house.run(10)
    second, _, _ = house.add(demand=CAP)
    house.run(15, ends=0)  # its exchanges take their time
    assert (first.limit, first.live, second.live) == (5, CAP, 0)
    assert house.held_in_store(slots) == CAP
    house.run(5)
    assert house.lives() == [5, 5]


def test_slots_of_a_gateway_that_died_are_free_within_ttl(store: LeaseStore, clock: Clock) -> None:
    house = House(store, clock)
    house.add(demand=CAP)
    house.add(demand=CAP)
    house.run(20)
    house.gateways.pop(0)  # and its connections with it
    house.run(TIMES.ttl_s + 2)
    assert house.lives() == [CAP]


def test_a_gateway_that_ends_leaves_its_slots_at_once(store: LeaseStore, clock: Clock) -> None:
    house = House(store, clock)
    first, slots, _ = house.add(demand=CAP)
    house.add(demand=CAP)
    house.run(20)
    first.live = 0
    slots.close()
    del house.gateways[0]
    house.run(1.5)
    assert house.lives() == [CAP]


def test_a_slot_that_somebody_ended_costs_its_connection_and_its_place_comes_back(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock)
    site, slots, _ = house.add(demand=CAP)
    house.run(5)
    store.evict(f"{slots.owner}:3")
    site.demand = 9
    house.run(6)
    assert site.live == 9
    site.demand = CAP
    house.run(6)
    assert site.live == CAP


def test_a_store_that_is_away_for_a_while_costs_nothing(store: LeaseStore, clock: Clock) -> None:
    house = House(store, clock)
    site, _, line = house.add(demand=4)
    house.run(10)
    line.is_down = True
    house.run(12)
    assert site.live == 4
    line.is_down = False
    house.run(10)
    assert site.live == 4


def test_without_the_store_for_ttl_every_connection_is_closed_in_time(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock)
    site, _, line = house.add(demand=4)
    other, _, _ = house.add(demand=CAP)
    house.run(20)
    line.is_down = True
    house.run(TIMES.ttl_s, ends=0)
    assert site.live == 0
    house.run(2)
    assert other.live == CAP
    line.is_down = False
    house.run(10)
    assert house.lives() == [4, 6]


def test_an_idle_gateway_does_not_let_the_ttl_slip_by_while_the_store_is_away(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock)
    site, slots, line = house.add()
    house.run(10)
    assert slots.turn() is True  # nothing to do: looked at now and then
    line.is_down = True
    house.run(TIMES.heartbeat_s)
    assert slots.turn() is False  # at every step
    site.live = 1  # one that was kept warm
    asked_with: list[int] = []
    line.asked = lambda: asked_with.append(site.live)
    clock.now += TIMES.ttl_s
    slots.turn()
    assert asked_with == [0]  # it was closed before a store was waited for that may be silent


def test_on_store_error_local_goes_on_with_what_was_held(store: LeaseStore, clock: Clock) -> None:
    house = House(store, clock, OnStoreError.LOCAL)
    site, _, line = house.add(demand=4)
    house.run(10)
    line.is_down = True
    for _ in range(200):
        clock.now += STEP_S
        house.gateways[0][1].turn()
        site.work(CAP)
    assert site.live == 4
    line.is_down = False
    house.run(10)
    assert site.live == 4


def test_on_store_error_local_starts_without_the_store_as_an_idle_gateway_would(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock, OnStoreError.LOCAL)
    site, slots, line = house.add(demand=4)
    line.is_down = True
    slots.turn()
    assert site.limit == warm(CAP)


def test_fewer_configured_connections_are_in_force_in_the_store_too(
    store: LeaseStore, clock: Clock
) -> None:
    house = House(store, clock)
    site, slots, _ = house.add(demand=CAP)
    house.run(5)
    site.configured = 4
    site.allow(4)
    house.run(3)
    assert (site.live, slots.figures().held) == (4, 4)


def test_the_figures_tell_slots_share_and_wish(store: LeaseStore, clock: Clock) -> None:
    house = House(store, clock)
    _, slots, _ = house.add(demand=8)
    house.add(demand=9)
    house.run(20)
    seen = slots.figures()
    assert (seen.held, seen.target, seen.wanted) == (5, 5, 8)


@pytest.mark.parametrize("at_s", [0.0, 2.75])
def test_a_flush_of_the_store_cuts_nobody_and_lets_nobody_in_beside_those_who_held_slots(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, at_s: float
) -> None:
    begun = _REAL_TIME()
    monkeypatch.setattr(time, "time", lambda: begun + clock.now)
    client = fakeredis.FakeRedis(decode_responses=True)
    store = RedisLeases(cast("Redis", client), recover_s=2 * TIMES.heartbeat_s)
    house = House(store, clock)
    for demand in (CAP, 6, 0):
        house.add(demand)
    house.run(12)
    before = house.lives()
    house.run(at_s)
    client.flushall()
    house.run(TIMES.heartbeat_s + STEP_S, flushed=True)
    assert house.lives() == before
    newcomer, _, _ = house.add(CAP)
    house.run(TIMES.heartbeat_s - 2 * STEP_S)
    assert newcomer.live == 0
    house.run(12)
    assert newcomer.live == 3
    store.close()


STEPS = st.one_of(
    st.tuples(st.just("demand"), st.integers(0, 2), st.integers(0, CAP)),
    st.tuples(st.just("run"), st.integers(1, 40), st.integers(0, 3)),
    st.tuples(st.just("down"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("answers"), st.integers(0, 2), st.booleans()),
    st.tuples(st.just("die"), st.integers(0, 2), st.just(0)),
    st.tuples(st.just("evict"), st.integers(0, 2), st.integers(1, CAP)),
)


@settings(max_examples=60, deadline=None)
@given(steps=st.lists(STEPS, max_size=25))
def test_whatever_happens_there_are_never_too_many_and_in_the_end_all_have_their_share(
    steps: list[tuple[str, int, int]],
) -> None:
    clock = Clock()
    house = House(MemoryLeases(clock=clock), clock)
    for _ in range(3):
        house.add()
    for kind, number, value in steps:
        if kind == "run":
            house.run(number * STEP_S * 2, ends=value)
            continue
        site, slots, line = house.gateways[number]
        match kind:
            case "demand":
                site.demand = value
            case "down":
                line.is_down = bool(value)
            case "answers":
                line.loses_answers = bool(value)
            case "die":
                reborn = house.add(site.demand)
                house.gateways[number] = reborn
                house.gateways.pop()
            case "evict":
                house.store.evict(f"{slots.owner}:{value}")
    for _, _, line in house.gateways:
        line.is_down = line.loses_answers = False
    house.run(TIMES.ttl_s + 12)
    wanted = {slots.owner: max(site.demand, warm(CAP)) for site, slots, _ in house.gateways}
    assert [slots.figures().held for _, slots, _ in house.gateways] == [
        fair_shares(wanted, CAP)[slots.owner] for _, slots, _ in house.gateways
    ]
