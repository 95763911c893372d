"""The keeper: leases live until they are given back, and their holders hear of every other end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import pytest

from gateway.errors import LeaseRefused, LeaseStoreDown, PoolFull, StoreRecovering
from gateway.leases.held import OnStoreError
from gateway.leases.keeper import Keeper
from gateway.leases.lease import Grant, Lease, Pool, State
from gateway.leases.memory import MemoryLeases

TTL_S = 20.0
ONE = Pool("profile:1", 1)
TWO = Pool("profile:2", 1)
ALL = Pool("global", 0)


class Store(MemoryLeases):
    """A store in memory that can be out of reach, or have lost its data, and counts its calls."""

    def __init__(self, clock: Callable[[], float]) -> None:
        super().__init__(ttl_s=TTL_S, clock=clock)
        self.is_down = False
        self.loses_replies = False
        self.is_recovering = False
        self.heartbeats: list[int] = []
        self.releases = 0

    def _reach(self) -> None:
        if self.is_down:
            raise LeaseStoreDown("the lease store did not do what it was asked: down")

    def acquire(
        self, candidates: Sequence[Sequence[Pool]], session: str, ref: str, ttl_s: float
    ) -> Grant:
        self._reach()
        if self.is_recovering and not self.sessions(ONE.name):
            raise StoreRecovering(10)
        grant = super().acquire(candidates, session, ref, ttl_s)
        if self.loses_replies:
            raise LeaseStoreDown("the lease store did not do what it was asked: timed out")
        return grant

    def release(self, session: str, ref: str, grace_s: float) -> None:
        self._reach()
        self.releases += 1
        super().release(session, ref, grace_s)

    def heartbeat(self, leases: Sequence[Lease], ttl_s: float) -> list[State]:
        self._reach()
        self.heartbeats.append(len(leases))
        if self.is_recovering:
            for lease in leases:
                super().acquire([lease.pools], lease.session, lease.ref, ttl_s)
        return super().heartbeat(leases, ttl_s)


@dataclass
class Bench:
    """A store, keepers on it that beat when told to, and a clock for all of them."""

    now: float = 1000.0
    keepers: list[Keeper] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.store = Store(lambda: self.now)

    def keeper(self, policy: OnStoreError = OnStoreError.REFUSE) -> Keeper:
        before = len(self.store.heartbeats)
        keeper = Keeper(
            self.store,
            ttl_s=TTL_S,
            heartbeat_s=3600,
            on_store_error=policy,
            clock=lambda: self.now,
        )
        self.keepers.append(keeper)
        while len(self.store.heartbeats) == before:
            threading.Event().wait(0.001)
        return keeper


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.store.is_down = False
    for keeper in bench.keepers:
        keeper.close()
    bench.now += 10  # the longest grace, and less than the ttl
    assert bench.store.pools() == []


def test_leases_outlive_their_ttl_by_one_call_per_heartbeat(bench: Bench) -> None:
    keeper = bench.keeper()
    told: list[State] = []
    for number in range(50):
        keeper.acquire([[ALL]], f"s{number}", told.append)
    bench.store.heartbeats.clear()
    for _ in range(5):
        bench.now += TTL_S / 2
        keeper.beat()
    assert bench.store.heartbeats == [50] * 5
    assert bench.store.count("global") == 50
    assert told == []


def test_a_lease_is_given_back_once_however_often_it_is_released(bench: Bench) -> None:
    held = bench.keeper().acquire([[ONE]], "s", lambda state: None)
    for _ in range(3):
        held.release(0)
    assert bench.store.releases == 1
    assert held.state is State.RELEASED
    assert bench.store.count("profile:1") == 0


def test_an_ended_session_keeps_its_place_for_the_keepers_grace(bench: Bench) -> None:
    keeper = bench.keeper()
    keeper.acquire([[ONE]], "s", lambda state: None).release()
    with pytest.raises(PoolFull):
        keeper.acquire([[ONE]], "t", lambda state: None)
    bench.now += 2
    keeper.acquire([[ONE]], "t", lambda state: None)


@pytest.mark.parametrize("keepers", [1, 2])
def test_a_newer_request_waits_until_the_older_has_let_go(bench: Bench, keepers: int) -> None:
    first = bench.keeper()
    second = bench.keeper() if keepers == 2 else first
    told: list[State] = []
    older = first.acquire([[ONE]], "s", told.append)
    newer = second.acquire([[ONE]], "s", lambda state: None)
    assert told == [State.SUPERSEDED]
    assert not newer.await_room(0)
    older.release()
    assert newer.await_room(5)
    assert bench.store.count("profile:1") == 1


def test_a_holder_that_lets_go_at_once_makes_room_before_the_grant_returns(bench: Bench) -> None:
    keeper = bench.keeper()
    older = keeper.acquire([[ONE]], "s", lambda state: older.release())
    newer = keeper.acquire([[ONE]], "s", lambda state: None)
    assert newer.await_room(0)
    assert older.state is State.SUPERSEDED


def test_the_first_request_of_a_session_waits_for_nobody(bench: Bench) -> None:
    assert bench.keeper().acquire([[ONE]], "s", lambda state: None).await_room(0)


def test_an_evicted_session_is_told_at_once_also_in_another_process(bench: Bench) -> None:
    told: list[State] = []
    held = bench.keeper().acquire([[ONE]], "s", told.append)
    assert bench.keeper().evict("s") == (held.ref,)
    assert told == [State.EVICTED]
    held.release()
    assert bench.store.count("profile:1") == 0


def test_what_the_store_lost_ends_at_the_next_heartbeat(bench: Bench) -> None:
    keeper = bench.keeper()
    told: list[State] = []
    keeper.acquire([[ONE]], "s", told.append)
    bench.now += TTL_S  # as if this process had been stopped
    keeper.beat()
    keeper.beat()
    assert told == [State.LOST]


def test_one_holder_that_fails_to_hear_does_not_keep_the_others_from_it(bench: Bench) -> None:
    keeper = bench.keeper()
    told: list[State] = []

    def fail(state: State) -> None:
        raise RuntimeError(state)

    keeper.acquire([[ALL]], "s", fail)
    keeper.acquire([[ALL]], "t", told.append)
    bench.now += TTL_S
    keeper.beat()
    assert told == [State.LOST]


def test_draining_refuses_new_sessions_here_and_nowhere_else(bench: Bench) -> None:
    keeper, other = bench.keeper(), bench.keeper()
    keeper.acquire([[ALL]], "s", lambda state: None)
    keeper.drain()
    with pytest.raises(LeaseRefused, match="shutting down"):
        keeper.acquire([[ALL]], "t", lambda state: None)
    keeper.acquire([[ALL]], "s", lambda state: None)
    other.acquire([[ALL]], "t", lambda state: None)
    assert (keeper.status().is_draining, other.status().is_draining) == (True, False)


def test_closing_gives_everything_back_without_grace(bench: Bench) -> None:
    keeper = bench.keeper()
    told: list[State] = []
    keeper.acquire([[ONE, ALL]], "s", told.append)
    keeper.close()
    assert told == [State.LOST]
    assert bench.store.pools() == []
    assert keeper.status().refs == 0


def test_a_refused_request_leaves_nothing_behind(bench: Bench) -> None:
    keeper = bench.keeper()
    keeper.acquire([[ONE]], "s", lambda state: None)
    with pytest.raises(PoolFull):
        keeper.acquire([[ONE]], "t", lambda state: None)
    assert (keeper.status().refs, keeper.status().queued_releases) == (1, 0)


def test_a_release_while_the_store_is_down_is_made_up_for(bench: Bench) -> None:
    keeper = bench.keeper()
    leases = [keeper.acquire([[ALL]], f"s{number}", lambda state: None) for number in range(3)]
    bench.store.is_down = True
    for held in leases:
        held.release(10)
    assert keeper.status().queued_releases == 3
    assert keeper.status().is_store_down
    bench.now += 4
    bench.store.is_down = False
    keeper.beat()
    assert keeper.status().queued_releases == 0
    assert not keeper.status().is_store_down
    assert [one.expires_in_s for one in bench.store.sessions("global")] == [6.0] * 3


def test_the_queue_of_releases_is_bounded_and_expiry_covers_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.leases.keeper._QUEUE", 2)
    keeper = bench.keeper()
    leases = [keeper.acquire([[ALL]], f"s{number}", lambda state: None) for number in range(3)]
    bench.store.is_down = True
    for held in leases:
        held.release(0)
    assert keeper.status().queued_releases == 2
    bench.store.is_down = False
    keeper.beat()
    assert [one.session for one in bench.store.sessions("global")] == ["s0"]
    bench.now += TTL_S
    assert bench.store.pools() == []


def test_an_acquire_whose_reply_is_lost_is_taken_back(bench: Bench) -> None:
    keeper = bench.keeper()
    bench.store.loses_replies = True
    with pytest.raises(LeaseStoreDown):
        keeper.acquire([[ONE]], "s", lambda state: None)
    assert bench.store.count("profile:1") == 1
    keeper.beat()
    assert bench.store.count("profile:1") == 0


def test_refusing_admits_nobody_while_the_store_is_down_and_ends_what_is_held_after_ttl(
    bench: Bench,
) -> None:
    keeper = bench.keeper()
    told: list[State] = []
    keeper.acquire([[ONE]], "s", told.append)
    bench.store.is_down = True
    with pytest.raises(LeaseStoreDown):
        keeper.acquire([[ALL]], "t", lambda state: None)
    bench.now += TTL_S - 1
    keeper.beat()
    assert told == []
    bench.now += 1
    keeper.beat()
    assert told == [State.LOST]


def test_locally_this_process_admits_by_its_own_count_and_what_is_held_goes_on(
    bench: Bench,
) -> None:
    keeper = bench.keeper(OnStoreError.LOCAL)
    told: list[State] = []
    candidates = [[ONE, ALL], [TWO, ALL]]
    keeper.acquire(candidates, "s", told.append)
    bench.store.is_down = True
    bench.now += TTL_S
    keeper.beat()
    assert keeper.acquire(candidates, "t", told.append).chosen == 1
    with pytest.raises(PoolFull, match="profile:1"):
        keeper.acquire(candidates, "u", told.append)
    assert told == []
    assert keeper.acquire(candidates, "s", lambda state: None).chosen == 0
    assert told == [State.SUPERSEDED]
    bench.store.is_down = False
    keeper.beat()
    assert told == [State.SUPERSEDED]
    assert [bench.store.count(name) for name in ("profile:1", "profile:2", "global")] == [1, 1, 2]


def test_what_was_admitted_locally_ends_if_the_store_has_no_room_for_it(bench: Bench) -> None:
    keeper, other = bench.keeper(OnStoreError.LOCAL), bench.keeper()
    told: list[State] = []
    other.acquire([[ONE]], "s", lambda state: None)
    bench.store.is_down = True
    keeper.acquire([[ONE]], "t", told.append)
    bench.store.is_down = False
    keeper.beat()
    assert told == [State.LOST]


def test_a_session_of_this_process_is_put_back_before_it_is_refused_as_new(bench: Bench) -> None:
    keeper = bench.keeper()
    held = keeper.acquire([[ONE]], "s", lambda state: None)
    bench.now += TTL_S  # the store knows nothing any more, and says that it lost its data
    bench.store.is_recovering = True
    with pytest.raises(StoreRecovering):
        keeper.acquire([[TWO]], "t", lambda state: None)
    newer = keeper.acquire([[ONE]], "s", lambda state: None)
    assert held.state is State.SUPERSEDED
    assert newer.state is State.HELD
    assert keeper.status().sessions == 1


def test_the_threads_of_a_keeper_end_with_it(bench: Bench) -> None:
    before = set(threading.enumerate())
    keeper = bench.keeper()
    assert len(set(threading.enumerate()) - before) == 1
    keeper.close()
    keeper.close()
    assert set(threading.enumerate()) <= before
