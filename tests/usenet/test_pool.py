"""The pool and the reactor over real servers: never one connection too many, nothing lost."""

from __future__ import annotations

import random
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import trustme

from gateway.demo import Fault, LimitAt, NewsServer, Shape, make_post
from gateway.errors import ConnectFailed, GatewayError, LoginRefused, ProviderBusy
from gateway.nzb.extents import Part
from gateway.usenet import reactor
from gateway.usenet.capacity import RELEARN_S
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.connection import TRANSITIONS, Connection, Server, State
from gateway.usenet.provider import LONGEST_PAUSE_S, PAUSE_S, Breaker
from gateway.usenet.replies import Meaning, meaning
from gateway.usenet.workload import Reservation, Workload

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

WATCHING = Reservation(Workload.STREAM, 1)
POST = make_post("film.mkv", bytes(range(256)) * 2000, part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]


class Clock:
    """Real time that can be moved on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead_s


def settled(client: UsenetClient, name: str = "main") -> bool:
    permits = client.pools[name].permits.snapshot()
    return permits.free == permits.total and not sum(permits.waiting.values())


def settle(client: UsenetClient) -> None:
    """Wait until every permit is back: an article fetched last comes after all that was left."""
    deadline = time.monotonic() + 10
    while not settled(client):
        assert time.monotonic() < deadline, client.pools["main"].permits.snapshot()
        threading.Event().wait(0.01)


def test_there_are_never_more_connections_than_allowed_whatever_happens(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    server.add(POST)
    client = make_client(to(server, connections=5), stall_s=0.3)
    server.fail(Fault.CUT, *POST.message_ids[::7], times=1)
    server.fail(Fault.STALL, *POST.message_ids[3::11], times=1, after=3_000, seconds=0.1)
    server.fail(Fault.REFUSE_LOGIN, times=1)

    def storm(seed: int) -> int:
        rng, got = random.Random(seed), 0
        for _ in range(120):
            reservation = Reservation(Workload(rng.randrange(3)), rng.randrange(4))
            fetch = client.source.request(
                rng.choice(PARTS), reservation=reservation, demand=rng.random() < 0.5
            )
            if rng.random() < 0.3:
                fetch.cancel()
                continue
            try:
                got += bool(fetch.result(10).data)
            except GatewayError:
                continue
            if rng.random() < 0.02:
                client.pools["main"].resize(rng.choice((3, 4, 5)))
        return got

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(storm, range(6))) > 300
    settle(client)
    status, permits = client.pools["main"].status(), client.pools["main"].permits.snapshot()
    assert server.counts.peak_connections <= 5
    assert status.live <= status.limit
    assert permits.double_releases == 0
    assert permits.unattributed == 0


@pytest.mark.parametrize("limit_at", list(LimitAt))
def test_a_limit_below_the_configured_one_is_learned_and_recovers(
    make_client: MakeClient, to: To, limit_at: LimitAt
) -> None:
    clock = Clock()
    with NewsServer(
        max_connections=3, limit_at=limit_at, users={"bob": "pw"}, shape=Shape(0.01)
    ) as server:
        server.add(POST)
        login = {"username": "bob", "password": "pw"}
        client = make_client(to(server, connections=10, **login), clock=clock)
        fetches = [client.source.request(part, reservation=WATCHING) for part in PARTS]
        for fetch in fetches:
            fetch.result(10)
        settle(client)
        assert client.pools["main"].status().limit == 3
        clock.ahead_s = RELEARN_S + 1
        client.source.request(PARTS[0], reservation=WATCHING).result(10)
        assert client.pools["main"].status().limit == 10
        client.close()


def test_a_lowered_limit_cuts_nobody_and_a_raised_one_wakes_who_waits(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    server.add(POST)
    server.fail(Fault.STALL, times=4, after=2_000)
    client = make_client(to(server, connections=4))
    held = [client.source.request(part, reservation=WATCHING) for part in PARTS[:4]]
    server.wait_for(lambda counts: counts.stalled == 4, 10)
    client.pools["main"].resize(1)
    waiting = client.source.request(PARTS[4], reservation=WATCHING)
    server.release()
    for fetch in held:
        fetch.result(10)
    waiting.result(10)
    server.wait_for(lambda counts: counts.connections == 1, 10)
    server.fail(Fault.STALL, times=1, after=2_000)
    first = client.source.request(PARTS[5], reservation=WATCHING)
    second = client.source.request(PARTS[6], reservation=WATCHING)
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    assert not second.done
    client.pools["main"].resize(2)
    second.result(10)
    server.release()
    first.result(10)


def test_what_is_abandoned_is_closed_when_draining_takes_longer_than_dialling(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    big = make_post("big.bin", bytes(3_000_000), part_size=1_000_000)
    server.add(POST, big)
    client = make_client(to(server, connections=1))
    client.source.request(PARTS[0], reservation=WATCHING).result(10)
    server.fail(Fault.STALL, times=1, after=1_000)
    client.pools["main"]._drain.s_per_byte = 1.0  # a line of one byte a second
    fetch = client.source.request(
        Part((big.message_ids[0],), 1, 3, 0, 1_000_000, 3_000_000), reservation=WATCHING
    )
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    fetch.cancel()
    server.wait_for(lambda counts: counts.connections == 0, 10)
    client.source.request(PARTS[1], reservation=WATCHING).result(10)
    assert server.counts.total_connections == 2


def test_what_is_abandoned_is_drained_when_that_is_sooner_done(
    make_client: MakeClient, to: To
) -> None:
    with NewsServer(shape=Shape(round_trip_s=0.05)) as server:
        server.add(POST)
        client = make_client(to(server, connections=1))
        client.source.request(PARTS[0], reservation=WATCHING).result(10)
        client.pools["main"]._drain.s_per_byte = 1e-9  # a line that brings an article in no time
        server.fail(Fault.STALL, times=1, after=9_000)
        part = Part((POST.message_ids[1],), 2, len(PARTS), 10_000, 20_000, 512_000)
        fetch = client.source.request(part, reservation=WATCHING)
        server.wait_for(lambda counts: counts.stalled == 1, 10)
        fetch.cancel()
        server.release()
        client.source.request(PARTS[2], reservation=WATCHING).result(10)
        assert server.counts.total_connections == 1
        client.close()


def test_a_slow_line_is_not_a_silent_one(
    make_client: MakeClient, to: To, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor, "TICK_S", 0.02)
    big = make_post("big.bin", bytes(400_000), part_size=400_000)
    with NewsServer(shape=Shape(rate_per_connection=200_000)) as server:
        server.add(big)
        client = make_client(to(server, connections=1), stall_s=1.0)
        part = Part((big.message_ids[0],))
        assert len(client.source.request(part, reservation=WATCHING).result(10).data) == 400_000
        assert server.counts.total_connections == 1
        client.close()


def test_no_order_is_slept_through(
    server: NewsServer, make_client: MakeClient, to: To, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With ticks this far apart, a wake-up that is lost is never made good.
    monkeypatch.setattr(reactor, "TICK_S", 3600.0)
    server.add(POST)
    client = make_client(to(server, connections=8))

    def ask(seed: int) -> None:
        for part in random.Random(seed).choices(PARTS, k=250):
            client.source.request(part, reservation=WATCHING).result(10)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))


def test_what_is_reported_together_comes_in_order_and_a_failure_keeps_nothing_back() -> None:
    driver = reactor.Reactor()
    told: list[int] = []

    def fail() -> None:
        raise RuntimeError("a receiver that fails")

    try:
        for number in range(50):
            driver.report_after_orders(fail if number == 20 else partial(told.append, number))
    finally:
        driver.stop()
    assert told == [number for number in range(50) if number != 20]


def test_idle_connections_are_closed_in_the_end(
    server: NewsServer, make_client: MakeClient, to: To, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor, "TICK_S", 0.02)
    server.add(POST)
    client = make_client(to(server), idle_s=0.05)
    client.source.request(PARTS[0], reservation=WATCHING).result(10)
    counts = server.wait_for(lambda counts: counts.connections == 0, 10)
    assert counts.commands["QUIT"] == 1


def test_a_connection_dialled_for_somebody_who_left_is_kept_for_the_next(
    make_client: MakeClient, to: To, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reactor, "TICK_S", 0.02)
    with NewsServer(shape=Shape(round_trip_s=0.05)) as server:
        server.add(POST)
        client = make_client(to(server, connections=1))
        fetch = client.source.request(PARTS[0], reservation=WATCHING)
        server.wait_for(lambda counts: counts.connections == 1, 10)
        fetch.cancel()
        settle(client)
        with pytest.raises(TimeoutError):  # many ticks long
            server.wait_for(lambda counts: counts.connections == 0, 0.3)
        client.source.request(PARTS[0], reservation=WATCHING).result(10)
        assert server.counts.total_connections == 1
        client.close()


def test_after_an_idle_connection_was_found_dead_the_other_idle_ones_are_not_trusted(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    # A server that restarts ends them all, and a request has one retry, not one for each.
    server.add(POST)
    server.fail(Fault.STALL, times=4, after=2_000)
    client = make_client(to(server, connections=4))
    fetches = [client.source.request(part, reservation=WATCHING) for part in PARTS[:4]]
    server.wait_for(lambda counts: counts.stalled == 4, 10)
    server.release()
    for fetch in fetches:
        fetch.result(10)
    settle(client)
    assert client.pools["main"].status().idle == 4

    server.fail(Fault.CUT, times=1, after=0)
    client.source.request(PARTS[4], reservation=WATCHING).result(10)
    assert server.counts.total_connections == 5
    for part in PARTS[5:9]:
        client.source.request(part, reservation=WATCHING).result(10)
    settle(client)
    assert server.counts.total_connections == 5
    assert server.counts.peak_connections == 4


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def tls_server(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_tls_is_spoken_and_verified(make_client: MakeClient, to: To, authority: trustme.CA) -> None:
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with NewsServer(tls=tls_server(authority, "127.0.0.1")) as server:
        server.add(POST)
        client = make_client(to(server, tls=trusting, connections=4))
        fetches = [client.source.request(part, reservation=WATCHING) for part in PARTS]
        assert b"".join(fetch.result(10).data for fetch in fetches) == POST.files[0].data
        client.close()


@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_that_does_not_fit_is_refused_in_words(
    make_client: MakeClient, to: To, authority: trustme.CA, trusted: bool
) -> None:
    context = ssl.create_default_context()
    if trusted:
        authority.configure_trust(context)
    name = "elsewhere.example" if trusted else "127.0.0.1"
    with NewsServer(tls=tls_server(authority, name)) as server:
        client = make_client(to(server, tls=context))
        with pytest.raises(ConnectFailed, match="certificate that cannot be verified"):
            client.source.request(PARTS[0], reservation=WATCHING).result(10)


def test_ipv6_is_dialled(make_client: MakeClient, to: To) -> None:
    with NewsServer(host="::1") as server:
        server.add(POST)
        make_client(to(server)).source.request(PARTS[0], reservation=WATCHING).result(10)


@pytest.mark.parametrize("password", ["a\r\nQUIT", "a\nb", "a\0b"])
def test_a_password_cannot_smuggle_a_command(password: str) -> None:
    with NewsServer(users={"bob": "pw"}) as server:
        connection = Connection(Server("main", server.host, server.port, None, "bob", password))
        with pytest.raises(LoginRefused, match="line break"):
            connection.dial(5)
        assert "QUIT" not in server.counts.commands


def test_every_transition_that_is_not_listed_is_refused() -> None:
    for before in State:
        for after in State:
            connection = Connection(Server("main", "nowhere.example", 119))
            connection.state = before
            if after in TRANSITIONS[before]:
                connection._move(after)
                assert connection.state is after
            else:
                with pytest.raises(RuntimeError):
                    connection._move(after)


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (222, Meaning.PRESENT),
        (220, Meaning.PRESENT),
        (223, Meaning.PRESENT),
        (430, Meaning.MISSING),
        (423, Meaning.MISSING),
        (411, Meaning.MISSING),
        (451, Meaning.MISSING),
        (400, Meaning.BUSY),
        (502, Meaning.BUSY),
        (480, Meaning.LOGIN_WANTED),
        (481, Meaning.LOGIN_REFUSED),
        (482, Meaning.LOGIN_REFUSED),
        (500, Meaning.UNSUPPORTED),
        (503, Meaning.UNSUPPORTED),
        (299, Meaning.UNEXPECTED),
        (0, Meaning.UNEXPECTED),
    ],
)
def test_a_reply_code_has_one_meaning(code: int, expected: Meaning) -> None:
    assert meaning(code) is expected


class StoppedClock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_three_failures_open_the_breaker_and_a_probe_closes_it() -> None:
    clock = StoppedClock()
    breaker = Breaker(clock)
    for _ in range(3):
        assert breaker.refusal() is None
        breaker.failed(ConnectFailed("down"))
        clock.now += 2
    assert isinstance(breaker.refusal(), ConnectFailed)
    clock.now += PAUSE_S
    assert breaker.refusal() is None, "the pause is over: one may probe"
    assert breaker.refusal() is not None, "and only one"
    breaker.succeeded()
    assert breaker.refusal() is None


def test_a_burst_of_failures_counts_once() -> None:
    clock = StoppedClock()
    breaker = Breaker(clock)
    for _ in range(50):
        breaker.failed(ConnectFailed("the line went down"))
    assert breaker.refusal() is None


def test_each_failed_probe_doubles_the_pause_up_to_the_longest() -> None:
    clock = StoppedClock()
    breaker = Breaker(clock)
    breaker.failed(LoginRefused("wrong password"))
    pause = PAUSE_S
    for _ in range(5):
        clock.now += pause - 0.1
        assert breaker.refusal() is not None
        clock.now += 0.2
        assert breaker.refusal() is None
        breaker.failed(ConnectFailed("still down"))
        pause = min(LONGEST_PAUSE_S, 2 * pause)


def test_a_probe_that_is_never_heard_of_again_makes_way_for_another() -> None:
    clock = StoppedClock()
    breaker = Breaker(clock)
    breaker.failed(LoginRefused("wrong password"))
    clock.now += PAUSE_S
    assert breaker.refusal() is None
    assert breaker.refusal() is not None
    clock.now += 60
    assert breaker.refusal() is None


def test_a_provider_that_lets_nobody_in_says_so(make_client: MakeClient, to: To) -> None:
    with NewsServer(max_connections=0) as server:
        client = make_client(to(server))
        with pytest.raises(ProviderBusy, match="refuses the connection"):
            client.source.request(PARTS[0], reservation=WATCHING).result(10)
