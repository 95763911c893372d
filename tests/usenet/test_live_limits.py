"""Limits that change while exchanges are on their way: nobody is cut, nothing is half-applied."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from gateway.demo import Fault, NewsServer, make_post
from gateway.errors import ConfigurationError
from gateway.nzb.extents import Part
from gateway.usenet.client import Account, UsenetClient
from gateway.usenet.rules import Rules, Sharing
from gateway.usenet.shares import Fixed, Shares
from gateway.usenet.workload import Reservation, Workload

To = Callable[..., Account]
MakeClient = Callable[..., UsenetClient]

QUEUE = Reservation(Workload.QUEUE)
POST = make_post("film.mkv", bytes(range(256)) * 800, part_size=10_000)
PARTS = [Part((message_id,)) for message_id in POST.message_ids]


def sharing(client: UsenetClient, rules: Rules) -> Sharing:
    return Sharing(client, rules)


def in_force(client: UsenetClient) -> dict[str, tuple[int, tuple[int, ...], tuple[int, ...]]]:
    """Return the total, guarantees and caps of every provider."""
    found = {}
    for name, pool in client.pools.items():
        seen = pool.permits.snapshot()
        found[name] = (seen.total, tuple(seen.guarantee.values()), tuple(seen.cap.values()))
    return found


def test_a_raised_cap_lets_in_those_who_wait_at_every_provider(
    server: NewsServer, spare: NewsServer, make_client: MakeClient, to: To
) -> None:
    rules = Rules(max_queue_connections=1)
    spare.add(POST)
    spare.fail(Fault.STALL, after=2_000)
    client = make_client(
        to(server, connections=4), to(spare, "spare", connections=4), policy=rules.make()
    )
    fetches = [client.source.request(part, reservation=QUEUE) for part in PARTS[:4]]
    spare.wait_for(lambda counts: counts.stalled == 1, 10)
    sharing(client, rules).change(lambda old: replace(old, max_queue_connections=3))
    spare.wait_for(lambda counts: counts.stalled == 3, 10)
    spare.heal()
    spare.release()
    for fetch in fetches:
        assert fetch.result(10).data


def test_a_limit_lowered_below_what_is_held_cuts_nobody(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    server.add(POST)
    server.fail(Fault.STALL, times=4, after=2_000)
    client = make_client(to(server, connections=4))
    held = [client.source.request(part, reservation=QUEUE) for part in PARTS[:4]]
    server.wait_for(lambda counts: counts.stalled == 4, 10)
    sharing(client, Rules()).change(lambda old: replace(old, max_queue_connections=1), {"main": 2})
    seen = client.pools["main"].permits.snapshot()
    assert (seen.total, seen.free, seen.held[Workload.QUEUE]) == (2, -2, 4)
    assert server.counts.connections == 4
    waiting = client.source.request(PARTS[4], reservation=QUEUE)
    server.release()
    for fetch in [*held, waiting]:
        assert fetch.result(10).data
    server.wait_for(lambda counts: counts.connections <= 2, 10)
    assert client.pools["main"].status().configured == 2


def test_more_connections_are_used_at_once(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    server.add(POST)
    server.fail(Fault.STALL, after=2_000)
    client = make_client(to(server, connections=1))
    fetches = [client.source.request(part, reservation=QUEUE) for part in PARTS[:3]]
    server.wait_for(lambda counts: counts.stalled == 1, 10)
    sharing(client, Rules()).change(lambda old: old, {"main": 3})
    server.wait_for(lambda counts: counts.stalled == 3, 10)
    server.heal()
    server.release()
    for fetch in fetches:
        assert fetch.result(10).data


@pytest.mark.parametrize(
    ("changes", "connections", "words"),
    [
        (
            {"stream_guarantee": 8, "queue_guarantee": 3},
            {},
            "GATEWAY_STREAM_GUARANTEE=8 + GATEWAY_QUEUE_GUARANTEE=3 = 11, but the largest prov",
        ),
        (
            {"stream_guarantee": 8},
            {"main": 6},
            "GATEWAY_STREAM_GUARANTEE=8 = 8, but the largest provider, 'main', has 6 connections",
        ),
        (
            {"queue_guarantee": 5, "max_queue_connections": 4},
            {},
            "GATEWAY_QUEUE_GUARANTEE=5 exceeds GATEWAY_MAX_QUEUE_CONNECTIONS=4",
        ),
        ({"health_cap": 0}, {}, "GATEWAY_HEALTH_CAP=0 is too small: write 1 or more"),
        ({"stream_guarantee": -1}, {}, "GATEWAY_STREAM_GUARANTEE=-1 is too small: write 0"),
        ({}, {"main": 5, "mine": 5}, "no provider is called 'mine': main, spare"),
        ({}, {"spare": 0, "main": 5}, "0 connections of 'spare' cannot be: write 1 to 1000"),
        ({}, {"main": 1001}, "1001 connections of 'main' cannot be"),
    ],
)
def test_what_cannot_be_met_is_refused_with_the_arithmetic_and_changes_nothing(
    server: NewsServer,
    spare: NewsServer,
    make_client: MakeClient,
    to: To,
    changes: dict[str, int],
    connections: dict[str, int],
    words: str,
) -> None:
    client = make_client(to(server, connections=10), to(spare, "spare", connections=4))
    shared = sharing(client, Rules())
    before = in_force(client)
    with pytest.raises(ConfigurationError) as refused:
        shared.change(lambda old: replace(old, **changes), connections)  # type: ignore[arg-type]
    assert str(refused.value).startswith(words)
    assert "\n" not in str(refused.value)
    assert in_force(client) == before
    assert shared.rules == Rules()
    assert shared.connections() == {"main": 10, "spare": 4}


def test_a_guarantee_that_the_providers_cannot_meet_is_refused_before_anything_is_built() -> None:
    with pytest.raises(ConfigurationError, match="= 30, but the largest provider, 'main', has 20"):
        UsenetClient([Account("main", "127.0.0.1", 1, connections=20)], Shares(20, 10))


def test_of_two_changes_at_once_neither_is_lost(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    shared = sharing(make_client(to(server, connections=10)), Rules())
    entered, other_is_done = threading.Event(), threading.Event()

    def slow(old: Rules) -> Rules:
        entered.set()
        other_is_done.wait(0.2)  # in vain, unless the other one overtakes
        return replace(old, queue_guarantee=3)

    with ThreadPoolExecutor(1) as thread:
        first = thread.submit(shared.change, slow)
        assert entered.wait(10)
        shared.change(lambda old: replace(old, health_cap=2))
        other_is_done.set()
        first.result(10)
    assert shared.rules == Rules(queue_guarantee=3, health_cap=2)


def test_the_policy_itself_can_be_changed_and_back(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    client = make_client(to(server, connections=10))
    shared = sharing(client, Rules())
    shared.change(lambda old: replace(old, policy="fixed", max_queue_connections=6))
    assert isinstance(client.policy, Fixed)
    assert in_force(client) == {"main": (10, (0, 0, 0), (6, 6, 6))}
    shared.change(lambda _: Rules())
    assert in_force(client) == {"main": (10, (4, 2, 1), (10, 10, 1))}


def test_a_change_is_told_in_one_line_and_no_change_in_none(
    server: NewsServer, make_client: MakeClient, to: To, caplog: pytest.LogCaptureFixture
) -> None:
    client = make_client(to(server, connections=10))
    shared = sharing(client, Rules())
    caplog.set_level("INFO", "gateway.usenet.rules")
    shared.change(lambda old: old, {"main": 10})
    assert not caplog.messages
    shared.change(lambda old: replace(old, queue_guarantee=5), {"main": 20})
    assert caplog.messages == [
        "limits changed: queue_guarantee=default -> 5, connections of main=10 -> 20"
    ]


def test_naming_a_provider_forgets_what_it_taught_about_its_limit(
    server: NewsServer, make_client: MakeClient, to: To
) -> None:
    client = make_client(to(server, connections=10))
    pool = client.pools["main"]
    pool._capacity._apply(
        lambda before: replace(before, learned=3)
    )  # as after "too many connections"
    shared = sharing(client, Rules())
    shared.change(lambda old: replace(old, health_cap=2))
    assert pool.status().limit == 3
    shared.change(lambda old: old, {"main": 10})
    assert pool.status().limit == 10
