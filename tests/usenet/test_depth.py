"""Two commands on one connection: for who waits for nobody, and never to a viewer's cost."""

from __future__ import annotations

import random
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import trustme

from gateway.demo import Fault, NewsServer, Shape, make_post
from gateway.errors import ArticleMissing, GatewayError, ProviderError
from gateway.nzb.extents import Part
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.connection import Connection, Server, State
from gateway.usenet.depth import DOUBTS
from gateway.usenet.exchange import Exchange
from gateway.usenet.flight import Fetch
from gateway.usenet.permits import ExtendedSemaphore, Permit, Request, Waiter
from gateway.usenet.shares import Shares
from gateway.usenet.workload import Reservation, Workload

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

SIZE = 10_000
DATA = random.Random(8).randbytes(60 * SIZE)
POST = make_post("film.mkv", DATA, part_size=SIZE)
PARTS = [
    Part((message_id,), number, len(POST.message_ids), begin, begin + SIZE, len(DATA))
    for number, (message_id, begin) in enumerate(
        zip(POST.message_ids, range(0, len(DATA), SIZE), strict=True), 1
    )
]
QUEUED = Reservation(Workload.QUEUE)
WATCHING = Reservation(Workload.STREAM, 1)
CHECKING = Reservation(Workload.HEALTH)


@pytest.fixture
def download(make_client: MakeClient, to: To) -> Callable[..., UsenetClient]:
    """Make a client of a server that has the post."""

    def make(server: NewsServer, connections: int, **options: object) -> UsenetClient:
        server.add(POST)
        return make_client(to(server, connections=connections, **options), stall_s=30)

    return make


def ask(client: UsenetClient, numbers: range) -> list[Fetch]:
    return [
        client.source.request(PARTS[number], reservation=QUEUED, demand=False) for number in numbers
    ]


def data(number: int) -> bytes:
    return DATA[number * SIZE : (number + 1) * SIZE]


def stalled(server: NewsServer, client: UsenetClient, connections: int) -> list[Fetch]:
    """Bring as many articles of the queue to a stop as there are connections."""
    server.fail(Fault.STALL, times=connections, after=2_000)
    fetches = ask(client, range(connections))
    server.wait_for(lambda counts: counts.stalled == connections, 10)
    return fetches


def settle(client: UsenetClient) -> None:
    """Wait until every permit is back."""
    permits, deadline = client.pools["main"].permits, time.monotonic() + 10
    while permits.snapshot().free != permits.snapshot().total:
        assert time.monotonic() < deadline, permits.snapshot()
        threading.Event().wait(0.01)


# -- over a news server


@pytest.mark.parametrize(("connections", "doubles"), [(10, 9), (20, 18), (28, 26)])
def test_articles_of_the_queue_are_asked_for_behind_others_on_all_connections_but_one_or_two(
    server: NewsServer,
    download: Callable[..., UsenetClient],
    connections: int,
    doubles: int,
) -> None:
    client = download(server, connections)
    fetches = stalled(server, client, connections)
    fetches += ask(client, range(connections, 60))
    server.wait_for(lambda counts: counts.commands["BODY"] == connections + doubles, 10)
    permits = client.pools["main"].permits.snapshot()
    assert permits.held[Workload.QUEUE] == connections
    assert permits.waiting[Workload.QUEUE] == 60 - connections - doubles
    server.release()
    for number, fetch in enumerate(fetches):
        assert fetch.result(10).data == data(number)
    settle(client)
    assert server.counts.peak_connections == connections
    assert server.counts.commands["BODY"] == 60


def test_a_single_connection_has_one_command_at_a_time(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 1)
    fetches = stalled(server, client, 1) + ask(client, range(1, 3))
    permits = client.pools["main"].permits
    assert permits.snapshot().waiting[Workload.QUEUE] == 2
    server.release()
    assert [fetch.result(10).data for fetch in fetches] == [data(number) for number in range(3)]


def test_depth_one_turns_it_off(server: NewsServer, download: Callable[..., UsenetClient]) -> None:
    client = download(server, 4, pipeline=1)
    fetches = stalled(server, client, 4) + ask(client, range(4, 8))
    assert client.pools["main"].permits.snapshot().waiting[Workload.QUEUE] == 4
    server.release()
    assert [fetch.result(10).data for fetch in fetches] == [data(number) for number in range(8)]


