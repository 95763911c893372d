"""Checks among the others: what they may use of a provider's connections, and what not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from gateway.demo import Fault, NewsServer, Shape, make_bulk_post
from gateway.nzb.extents import Part, PartTable, Run
from gateway.streams.layout import Layout
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.permits import PermitsSnapshot
from gateway.usenet.shares import Shares
from gateway.usenet.workload import Reservation, Workload, new_stream
from gateway_queue.health import Examiner
from gateway_queue.item import LetGo
from gateway_queue.ticket import Ticket

CHECKED = make_bulk_post("film.mkv", 3000 * 1000, part_size=1000)
WANTED = make_bulk_post("other.mkv", 3000 * 1000, part_size=1000, seed=1)
LAYOUT = Layout(
    [Run(0, 0, 3_000_000)],
    [PartTable.regular([one.encode() for one in CHECKED.message_ids], 3_000_000, 1000)],
)


@pytest.fixture
def busy_server() -> Iterator[NewsServer]:
    """A server 10 ms away."""
    with NewsServer(shape=Shape(round_trip_s=0.010)) as server:
        server.add(CHECKED, WANTED)
        yield server


@pytest.fixture
def shared(busy_server: NewsServer) -> Iterator[UsenetClient]:
    """Ten connections: checks are guaranteed 2 of them, and have 5 at most."""
    account = Account("main", busy_server.host, busy_server.port, connections=10)
    with UsenetClient([account], Shares(health_guarantee=2, health_cap=5)) as client:
        yield client


@pytest.fixture
def seen(busy_server: NewsServer, shared: UsenetClient) -> Iterator[list[PermitsSnapshot]]:
    """The books of the permits, at each command that the server reads from now on."""
    books: list[PermitsSnapshot] = []
    over = threading.Event()

    def look(_counts: object) -> bool:
        books.append(shared.pools["main"].permits.snapshot())
        return over.is_set()

    watcher = threading.Thread(target=lambda: busy_server.wait_for(look, 60))
    watcher.start()
    yield books
    over.set()
    busy_server.release()
    busy_server.heal(Fault.SILENCE)
    with ExitStack() as stack:
        stack.callback(watcher.join)
        # wakes the watcher
        shared.source.request(Part((WANTED.message_ids[0],)), reservation=new_stream()).result(10)


def examine(shared: UsenetClient, ticket: Ticket | None = None) -> None:
    examiner = Examiner(shared.source, providers=1)
    findings = examiner.examine(LAYOUT, ticket or Ticket(), lambda _done, _articles: None)
    assert (findings.missing, findings.unknown) == (0, 0)


def ask(shared: UsenetClient, reservation: Reservation) -> Callable[[], None]:
    """Have 3,000 articles wanted at once; return what gives up those that are still to come."""
    fetches = [
        shared.source.request(Part((message_id,)), reservation=reservation)
        for message_id in WANTED.message_ids
    ]

    def give_up() -> None:
        for fetch in fetches:
            fetch.cancel()

    return give_up


def test_alone_checks_use_what_their_cap_allows(
    shared: UsenetClient, seen: list[PermitsSnapshot]
) -> None:
    examine(shared)
    held = [books.held[Workload.HEALTH] for books in seen]
    assert max(held) == 5


def test_while_an_item_of_the_queue_waits_checks_use_their_guarantee_and_no_more(
    shared: UsenetClient, seen: list[PermitsSnapshot]
) -> None:
    give_up = ask(shared, Reservation(Workload.QUEUE))
    examine(shared)
    give_up()
    held = [books.held[Workload.HEALTH] for books in seen if books.waiting[Workload.QUEUE]]
    # they got through, on their guarantee alone
    assert max(held) == 2
    assert {w for w, waiting in seen[-1].granted.items() if waiting} == {
        Workload.QUEUE,
        Workload.HEALTH,
    }
    assert seen[-1].unattributed == 0


def test_beyond_their_guarantee_checks_wait_while_a_viewer_does(
    shared: UsenetClient, seen: list[PermitsSnapshot]
) -> None:
    give_up = ask(shared, new_stream())
    examine(shared)
    give_up()
    held = [books.held[Workload.HEALTH] for books in seen if books.waiting[Workload.STREAM]]
    assert max(held) == 2


@pytest.mark.parametrize("workload", [Workload.QUEUE, Workload.STREAM])
def test_a_check_that_waits_for_permits_can_be_left(
    busy_server: NewsServer, workload: Workload
) -> None:
    # Without a guarantee: a provider of two connections has none for checks.
    account = Account("main", busy_server.host, busy_server.port, connections=2)
    with UsenetClient([account], stall_s=30) as client:
        busy_server.fail(Fault.SILENCE)
        give_up = ask(client, Reservation(workload, 1 if workload is Workload.STREAM else 0))
        busy_server.wait_for(lambda counts: counts.stalled == 2)
        ticket, left = Ticket(), threading.Event()

        def run() -> None:
            with pytest.raises(LetGo):
                examine(client, ticket)
            left.set()

        thread = threading.Thread(target=run)
        thread.start()
        assert not left.wait(0.3)
        ticket.cancel()
        assert left.wait(20)
        thread.join()
        permits = client.pools["main"].permits.snapshot()
        assert permits.granted[Workload.HEALTH] == 0
        assert permits.waiting[Workload.HEALTH] == 0
        give_up()
        busy_server.heal()
