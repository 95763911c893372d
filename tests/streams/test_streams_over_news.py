"""Streams over a real news server: what a viewer gets, and what it costs the provider."""

from __future__ import annotations

import hashlib
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from gateway.demo import Fault, NewsServer, Post, Shape, make_post
from gateway.errors import ArticleMissing, ConnectionLost
from gateway.nzb.extents import PartTable, Run
from gateway.streams.layout import Layout
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.workload import Reservation, Workload, scope

if TYPE_CHECKING:
    from tests.streams.conftest import Opener

PART = 10_000
FILM = random.Random(1).randbytes(100 * PART + 77)


@pytest.fixture
def server() -> Iterator[NewsServer]:
    with NewsServer() as server:
        yield server


@pytest.fixture
def client(server: NewsServer) -> Iterator[UsenetClient]:
    with UsenetClient([Account("main", server.host, server.port, connections=8)]) as client:
        yield client


@pytest.fixture(scope="module")
def film() -> Post:
    return make_post("film.mkv", FILM, part_size=PART)


def ids(post: Post) -> list[bytes]:
    return [mid.encode() for mid in post.files[0].message_ids]


def layout_of(post: Post) -> Layout:
    size = post.files[0].size
    return Layout([Run(0, 0, size)], [PartTable.regular(ids(post), size, PART)])


def test_a_film_read_to_its_end_is_every_byte_and_every_article_once(
    server: NewsServer, client: UsenetClient, film: Post, make_streams: Opener
) -> None:
    server.add(film)
    digest = hashlib.sha256()
    with make_streams(client.source).open(layout_of(film), name="film.mkv") as stream:
        while view := stream.read_view(64 << 10):
            digest.update(view)
    assert digest.hexdigest() == film.files[0].sha256()
    assert server.counts.bodies == Counter(film.message_ids)


def test_viewers_of_one_film_fetch_it_once(
    server: NewsServer, client: UsenetClient, film: Post, make_streams: Opener
) -> None:
    server.add(film)
    streams = make_streams(client.source, article_cache=2 * len(FILM))
    layout = layout_of(film)

    def watch(begin: int) -> bytes:
        with streams.open(layout) as stream:
            stream.seek(begin)
            return stream.read()

    with ThreadPoolExecutor(4) as viewers:
        begins = [0, 0, 5 * PART, 50 * PART]
        for begin, seen in zip(begins, viewers.map(watch, begins), strict=True):
            assert seen == FILM[begin:]
    # One that arrives between two looks, at the cache and at what is in flight, is fetched again.
    assert sum(server.counts.bodies.values()) <= 101 + 3


def test_a_seek_costs_one_body(
    server: NewsServer, client: UsenetClient, film: Post, make_streams: Opener
) -> None:
    server.add(film)
    with make_streams(client.source).open(layout_of(film)) as stream:
        for number, part in enumerate((60, 3, 99, 41), 1):
            stream.seek(part * PART + 5_000)
            assert stream.read(100) == FILM[part * PART + 5_000 :][:100]
            assert server.counts.commands["BODY"] == number
        assert server.counts.commands["STAT"] == 0


def test_a_closed_range_costs_its_articles_and_no_more(
    server: NewsServer, client: UsenetClient, film: Post, make_streams: Opener
) -> None:
    server.add(film)
    with make_streams(client.source).open(layout_of(film), stop=25 * PART + 1) as stream:
        stream.seek(10 * PART)
        assert stream.read() == FILM[10 * PART : 25 * PART + 1]
    assert server.counts.bodies == Counter(film.message_ids[10:26])


