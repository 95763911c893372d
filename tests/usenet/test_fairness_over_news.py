"""Sharing over real connections: 50 of them, 30 for the queue, and everybody at once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from gateway.demo import Fault, NewsServer, Post, Shape, make_post
from gateway.nzb.extents import Part
from gateway.usenet.articles import ArticleSource, Fetch, Verdict
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.permits import PermitsSnapshot
from gateway.usenet.policy import Policy
from gateway.usenet.shares import Fixed, Shares
from gateway.usenet.workload import Reservation, Workload, carry, scope

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

STREAM, QUEUE, HEALTH = Workload
CONNECTIONS, FOR_THE_QUEUE = 50, 30
PART = 5_000
IMPORT = Reservation(QUEUE, 1)
POLICIES = [
    pytest.param(Shares(queue_cap=FOR_THE_QUEUE), id="shares"),
    pytest.param(Fixed(FOR_THE_QUEUE), id="fixed"),
]


@pytest.fixture(scope="module")
def post() -> Post:
    return make_post("film.mkv", bytes(range(256)) * 20 * 600, part_size=PART)


@pytest.fixture(scope="module")
def parts(post: Post) -> list[Part]:
    return [Part((message_id,)) for message_id in post.message_ids]


def wait_until(client: UsenetClient, holds: Callable[[PermitsSnapshot], bool]) -> None:
    """Wait until the books say so. Nobody rings a bell when somebody begins to wait."""
    permits, deadline = client.pools["main"].permits, time.monotonic() + 10
    while not holds(permits.snapshot()):
        assert time.monotonic() < deadline, permits.snapshot()
        threading.Event().wait(0.005)


def is_settled(seen: PermitsSnapshot) -> bool:
    return seen.free == seen.total and not any(seen.waiting.values())


def watch(source: ArticleSource, parts: Sequence[Part]) -> int:
    """Read as a player does: one article at a time, with more of them on their way."""
    ahead: list[Fetch] = []
    size = 0
    for number in range(len(parts)):
        while len(ahead) < 20 and number + len(ahead) < len(parts):
            ahead.append(source.request(parts[number + len(ahead)], demand=not ahead))
        fetch = ahead.pop(0)
        fetch.promote()
        size += len(fetch.result(30).data)
    return size


def download(source: ArticleSource, parts: Sequence[Part]) -> int:
    return sum(len(fetch.result(30).data) for fetch in [source.request(part) for part in parts])


@pytest.mark.parametrize("policy", POLICIES)
def test_a_stream_an_import_and_a_health_check_at_once_all_finish(
    post: Post, parts: list[Part], make_client: MakeClient, to: To, policy: Policy
) -> None:
    with NewsServer(shape=Shape(round_trip_s=0.005)) as server:
        server.add(post)
        client = make_client(to(server, connections=CONNECTIONS), policy=policy)
        source = client.source
        watched, imported, checked = parts[:200], parts[200:500], [*parts[500:]] * 20
        with ThreadPoolExecutor(3) as threads:
            with scope(Reservation(STREAM, 1)):
                viewer = threads.submit(carry(watch), source, watched)
            with scope(IMPORT):
                queue = threads.submit(carry(download), source, imported)
            with scope(Reservation(HEALTH)):
                check = threads.submit(carry(source.exists), checked, timeout_s=30)
            assert viewer.result(60) == 200 * PART
            assert queue.result(60) == 300 * PART
            assert set(check.result(60)) == {Verdict.PRESENT}
        wait_until(client, is_settled)
        permits, counts = client.pools["main"].permits.snapshot(), server.counts
        client.close()
    assert permits.granted[STREAM] == 200
    assert permits.granted[QUEUE] == 300
    assert permits.granted[HEALTH] == len(checked) // 100
    assert permits.unattributed == permits.double_releases == 0
    most = CONNECTIONS if isinstance(policy, Shares) else FOR_THE_QUEUE
    assert counts.peak_connections <= most


def test_the_queue_has_its_guarantee_as_soon_as_those_who_held_everything_are_served(
    server: NewsServer, post: Post, parts: list[Part], make_client: MakeClient, to: To
) -> None:
    server.add(post)
    server.fail(Fault.SILENCE)
    policy = Shares(queue_cap=FOR_THE_QUEUE)
    client = make_client(to(server, connections=CONNECTIONS), policy=policy)
    fetches = [
        client.source.request(part, reservation=Reservation(STREAM, 1 + number % 3))
        for number, part in enumerate(parts[:60])
    ]
    server.wait_for(lambda counts: counts.stalled == CONNECTIONS)
    with ThreadPoolExecutor(1) as threads:
        with scope(Reservation(HEALTH)):
            check = threads.submit(carry(client.source.exists), parts[500:505], timeout_s=30)
        imported = parts[100:125]
        fetches += [client.source.request(part, reservation=IMPORT) for part in imported]
        wait_until(client, lambda seen: tuple(seen.waiting.values()) == (10, 25, 1))
        seen = client.pools["main"].permits.snapshot()
        # The queue's 10, and the one of the health check: nobody else may take those.
        assert seen.required[STREAM] == 11
        server.heal()
        for fetch in fetches:
            fetch.result(30)
        assert check.result(30) == [Verdict.PRESENT] * 5
    # Of what was sent as the first 50 came back, in whatever order the server read it.
    asked = server.counts.journal_of("BODY")[CONNECTIONS : CONNECTIONS + 11]
    of_the_queue = {part.message_ids[0] for part in imported}
    assert sum(each.argument in of_the_queue for each in asked) >= 10


def test_of_five_hundred_waiting_queue_fetches_the_one_that_a_viewer_wants_is_sent_next(
    server: NewsServer, post: Post, parts: list[Part], make_client: MakeClient, to: To
) -> None:
    server.add(post)
    server.fail(Fault.SILENCE, times=1)
    client = make_client(to(server, connections=1))
    queued = [client.source.request(part, reservation=IMPORT) for part in parts[:501]]
    server.wait_for(lambda counts: counts.stalled == 1)
    assert client.pools["main"].permits.snapshot().waiting[QUEUE] == 500
    viewer = client.source.request(parts[500], reservation=Reservation(STREAM, 1))
    server.release()
    assert viewer.result(30) is queued[500].result(30)
    for fetch in queued:
        fetch.result(30)
    asked = [each.argument for each in server.counts.journal_of("BODY")]
    # Right after what was in flight; then the queue goes on where it was.
    assert asked[1] == post.message_ids[500]
    assert asked[0:1] + asked[2:] == list(post.message_ids[:500])


def test_a_permit_is_back_when_its_connection_is_closed_and_not_before(
    server: NewsServer, post: Post, parts: list[Part], make_client: MakeClient, to: To
) -> None:
    server.add(post)
    server.fail(Fault.STALL, times=1, after=1_000)
    client = make_client(to(server, connections=1))
    pool = client.pools["main"]
    fetch = client.source.request(parts[0], reservation=IMPORT)
    server.wait_for(lambda counts: counts.stalled == 1)
    pool.resize(0)
    live = []
    done = threading.Event()

    def look(_: Fetch) -> None:
        live.append(pool.status().live)
        done.set()

    fetch.add_done_callback(look)
    server.release()
    assert done.wait(10)
    # An exchange is told of when its permit is back.
    assert live == [0]
    assert fetch.result(0).end == PART
