"""What every store of leases promises, in memory, in fakeredis and in a real redis-server."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

import pytest

from gateway.errors import LeaseLost, PoolFull
from gateway.leases.lease import SLOT, Claim, Grant, Lease, LeaseStore, Notice, Pool, State

TTL_S = 20.0
ONE = Pool("profile:1", 1)
TWO = Pool("profile:2", 1)
BOB = Pool("user:bob", 2)
ALL = Pool("global", 0)
NEWS = Pool("provider:main", 10)


class World(Protocol):
    @property
    def store(self) -> LeaseStore: ...
    @property
    def brief_s(self) -> float: ...
    @property
    def pass_time(self) -> Callable[[float], None]: ...


@pytest.fixture
def store(world: World) -> LeaseStore:
    return world.store


def is_refused(store: LeaseStore, pool: Pool, session: str = "another") -> bool:
    """Say whether a session finds no room; it leaves no trace."""
    try:
        store.acquire([[pool]], session, f"probe {threading.get_ident()}", TTL_S)
    except PoolFull:
        return True
    store.release(session, f"probe {threading.get_ident()}", 0)
    return False


def test_a_session_is_in_all_pools_of_its_candidate(store: LeaseStore) -> None:
    assert store.acquire([[ONE, BOB, ALL]], "s", "r1", TTL_S) == Grant(0, ())
    assert [store.count(pool.name) for pool in (ONE, BOB, ALL)] == [1, 1, 1]
    assert store.pools() == ["global", "profile:1", "user:bob"]


def test_all_pools_or_none(store: LeaseStore) -> None:
    store.acquire([[ONE, ALL]], "s", "r1", TTL_S)
    with pytest.raises(PoolFull):
        store.acquire([[BOB, TWO, ONE, ALL]], "t", "r2", TTL_S)
    assert [store.count(pool.name) for pool in (BOB, TWO, ONE, ALL)] == [0, 0, 1, 1]


def test_a_refusal_names_the_pool_and_its_count(store: LeaseStore) -> None:
    store.acquire([[ALL, ONE]], "s", "r1", TTL_S)
    with pytest.raises(PoolFull, match=r"no slot in profile:1: 1 of 1 in use") as refused:
        store.acquire([[ALL, ONE]], "t", "r2", TTL_S)
    assert (refused.value.pool, refused.value.count, refused.value.cap) == ("profile:1", 1, 1)


def test_a_new_session_gets_the_first_candidate_with_room(store: LeaseStore) -> None:
    store.acquire([[ONE], [TWO]], "s", "r1", TTL_S)
    assert store.acquire([[ONE], [TWO]], "t", "r2", TTL_S).chosen == 1
    with pytest.raises(PoolFull, match="profile:1"):
        store.acquire([[ONE], [TWO]], "u", "r3", TTL_S)


def test_a_pool_without_a_cap_is_counted_and_never_full(store: LeaseStore) -> None:
    for number in range(5):
        store.acquire([[ALL]], f"s{number}", "r", TTL_S)
    assert store.count("global") == 5


def test_k_refs_of_one_session_count_1(store: LeaseStore) -> None:
    for ref in ("r1", "r2", "r3"):
        store.acquire([[ONE]], "s", ref, TTL_S)
    assert store.count("profile:1") == 1
    (only,) = store.sessions("profile:1")
    assert (only.session, only.refs) == ("s", ("r1", "r2", "r3"))
    assert 0 < only.expires_in_s <= TTL_S


def test_a_session_already_present_is_always_admitted(store: LeaseStore) -> None:
    store.acquire([[Pool("p", 2)]], "s", "r1", TTL_S)
    store.acquire([[Pool("p", 2)]], "t", "r2", TTL_S)
    assert store.acquire([[Pool("p", 1)]], "s", "r3", TTL_S) == Grant(0, ("r1",))


def test_after_the_cap_was_lowered_nobody_is_admitted_until_the_count_is_below_it(
    store: LeaseStore,
) -> None:
    for session in ("s", "t", "u"):
        store.acquire([[Pool("p", 3)]], session, "r", TTL_S)
    for session in ("s", "t"):
        assert is_refused(store, Pool("p", 2))
        store.release(session, "r", 0)
    assert not is_refused(store, Pool("p", 2))


def test_a_newer_ref_supersedes_the_older_ones_which_stay_until_released(
    store: LeaseStore,
) -> None:
    store.acquire([[ONE]], "s", "r1", TTL_S)
    assert store.acquire([[ONE]], "s", "r2", TTL_S).superseded == ("r1",)
    leases = [Lease("s", ref, (ONE,)) for ref in ("r1", "r2")]
    assert store.heartbeat(leases, TTL_S) == [State.SUPERSEDED, State.HELD]
    store.release("s", "r2", 0)
    assert store.count("profile:1") == 1
    store.release("s", "r1", 0)
    assert store.count("profile:1") == 0


def test_acquire_twice_is_acquire_once(store: LeaseStore) -> None:
    store.acquire([[ONE]], "s", "r0", TTL_S)
    first = store.acquire([[ONE]], "s", "r1", TTL_S)
    assert store.acquire([[ONE]], "s", "r1", TTL_S) == first == Grant(0, ("r0",))
    store.release("s", "r0", 0)
    store.release("s", "r1", 0)
    assert store.count("profile:1") == 0


def test_a_late_repetition_of_an_acquire_does_not_supersede_its_successor(
    store: LeaseStore,
) -> None:
    store.acquire([[ONE]], "s", "r1", TTL_S)
    store.acquire([[ONE]], "s", "r2", TTL_S)
    with pytest.raises(LeaseLost, match="superseded"):
        store.acquire([[ONE]], "s", "r1", TTL_S)
    assert store.heartbeat([Lease("s", "r2", (ONE,))], TTL_S) == [State.HELD]


def test_release_twice_is_release_once(store: LeaseStore) -> None:
    store.acquire([[ONE]], "s", "r1", TTL_S)
    for _ in range(3):
        store.release("s", "r1", 0)
    assert store.count("profile:1") == 0
    store.acquire([[ONE]], "t", "r1", TTL_S)
    store.release("s", "r1", 0)
    assert store.count("profile:1") == 1


def test_a_release_that_overtakes_its_acquire_ends_it_too(store: LeaseStore) -> None:
    store.release("s", "r1", 0)
    with pytest.raises(LeaseLost, match="released"):
        store.acquire([[ONE]], "s", "r1", TTL_S)
    assert store.heartbeat([Lease("s", "r1", (ONE,))], TTL_S) == [State.RELEASED]
    assert store.count("profile:1") == 0


def test_once_the_last_ref_has_ended_and_grace_has_passed_a_session_is_in_no_pool(
    world: World,
) -> None:
    store = world.store
    store.acquire([[ONE, ALL]], "s", "r1", TTL_S)
    store.release("s", "r1", world.brief_s / 2)
    assert store.count("profile:1") == 1
    assert is_refused(store, ONE)
    assert store.sessions("profile:1")[0].refs == ()
    world.pass_time(world.brief_s / 2)
    assert [store.count("profile:1"), store.count("global")] == [0, 0]
    assert store.pools() == []


def test_a_second_release_does_not_prolong_grace(world: World) -> None:
    store = world.store
    store.acquire([[ONE]], "s", "r1", TTL_S)
    store.release("s", "r1", world.brief_s / 2)
    store.release("s", "r1", TTL_S)
    world.pass_time(world.brief_s / 2)
    assert store.count("profile:1") == 0


def test_a_new_ref_within_grace_takes_the_place_of_the_marker(store: LeaseStore) -> None:
    store.acquire([[ONE]], "s", "r1", TTL_S)
    store.release("s", "r1", TTL_S)
    assert store.acquire([[ONE]], "s", "r2", TTL_S) == Grant(0, ())
    store.release("s", "r2", 0)
    assert store.count("profile:1") == 0


def test_what_is_not_extended_is_in_no_pool_after_its_ttl(world: World) -> None:
    store = world.store
    store.acquire([[ONE, ALL]], "s", "r1", world.brief_s)
    world.pass_time(world.brief_s)
    assert [store.count("profile:1"), store.count("global")] == [0, 0]
    assert not is_refused(store, ONE)
    assert store.heartbeat([Lease("s", "r1", (ONE, ALL))], TTL_S) == [State.LOST]
    assert store.count("profile:1") == 0


def test_a_heartbeat_extends_all_refs_and_says_how_each_stands(world: World) -> None:
    store = world.store
    store.acquire([[ONE, ALL]], "s", "r1", world.brief_s)
    store.acquire([[TWO, ALL]], "t", "r2", world.brief_s)
    store.acquire([[TWO, ALL]], "t", "r3", world.brief_s)
    leases = [
        Lease("s", "r1", (ONE, ALL)),
        Lease("t", "r2", (TWO, ALL)),
        Lease("t", "r3", (TWO, ALL)),
        Lease("u", "r4", (BOB,)),
    ]
    states = [State.HELD, State.SUPERSEDED, State.HELD, State.LOST]
    assert store.heartbeat(leases, TTL_S) == states
    world.pass_time(world.brief_s)
    assert [store.count(pool.name) for pool in (ONE, TWO, ALL, BOB)] == [1, 1, 2, 0]
    assert [one.refs for one in store.sessions("profile:2")] == [("r3",)]
    assert store.heartbeat([], TTL_S) == []


def test_a_session_is_pinned_to_its_candidate_and_does_not_fail_over(store: LeaseStore) -> None:
    store.acquire([[TWO]], "s", "r1", TTL_S)
    assert store.acquire([[ONE], [TWO]], "s", "r2", TTL_S).chosen == 1
    for ref in ("r1", "r2"):
        store.release("s", ref, 0)
    assert store.acquire([[ONE], [TWO]], "s", "r3", TTL_S).chosen == 1
    store.release("s", "r3", 0)
    store.acquire([[TWO]], "t", "r4", TTL_S)
    with pytest.raises(PoolFull, match="profile:2"):
        store.acquire([[ONE], [TWO]], "s", "r5", TTL_S)


def test_a_session_whose_candidate_is_no_longer_offered_moves_whole(store: LeaseStore) -> None:
    store.acquire([[ONE, ALL]], "s", "r1", TTL_S)
    assert store.acquire([[TWO, ALL]], "s", "r2", TTL_S) == Grant(0, ("r1",))
    assert [store.count(pool.name) for pool in (ONE, TWO, ALL)] == [0, 1, 1]
    store.release("s", "r1", 0)
    store.release("s", "r2", 0)
    assert store.pools() == []


def test_an_evicted_session_ends_without_grace_once_its_holders_let_go(store: LeaseStore) -> None:
    store.acquire([[ONE]], "s", "r1", TTL_S)
    assert store.evict("s") == ("r1",)
    assert store.heartbeat([Lease("s", "r1", (ONE,))], TTL_S) == [State.EVICTED]
    assert store.count("profile:1") == 1
    store.release("s", "r1", TTL_S)
    assert store.count("profile:1") == 0
    assert store.evict("s") == ()


def test_an_evicted_session_whose_holder_is_dead_is_gone_within_ttl(world: World) -> None:
    store = world.store
    store.acquire([[ONE]], "s", "r1", world.brief_s)
    store.evict("s")
    world.pass_time(world.brief_s)
    assert store.count("profile:1") == 0


def test_evicting_a_session_in_grace_ends_it_at_once(store: LeaseStore) -> None:
    store.acquire([[ONE, ALL]], "s", "r1", TTL_S)
    store.release("s", "r1", TTL_S)
    assert store.evict("s") == ()
    assert store.pools() == []
    assert store.evict("nobody") == ()


def test_a_census_tells_of_all_sessions_where_they_are_and_how_each_ref_stands(
    world: World,
) -> None:
    store = world.store
    assert store.census() == []
    store.acquire([[ONE, ALL]], "s", "r1", TTL_S)
    store.acquire([[ONE, ALL]], "s", "r2", world.brief_s)
    store.acquire([[BOB, ALL]], "t", "r3", TTL_S)
    store.release("t", "r3", TTL_S * 0.9)
    store.acquire([[TWO]], "u", "r4", TTL_S)
    store.evict("u")
    store.claim(NEWS, "a", 1, (), TTL_S)
    slot, s, t, u = store.census()
    assert (slot.session, slot.pools, slot.slot_owner) == ("a:1", (NEWS.name,), "a")
    assert (s.session, s.pools, s.slot_owner) == ("s", ("global", "profile:1"), None)
    assert [(one.ref, one.state) for one in s.refs] == [
        ("r1", State.SUPERSEDED),
        ("r2", State.HELD),
    ]
    assert 0 < s.refs[1].expires_in_s <= world.brief_s < s.refs[0].expires_in_s <= TTL_S
    assert (s.grace_s, t.session, t.refs) == (None, "t", ())
    assert t.grace_s is not None
    assert 0 < t.grace_s <= TTL_S * 0.9
    assert [(one.ref, one.state) for one in u.refs] == [("r4", State.EVICTED)]
    store.release("u", "r4", TTL_S)
    world.pass_time(world.brief_s)
    assert [(one.session, len(one.refs)) for one in store.census()] == [
        ("a:1", 1),
        ("s", 1),
        ("t", 0),
    ]


def test_whoever_watches_is_told_of_what_must_end_and_when_it_has(store: LeaseStore) -> None:
    told: queue.Queue[Notice] = queue.Queue()
    watch = store.watch(told.put)
    store.acquire([[ONE]], "s", "r1", TTL_S)
    store.acquire([[ONE]], "s", "r2", TTL_S)
    store.release("s", "r1", 0)
    store.evict("s")
    store.release("s", "r2", 0)
    assert [told.get(timeout=20) for _ in range(4)] == [
        Notice("s", "r1", State.SUPERSEDED),
        Notice("s", "r1", State.RELEASED),
        Notice("s", "r2", State.EVICTED),
        Notice("s", "r2", State.RELEASED),
    ]
    watch.close()
    watch.close()
    store.acquire([[ONE]], "t", "r1", TTL_S)
    store.evict("t")
    assert told.empty()


def test_64_concurrent_acquires_at_cap_3_never_4_admitted(store: LeaseStore) -> None:
    pool = Pool("p", 3)
    start = threading.Barrier(64)

    def one(number: int) -> bool:
        start.wait()
        try:
            store.acquire([[pool, ALL]], f"s{number}", f"r{number}", TTL_S)
        except PoolFull:
            return False
        return True

    with ThreadPoolExecutor(64) as threads:
        admitted = sum(threads.map(one, range(64)))
    assert admitted == store.count("p") == store.count("global") == 3


def test_requests_of_one_session_that_end_at_the_same_time_leave_nothing(
    store: LeaseStore,
) -> None:
    start = threading.Barrier(16)

    def end(ref: str) -> None:
        start.wait()
        store.release("s", ref, 0)

    with ThreadPoolExecutor(16) as threads:
        for attempt in range(5):
            requests = [f"{attempt} {number}" for number in range(16)]
            for ref in requests:
                store.acquire([[ONE, ALL]], "s", ref, TTL_S)
            list(threads.map(end, requests))
            assert store.census() == []


@pytest.mark.parametrize("wrong", ["", "a|b"])
def test_an_id_that_cannot_be_kept_is_refused(store: LeaseStore, wrong: str) -> None:
    with pytest.raises(ValueError, match="id of a session or ref"):
        store.acquire([[ONE]], wrong, "r", TTL_S)
    with pytest.raises(ValueError, match="id of a session or ref"):
        store.release("s", wrong, 0)


def test_a_ttl_longer_than_ended_refs_are_remembered_is_refused(store: LeaseStore) -> None:
    with pytest.raises(ValueError, match="a ttl of"):
        store.acquire([[ONE]], "s", "r", TTL_S + 1)


def claims(store: LeaseStore, ttl_s: float = TTL_S, **wanted: int) -> dict[str, Claim]:
    return {owner: store.claim(NEWS, owner, number, (), ttl_s) for owner, number in wanted.items()}


def test_a_lone_owner_gets_all_slots_that_it_wants(store: LeaseStore) -> None:
    claim = store.claim(NEWS, "a", 4, (), TTL_S)
    assert claim == Claim(4, ("a:1", "a:2", "a:3", "a:4"))
    assert store.claim(NEWS, "a", 4, claim.slots, TTL_S) == claim
    assert len(store.claim(NEWS, "a", 50, claim.slots, TTL_S).slots) == 10


def test_owners_share_max_min_fairly_and_never_exceed_the_cap(store: LeaseStore) -> None:
    held = claims(store, a=10)["a"].slots
    assert claims(store, b=10, c=2) == {"b": Claim(5, ()), "c": Claim(2, ())}
    assert store.claim(NEWS, "a", 10, held, TTL_S) == Claim(4, tuple(sorted(held)))
    for slot in held[4:]:
        store.release(slot, SLOT, 0)
    assert [len(claim.slots) for claim in claims(store, b=10, c=2).values()] == [4, 2]
    assert store.count(NEWS.name) == 10


def test_an_owner_that_wants_less_leaves_the_rest_to_others(store: LeaseStore) -> None:
    claims(store, a=10)
    claims(store, b=10)
    assert claims(store, a=1)["a"].target == 1
    assert claims(store, b=10)["b"].target == 9


def test_a_dead_owners_slots_and_wishes_are_gone_within_ttl(world: World) -> None:
    claims(world.store, world.brief_s, a=10)
    world.pass_time(world.brief_s)
    assert len(claims(world.store, b=10)["b"].slots) == 10


def test_a_slot_given_back_does_not_return_under_its_name(store: LeaseStore) -> None:
    store.claim(NEWS, "a", 1, (), TTL_S)
    store.release("a:1", SLOT, 0)
    assert store.claim(NEWS, "a", 1, (), TTL_S) == Claim(1, ("a:2",))


def test_an_evicted_slot_is_lost_to_its_owner(store: LeaseStore) -> None:
    held = store.claim(Pool("p", 2), "a", 2, (), TTL_S).slots
    store.evict("a:1")
    assert store.claim(Pool("p", 2), "a", 2, held, TTL_S).slots == ("a:2",)


def test_a_pool_without_a_cap_gives_every_owner_what_it_wants(store: LeaseStore) -> None:
    assert len(store.claim(ALL, "a", 30, (), TTL_S).slots) == 30
    assert store.claim(ALL, "b", 3, (), TTL_S).target == 3