def test_an_irregular_post_is_read_whole_and_its_offsets_are_remembered(
    server: NewsServer, client: UsenetClient, make_streams: Opener
) -> None:
    post = make_post("film.mkv", FILM, part_sizes=[9_000, 1_000, 30_000, 12_345])
    server.add(post)
    learned: list[int] = []
    count = len(post.message_ids)
    table = PartTable.estimated(ids(post), len(FILM), [1] * count)
    layout = Layout([Run(0, 0, len(FILM))], [table], learned=learned.append)
    streams = make_streams(client.source)
    with streams.open(layout) as stream:
        stream.seek(len(FILM) // 2)
        assert stream.read(10) == FILM[len(FILM) // 2 :][:10]
        assert server.counts.commands["BODY"] <= 3
        stream.seek(0)
        assert stream.read() == FILM
    assert learned == [0] * len(learned)
    assert all(table.is_exact(index) for index in range(count))
    before = server.counts.commands["BODY"]
    with streams.open(layout) as stream:
        stream.seek(len(FILM) // 3)
        stream.read(10)
    assert server.counts.commands["BODY"] == before + 1


def test_an_article_that_no_provider_has_is_an_error_and_not_the_end(
    server: NewsServer, client: UsenetClient, film: Post, make_streams: Opener
) -> None:
    server.add(film.without(film.message_ids[20]))
    with make_streams(client.source).open(layout_of(film)) as stream:
        assert stream.read(20 * PART) == FILM[: 20 * PART]
        with pytest.raises(ArticleMissing, match="segment 21 of 101"):
            stream.read(1)
        stream.seek(21 * PART)
        assert stream.read() == FILM[21 * PART :]


def test_a_read_gives_up_at_its_time_out_and_may_be_tried_again(
    server: NewsServer, client: UsenetClient, film: Post, make_streams: Opener
) -> None:
    server.add(film)
    server.fail(Fault.SILENCE)
    streams = make_streams(client.source, read_timeout_s=0.2)
    with streams.open(layout_of(film)) as stream:
        with pytest.raises(ConnectionLost, match=r"nothing within 0\.2 s"):
            stream.read(100)
        server.heal()
    with make_streams(client.source).open(layout_of(film)) as stream:
        assert stream.read(100) == FILM[:100]


def test_a_viewer_who_leaves_while_the_provider_is_silent_leaves_at_once(
    server: NewsServer, client: UsenetClient, film: Post, make_streams: Opener
) -> None:
    server.add(film)
    streams = make_streams(client.source)
    stream = streams.open(layout_of(film))
    stream.read(3 * PART)
    server.fail(Fault.SILENCE)
    stream.seek(60 * PART)
    with ThreadPoolExecutor(1) as reader:
        blocked = reader.submit(stream.read)
        server.wait_for(lambda counts: counts.stalled)
        stream.close()
        with pytest.raises(ValueError, match="closed"):
            blocked.result(20)
    assert streams.budget.used == 0
    server.heal()


def test_a_stream_that_outlives_its_scope_asks_every_provider_under_its_reservation(
    film: Post, make_streams: Opener
) -> None:
    # The reading takes longer than every time-out: each is for one article, or one step.
    timeout_s = 1.5
    with ExitStack() as stack:
        line = Shape(round_trip_s=0.01, rate_total=len(FILM) / 3)
        big, small = (stack.enter_context(NewsServer(shape=line)) for _ in range(2))
        big.add(film.without(*film.message_ids[::3]))
        small.add(film)
        client = stack.enter_context(
            UsenetClient(
                [
                    Account("big", big.host, big.port, connections=50),
                    Account("small", small.host, small.port, connections=8, priority=1),
                ],
                stall_s=timeout_s,
                connect_timeout_s=timeout_s,
            )
        )
        streams = make_streams(
            client.source,
            # Little, so that no article waits long behind others on so slow a line.
            readahead_budget=20 * PART,
            read_timeout_s=timeout_s,
            connections=58,
        )
        with scope(Reservation(Workload.QUEUE)):
            stream = streams.open(layout_of(film))
        began = time.monotonic()
        with ThreadPoolExecutor(1) as reader, scope(Reservation(Workload.HEALTH)):
            assert reader.submit(stream.read).result(30) == FILM
        assert time.monotonic() - began > timeout_s
        stream.close()
        for pool in client.pools.values():
            permits = pool.permits.snapshot()
            assert permits.granted[Workload.QUEUE] > 30
            assert permits.granted[Workload.STREAM] == permits.granted[Workload.HEALTH] == 0
            assert permits.unattributed == 0
