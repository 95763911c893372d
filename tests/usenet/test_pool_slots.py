"""A pool that may have as many connections as it holds slots of an account that others use too."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.demo import Fault, LimitAt, NewsServer, make_post
from gateway.nzb.extents import Part
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.ledger import Ledger, Request
from gateway.usenet.limit import Limit, SlotFigures
from gateway.usenet.permits import ExtendedSemaphore, Waiter
from gateway.usenet.policy import Policy
from gateway.usenet.pool import Pool
from gateway.usenet.shares import Fixed, Shares
from gateway.usenet.workload import Reservation, Workload

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

WATCHING = Reservation(Workload.STREAM, 1)
CHECKING = Reservation(Workload.HEALTH)
POST = make_post("film.mkv", bytes(range(256)) * 800, part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]


class Asked:
    """Slots that only note that somebody waits."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def ask(self) -> None:
        self.asked.set()

    def figures(self) -> SlotFigures:
        return SlotFigures(3, 2, 1)


@pytest.fixture
def shared(server: NewsServer, make_client: MakeClient, to: To) -> tuple[UsenetClient, Pool, Asked]:
    server.add(POST)
    client, slots = make_client(to(server, connections=8)), Asked()
    pool = client.pools["main"]
    pool.share(slots)
    return client, pool, slots


def settle(pool: Pool) -> None:
    deadline = time.monotonic() + 10
    while (status := pool.status()).live > status.limit:
        assert time.monotonic() < deadline, status
        threading.Event().wait(0.01)


def test_nothing_is_dialled_before_a_slot_is_held_and_whoever_waits_is_made_known(
    server: NewsServer, shared: tuple[UsenetClient, Pool, Asked]
) -> None:
    client, pool, slots = shared
    fetch = client.source.request(PARTS[0], reservation=WATCHING)
    assert slots.asked.wait(10)
    assert server.counts.total_connections == 0
    assert pool.wanted() == 1
    pool.allow(1)
    assert fetch.result(10).data
    assert server.counts.total_connections == 1


def test_fewer_slots_cut_nobody_who_is_at_work(
    server: NewsServer, shared: tuple[UsenetClient, Pool, Asked]
) -> None:
    client, pool, _ = shared
    pool.allow(4)
    server.fail(Fault.STALL, times=4, after=2_000)
    fetches = [client.source.request(part, reservation=WATCHING) for part in PARTS[:4]]
    server.wait_for(lambda counts: counts.stalled == 4, 10)
    pool.allow(1)
    status = pool.status()
    assert (status.live, status.limit, status.allowed) == (4, 1, 8)
    server.release()
    for fetch in fetches:
        assert fetch.result(10).data
    assert server.counts.total_connections == 4
    server.wait_for(lambda counts: counts.connections == 1, 10)


def test_lost_slots_cut_who_is_at_work_and_what_was_on_its_way_is_asked_for_again(
    server: NewsServer, shared: tuple[UsenetClient, Pool, Asked]
) -> None:
    client, pool, _ = shared
    pool.allow(4)
    # The retry that a lost connection has of its own is spent: a cut must not cost it.
    server.fail(Fault.CUT, *POST.message_ids[:3], times=1, after=1_000)
    server.fail(Fault.STALL, *POST.message_ids[:3], times=1, after=2_000)
    fetches = [client.source.request(part, reservation=WATCHING) for part in PARTS[:3]]
    server.wait_for(lambda counts: counts.stalled == 3, 10)
    pool.allow(1, cut=True)
    server.wait_for(lambda counts: counts.connections == 1, 10)
    settle(pool)
    server.release()
    for fetch in fetches:
        assert fetch.result(10).data
    provider = client.source.providers[0]
    assert provider.tally.failures.total() == 0
    assert pool.permits.snapshot().double_releases == 0


def test_idle_connections_are_cut_before_those_at_work(
    server: NewsServer, shared: tuple[UsenetClient, Pool, Asked]
) -> None:
    client, pool, _ = shared
    pool.allow(3)
    server.fail(Fault.STALL, times=3, after=2_000)
    fetches = [client.source.request(part, reservation=WATCHING) for part in PARTS[:3]]
    server.wait_for(lambda counts: counts.stalled == 3, 10)
    server.release()
    for fetch in fetches:
        assert fetch.result(10).data
    server.fail(Fault.STALL, times=1, after=2_000)
    working = client.source.request(PARTS[3], reservation=WATCHING)
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    pool.allow(1, cut=True)
    server.wait_for(lambda counts: counts.connections == 1, 10)
    server.release()
    assert working.result(10).data
    assert server.counts.bodies[POST.message_ids[3]] == 1


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A server that takes connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def test_lost_slots_end_dialling_too(silent: socket.socket, make_client: MakeClient) -> None:
    client = make_client(Account("main", "127.0.0.1", silent.getsockname()[1], connections=2))
    pool = client.pools["main"]
    pool.share(Asked())
    pool.allow(1)
    fetch = client.source.request(PARTS[0], reservation=WATCHING)
    taken, _ = silent.accept()
    with taken:
        pool.allow(0, cut=True)
        taken.settimeout(5)  # connecting may take 10 s
        assert taken.recv(1) == b""
    settle(pool)
    assert not fetch.done
    pool.allow(1)
    again, _ = silent.accept()
    again.close()
    fetch.cancel()