def test_nothing_is_put_behind_another_while_a_viewer_waits(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 4)
    fetches = stalled(server, client, 4)
    watched = client.source.request(PARTS[40], reservation=WATCHING)
    fetches += ask(client, range(4, 8))
    assert client.pools["main"].permits.snapshot().waiting[Workload.QUEUE] == 4
    server.release()
    assert watched.result(10).data == data(40)
    assert [fetch.result(10).data for fetch in fetches] == [data(number) for number in range(8)]


def test_for_a_minute_after_a_viewer_what_streams_are_guaranteed_stays_one_deep(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 10)
    client.source.request(PARTS[40], reservation=WATCHING).result(10)
    fetches = stalled(server, client, 10) + ask(client, range(10, 30))
    # 1 that was watched, 10 in front, 6 behind them: streams are guaranteed 4 of 10.
    server.wait_for(lambda counts: counts.commands["BODY"] == 17, 10)
    assert client.pools["main"].permits.snapshot().waiting[Workload.QUEUE] == 14
    server.release()
    assert [fetch.result(10).data for fetch in fetches] == [data(number) for number in range(30)]


def test_what_was_sent_behind_a_reply_that_broke_off_is_asked_for_again(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 2)
    server.fail(Fault.CUT, *POST.message_ids[::3], times=1, after=3_000)
    fetches = ask(client, range(60))
    assert [fetch.result(10).data for fetch in fetches] == [data(number) for number in range(60)]
    settle(client)


def test_what_was_sent_behind_a_reply_that_broke_off_has_its_retry_still(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 2)
    stalled(server, client, 2)
    rider = ask(client, range(2, 3))[0]
    server.wait_for(lambda counts: counts.commands["BODY"] == 3, 10)
    server.fail(Fault.CUT, POST.message_ids[2], times=1, after=3_000)
    server.drop_connections()
    assert rider.result(10).data == data(2)
    assert server.counts.bodies[POST.message_ids[2]] == 3
    settle(client)


@pytest.mark.parametrize(("reservation", "demand"), [(WATCHING, False), (QUEUED, True)])
def test_what_somebody_may_wait_for_is_put_behind_nothing(
    server: NewsServer,
    download: Callable[..., UsenetClient],
    reservation: Reservation,
    demand: bool,
) -> None:
    client = download(server, 4)
    server.fail(Fault.STALL, times=4, after=2_000)
    fetches = [
        client.source.request(part, reservation=reservation, demand=demand) for part in PARTS[:8]
    ]
    server.wait_for(lambda counts: counts.stalled == 4, 10)
    assert client.pools["main"].permits.snapshot().waiting[reservation.workload] == 4
    server.release()
    assert [fetch.result(10).data for fetch in fetches] == [data(number) for number in range(8)]


def test_who_leaves_does_not_cost_the_other_one_on_the_connection_its_reply(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 2)
    client.pools["main"]._drain.s_per_byte = 1.0  # nothing would be drained alone
    front = stalled(server, client, 2)
    rider, waiting = ask(client, range(2, 4))
    server.wait_for(lambda counts: counts.commands["BODY"] == 3, 10)
    for fetch in front:
        fetch.cancel()
    server.release()
    assert rider.result(10).data == data(2)
    assert waiting.result(10).data == data(3)
    settle(client)
    assert server.counts.commands["BODY"] == 4  # nothing was asked for again


def test_a_connection_that_nobody_wants_any_more_is_closed_with_both_replies(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 2)
    ask(client, range(40, 41))[0].result(10)  # and dialling is known to take a while
    fetches = stalled(server, client, 2) + ask(client, range(2, 3))
    server.wait_for(lambda counts: counts.commands["BODY"] == 4, 10)
    client.pools["main"]._drain.s_per_byte = 1.0
    for fetch in fetches:
        fetch.cancel()
    server.wait_for(lambda counts: counts.connections == 0, 10)
    settle(client)


