"""Two pools on one account, over a real news server that counts and refuses one too many."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast

import fakeredis
import pytest
from redis import Redis

from bench.redis_server import RedisServer
from gateway.demo import Fault, LimitAt, NewsServer, Shape, make_post
from gateway.errors import GatewayError, NoCapacity
from gateway.leases.lease import SLOT, Claim, LeaseStore, Pool
from gateway.leases.memory import MemoryLeases
from gateway.leases.redis import RedisLeases
from gateway.nzb.extents import Part
from gateway.slots import ProviderSlots, SlotTimes
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.flight import Fetch
from gateway.usenet.workload import Reservation, Workload

CAP = 8
POST = make_post("film.mkv", random.Random(3).randbytes(2_000_000), part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]
WATCHING = Reservation(Workload.STREAM, 1)
QUEUE = Reservation(Workload.QUEUE)


class Times(SlotTimes):
    """Heartbeats as often as a test likes them; slots that last, however busy the machine is."""

    @property
    def heartbeat_s(self) -> float:
        return 0.5


TIMES = Times()


@dataclass
class Site:
    """A gateway's way to the provider, and as much demand as a test wants."""

    client: UsenetClient
    slots: ProviderSlots
    enough: threading.Event = field(default_factory=threading.Event)
    failures: list[GatewayError] = field(default_factory=list)
    threads: list[threading.Thread] = field(default_factory=list)

    def fetch(self, part: Part = PARTS[0], reservation: Reservation = WATCHING) -> Fetch:
        return self.client.source.request(part, reservation=reservation)

    def work(self, at_once: int) -> None:
        """Keep *at_once* articles on their way until `rest`."""
        self.enough = enough = threading.Event()

        def fetch_all(seed: int) -> None:
            rng = random.Random(seed)
            while not enough.is_set():
                try:
                    self.fetch(rng.choice(PARTS), QUEUE).result(30)
                except GatewayError as exc:
                    self.failures.append(exc)

        self.threads = [threading.Thread(target=fetch_all, args=(n,)) for n in range(at_once)]
        for thread in self.threads:
            thread.start()

    def rest(self) -> None:
        self.enough.set()
        for thread in self.threads:
            thread.join()

    @property
    def live(self) -> int:
        return self.client.pools["main"].status().live

    def close(self) -> None:
        self.rest()
        self.client.close()
        self.slots.close()


def eventually(is_so: Callable[[], bool], told: Callable[[], object], within_s: float = 60) -> None:
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, told()
        threading.Event().wait(0.01)


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer(
        max_connections=CAP, limit_at=LimitAt.GREETING, shape=Shape(round_trip_s=0.01)
    ) as server:
        server.add(POST)
        yield server


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with RedisServer(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(
    params=["memory", "fakeredis", pytest.param("redis", marks=pytest.mark.system("redis-server"))]
)
def store(request: pytest.FixtureRequest) -> Iterator[LeaseStore]:
    made: LeaseStore
    match request.param:
        case "memory":
            made = MemoryLeases()
        case "fakeredis":
            fake = cast("Redis", fakeredis.FakeRedis(decode_responses=True))
            made = RedisLeases(fake, recover_s=0)
        case _:
            url = request.getfixturevalue("redis_server").url
            Redis.from_url(url).flushall()
            made = RedisLeases.from_url(url, recover_s=0)
    yield made
    made.close()


class Door:
    """The gateways' way to the store: whoever holds `alone` has the store to itself."""

    def __init__(self, store: LeaseStore) -> None:
        self._store = store
        self.alone = threading.Lock()

    def claim(
        self, pool: Pool, owner: str, wanted: int, held: Sequence[str], ttl_s: float
    ) -> Claim:
        with self.alone:
            return self._store.claim(pool, owner, wanted, held, ttl_s)

    def release(self, session: str, ref: str, grace_s: float) -> None:
        with self.alone:
            self._store.release(session, ref, grace_s)


@pytest.fixture
def door(store: LeaseStore) -> Door:
    return Door(store)


MakeSite = Callable[[], Site]


@pytest.fixture
def make_site(server: NewsServer, door: Door) -> Iterator[MakeSite]:
    with ExitStack() as stack:

        def make() -> Site:
            client = UsenetClient([Account("main", server.host, server.port, connections=CAP)])
            slots = ProviderSlots(cast("LeaseStore", door), client.pools.values(), times=TIMES)
            site = Site(client, slots)
            stack.callback(site.close)
            return site

        yield make


def test_two_gateways_never_hold_more_together_and_share_fairly_as_demand_changes(
    server: NewsServer, make_site: MakeSite
) -> None:
    one, other = make_site(), make_site()

    def lives() -> tuple[int, int]:
        return one.live, other.live

    one.work(CAP)
    eventually(lambda: one.live >= CAP - 1, lives)
    other.work(CAP)
    eventually(lambda: lives() == (4, 4), lives)
    one.rest()
    eventually(lambda: other.live >= CAP - 1, lives)
    one.work(3)
    eventually(lambda: lives() == (3, 5), lives)
    one.rest()
    other.rest()
    assert server.counts.peak_connections <= CAP
    assert server.counts.refused_connections == 0
    assert not one.failures + other.failures


def test_a_gateway_that_ends_gives_its_slots_back_at_once(
    make_site: MakeSite, store: LeaseStore
) -> None:
    one, other = make_site(), make_site()
    one.work(CAP)
    other.work(CAP)
    eventually(lambda: one.live == other.live == 4, lambda: (one.live, other.live))
    one.close()
    assert not [
        slot.session
        for slot in store.sessions("provider:main")
        if slot.session.startswith(f"{one.slots.owner}:")
    ]
    eventually(lambda: other.live == CAP, lambda: other.live)


def test_connections_whose_slots_are_lost_are_cut_and_their_articles_come_all_the_same(
    server: NewsServer, make_site: MakeSite, store: LeaseStore, door: Door
) -> None:
    site = make_site()
    server.fail(Fault.STALL, times=4, after=2_000)
    fetches = [site.fetch(part) for part in PARTS[:4]]
    server.wait_for(lambda counts: counts.stalled == 4, 60)
    # The store loses them all, and somebody else is the faster one.
    account = Pool("provider:main", CAP)
    with door.alone:
        for slot in store.sessions("provider:main"):
            store.release(slot.session, SLOT, 0)
        claims = [store.claim(account, rival, CAP, [], TIMES.ttl_s) for rival in ("this", "that")]
    theirs = sum(len(claim.slots) for claim in claims)
    assert theirs == CAP - 1
    server.wait_for(lambda counts: counts.connections <= CAP - theirs, 60)
    server.heal()
    server.release()
    for fetch in fetches:
        assert fetch.result(60).data
    assert site.client.source.providers[0].breaker().state == "closed"
    assert site.client.source.providers[0].tally.failures.total() == 0


def test_without_a_slot_a_reader_waits_in_line_and_is_told_that_there_is_no_capacity(
    make_site: MakeSite, store: LeaseStore
) -> None:
    store.claim(Pool("provider:main", CAP), "rival", CAP, [], TIMES.ttl_s)
    site = make_site()
    with pytest.raises(NoCapacity, match=r"no permit within .* s: 0 of 0 free"):
        site.fetch().result(0.5)
    assert site.client.source.providers[0].breaker().state == "closed"
