"""The bare client that everything is measured against fetches all, and vouches for all."""

from __future__ import annotations

import pytest

from bench.bare import fetch, is_valid
from gateway.demo import Fault, NewsServer, make_bulk_post


@pytest.mark.parametrize(("connections", "depth"), [(1, 1), (3, 2), (8, 50)])
def test_it_fetches_every_article_once(connections: int, depth: int) -> None:
    post = make_bulk_post("b", 500_000, part_size=10_000)
    with NewsServer(users={"bob": "secret"}) as server:
        server.add(post)
        fetched = fetch(
            server.host,
            server.port,
            post.message_ids,
            connections=connections,
            depth=depth,
            user="bob",
            password="secret",
        )
        counts = server.wait_for(lambda counts: counts.connections == 0)
    assert fetched.bytes == 500_000
    assert counts.bodies == dict.fromkeys(post.message_ids, 1)
    assert counts.total_connections == connections


@pytest.mark.parametrize("fault", [Fault.MISSING, Fault.DAMAGED])
def test_it_counts_no_article_that_is_not_right(server: NewsServer, fault: Fault) -> None:
    post = make_bulk_post("b", 50_000, part_size=10_000)
    server.add(post)
    server.fail(fault, post.message_ids[3])
    with pytest.raises(ValueError, match="missing or damaged"):
        fetch(server.host, server.port, post.message_ids)


def test_a_run_on_a_slow_server_is_invalid() -> None:
    assert is_valid(2.1e9, None)
    assert not is_valid(1.9e9, None)
    assert is_valid(95.0, 100.0)
    assert not is_valid(89.0, 100.0)
