"""`/metrics`, of leases: every number that an operator watches, as Prometheus reads it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gateway.errors import LeaseRefused, LeaseStoreDown, PoolFull, StoreRecovering
from gateway.http.lease_metrics import LeaseFigures
from gateway.leases.figures import ACQUIRE_BOUNDS_S
from gateway.leases.held import OnStoreError
from gateway.leases.keeper import Keeper
from gateway.leases.lease import Grant, Pool, SessionStanding, State
from gateway.leases.memory import MemoryLeases

ONE = Pool("profile:1", 1)
BOB = Pool("user:bob", 2)
ALL = Pool("global", 0)


class Store(MemoryLeases):
    """A store in memory that fails as it is told to."""

    failure: LeaseStoreDown | StoreRecovering | None = None
    beats = 0

    def acquire(self, *given: object) -> Grant:
        if self.failure:
            raise self.failure
        return super().acquire(*given)  # type: ignore[arg-type]

    def heartbeat(self, leases: object, ttl_s: float) -> list[State]:
        self.beats += 1
        if isinstance(self.failure, LeaseStoreDown):
            raise self.failure
        return super().heartbeat(leases, ttl_s)  # type: ignore[arg-type]

    def census(self) -> list[SessionStanding]:
        if isinstance(self.failure, LeaseStoreDown):
            raise self.failure
        return super().census()


@dataclass
class Site:
    store: Store
    keeper: Keeper
    told: list[State] = field(default_factory=list)

    def scrape(self) -> dict[tuple[object, ...], float]:
        """Return every sample by its name and labels."""
        registry = CollectorRegistry()
        registry.register(LeaseFigures(self.store, self.keeper, self.keeper.caps))
        return {
            (
                sample.name.removeprefix("nzb_gateway_"),
                *sorted(sample.labels.values()),
            ): sample.value
            for family in text_string_to_metric_families(generate_latest(registry).decode())
            for sample in family.samples
        }


def site_of(policy: OnStoreError = OnStoreError.REFUSE) -> Site:
    store = Store()
    keeper = Keeper(store, heartbeat_s=3600, grace_s=0, on_store_error=policy)
    while not store.beats:
        threading.Event().wait(0.001)
    return Site(store, keeper)


@pytest.fixture
def site() -> Iterator[Site]:
    site = site_of()
    with closing(site.keeper):
        yield site


def test_sessions_are_told_by_pool_beside_the_cap(site: Site) -> None:
    site.keeper.acquire([[BOB, ONE, ALL]], "s", site.told.append)
    site.store.acquire([[Pool("profile:2", 9), ALL]], "of another process", "r", 20)
    site.keeper.acquire([[BOB]], "t", site.told.append).release()
    seen = site.scrape()
    assert [seen["lease_sessions", pool] for pool in ("global", "profile:1", "profile:2")] == [
        2,
        1,
        1,
    ]
    assert seen["lease_sessions", "user:bob"] == 1
    caps = {key[1]: value for key, value in seen.items() if key[0] == "lease_pool_cap"}
    assert caps == {"global": 0, "profile:1": 1, "user:bob": 2}
    assert seen["lease_refs_held",] == 1


def test_acquires_are_told_by_outcome_and_the_kind_of_pool_that_was_full(site: Site) -> None:
    site.keeper.acquire([[BOB, ONE]], "s", site.told.append)
    for _ in range(2):
        with pytest.raises(PoolFull):
            site.keeper.acquire([[ONE]], "t", site.told.append)
    site.store.failure = StoreRecovering(5)
    with pytest.raises(StoreRecovering):
        site.keeper.acquire([[ONE]], "t", site.told.append)
    site.store.failure = LeaseStoreDown("down")
    with pytest.raises(LeaseStoreDown):
        site.keeper.acquire([[ONE]], "t", site.told.append)
    site.store.failure = None
    site.keeper.drain()
    with pytest.raises(LeaseRefused):
        site.keeper.acquire([[ONE]], "t", site.told.append)
    seen = site.scrape()
    acquires = {key[1:]: value for key, value in seen.items() if key[0] == "lease_acquires_total"}
    assert acquires == {
        ("", "granted"): 1,
        ("", "local"): 0,
        ("full", "profile"): 2,
        ("", "recovering"): 1,
        ("", "store_down"): 1,
        ("", "draining"): 1,
        ("", "lost"): 0,
    }


def test_how_long_acquires_took_is_a_histogram(site: Site) -> None:
    for number in range(4):
        site.keeper.acquire([[ALL]], f"s{number}", site.told.append)
    seen = site.scrape()
    bounds = [*(str(bound) for bound in ACQUIRE_BOUNDS_S), "+Inf"]
    buckets = [seen["lease_acquire_seconds_bucket", le] for le in bounds]
    assert buckets == sorted(buckets)
    assert buckets[-1] == seen["lease_acquire_seconds_count",] == 4
    assert 0 < seen["lease_acquire_seconds_sum",] < 10


def test_leases_that_did_not_end_by_their_holder_are_told_by_how(site: Site) -> None:
    site.keeper.acquire([[ALL]], "s", site.told.append)
    site.keeper.acquire([[ALL]], "s", site.told.append)
    site.keeper.evict("s")
    site.keeper.evict("s")
    held = site.keeper.acquire([[ALL]], "t", site.told.append)
    site.store.release("t", held.ref, 0)
    site.keeper.beat()
    assert site.told == [State.SUPERSEDED, State.EVICTED, State.LOST]
    seen = site.scrape()
    assert [seen["leases_ended_total", how] for how in ("superseded", "evicted", "lost")] == [
        1,
        1,
        1,
    ]


def test_a_store_that_is_down_is_told_with_what_it_has_missed() -> None:
    site = site_of(OnStoreError.LOCAL)
    with closing(site.keeper):
        held = site.keeper.acquire([[ONE]], "s", site.told.append)
        assert site.scrape()["lease_store_down",] == 0
        site.store.failure = LeaseStoreDown("down")
        assert ("lease_sessions", "profile:1") not in site.scrape()
        site.keeper.beat()
        site.keeper.acquire([[ALL]], "t", site.told.append)
        held.release()
        seen = site.scrape()
        assert seen["lease_store_down",] == seen["lease_releases_queued",] == 1
        assert seen["lease_heartbeats_failed_total",] == 1
        assert seen["lease_acquires_total", "", "local"] == 1
        assert ("lease_sessions", "profile:1") not in seen
        site.store.failure = None
        site.keeper.beat()
        seen = site.scrape()
        assert seen["lease_store_down",] == seen["lease_releases_queued",] == 0
        assert seen["lease_sessions", "profile:1"] == 0


def test_nothing_is_told_by_session() -> None:
    site = site_of()
    with closing(site.keeper):
        site.keeper.acquire([[ALL]], "a-session", site.told.append)
        assert not [key for key in site.scrape() if "a-session" in key]
