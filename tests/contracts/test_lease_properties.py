"""The invariants of leases, word for word, under any operations, crashes and double releases.

The reference model keeps every ref for ever and works out from their times what is true.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import fakeredis
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from gateway.errors import LeaseLost, PoolFull
from gateway.leases.fair import fair_shares
from gateway.leases.lease import Lease, LeaseStore, Pool, State
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases

TTL_S = 20.0
PIN_S = 60.0
GRACE_S = 2.0
A, B = Pool("profile:a", 2), Pool("profile:b", 1)
USER, ALL = Pool("user:u", 3), Pool("global", 0)
CANDIDATES = ((A, USER, ALL), (B, USER, ALL))
SESSIONS = [f"s{number}" for number in range(6)]
Key = tuple[str, str]


@dataclass
class Ref:
    """A request as the model knows it: where, until when, and whether and how it ended."""

    chosen: int
    until: float
    state: State = State.HELD
    forgotten_at: float = 0.0

    def end(self, state: State, now: float) -> None:
        """The id of a ref that has ended is remembered for ttl."""
        self.state, self.forgotten_at = state, now + TTL_S


@dataclass
class Model:
    """What is true of leases, by looking at all that ever happened."""

    now: float = 1000.0
    refs: dict[Key, Ref] = field(default_factory=dict)
    grace: dict[str, float] = field(default_factory=dict)
    pins: dict[str, tuple[int, float]] = field(default_factory=dict)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        over = self.now - 2 * PIN_S  # nothing that old has an effect
        self.refs = {
            key: ref for key, ref in self.refs.items() if max(ref.until, ref.forgotten_at) > over
        }

    def known(self, key: Key) -> Ref | None:
        ref = self.refs.get(key)
        if ref is not None and ref.state is not State.HELD and ref.forgotten_at <= self.now:
            return None
        return ref

    def live(self, session: str) -> list[Key]:
        return [
            key
            for key, ref in self.refs.items()
            if key[0] == session and ref.state is not State.RELEASED and ref.until > self.now
        ]

    def present(self, pool: Pool) -> set[str]:
        return {
            session
            for session in SESSIONS
            if self.live(session) or self.grace.get(session, 0) > self.now
            if pool in CANDIDATES[self.pins[session][0]]
        }

    def full(self, session: str, index: int) -> tuple[str, int] | None:
        for pool in CANDIDATES[index]:
            present = self.present(pool)
            if pool.cap and len(present) >= pool.cap and session not in present:
                return pool.name, len(present)
        return None

    def acquire(self, key: Key) -> tuple[int, tuple[str, ...]] | tuple[str, int] | None:
        """Return what was granted, or which pool is full, or None if the ref is over."""
        session, _ = key
        known = self.known(key)
        if known is not None and known.state is not State.HELD:
            return None
        pin, pinned_until = self.pins.get(session, (0, 0.0))
        tried = [pin] if pinned_until > self.now else [0, 1]
        refusals = [self.full(session, index) for index in tried]
        if None not in refusals:
            return refusals[0]
        chosen = tried[refusals.index(None)]
        older = [one for one in self.live(session) if one != key]
        for one in older:
            if self.refs[one].state is State.HELD:
                self.refs[one].end(State.SUPERSEDED, self.now)
        self.refs[key] = Ref(chosen, self.now + TTL_S)
        self.grace.pop(session, None)
        self.pins[session] = (chosen, self.now + PIN_S)
        return chosen, tuple(sorted(name for _, name in older))

    def release(self, key: Key, grace_s: float) -> None:
        session, _ = key
        was = key in self.live(session)
        ref = self.known(key)
        if ref is None:
            ref = self.refs[key] = Ref(0, 0.0)
        evicted = ref.state is State.EVICTED
        if ref.state is not State.RELEASED:
            ref.end(State.RELEASED, self.now)
        if was and not self.live(session) and grace_s and not evicted:
            self.grace[session] = self.now + grace_s

    def heartbeat(self, key: Key) -> State:
        ref = self.known(key)
        if ref is None:
            return State.LOST
        if ref.state is State.HELD:
            if ref.until <= self.now:
                return State.LOST
            ref.until = self.now + TTL_S
            self.pins[key[0]] = (ref.chosen, self.now + PIN_S)
        return ref.state

    def evict(self, session: str) -> tuple[str, ...]:
        self.grace.pop(session, None)
        live = self.live(session)
        for key in live:
            self.refs[key].end(State.EVICTED, self.now)
        return tuple(sorted(ref for _, ref in live))


def attempt(store: LeaseStore, key: Key) -> tuple[int, tuple[str, ...]] | tuple[str, int] | None:
    try:
        grant = store.acquire(CANDIDATES, *key, TTL_S)
    except PoolFull as refused:
        return refused.pool, refused.count
    except LeaseLost:
        return None
    return grant.chosen, grant.superseded


def check_invariants(store: LeaseStore, model: Model) -> None:
    counts = {pool.name: store.count(pool.name) for pool in (A, B, USER, ALL)}
    for pool in (A, B, USER, ALL):
        occupants = store.sessions(pool.name)
        assert {one.session for one in occupants} == model.present(pool)
        # "k refs of one session count 1", "a count is a cardinality, never negative"
        assert counts[pool.name] == len(occupants)
        for one in occupants:
            assert set(one.refs) == {ref for _, ref in model.live(one.session)}
        # "Never more than cap distinct sessions in a pool"
        assert not pool.cap or counts[pool.name] <= pool.cap
    # "All pools or none"
    assert counts[A.name] + counts[B.name] == counts[USER.name] == counts[ALL.name]


class Run:
    """Random operations on a store and on the model, which must agree after each."""

    def __init__(
        self, store: LeaseStore, advance: Callable[[float], None], draw: random.Random
    ) -> None:
        self.store, self.advance, self.draw = store, advance, draw
        self.model = Model()
        self.keys: list[Key] = []
        self.held: list[Key] = []
        """What processes that are alive extend; a crash forgets it without a release."""

    def step(self) -> None:
        operation = self.draw.choices(
            [self.acquire, self.release, self.beat, self.crash, self.evict, self.wait],
            weights=[8, 8, 4, 1, 1, 4],
        )[0]
        operation()

    def acquire(self) -> None:
        key = (self.draw.choice(SESSIONS), f"r{len(self.keys)}")
        if self.keys and self.draw.random() < 0.2:
            key = self.draw.choice(self.keys[-12:])
        else:
            self.keys.append(key)
        # "acquire after acquire = acquire for one ref": what is sent twice is granted once
        for _ in range(self.draw.choice([1, 1, 2])):
            assert attempt(self.store, key) == self.model.acquire(key)
        if key not in self.held:
            self.held.append(key)

    def release(self) -> None:
        if self.keys:
            key = self.draw.choice(self.keys[-12:])
            grace_s = self.draw.choice([0.0, GRACE_S])
            # "release after release = release"
            for _ in range(self.draw.choice([1, 2, 3])):
                self.store.release(*key, grace_s)
                self.model.release(key, grace_s)
            self.held = [one for one in self.held if one != key]

    def beat(self) -> None:
        leases = [Lease(*key, CANDIDATES[self.chosen(key)]) for key in self.held]
        states = [self.model.heartbeat(key) for key in self.held]
        assert self.store.heartbeat(leases, TTL_S) == states
        self.held = [
            key for key, state in zip(self.held, states, strict=True) if state is State.HELD
        ]

    def chosen(self, key: Key) -> int:
        known = self.model.refs.get(key)
        return known.chosen if known is not None else 0

    def crash(self) -> None:
        self.held = [key for key in self.held if self.draw.random() < 0.5]

    def evict(self) -> None:
        session = self.draw.choice(SESSIONS)
        assert self.store.evict(session) == self.model.evict(session)

    def wait(self) -> None:
        seconds = self.draw.choice([1.0, GRACE_S, 5.0, TTL_S, PIN_S])
        self.model.pass_time(seconds)
        self.advance(seconds)

    def end(self) -> None:
        """Let everything end, by a release or a death, and look again."""
        for key in self.held[::2]:
            self.store.release(*key, GRACE_S)
            self.model.release(key, GRACE_S)
        # "Once a holder has died, its sessions are in no pool within ttl"
        self.model.now += TTL_S
        self.advance(TTL_S)
        assert self.store.pools() == []


def run_memory(draw: random.Random, steps: int) -> None:
    now = [1000.0]

    def advance(seconds: float) -> None:
        now[0] += seconds

    run = Run(MemoryLeases(ttl_s=TTL_S, pin_s=PIN_S, clock=lambda: now[0]), advance, draw)
    for step in range(steps):
        run.step()
        if step % 5 == 0:
            check_invariants(run.store, run.model)
    run.end()


@given(draw=st.randoms(use_true_random=False))
@settings(max_examples=30, deadline=None)
def test_the_memory_store_agrees_with_the_model_whatever_happens(draw: random.Random) -> None:
    run_memory(draw, 100)


def test_100_000_random_operations_in_memory_agree_with_the_model() -> None:
    for seed in range(100):
        run_memory(random.Random(seed), 1000)


@pytest.mark.parametrize("seed", range(4))
def test_the_redis_store_agrees_with_the_model_whatever_happens(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [time.time()]
    monkeypatch.setattr(time, "time", lambda: now[0])

    def advance(seconds: float) -> None:
        # A key of Redis is gone a millisecond after it expired.
        now[0] += seconds + 0.001

    client = cast("Redis", fakeredis.FakeRedis(decode_responses=True))
    store = RedisLeases(client, ttl_s=TTL_S, pin_s=PIN_S, recover_s=0)
    run = Run(store, advance, random.Random(seed))
    for _ in range(200):
        run.step()
        check_invariants(store, run.model)
    run.end()
    store.close()


@given(
    wanted=st.dictionaries(st.text("abcdef", min_size=1, max_size=2), st.integers(0, 30)),
    cap=st.integers(1, 40),
)
def test_no_share_grows_but_at_the_cost_of_one_that_is_no_larger(
    wanted: dict[str, int], cap: int
) -> None:
    shares = fair_shares(wanted, cap)
    assert sum(shares.values()) == min(cap, sum(wanted.values()))
    for owner, share in shares.items():
        assert 0 <= share <= wanted[owner]
        if share < wanted[owner]:
            assert all(other <= share + 1 for other in shares.values())


@given(
    demands=st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 12)), max_size=30),
    cap=st.integers(0, 10),
)
@settings(deadline=None)
def test_claims_in_redis_and_in_memory_are_the_same_and_never_exceed_the_cap(
    demands: Sequence[tuple[str, int]], cap: int
) -> None:
    client = cast("Redis", fakeredis.FakeRedis(decode_responses=True))
    stores: list[LeaseStore] = [
        MemoryLeases(ttl_s=TTL_S),
        RedisLeases(client, ttl_s=TTL_S, recover_s=0),
    ]
    pool = Pool("provider:p", cap)
    for owner, wanted in demands:
        first, second = [store.claim(pool, owner, wanted, (), TTL_S) for store in stores]
        assert first == second
        for store in stores:
            for slot in first.slots[first.target :]:
                store.release(slot, "slot", 0)
            assert not cap or store.count(pool.name) <= cap
    for store in stores:
        store.close()
