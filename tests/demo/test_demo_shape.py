"""A shaped line takes its round trips and keeps to its rates, however it is asked."""

from __future__ import annotations

import random
import ssl
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from gateway.demo import NewsServer, PlainClient, Post, Shape, make_post
from gateway.demo.outbox import Outbox
from gateway.demo.session import Reply, Stop
from gateway.demo.shape import QUANTUM, Pace

Dial = Callable[..., PlainClient]

ROUND_TRIP_S = 0.05


def test_every_step_of_a_login_costs_a_round_trip(dial: Dial) -> None:
    with NewsServer(shape=Shape(ROUND_TRIP_S)) as server:
        began = time.monotonic()
        client = dial(server)
        assert client.code("AUTHINFO USER bob") == 381
        assert client.code("AUTHINFO PASS secret") == 281
        assert time.monotonic() - began >= 3 * ROUND_TRIP_S


def test_tls_costs_one_more(dial: Dial) -> None:
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with NewsServer(shape=Shape(ROUND_TRIP_S), tls=context) as server:
        began = time.monotonic()
        dial(server, trusting)
        assert time.monotonic() - began >= 2 * ROUND_TRIP_S


def test_pipelined_commands_share_one_round_trip(dial: Dial) -> None:
    round_trip_s = 0.4
    with NewsServer(shape=Shape(round_trip_s)) as server:
        client = dial(server)
        began = time.monotonic()
        client.send(*["DATE"] * 20)
        for _ in range(20):
            client.receive()
        assert round_trip_s <= time.monotonic() - began < 19 * round_trip_s


def test_a_connection_keeps_to_its_rate(dial: Dial, post: Post, contents: bytes) -> None:
    rate = 1_000_000
    with NewsServer(shape=Shape(rate_per_connection=rate)) as server:
        server.add(post)
        client = dial(server)
        began = time.monotonic()
        client.send(*(f"BODY <{each}>" for each in post.message_ids))
        parts = [client.receive().data or b"" for _ in post.message_ids]
        took_s = time.monotonic() - began
        assert b"".join(parts) == contents
        assert took_s >= (len(contents) - QUANTUM) / rate


def test_all_connections_together_keep_to_the_line(dial: Dial, post: Post) -> None:
    rate = 2_000_000
    with (
        NewsServer(shape=Shape(rate_total=rate)) as server,
        ThreadPoolExecutor(len(post.message_ids)) as threads,
    ):
        server.add(post)
        clients = [dial(server) for _ in post.message_ids]
        began = time.monotonic()
        total = sum(map(len, threads.map(PlainClient.body, clients, post.message_ids)))
        slack = QUANTUM * len(clients) + 0.02 * rate
        assert time.monotonic() - began >= (total - slack) / rate


def test_a_shaped_connection_is_cut_and_stopped_cleanly(dial: Dial, post: Post) -> None:
    with NewsServer(shape=Shape(0.001, 0.001, 10_000)) as server:
        server.add(post)
        gone, left = dial(server), dial(server)
        for client in (gone, left):
            client.send(f"BODY <{post.message_ids[0]}>")
        server.wait_for(lambda counts: counts.commands["BODY"] == 2)
        gone.close()
        server.wait_for(lambda counts: counts.connections == 1)
    assert left.hung_up()


def test_the_profiles_are_those_of_the_benches() -> None:
    mib = 1024 * 1024
    assert Shape.premium() == Shape(0.040, 0.010, 8 * mib, 400 * mib)
    assert Shape.slow() == Shape(0.100, 0.0, 3 * mib, 60 * mib)


def test_round_trips_vary_by_the_jitter() -> None:
    rng = random.Random(1)
    trips = [Shape(0.04, 0.01).round_trip(rng) for _ in range(200)]
    assert min(trips) >= 0.03
    assert max(trips) <= 0.05
    assert max(trips) - min(trips) > 0.015
    assert {Shape(0.04).round_trip(rng) for _ in range(5)} == {0.04}


class TestPace:
    def test_the_line_is_booked_in_order(self) -> None:
        pace = Pace(1000, credit_s=0.0)
        assert [pace.book(500, 10.0) for _ in range(3)] == [10.0, 10.5, 11.0]
        assert pace.free_at() == 11.5

    def test_lateness_may_be_made_up_for_within_the_credit(self) -> None:
        pace = Pace(1000, credit_s=0.2)
        pace.start(10.0)
        assert pace.book(100, 10.0) == 10.0
        assert pace.book(100, 10.25) == pytest.approx(10.1)
        assert pace.book(100, 20.0) == pytest.approx(19.8)

    def test_one_that_was_idle_starts_when_its_work_begins(self) -> None:
        pace = Pace(1000, credit_s=0.2)
        pace.start(10.0)
        assert pace.book(1, 10.05) == 10.0

    def test_no_rate_is_no_wait(self) -> None:
        pace = Pace(None, credit_s=0.0)
        assert [pace.book(10**9, 5.0) for _ in range(2)] == [5.0, 5.0]


@given(
    st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=8),
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), min_size=1, max_size=9),
    st.integers(0, 200),
)
def test_any_split_into_sends_gives_the_same_bytes(
    pieces: list[bytes], sends: list[tuple[int, int]], stop_after: int
) -> None:
    whole = b"".join(pieces)
    out = Outbox()
    out.put(Reply(tuple(pieces), stop=Stop.HOLD, stop_after=stop_after), releases=0)
    sent, marks = b"", 0
    while out:
        limit, taken = sends[marks % len(sends)]
        gathered = b"".join(out.gather(limit))
        assert len(gathered) <= limit
        if gathered:
            count = min(taken, len(gathered))
            sent += gathered[:count]
            out.drop(count)
            sends = sends[1:] + sends[:1]
        else:
            assert sent == whole[:stop_after]
            marks += 1
            out.pop()
    assert (sent, marks) == (whole, 1)


def test_a_post_served_slowly_is_the_same_post(dial: Dial, contents: bytes) -> None:
    post = make_post("a", contents[:70_000], part_sizes=(20_000, 1, 300))
    shape = Shape(0.001, 0.001, rate_per_connection=10_000_000, rate_total=10_000_000)
    with NewsServer(shape=shape) as server:
        server.add(post)
        client = dial(server)
        assert b"".join(client.body(each) for each in post.message_ids) == contents[:70_000]