def test_what_is_learned_and_what_is_held_are_both_kept_to(make_client: MakeClient, to: To) -> None:
    with NewsServer(max_connections=3, limit_at=LimitAt.GREETING) as server:
        server.add(POST)
        client = make_client(to(server, connections=8))
        pool = client.pools["main"]
        pool.share(Asked())
        pool.allow(5)
        fetches = [client.source.request(part, reservation=WATCHING) for part in PARTS]
        for fetch in fetches:
            assert fetch.result(10).data
        status = pool.status()
        assert (status.configured, status.allowed, status.limit) == (8, 3, 3)
        pool.allow(2)
        assert pool.status().limit == 2
        pool.resize(8)
        assert (pool.status().allowed, pool.status().limit) == (8, 2)
        client.close()


@pytest.mark.parametrize(
    ("limit", "allowed", "now"),
    [
        (Limit(10), 10, 10),
        (Limit(10, learned=4), 4, 4),
        (Limit(10, learned=4, slots=6), 4, 4),
        (Limit(10, slots=6), 10, 6),
        (Limit(10, slots=0), 10, 0),
        (Limit(10, slots=60), 10, 10),
    ],
)
def test_the_smallest_limit_counts(limit: Limit, allowed: int, now: int) -> None:
    assert (limit.allowed, limit.now) == (allowed, now)


def ask(semaphore: ExtendedSemaphore, reservation: Reservation, times: int, demand: bool) -> None:
    for _ in range(times):
        semaphore.submit(Request(reservation, demand), lambda permit: True)


@pytest.mark.parametrize(
    ("policy", "asked", "wanted"),
    [
        (Shares(), [(WATCHING, 7, True)], 7),
        (Shares(), [(WATCHING, 90, False)], 50),
        (Shares(max_connections_per_stream=4), [(WATCHING, 90, False), (WATCHING, 1, True)], 5),
        (Shares(), [(CHECKING, 20, True)], 5),
        (Shares(health_cap=2), [(CHECKING, 20, True), (WATCHING, 3, True)], 5),
        (Shares(queue_cap=30), [(Reservation(Workload.QUEUE), 90, True)], 30),
        (Fixed(30), [(Reservation(Workload.QUEUE), 90, True), (WATCHING, 3, True)], 30),
        (Fixed(), [(WATCHING, 3, True)], 3),
    ],
)
@pytest.mark.parametrize("total", [0, 2, 50])
def test_what_is_wanted_is_what_could_be_used_of_the_whole_account(
    policy: Policy, asked: list[tuple[Reservation, int, bool]], wanted: int, total: int
) -> None:
    semaphore = ExtendedSemaphore(0, policy)
    semaphore.resize(total, 50)
    for reservation, times, demand in asked:
        ask(semaphore, reservation, times, demand)
    assert semaphore.usable() == wanted


@pytest.mark.parametrize("total", [2, 5, 20, 50])
def test_checks_may_use_a_tenth_of_the_whole_account_if_nobody_else_wants_it(total: int) -> None:
    semaphore = ExtendedSemaphore(0, Shares())
    semaphore.resize(total, 50)
    ask(semaphore, CHECKING, 20, True)
    assert semaphore.snapshot().held[Workload.HEALTH] == min(5, total)


def test_a_part_of_an_account_is_guaranteed_by_its_own_size() -> None:
    ledger: Ledger[Waiter] = Ledger(10)
    ledger.whole = 50
    limits = Shares().limits(ledger.total, ledger.whole)
    assert limits.guarantee == (4, 2, 1)
    assert limits.cap == (10, 10, 5)


def test_figures_of_slots_are_part_of_a_pools_status(
    shared: tuple[UsenetClient, Pool, Asked],
) -> None:
    client, pool, _ = shared
    assert pool.status().slots == SlotFigures(3, 2, 1)
    assert client.connections() == 8  # whoever reads ahead asks for its share