def test_a_storm_of_leavers_faults_and_limits_loses_no_permit_and_mixes_no_articles(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 6)
    server.fail(Fault.CUT, *POST.message_ids[::7], times=2, after=3_000)
    server.fail(Fault.STALL, *POST.message_ids[3::11], times=1, after=3_000, seconds=0.1)
    server.fail(Fault.MISSING, *POST.message_ids[5::13], times=2)

    def storm(seed: int) -> int:
        rng, got = random.Random(seed), 0
        for _ in range(60):
            numbers = [rng.randrange(60) for _ in range(8)]
            who = rng.choice((QUEUED, QUEUED, QUEUED, WATCHING, CHECKING))
            fetches = [
                client.source.request(PARTS[number], reservation=who, demand=who is WATCHING)
                for number in numbers
            ]
            for number, fetch in zip(numbers, fetches, strict=True):
                if rng.random() < 0.2:
                    fetch.cancel()
                    continue
                try:
                    assert fetch.result(20).data == data(number)
                    got += 1
                except GatewayError:
                    continue
            if rng.random() < 0.05:
                client.pools["main"].resize(rng.choice((2, 4, 6)))
        return got

    with ThreadPoolExecutor(6) as threads:
        assert sum(threads.map(storm, range(6))) > 1_500
    settle(client)
    status, permits = client.pools["main"].status(), client.pools["main"].permits.snapshot()
    assert server.counts.peak_connections <= 6
    assert status.live <= status.limit
    assert (permits.double_releases, permits.unattributed) == (0, 0)


class OneAtATime:
    """Stands before a server, and hangs up on whoever sends a BODY before the last one's end.

    An article ends late, as long ones do, until `go_on` is set: behind its end a second command
    would not come too early. (Not never: all connections may have one alone, for a while.)
    """

    def __init__(self, server: NewsServer) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self.hung_up = 0
        self.go_on = threading.Event()
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._run(self._accept)

    def close(self) -> None:
        self.go_on.set()
        for each in (self._listener, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(10)

    def _run(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                upstream = socket.create_connection((self._server.host, self._server.port))
                self._sockets += [client, upstream]
                asked: list[bytes] = []
                self._run(self._ask, client, upstream, asked)
                self._run(self._answer, client, upstream, asked)

    def _ask(self, client: socket.socket, upstream: socket.socket, asked: list[bytes]) -> None:
        with suppress(OSError):
            while data := client.recv(1 << 16):
                asked += re.findall(rb"BODY [^\r]+\r\n", data)
                if len(asked) > 1:
                    self.hung_up += 1
                    break
                upstream.sendall(data)
        for each in (client, upstream):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _answer(self, client: socket.socket, upstream: socket.socket, asked: list[bytes]) -> None:
        last = b""
        with suppress(OSError):
            while data := upstream.recv(1 << 16):
                last = last[-4:] + data
                if last.endswith(b"\r\n.\r\n"):
                    if asked:
                        self.go_on.wait(3)
                    asked.clear()
                client.sendall(data)


@pytest.fixture
def one_at_a_time(server: NewsServer) -> Iterator[OneAtATime]:
    before = OneAtATime(server)
    yield before
    before.close()


def test_a_server_that_hangs_up_on_a_second_command_is_soon_asked_one_at_a_time(
    server: NewsServer,
    one_at_a_time: OneAtATime,
    make_client: MakeClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server.add(POST)
    there = Account("main", one_at_a_time.host, one_at_a_time.port, tls=None, connections=6)
    client = make_client(there, stall_s=30)
    fetches = ask(client, range(60))
    deadline = time.monotonic() + 60
    while not [one for one in caplog.records if "two commands" in one.message]:
        assert time.monotonic() < deadline, one_at_a_time.hung_up
        threading.Event().wait(0.01)
    one_at_a_time.go_on.set()
    assert [fetch.result(60).data for fetch in fetches] == [data(number) for number in range(60)]
    assert DOUBTS <= one_at_a_time.hung_up < 15, "every second article would make 30"
    (warned,) = (one.message for one in caplog.records if "two commands" in one.message)
    assert "set PIPELINE=1" in warned
    settle(client)


def test_a_server_that_has_answered_many_second_commands_is_never_doubted(
    server: NewsServer, download: Callable[..., UsenetClient], caplog: pytest.LogCaptureFixture
) -> None:
    client = download(server, 6)
    for _ in range(3):
        for fetch in ask(client, range(30)):
            fetch.result(10)
    server.fail(Fault.CUT, *POST.message_ids[30:60], times=1, after=3_000)
    fetches = ask(client, range(30, 60))
    for fetch in fetches:
        try:
            fetch.result(10)
        except GatewayError:
            continue
    assert not [one for one in caplog.records if "two commands" in one.message]
    settle(client)


def test_behind_what_nobody_wants_any_more_nothing_is_sent(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 2)
    server.fail(Fault.STALL, times=2, after=2_000)
    (unwanted,) = ask(client, range(1))
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    (wanted,) = ask(client, range(1, 2))
    server.wait_for(lambda counts: counts.stalled == 2, 10)
    unwanted.cancel()  # and it is drained: nothing is known of the line yet
    rider = ask(client, range(2, 3))[0]
    counts = server.wait_for(lambda counts: counts.commands["BODY"] == 3, 10)
    asked = {each.argument: each.connection for each in counts.journal_of("BODY")}
    assert asked[POST.message_ids[2]] == asked[POST.message_ids[1]]
    server.release()
    assert wanted.result(10).data == data(1)
    assert rider.result(10).data == data(2)


def test_what_nobody_wants_is_closed_when_the_other_one_on_the_connection_is_done(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 2)
    ask(client, range(40, 41))[0].result(10)  # and dialling is known to take a while
    client.pools["main"]._drain.s_per_byte = 1.0
    server.fail(Fault.STALL, *POST.message_ids[:2], times=1, after=2_000, seconds=0.5)
    server.fail(Fault.STALL, POST.message_ids[2], times=1, after=2_000)
    *fronts, rider = ask(client, range(3))
    server.wait_for(lambda counts: counts.commands["BODY"] == 4, 10)
    rider.cancel()
    assert [front.result(10).data for front in fronts] == [data(0), data(1)]
    server.wait_for(lambda counts: counts.connections == 1, 10)
    settle(client)


def test_a_connection_that_was_lost_is_not_left_a_second_time(
    server: NewsServer, download: Callable[..., UsenetClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    dial, dials, go_on = Connection.dial, threading.Semaphore(0), threading.Event()

    def dial_when_told(connection: Connection, timeout_s: float) -> None:
        dials.release()
        assert go_on.wait(10)
        dial(connection, timeout_s)

    client = download(server, 2)
    ask(client, range(40, 41))[0].result(10)
    monkeypatch.setattr(Connection, "dial", dial_when_told)
    pool = client.pools["main"]
    pool._drain.s_per_byte = 1.0
    server.fail(Fault.CUT, POST.message_ids[0], times=1, after=3_000)
    fetch = ask(client, range(1))[0]
    assert dials.acquire(timeout=10)  # its first connection was cut, another one is dialled
    fetch.cancel()
    go_on.set()
    settle(client)
    for each in stalled(server, client, 2):
        server.release()
        each.result(10)
    settle(client)
    pool.resize(1)
    server.wait_for(lambda counts: counts.connections == 1, 10)


def test_whoever_refuses_an_article_is_not_suspected_for_what_was_sent_behind_it(
    make_client: MakeClient, to: To, caplog: pytest.LogCaptureFixture
) -> None:
    with NewsServer(shape=Shape(round_trip_s=0.05)) as server:
        server.add(POST)
        server.fail(Fault.BUSY, *POST.message_ids[:6], times=1)  # and it closes the connection
        client = make_client(to(server, connections=6))
        fetches = ask(client, range(11))
        for fetch in fetches[:6]:
            with pytest.raises(ProviderError):
                fetch.result(10)
        assert [fetch.result(10).data for fetch in fetches[6:]] == [data(n) for n in range(6, 11)]
        assert not [one for one in caplog.records if "two commands" in one.message]
        settle(client)
        client.close()


def test_what_is_missing_says_nothing_of_the_line(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 2)
    ask(client, range(1))[0].result(10)
    drain = client.pools["main"]._drain
    before = drain.s_per_byte
    assert before
    server.fail(Fault.MISSING, POST.message_ids[1])
    with pytest.raises(ArticleMissing):
        ask(client, range(1, 2))[0].result(10)
    assert drain.s_per_byte == before


def test_behind_what_is_missing_the_next_one_is_no_worse_off(
    server: NewsServer, download: Callable[..., UsenetClient]
) -> None:
    client = download(server, 3)
    server.fail(Fault.MISSING, *POST.message_ids[::2])
    for number, fetch in enumerate(ask(client, range(60))):
        if number % 2:
            assert fetch.result(10).data == data(number)
        else:
            with pytest.raises(ArticleMissing):
                fetch.result(10)
    settle(client)
    assert server.counts.commands["BODY"] == 60


def test_two_deep_over_tls_every_article_is_the_one_that_was_asked_for(
    make_client: MakeClient, to: To
) -> None:
    authority, trusting = trustme.CA(), ssl.create_default_context()
    authority.configure_trust(trusting)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with NewsServer(tls=context) as server:
        server.add(POST)
        client = make_client(to(server, tls=trusting, connections=3))
        fetches = ask(client, range(60))
        assert [fetch.result(10).data for fetch in fetches] == [data(n) for n in range(60)]
        assert server.counts.total_connections == 3
        client.close()


def test_a_second_command_does_not_prolong_the_silence_of_the_first() -> None:
    connection = Connection(Server("main", "nowhere.example", 119))
    connection.state = State.READY
    connection.start(Exchange([b"BODY <1@x>\r\n"], lambda _: None))
    assert connection.progress_at
    connection.progress_at = 1.0
    behind = Exchange([b"BODY <2@x>\r\n"], lambda _: None)
    connection.start(behind)
    assert connection.progress_at == 1.0
    assert behind.sent_at > 1.0


# -- permits


class Passengers:
    """Ask a semaphore for permits, with passengers or without."""

    def __init__(self, total: int) -> None:
        self.permits = ExtendedSemaphore(total, Shares())
        self.granted: list[Permit] = []

    def submit(
        self, reservation: Reservation, *, passenger: object = None, demand: bool = False
    ) -> Waiter:
        def take(permit: Permit) -> bool:
            self.granted.append(permit)
            return True

        request = Request(reservation, demand)
        return self.permits.submit(request, take, passenger=passenger)


def test_a_passenger_goes_along_and_is_passed_the_permit() -> None:
    asked = Passengers(1)
    asked.submit(QUEUED)
    waiter = asked.submit(QUEUED, passenger="second")
    (first,) = asked.granted
    assert asked.permits.ride(first) is waiter
    assert waiter.passenger == "second"
    rider = waiter.permit
    assert rider is not None
    assert not rider.held
    assert asked.permits.ride(first) is None
    asked.permits.pass_on(first, rider)
    assert (first.held, rider.held) == (False, True)
    assert asked.permits.snapshot().held[Workload.QUEUE] == 1
    rider.release()
    snapshot = asked.permits.snapshot()
    assert (snapshot.free, snapshot.double_releases) == (1, 0)
    assert asked.granted == [first]  # the callback of a rider is never called


@pytest.mark.parametrize(
    ("reservation", "demand"), [(WATCHING, True), (CHECKING, False), (QUEUED, True)]
)
def test_nobody_goes_along_where_a_release_would_serve_somebody_else(
    reservation: Reservation, demand: bool
) -> None:
    asked = Passengers(3)
    for _ in range(3):
        asked.submit(QUEUED)
    asked.submit(reservation, demand=demand)
    asked.submit(QUEUED, passenger="later")
    assert asked.permits.ride(asked.granted[0]) is None


def test_what_a_viewer_has_come_to_wait_for_goes_along_with_nobody() -> None:
    asked = Passengers(1)
    asked.submit(WATCHING, demand=True)
    queued = asked.submit(QUEUED, passenger="queued")
    assert queued.promote(Request(WATCHING, True))
    assert asked.permits.ride(asked.granted[0]) is None


def test_a_passenger_is_let_go_of_once_there_is_a_permit_or_none_is_wanted() -> None:
    asked = Passengers(1)
    served = asked.submit(QUEUED, passenger="served")
    left = asked.submit(QUEUED, passenger="left")
    assert left.cancel()
    assert (served.passenger, left.passenger) == (None, None)


def test_nobody_goes_along_on_what_is_held_above_the_total() -> None:
    asked = Passengers(2)
    for _ in range(2):
        asked.submit(QUEUED)
    asked.submit(QUEUED, passenger="third")
    asked.permits.resize(1)
    assert asked.permits.ride(asked.granted[0]) is None


def test_who_has_no_passenger_waits_for_a_permit_of_its_own() -> None:
    asked = Passengers(1)
    asked.submit(QUEUED)
    asked.submit(QUEUED)
    asked.submit(QUEUED, passenger="third")
    assert asked.permits.ride(asked.granted[0]) is None


def test_a_permit_that_is_not_held_is_passed_to_nobody() -> None:
    asked = Passengers(2)
    asked.submit(QUEUED)
    asked.submit(QUEUED)
    first, second = asked.granted
    with pytest.raises(RuntimeError, match="cannot be passed on"):
        asked.permits.pass_on(first, second)
